"""Images as tensors of pixels."""

import numpy as np
import tensorflow as tf

from wsram_tf.layers.glimpse_sensor import Cutting, GlimpseSensor

__all__ = ["PixelObservation", "area_means"]


def area_means(images: tf.Tensor, side: int) -> tf.Tensor:
  """Averages images over `side` x `side` equal areas.

  Args:
    images: float `[B, H, W, C]`; H, W and C must be static.
    side: pixels of the result.

  Returns:
    float `[B, side, side, C]`.

  Example:

  >>> area_means(tf.constant([[[[0.0], [2.0]], [[4.0], [6.0]]]]), side=1).numpy().tolist()
  [[[[3.0]]]]
  """
  _, height, width, channels = images.shape
  rows, columns = (_area_weights(size, side, images.dtype) for size in (height, width))
  # Columns first, as one matrix product that needs no transposed copy of the images.
  if channels > 1:
    each = tf.eye(channels, dtype=images.dtype)
    columns = tf.einsum("dw,ce->dcwe", columns, each)
    columns = tf.reshape(columns, [side * channels, width * channels])
  flat = tf.reshape(images, [-1, width * channels])
  averaged = tf.matmul(flat, columns, transpose_b=True)
  averaged = tf.reshape(averaged, [-1, height, side, channels])
  return tf.einsum("ah,bhdc->badc", rows, averaged)


def _area_weights(size: int, new_size: int, dtype: tf.DType) -> tf.Tensor:
  """Computes the weights of `data.fitting.area_weights`, equal to the last bit.

  It computes them in the graph, because as constants those of a large image would dominate the size
  of an export.
  """
  edges = tf.constant(np.linspace(0, size, new_size + 1))
  first = tf.range(size, dtype=edges.dtype)
  overlap = tf.minimum(edges[1:, tf.newaxis], first + 1) - tf.maximum(edges[:-1, tf.newaxis], first)
  return tf.cast(tf.maximum(overlap, 0) * new_size / size, dtype)


class PixelObservation:
  """Observes images whose pixels are in memory; implements `Observation`.

  Prepares the images once. This and the low-resolution copy are the only work that grows with the
  area of an image.

  Args:
    images: float `[B, H, W, C]` in 0..1.
    sensor: cuts the patches.
    cutting: how it cuts them; see `GlimpseSensor.prepare`.

  Example:

  >>> observation = PixelObservation(tf.zeros([2, 28, 28, 1]), GlimpseSensor(side=8, scales=2))
  >>> tuple(observation.low_resolution(7).shape)
  (2, 7, 7, 1)
  >>> tuple(observation.patches(tf.zeros([6, 2])).shape)
  (6, 2, 8, 8, 1)
  """

  def __init__(self, images: tf.Tensor, sensor: GlimpseSensor, cutting: Cutting = "gather"):
    self.dtype = images.dtype
    self._images = images
    self._sensor = sensor
    self._cutting = cutting
    self._prepared = sensor.prepare(images, cutting)

  def low_resolution(self, side: int) -> tf.Tensor:
    """Averages each image over `side` x `side` equal areas; see `Observation`."""
    return area_means(self._images, side)

  def patches(self, locations: tf.Tensor) -> tf.Tensor:
    """Cuts the patches of one glimpse a row; see `Observation`."""
    return self._sensor(self._prepared, locations, cutting=self._cutting)
