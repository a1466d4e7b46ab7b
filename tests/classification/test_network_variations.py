"""The prediction network: batch sizes, compilation, configurations, files and sizes."""

import dataclasses
import json
import os

import keras
import tensorflow as tf

from tests.support.models.networks import (
  CLASSES,
  CONFIGS,
  CONTEXT,
  GLIMPSES,
  IMAGES,
  SAMPLES,
  UNITS,
  PredictionNetworkTest,
  make_images,
  make_network,
  make_uniforms,
)
from wsram_tf.classification.prediction_network import PredictionNetwork
from wsram_tf.location_families import make_location_distribution
from wsram_tf.locations import GridLocations, NormalLocations, ScaledLocations


class VariationsTest(PredictionNetworkTest):
  """Graphs, unknown batches, XLA, saving."""

  def test_attend_takes_any_number_of_images(self):
    for name in ("relu", "convolutional, 3 channels", "learned scale", "keyed grid, chosen scale"):
      config = CONFIGS[name]
      with self.subTest(name):
        network, images, uniforms = make_network(config), make_images(config), make_uniforms(config)
        batch = tf.TensorSpec([None, *config.image_shape], tf.float64)
        samples = tf.TensorSpec([SAMPLES, None, *uniforms.shape[2:]], tf.float64)
        attend = tf.function(
          lambda images, uniforms, network=network: network.attend(network.look(images), uniforms),
          input_signature=[batch, samples],
          autograph=False,  # Converting takes seconds.
        )
        expected = network.attend(network.look(images), uniforms)
        for count in (0, 1, IMAGES):
          found = attend(images[:count], uniforms[:, :count])
          self.assertSequences(found, [tensor[:, :count] for tensor in expected])

  def test_call_takes_any_number_of_images(self):
    network, images = make_network(CONFIGS["grid"]), make_images()
    batch = tf.TensorSpec([None, *images.shape[1:]], tf.float64)
    call = tf.function(network, input_signature=[batch], autograph=False)
    for count in (1, IMAGES):
      found = call(images[:count])
      for key, value in network(images[:count]).items():
        self.assertAllClose(found[key], value, rtol=1e-10)
    nothing = call(images[:0])
    self.assertEqual(nothing["class_id"].shape, [0])
    self.assertEqual(nothing["probabilities"].shape, [0, CLASSES])
    self.assertEqual(nothing["locations"].shape, [0, GLIMPSES, 2])

  def test_compiled(self):
    # Compiling takes a second for each glimpse.
    for name, cutting, glimpses, cell in (
      ("lstm", "xla", 1, "lstm"),
      ("chosen scale", "xla", 1, "gru"),
      ("keyed grid, chosen scale", "gather", 2, "relu"),
    ):
      with self.subTest(f"{name} cutting={cutting}"):
        config = dataclasses.replace(CONFIGS[name], num_glimpses=glimpses, cell=cell)
        network, images, uniforms = make_network(config), make_images(), make_uniforms(config)

        @tf.function(jit_compile=True, autograph=False)
        def attend(images, uniforms, network=network, cutting=cutting):
          view = network.look(images, cutting=cutting)
          return network.attend(view, uniforms)

        self.assertSequences(
          attend(images, uniforms), network.attend(network.look(images), uniforms)
        )

  def test_config_round_trip(self):
    for name, config in CONFIGS.items():
      with self.subTest(name):
        network = PredictionNetwork(config)
        copy = PredictionNetwork.from_config(json.loads(json.dumps(network.get_config())))
        self.assertEqual(copy.config, config)
        self.assertEqual(copy.name, network.name)
        self.assertEqual([w.shape for w in copy.weights], [w.shape for w in network.weights])

  def test_saved_and_loaded(self):
    for name in ("relu", "convolutional, 3 channels", "learned scale", "keyed grid, chosen scale"):
      config = CONFIGS[name]
      with self.subTest(name):
        network = make_network(config)
        path = os.path.join(self.get_temp_dir(), "network.keras")
        network.save(path)
        loaded = keras.saving.load_model(path)
        self.assertEqual(loaded.config, config)
        for key, value in network(make_images(config)).items():
          self.assertAllEqual(loaded(make_images(config))[key], value)

  def test_number_of_weights(self):
    glimpse = (6 * 6 * 2 + 1) * UNITS + (2 + 1) * UNITS
    hidden = (CONTEXT * CONTEXT + 1) * UNITS
    lstm, gru = 4 * UNITS * (2 * UNITS + 1), 3 * UNITS * (2 * UNITS + 2)
    classifier = (UNITS + 1) * CLASSES
    keyed = (9 + 1) * 3 + (9 * 3 + 1) * 5 + 182 * 5 + 5 * 5 + (UNITS + 1) * 5
    for name, core, states, looking in [
      ("lstm", lstm, 2, (UNITS + 1) * 2),
      ("gru", gru, 1, (UNITS + 1) * 2),
      ("grid", lstm, 2, (UNITS + 1) * 4 * 5),
      ("learned scale", lstm, 2, (UNITS + 1) * 4),
      ("keyed grid", lstm, 2, keyed),
      ("relu", UNITS * (2 * UNITS + 1), 1, (UNITS + 1) * 2),
      ("keyed grid, chosen scale", lstm, 2, keyed + (UNITS + 1) * 2 + 1),  # The saliency's gain.
    ]:
      context = hidden + (UNITS + 1) * UNITS * states
      # One patch in place of two, and two more numbers for the scale.
      less = (6 * 6 - 2) * UNITS if "chosen" in name else 0
      expected = glimpse - less + 2 * core + context + looking + classifier
      network = PredictionNetwork(CONFIGS[name])
      self.assertEqual(network.count_params(), expected, name)
      self.assertLen(network.trainable_weights, len(network.weights))


class MakeLocationDistributionTest(tf.test.TestCase):
  def test_names_every_family(self):
    grid = make_location_distribution(CONFIGS["grid"])
    self.assertIsInstance(grid, GridLocations)
    self.assertEqual((grid.rows, grid.columns), (4, 5))
    keyed = make_location_distribution(CONFIGS["keyed grid"])
    self.assertIsInstance(keyed, GridLocations)
    self.assertEqual((keyed.rows, keyed.columns), (CONTEXT, CONTEXT))
    for name, learned in {"lstm": False, "learned scale": True}.items():
      normal = make_location_distribution(CONFIGS[name])
      self.assertIsInstance(normal, NormalLocations)
      self.assertEqual((normal.scale, normal.learned_scale), (0.1, learned))
    scaled = make_location_distribution(CONFIGS["chosen scale"])
    self.assertIsInstance(scaled, ScaledLocations)
    self.assertIsInstance(scaled.locations, NormalLocations)
    self.assertEqual(scaled.num_scales, 3)


if __name__ == "__main__":
  tf.test.main()
