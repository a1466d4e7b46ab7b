"""The grid network: from an image, or from features computed before, to one feature a cell."""

import keras
import tensorflow as tf

__all__ = ["GridNetwork"]


@keras.saving.register_keras_serializable("wsram_tf")
class GridNetwork(keras.layers.Layer):
  """Makes the feature grid that glimpses are cells of, what(image) + where(cell).

  Args:
    units: D, length of a cell's feature.
    filters: filters of each 3 x 3 convolution, each followed by 2 x 2 max pooling; empty where the
      input is a grid already.
    reach: side of the last convolution, which gives a cell its feature, cells.

  Call arguments:
    images: float `[B, H, W, C]`.

  Returns:
    float `[B, rows, columns, D]`.

  Source: K. Xu et al., Show, Attend and Tell, ICML 2015, the encoder, arXiv 1502.03044. The cells'
    places are ours: the words for relations need them.
  """

  def __init__(self, units: int, filters: tuple[int, ...] = (), reach: int = 1, **kwargs):
    super().__init__(**kwargs)
    self.units = units
    self.filters = tuple(filters)
    self.reach = reach
    self.convolutions = [
      keras.layers.Conv2D(count, 3, padding="same", activation="relu", name=f"convolution_{i}")
      for i, count in enumerate(self.filters)
    ]
    self.pooling = keras.layers.MaxPooling2D(2)
    self.what = keras.layers.Conv2D(units, reach, padding="same", activation="relu", name="what")

  def build(self, images_shape):
    """Makes the weights from the static shape of the call's argument."""
    shape = tuple(images_shape)
    for convolution in self.convolutions:
      convolution.build(shape)
      shape = self.pooling.compute_output_shape(convolution.compute_output_shape(shape))
    self.what.build(shape)
    self.where = self.add_weight(
      shape=(*shape[1:3], self.units),
      initializer=keras.initializers.RandomNormal(stddev=0.1),
      name="where",
    )

  def call(self, images: tf.Tensor) -> tf.Tensor:
    """Makes one grid an image; see the class."""
    features = images
    for convolution in self.convolutions:
      features = self.pooling(convolution(features))
    return self.what(features) + self.where

  def get_config(self):
    """Returns the constructor's arguments."""
    return {
      **super().get_config(),
      "units": self.units,
      "filters": self.filters,
      "reach": self.reach,
    }
