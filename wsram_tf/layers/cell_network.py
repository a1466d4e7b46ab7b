"""The cell network: what each pixel of an image's low-resolution copy shows."""

import math

import keras
import tensorflow as tf

__all__ = ["CellNetwork"]

# The finest wave that tells where a cell lies goes so many times a quarter round between the
# image's middle and its edge.
FINEST_WAVE = 6
# Of a pixel, below which a copy counts as even: what is fainter is not made to stand out.
FAINT = 0.01


def waves(side: int, dtype: str) -> tf.Tensor:
  """Plane waves over a grid of `side` x `side` cells, float `[side * side, waves]`, in [-1, 1].

  A sum of them can be a hill around any place, which one number for each row and one for each
  column cannot. Made in the graph, where a constant of this size would outweigh an export's rest.
  """
  centres = (2.0 * tf.range(side, dtype=dtype) + 1.0) / side - 1.0
  numbers = tf.range(-FINEST_WAVE, FINEST_WAVE + 1, dtype=dtype) * (math.pi / 2)
  angles = centres[:, tf.newaxis] * numbers  # [side, numbers]
  # The same waves backwards say nothing new.
  rows, columns = angles[:, tf.newaxis, :, tf.newaxis], angles[:, FINEST_WAVE:]
  both = rows + columns[tf.newaxis, :, tf.newaxis]  # [side, side, numbers, numbers / 2]
  both = tf.reshape(both, [side * side, -1])
  return tf.concat([tf.cos(both), tf.sin(both)], axis=-1)


@keras.saving.register_keras_serializable("wsram_tf")
class CellNetwork(keras.layers.Layer):
  """Says what each pixel of the low-resolution copy shows, what(near the cell) + where(cell).

  The same thing looks alike wherever it lies, which a dense layer would have to learn anew at each
  place. The copy is brought to mean 0 and variance 1 first, so that things small in a large image
  are not faint.

  Args:
    units: F, length of a cell's feature.
    filters: filters of each 3 x 3 convolution before the last, which gives the features.

  Call arguments:
    low_resolution: float `[B, side, side, C]`, what the context network's `low_resolution`
      returned.

  Returns:
    float `[B, side * side, F]`, row by row.

  Source: K. Xu et al., Show, Attend and Tell, ICML 2015, the encoder, arXiv 1502.03044. The cells'
    places are ours: a state that is not to look twice must tell them apart.
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
    """Makes the weights from the static shape of the call's argument."""
    shape = tuple(low_resolution_shape)
    for convolution in self.convolutions:
      convolution.build(shape)
      shape = convolution.compute_output_shape(shape)
    self.where.build((None, 2 * (2 * FINEST_WAVE + 1) * (FINEST_WAVE + 1)))

  def call(self, low_resolution: tf.Tensor) -> tf.Tensor:
    """Describes the cells of one image a row; see the class."""
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
