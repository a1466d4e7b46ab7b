"""Prediction networks of several kinds, with their inputs, for the tests."""

import dataclasses
import functools

import keras
import numpy as np
import tensorflow as tf

from wsram_tf import layers
from wsram_tf.classification.config import GlimpseConfig, LocationConfig, ModelConfig
from wsram_tf.classification.prediction_network import PredictionNetwork
from wsram_tf.location_families import make_location_distribution
from wsram_tf.locations import action_size
from wsram_tf.observations import area_means

# B, M, N, and the size of the canvas; the context copy averages blocks of 5 x 6 pixels.
IMAGES, SAMPLES, GLIMPSES = 3, 2, 2
HEIGHT, WIDTH, CONTEXT, UNITS, CLASSES = 20, 24, 4, 8, 10

PLAIN = ModelConfig(
  height=HEIGHT,
  width=WIDTH,
  units=UNITS,
  num_glimpses=GLIMPSES,
  context_side=CONTEXT,
  glimpse=GlimpseConfig(glimpse_side=6, glimpse_scales=2),
)
CONFIGS = {
  "lstm": PLAIN,
  "gru": dataclasses.replace(PLAIN, cell="gru"),
  "convolutional, 3 channels": dataclasses.replace(
    PLAIN,
    channels=3,
    glimpse=GlimpseConfig(glimpse_side=6, glimpse_scales=2, glimpse_filters=(4, 3)),
  ),
  "grid": dataclasses.replace(PLAIN, location=LocationConfig("grid", grid_rows=4, grid_columns=5)),
  "learned scale": dataclasses.replace(PLAIN, location=LocationConfig("normal_learned_scale")),
  "keyed grid": dataclasses.replace(
    PLAIN, location=LocationConfig("keyed_grid", location_filters=(3,), location_units=5)
  ),
  "relu": dataclasses.replace(PLAIN, cell="relu"),
  "chosen scale": dataclasses.replace(
    PLAIN, glimpse=GlimpseConfig(glimpse_side=3, glimpse_scales=3, choose_scale=True)
  ),
  "keyed grid, chosen scale": dataclasses.replace(
    PLAIN,
    glimpse=GlimpseConfig(glimpse_side=6, glimpse_scales=2, choose_scale=True),
    location=LocationConfig(
      "keyed_grid", location_filters=(3,), location_units=5, location_saliency=0.7, no_return=True
    ),
  ),
}


def make_network(config: ModelConfig) -> PredictionNetwork:
  """A network whose weights, biases included, are large enough that everything matters.

  Tests with the same configuration and precision share it, so they may not change it.
  """
  return _make_network(config, keras.config.dtype_policy().name)


@functools.cache
def _make_network(config: ModelConfig, policy: str) -> PredictionNetwork:
  network = PredictionNetwork(config)
  generator = np.random.default_rng(0)
  network.set_weights([generator.normal(scale=0.5, size=w.shape) for w in network.weights])
  return network


def make_images(config: ModelConfig = PLAIN, count: int = IMAGES) -> tf.Tensor:
  values = np.random.default_rng(1).random([count, *config.image_shape])
  return tf.constant(values, keras.config.dtype_policy().compute_dtype)


def make_uniforms(config: ModelConfig = PLAIN) -> tf.Tensor:
  numbers = action_size(make_location_distribution(config))
  shape = [SAMPLES, IMAGES, config.num_glimpses, numbers]
  values = np.random.default_rng(2).uniform(0.01, 0.99, shape)
  return tf.constant(values, keras.config.dtype_policy().compute_dtype)


def weighted_sum(tensor: tf.Tensor) -> tf.Tensor:
  """A scalar that every element moves, so that no gradient cancels."""
  return tf.reduce_sum(tensor * np.random.default_rng(3).normal(size=tensor.shape))


class PredictionNetworkTest(tf.test.TestCase):
  def setUp(self):
    super().setUp()
    # Float64 separates equal values from nearly equal ones.
    self.addCleanup(keras.config.set_dtype_policy, keras.config.dtype_policy())
    keras.config.set_dtype_policy("float64")

  def assertNoGradient(self, gradients):
    for gradient in gradients:
      if gradient is not None:
        self.assertAllEqual(gradient, tf.zeros_like(gradient))

  def assertGradient(self, gradients):
    for gradient in gradients:
      self.assertIsNotNone(gradient)
      self.assertGreater(np.abs(gradient).max(), 0.0)

  def prior(self, network, images, upper):
    """The prior's parameters, written out."""
    if not network.cell_network:
      return network.location_network(upper)
    copy = area_means(images, network.config.context_side)
    cells = network.cell_network(copy)
    saliency = layers.saliency(copy) if network.config.location.location_saliency else None
    return network.location_network(
      layers.with_saliency(network.location_keys(cells), saliency), upper
    )

  def assertSequences(self, found, expected):
    for field, one, other in zip(found._fields, found, expected, strict=True):
      self.assertAllClose(one, other, rtol=1e-10, atol=1e-10, msg=field)
