"""The inference network: told the target, it reads the upper state and sends nothing back."""

import json
import os

import keras
import numpy as np
import tensorflow as tf

from wsram_tf.classification.inference_network import InferenceNetwork

ROWS, TARGET, STATE, UNITS, PARAMETERS = 4, 3, 5, 6, 2


def _network() -> InferenceNetwork:
  network = InferenceNetwork(PARAMETERS, UNITS, TARGET, STATE)
  generator = np.random.default_rng(0)
  network.set_weights([generator.normal(size=weight.shape) for weight in network.weights])
  return network


def _arguments() -> tuple[tf.Tensor, tf.Tensor]:
  upper = np.random.default_rng(1).uniform(-1, 1, [ROWS, STATE])
  return tf.one_hot([0, 1, 2, 1], TARGET), tf.constant(upper, tf.float32)


class InferenceNetworkTest(tf.test.TestCase):
  def test_matches_numpy(self):
    network, (target, upper) = _network(), _arguments()
    kernel, bias, emission, offset = network.get_weights()
    features = np.concatenate([target, upper], axis=-1)
    expected = np.maximum(features @ kernel + bias, 0) @ emission + offset
    self.assertAllClose(network(target, upper), expected, rtol=1e-5, atol=1e-5)

  def test_sends_no_gradient_into_the_state(self):
    network, (target, upper) = _network(), _arguments()
    with tf.GradientTape() as tape:
      tape.watch([target, upper])
      parameters = network(target, upper)
    to_target, to_upper, *to_weights = tape.gradient(parameters, [target, upper, *network.weights])
    self.assertIsNone(to_upper)
    for gradient in (to_target, *to_weights):
      self.assertGreater(np.abs(gradient).max(), 0.0)

  def test_compares_what_it_knows_with_what_cells_show(self):
    network = InferenceNetwork(6, UNITS, TARGET, STATE, location_units=3)
    generator = np.random.default_rng(0)
    network.set_weights([generator.normal(size=weight.shape) for weight in network.weights])
    cells = tf.constant(generator.normal(size=[2, 6, 3]), tf.float32)
    target, upper = _arguments()
    with tf.GradientTape() as tape:
      tape.watch([cells, upper])
      parameters = network(target, upper, network.keys(cells))
    to_cells, to_upper, *to_weights = tape.gradient(parameters, [cells, upper, *network.weights])
    self.assertIsNone(to_cells)
    self.assertIsNone(to_upper)
    for gradient in to_weights:
      self.assertGreater(np.abs(gradient).max(), 0.0)
    # Two rows for each image.
    order = np.array([2, 0, 1, 5, 4, 3])
    moved = network(target, upper, network.keys(tf.gather(cells, order, axis=1)))
    self.assertAllClose(moved, tf.gather(parameters, order, axis=1), rtol=1e-5)
    one = network(target[2:3], upper[2:3], network.keys(cells[1:]))
    self.assertAllClose(one, parameters[2:3], rtol=1e-5)
    copy = InferenceNetwork.from_config(json.loads(json.dumps(network.get_config())))
    copy.set_weights(network.get_weights())
    self.assertAllEqual(copy(target, upper, copy.keys(cells)), parameters)

  def test_depends_on_the_target_and_on_the_state(self):
    network, (target, upper) = _network(), _arguments()
    parameters = network(target, upper)
    other_target = network(tf.roll(target, 1, axis=-1), upper)
    self.assertAllGreater(np.abs(parameters - other_target).max(axis=-1), 1e-3)
    other_state = network(target, -upper)
    self.assertAllGreater(np.abs(parameters - other_state).max(axis=-1), 1e-3)

  def test_config_round_trip_and_saving(self):
    network, arguments = _network(), _arguments()
    copy = InferenceNetwork.from_config(json.loads(json.dumps(network.get_config())))
    self.assertEqual(copy.get_config(), network.get_config())
    copy.set_weights(network.get_weights())
    path = os.path.join(self.get_temp_dir(), "network.keras")
    network.save(path)
    for other in (copy, keras.saving.load_model(path)):
      self.assertAllEqual(other(*arguments), network(*arguments))

  def test_eager_graph_compiled_and_unknown_batch_agree(self):
    network, (target, upper) = _network(), _arguments()
    specs = [tf.TensorSpec([None, TARGET]), tf.TensorSpec([None, STATE])]
    graph = tf.function(lambda t, u: network(t, u), input_signature=specs, autograph=False)
    compiled = tf.function(lambda t, u: network(t, u), jit_compile=True, autograph=False)
    expected = network(target, upper)
    self.assertAllClose(graph(target, upper), expected)
    self.assertAllClose(compiled(target, upper), expected)
    self.assertEqual(graph(target[:0], upper[:0]).shape, [0, PARAMETERS])

  def test_number_of_weights(self):
    expected = (TARGET + STATE + 1) * UNITS + (UNITS + 1) * PARAMETERS
    self.assertEqual(InferenceNetwork(PARAMETERS, UNITS, TARGET, STATE).count_params(), expected)


if __name__ == "__main__":
  tf.test.main()
