"""Glimpse and context networks of a user's own: saved, loaded, trained, and checked."""

import pathlib

import keras
import numpy as np
import tensorflow as tf

import wsram_tf
from wsram_tf import layers, tasks

_CONFIG = wsram_tf.ModelConfig(height=20, width=24, units=6, num_glimpses=2, context_side=4)
_IMAGES = np.random.RandomState(1).uniform(size=[6, 20, 24, 1]).astype(np.float32)


@keras.saving.register_keras_serializable("test_own_networks")
class Summed(keras.layers.Layer):
  """Adds the encodings of patches and location."""

  def __init__(self, units, **kwargs):
    super().__init__(**kwargs)
    self.units = units
    self.what, self.where = keras.layers.Dense(units), keras.layers.Dense(units)

  def build(self, patches_shape, locations_shape):
    self.what.build((None, int(np.prod(patches_shape[1:]))))
    self.where.build(locations_shape)

  def call(self, patches, locations):
    flat = tf.reshape(patches, [-1, self.what.kernel.shape[0]])
    return tf.nn.relu(self.what(flat) + self.where(locations))

  def get_config(self):
    return {**super().get_config(), "units": self.units}


@keras.saving.register_keras_serializable("test_own_networks")
class Negated(layers.ContextNetwork):
  """Reverses the brightness of the low-resolution copy."""

  def call(self, low_resolution):
    return super().call(1.0 - low_resolution)


def make_network() -> wsram_tf.PredictionNetwork:
  return wsram_tf.PredictionNetwork(
    _CONFIG, glimpse_network=Summed(6), context_network=Negated(4, 6, num_states=2)
  )


class OwnNetworksTest(tf.test.TestCase):
  def setUp(self):
    super().setUp()
    self.path = pathlib.Path(self.get_temp_dir()) / "model.keras"

  def test_a_saved_network_answers_the_same_with_its_own_parts(self):
    network = make_network()
    network.save(self.path)
    loaded = keras.saving.load_model(self.path)
    self.assertIsInstance(loaded.glimpse_network, Summed)
    self.assertIsInstance(loaded.context_network, Negated)
    for name, values in network(_IMAGES).items():
      self.assertAllEqual(loaded(_IMAGES)[name], values)

  def test_a_learner_trains_new_weights_of_the_same_form(self):
    keras.utils.set_random_seed(1)
    given = make_network()
    before = [weight.numpy() for weight in given.weights]
    learner = wsram_tf.WakeSleepLearner(
      _CONFIG, glimpse_network=given.glimpse_network, context_network=given.context_network
    )
    first = learner.prediction_network.glimpse_network.what.kernel.numpy()
    learner.compile("adam", run_eagerly=True)
    learner.fit(_IMAGES, np.arange(6), batch_size=6, verbose=0)
    self.assertNotAllClose(learner.prediction_network.glimpse_network.what.kernel, first)
    for weight, value in zip(given.weights, before, strict=True):
      self.assertAllEqual(weight, value)
    learner.save(self.path)
    loaded = wsram_tf.load_model(self.path)
    self.assertAllEqual(
      loaded.predict(_IMAGES, verbose=0)["probabilities"],
      learner.predict(_IMAGES, verbose=0)["probabilities"],
    )

  def test_a_task_records_the_networks_of_a_run(self):
    task = tasks.DigitTask(network_options={"glimpse_network": Summed(256)})
    self.assertIn("--glimpse_network=test_own_networks>Summed", task.settings().lines)
    learner = task.make_learner(clip_norm=1.0, seed=1)
    self.assertIsInstance(learner.prediction_network.glimpse_network, Summed)

  def test_wrong_outputs_are_refused(self):
    with self.assertRaisesRegex(
      ValueError, r"glimpse_network=narrow: must return \[R, 6\]; it returns \[R, 5\]"
    ):
      wsram_tf.PredictionNetwork(_CONFIG, glimpse_network=Summed(5, name="narrow"))
    with self.assertRaisesRegex(
      ValueError, r"context_network=one: must return \[R, 6\], \[R, 6\]; it returns \[R, 6\]$"
    ):
      wsram_tf.PredictionNetwork(_CONFIG, context_network=Negated(4, 6, num_states=1, name="one"))


if __name__ == "__main__":
  tf.test.main()
