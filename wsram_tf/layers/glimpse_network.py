"""The glimpse network: encodes the patches and the location of a glimpse into one vector."""

import keras
import tensorflow as tf

__all__ = ["GlimpseNetwork"]


@keras.saving.register_keras_serializable("wsram_tf")
class GlimpseNetwork(keras.layers.Layer):
  """Encodes patches and their location into one vector, what(patches) * where(location).

  A user's own glimpse network may take its place. `PredictionNetwork` requires a Keras layer that

  - builds with `build(patches_shape, locations_shape)`, where the shapes are `(None, S, G, G, C)`
    and `(None, 2)`; with the config's `choose_scale` `(None, 1, G, G, C)` and `(None, 2 + S)`;
  - is called with `patches` and `locations` as below and returns float `[R, D]`, with the config's
    `units` as D;
  - treats the R rows independently, with R unknown before running; R counts all samples of all
    images of a batch, and the model calls the layer once per glimpse;
  - returns its constructor's arguments from `get_config` and is registered with
    `keras.saving.register_keras_serializable`, so that models can be saved and loaded.

  Locations are constants: the model stops their gradient before the call.

  Args:
    units: D, length of the vector.
    filters: filters of each 3 x 3 convolution on the patches, each followed by 2 x 2 max pooling
      and a ReLU; empty for a dense layer alone.

  Call arguments:
    patches: float `[R, S, G, G, C]`, from the glimpse sensor; `[R, 1, G, G, C]` where the model
      chooses a scale.
    locations: float `[R, 2]`, (row, column) in [-1, 1]; where the model chooses a scale, float
      `[R, 2 + S]`: row, column and the chosen scale of S as a one-hot vector.

  Returns:
    float `[R, D]`.

  Source: J. Ba, V. Mnih, K. Kavukcuoglu, Multiple Object Recognition with Visual Attention, ICLR
    2015, the glimpse network, arXiv 1412.7755.

  Example:

  >>> patches, locations = tf.zeros([6, 2, 12, 12, 1]), tf.zeros([6, 2])
  >>> tuple(GlimpseNetwork(units=128, filters=(16, 32))(patches, locations).shape)
  (6, 128)
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
    # With a bias of ones the product starts as what(patches). With zeros it would vanish near the
    # middle of the canvas, where all coordinates are near zero.
    self.where = keras.layers.Dense(units, activation="relu", bias_initializer="ones", name="where")

  def build(self, patches_shape, locations_shape):
    """Creates the weights for patches and locations of these static shapes."""
    _, scales, height, width, channels = patches_shape
    shape = (None, height, width, scales * channels)
    for convolution in self.convolutions:
      convolution.build(shape)
      shape = self.pooling.compute_output_shape(convolution.compute_output_shape(shape))
    self.what.build((None, shape[1] * shape[2] * shape[3]))
    self.where.build(locations_shape)

  def call(self, patches: tf.Tensor, locations: tf.Tensor) -> tf.Tensor:
    """Encodes one glimpse per row; see the class."""
    features = patches
    if self.convolutions:
      _, scales, height, width, channels = patches.shape
      features = tf.transpose(patches, [0, 2, 3, 1, 4])
      features = tf.reshape(features, [-1, height, width, scales * channels])
      for convolution in self.convolutions:
        # ReLU after pooling gives the same result for a quarter of the work.
        features = tf.nn.relu(self.pooling(convolution(features)))
    features = tf.reshape(features, [-1, self.what.kernel.shape[0]])
    return self.what(features) * self.where(locations)

  def get_config(self):
    """Returns the constructor's arguments."""
    return {**super().get_config(), "units": self.units, "filters": self.filters}
