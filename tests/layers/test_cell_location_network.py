"""The cell location network: logits from keys and states, each state with its own image's cells."""

import numpy as np
import tensorflow as tf

from wsram_tf.layers import CellLocationNetwork, with_saliency


class CellLocationNetworkTest(tf.test.TestCase):
  def setUp(self):
    super().setUp()
    generator = np.random.default_rng(0)
    self.keys = generator.normal(size=[2, 5, 6]).astype(np.float32)
    self.states = generator.normal(size=[2 * 3, 4]).astype(np.float32)
    self.network = CellLocationNetwork(units=6)
    self.network.build(self.keys.shape, self.states.shape)
    self.network.set_weights([generator.normal(size=w.shape) for w in self.network.get_weights()])

  def test_matches_numpy_with_consecutive_samples_of_an_image(self):
    query, query_bias = self.network.get_weights()
    logits = self.network(self.keys, self.states)
    self.assertEqual(logits.shape, [6, 5])
    for row in range(6):
      expected = self.keys[row // 3] @ (self.states[row] @ query + query_bias)
      self.assertAllClose(logits[row], expected, rtol=1e-4)

  def test_saliency_adds_its_product_with_the_gain(self):
    saliency = np.random.default_rng(1).uniform(size=[2, 5]).astype(np.float32)
    network = CellLocationNetwork(units=6, num_scales=2, saliency=0.7)
    network.build([2, 5, 6], self.states.shape)
    self.assertAllClose(network.gain, [0.7])
    generator = np.random.default_rng(0)
    network.set_weights([generator.normal(size=w.shape) for w in network.get_weights()])
    plain = CellLocationNetwork(units=6, num_scales=2)
    plain.build([2, 5, 6], self.states.shape)
    plain.set_weights([w for w in network.get_weights() if w.shape != (1,)])
    keys = with_saliency(self.keys, saliency)
    for gain in (0.0, -1.3):
      network.gain.assign([gain])
      expected = plain(self.keys, self.states).numpy()
      expected[:, :5] += gain * np.repeat(saliency, 3, axis=0)
      self.assertAllClose(network(keys, self.states), expected, rtol=1e-5, atol=1e-5)
    copy = CellLocationNetwork.from_config(network.get_config())
    copy.build([2, 5, 6], self.states.shape)
    copy.set_weights(network.get_weights())
    self.assertAllEqual(copy(keys, self.states), network(keys, self.states))

  def test_logits_depend_on_keys_and_not_on_places(self):
    order = np.array([3, 1, 4, 0, 2])
    logits = self.network(self.keys, self.states)
    moved = self.network(self.keys[:, order], self.states)
    self.assertAllClose(moved, tf.gather(logits, order, axis=1), rtol=1e-5)

  def test_starts_near_a_uniform_distribution(self):
    network = CellLocationNetwork(units=64)
    network.build((None, 5, 64), (None, 128))
    generator = np.random.default_rng(0)
    keys = generator.normal(size=[2, 5, 64]).astype(np.float32)
    states = np.tanh(generator.normal(size=[6, 128])).astype(np.float32)
    probabilities = tf.nn.softmax(network(keys, states))
    self.assertAllInRange(probabilities, 0.02, 0.6)


if __name__ == "__main__":
  tf.test.main()
