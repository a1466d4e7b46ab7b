"""The baseline network: predicts the learning signal from what a glimpse does not change."""

import keras
import tensorflow as tf

__all__ = ["BaselineNetwork"]


@keras.saving.register_keras_serializable("wsram_tf")
class BaselineNetwork(keras.layers.Layer):
  """Predicts the learning signal of a glimpse, as a control variate.

  It reads the upper layer's state, and where the signal is a sum over parts of the target, such as
  words, features of these parts: the signal may depend on them more than on any glimpse. It sends
  no gradient into states and features.

  Args:
    units: D, units of each hidden layer.
    reads_parts: whether it reads parts of the target.

  Call arguments:
    upper: float `[..., D']`, the upper layer's output before a glimpse.
    parts: with `reads_parts`, float `[B, T, F]`, features, which the layer normalises.

  Returns:
    float `[...]`; with `reads_parts` a tuple of this, and of each part's share, float `[B, T]`.

  Source: V. Mnih, N. Heess, A. Graves, K. Kavukcuoglu, Recurrent Models of Visual Attention, 2014,
    the baseline, arXiv 1406.6247. The parts are an addition.

  Example:

  >>> upper = tf.zeros([3, 2, 4, 128])  # [M, B, N, D']
  >>> tuple(BaselineNetwork(units=64)(upper).shape)
  (3, 2, 4)
  >>> of_states, of_parts = BaselineNetwork(units=64, reads_parts=True)(upper, tf.zeros([2, 4, 16]))
  >>> tuple(of_parts.shape)
  (2, 4)
  """

  def __init__(self, units: int, reads_parts: bool = False, **kwargs):
    super().__init__(**kwargs)
    self.units = units
    self.reads_parts = reads_parts
    self.hidden = keras.layers.Dense(units, activation="relu", name="hidden")
    self.output_layer = keras.layers.Dense(1, name="output")
    if reads_parts:
      # Embeddings start near 0, and would say little for thousands of updates.
      self.normalization = keras.layers.LayerNormalization(
        center=False, scale=False, name="normalization"
      )
      self.of_parts = BaselineNetwork(units, name="of_parts")

  def build(self, upper_shape, parts_shape=None):
    """Creates the weights for states and parts of these static shapes."""
    self.hidden.build(upper_shape)
    self.output_layer.build((*upper_shape[:-1], self.units))
    if self.reads_parts:
      self.normalization.build(parts_shape)
      self.of_parts.build(parts_shape)

  def call(
    self, upper: tf.Tensor, parts: tf.Tensor | None = None
  ) -> tf.Tensor | tuple[tf.Tensor, tf.Tensor]:
    """Predicts one number per state, and one per part; see the class."""
    # The regression loss must not change the recurrent core.
    of_states = self.output_layer(self.hidden(tf.stop_gradient(upper)))[..., 0]
    return (of_states, self.of_parts(self.normalization(parts))) if self.reads_parts else of_states

  def get_config(self):
    """Returns the constructor's arguments."""
    return {**super().get_config(), "units": self.units, "reads_parts": self.reads_parts}
