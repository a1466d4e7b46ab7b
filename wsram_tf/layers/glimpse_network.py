"""The glimpse network: what was seen times where it was seen."""

import keras
import tensorflow as tf

__all__ = ["GlimpseNetwork"]


@keras.saving.register_keras_serializable("wsram_tf")
class GlimpseNetwork(keras.layers.Layer):
  """Encodes patches and their location into one vector, what(patches) * where(location).

  Args:
    units: D, length of the vector.
    filters: filters of each 3 x 3 convolution that the patches pass first, each followed by
      2 x 2 max pooling and rectified; empty for a dense layer alone.

  Call arguments:
    patches: float `[R, S, G, G, C]`.
    locations: float `[R, 2]`, (row, column) in [-1, 1].

  Returns:
    float `[R, D]`.

  Source: J. Ba, V. Mnih, K. Kavukcuoglu, Multiple Object Recognition with Visual Attention, ICLR
    2015, the glimpse network, arXiv 1412.7755.
  """

  def __init__(self, units: int, filters: tuple[int, ...] = (), **kwargs):
    super().__init__(**kwargs)
    self.units = units
    self.filters = tuple(filters)
    self.convolutions = [
      keras.layers.Conv2D(count, 3, padding="same", name=f"convolution_{i}")
      for i, count in enumerate(self.filters)
    ]
    self.pooling = keras.layers.MaxPooling2D(2)
    self.what = keras.layers.Dense(units, activation="relu", name="what")
    # Ones, so that the product begins as what was seen: with zeros it would vanish around the
    # canvas' middle, where every location's encoding is zero.
    self.where = keras.layers.Dense(units, activation="relu", bias_initializer="ones", name="where")

  def build(self, patches_shape, locations_shape):
    """Makes the weights from the static shapes of the call's arguments."""
    _, scales, height, width, channels = patches_shape
    shape = (None, height, width, scales * channels)
    for convolution in self.convolutions:
      convolution.build(shape)
      shape = self.pooling.compute_output_shape(convolution.compute_output_shape(shape))
    self.what.build((None, shape[1] * shape[2] * shape[3]))
    self.where.build(locations_shape)

  def call(self, patches: tf.Tensor, locations: tf.Tensor) -> tf.Tensor:
    """Encodes one glimpse a row; see the class."""
    features = patches
    if self.convolutions:
      _, scales, height, width, channels = patches.shape
      features = tf.transpose(patches, [0, 2, 3, 1, 4])
      features = tf.reshape(features, [-1, height, width, scales * channels])
      for convolution in self.convolutions:
        # Pooled before it is rectified, which gives the same at a quarter of the work.
        features = tf.nn.relu(self.pooling(convolution(features)))
    features = tf.reshape(features, [-1, self.what.kernel.shape[0]])
    return self.what(features) * self.where(locations)

  def get_config(self):
    """Returns the constructor's arguments."""
    return {**super().get_config(), "units": self.units, "filters": self.filters}
