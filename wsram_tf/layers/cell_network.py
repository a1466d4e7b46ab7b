"""The cell network: describes the content and place of each pixel of a low-resolution image."""

import math

import keras
import tensorflow as tf

__all__ = ["CellNetwork", "saliency"]

# Quarter periods of the finest positional wave between the image's middle and its edge.
FINEST_WAVE = 6
# Contrast floor of the normalisation, in pixel units: weaker contrast is not amplified to 1.
FAINT = 0.01


def waves(side: int, dtype: str) -> tf.Tensor:
  """Computes plane waves over a grid of `side` x `side` cells.

  A sum of plane waves can form a peak at any place; a sum of one value per row and one per column
  cannot. The waves are computed in the graph, because a constant of this size would dominate the
  size of an export.

  Args:
    side: cells.
    dtype: dtype of the result.

  Returns:
    float `[side * side, waves]`, in [-1, 1].
  """
  centres = (2.0 * tf.range(side, dtype=dtype) + 1.0) / side - 1.0
  numbers = tf.range(-FINEST_WAVE, FINEST_WAVE + 1, dtype=dtype) * (math.pi / 2)
  angles = centres[:, tf.newaxis] * numbers  # [side, numbers]
  # Waves of opposite direction are redundant, so half of the column frequencies suffice.
  rows, columns = angles[:, tf.newaxis, :, tf.newaxis], angles[:, FINEST_WAVE:]
  both = rows + columns[tf.newaxis, :, tf.newaxis]  # [side, side, numbers, numbers / 2]
  both = tf.reshape(both, [side * side, -1])
  return tf.concat([tf.cos(both), tf.sin(both)], axis=-1)


def saliency(low_resolution: tf.Tensor) -> tf.Tensor:
  """Computes how far the brightness of each pixel is from the image's mean, in standard deviations.

  Of several channels it is the distance from the mean colour, divided by the root of the mean
  squared distance.

  Args:
    low_resolution: float `[B, side, side, C]`, from `Observation.low_resolution`.

  Returns:
    float `[B, side * side]`, row by row.

  Example:

  >>> saliency(tf.constant([[[[0.0], [1.0]], [[1.0], [0.0]]]])).numpy().round(2).tolist()
  [[1.0, 1.0, 1.0, 1.0]]
  """
  side, channels = low_resolution.shape[1], low_resolution.shape[3]
  pixels = tf.reshape(low_resolution, [-1, side * side, channels])
  pixels -= tf.reduce_mean(pixels, axis=1, keepdims=True)
  squares = tf.reduce_sum(tf.square(pixels), axis=-1)  # [B, side * side]
  variance = tf.reduce_mean(squares, axis=-1, keepdims=True)
  return tf.sqrt(squares) * tf.math.rsqrt(variance + FAINT**2)


@keras.saving.register_keras_serializable("wsram_tf")
class CellNetwork(keras.layers.Layer):
  """Computes a feature of each low-resolution pixel, what(neighbourhood) + where(cell).

  Convolutions give equal content equal features at every place. The image is first normalised to
  mean 0 and variance 1, so that small objects in a large image are not faint.

  Args:
    units: F, length of a cell's feature.
    filters: filters of each 3 x 3 convolution before the last one, which has F filters.

  Call arguments:
    low_resolution: float `[B, side, side, C]`, from `Observation.low_resolution`.

  Returns:
    float `[B, side * side, F]`, row by row.

  Source: K. Xu et al., Show, Attend and Tell, ICML 2015, the encoder, arXiv 1502.03044. where(cell)
    is an addition: to avoid a second look at the same cell, a state must distinguish the cells.

  Example:

  >>> tuple(CellNetwork(units=16, filters=(8,))(tf.zeros([2, 12, 12, 1])).shape)
  (2, 144, 16)
  """

  def __init__(self, units: int, filters: tuple[int, ...] = (), **kwargs):
    super().__init__(**kwargs)
    self.units = units
    self.filters = tuple(filters)
    self.convolutions = [
      keras.layers.Conv2D(
        count,
        3,
        padding="same",
        activation="relu",
        kernel_initializer="he_normal",
        name=f"convolution_{i}",
      )
      for i, count in enumerate((*self.filters, units))
    ]
    self.where = keras.layers.Dense(
      units,
      use_bias=False,
      kernel_initializer=keras.initializers.RandomNormal(stddev=0.01),
      name="where",
    )

  def build(self, low_resolution_shape):
    """Creates the weights for images of this static shape."""
    shape = tuple(low_resolution_shape)
    for convolution in self.convolutions:
      convolution.build(shape)
      shape = convolution.compute_output_shape(shape)
    self.where.build((None, 2 * (2 * FINEST_WAVE + 1) * (FINEST_WAVE + 1)))

  def call(self, low_resolution: tf.Tensor) -> tf.Tensor:
    """Computes the features of all cells; see the class."""
    side, channels = low_resolution.shape[1], low_resolution.shape[3]
    flat = tf.reshape(low_resolution, [-1, side * side * channels])
    flat -= tf.reduce_mean(flat, axis=-1, keepdims=True)
    variance = tf.reduce_mean(tf.square(flat), axis=-1, keepdims=True)
    features = tf.reshape(flat * tf.math.rsqrt(variance + FAINT**2), [-1, side, side, channels])
    for convolution in self.convolutions:
      features = convolution(features)
    features = tf.reshape(features, [-1, side * side, self.units])
    return features + self.where(waves(side, self.where.kernel.dtype))

  def get_config(self):
    """Returns the constructor's arguments."""
    return {**super().get_config(), "units": self.units, "filters": self.filters}
