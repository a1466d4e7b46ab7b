"""The context network: states, compared with NumPy."""

import numpy as np
import tensorflow as tf

from wsram_tf.layers import ContextNetwork


class ContextNetworkTest(tf.test.TestCase):
  def test_states_match_numpy(self):
    low = np.random.default_rng(0).normal(size=[3, 2, 2, 1]).astype(np.float32)
    for num_states in (1, 2):
      network = ContextNetwork(2, units=4, num_states=num_states)
      first, *rest = network(tf.constant(low))
      hidden = np.maximum(low.reshape(3, 4) @ network.hidden.kernel.numpy(), 0)
      states = np.split(hidden @ network.states.kernel.numpy(), num_states, axis=-1)
      self.assertAllClose(first, np.tanh(states[0]), atol=1e-6)
      self.assertLen(rest, num_states - 1)
      if rest:
        self.assertAllClose(rest[0], states[1], atol=1e-6)

  def test_pool_averages_blocks(self):
    low = np.random.default_rng(1).normal(size=[2, 6, 6, 3]).astype(np.float32)
    pooled = ContextNetwork(6, units=4, num_states=2, pool=3)
    blocks = low.reshape(2, 2, 3, 2, 3, 3).mean(axis=(2, 4))
    small = ContextNetwork(2, units=4, num_states=2)
    states, _ = pooled(tf.constant(low)), small(tf.constant(blocks))
    small.set_weights(pooled.get_weights())
    for found, expected in zip(states, small(tf.constant(blocks)), strict=True):
      self.assertAllClose(found, expected, atol=1e-6)
    again = ContextNetwork.from_config(pooled.get_config())
    again.build((None, 6, 6, 3))
    self.assertEqual(again.hidden.kernel.shape, (12, 4))
    with self.assertRaisesRegex(ValueError, "pool=4: must divide side=6"):
      ContextNetwork(6, units=4, num_states=2, pool=4)


if __name__ == "__main__":
  tf.test.main()
