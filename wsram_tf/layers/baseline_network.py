"""The baseline network: predicts the learning signal from the recurrent state."""

import keras
import tensorflow as tf

__all__ = ["BaselineNetwork"]


@keras.saving.register_keras_serializable("wsram_tf")
class BaselineNetwork(keras.layers.Layer):
  """Predicts the learning signal of a glimpse from the upper layer's state, as a control variate.

  It sends no gradient into the state.

  Args:
    units: D, units of the hidden layer.

  Call arguments:
    upper: float `[..., D']`, the upper layer's output before a glimpse.

  Returns:
    float `[...]`.

  Source: V. Mnih, N. Heess, A. Graves, K. Kavukcuoglu, Recurrent Models of Visual Attention, 2014,
    the baseline, arXiv 1406.6247.

  Example:

  >>> upper = tf.zeros([3, 2, 4, 128])  # [M, B, N, D']
  >>> tuple(BaselineNetwork(units=64)(upper).shape)
  (3, 2, 4)
  """

  def __init__(self, units: int, **kwargs):
    super().__init__(**kwargs)
    self.units = units
    self.hidden = keras.layers.Dense(units, activation="relu", name="hidden")
    self.output_layer = keras.layers.Dense(1, name="output")

  def build(self, upper_shape):
    """Creates the weights for states of this static shape."""
    self.hidden.build(upper_shape)
    self.output_layer.build((*upper_shape[:-1], self.units))

  def call(self, upper: tf.Tensor) -> tf.Tensor:
    """Predicts one number per state; see the class."""
    # The regression loss must not change the recurrent core.
    return self.output_layer(self.hidden(tf.stop_gradient(upper)))[..., 0]

  def get_config(self):
    """Returns the constructor's arguments."""
    return {**super().get_config(), "units": self.units}
