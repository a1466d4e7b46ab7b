"""The baseline network: what the learning signal will be, foretold from the state."""

import keras
import tensorflow as tf

__all__ = ["BaselineNetwork"]


@keras.saving.register_keras_serializable("wsram_tf")
class BaselineNetwork(keras.layers.Layer):
  """Foretells a number from the upper layer's state, to be subtracted from a learning signal.

  It reads the state but sends no gradient into it.

  Args:
    units: D, units of the hidden layer.

  Call arguments:
    upper: float `[..., D']`, the upper layer's output before a glimpse.

  Returns:
    float `[...]`.

  Source: V. Mnih, N. Heess, A. Graves, K. Kavukcuoglu, Recurrent Models of Visual Attention, 2014,
    the baseline, arXiv 1406.6247.
  """

  def __init__(self, units: int, **kwargs):
    super().__init__(**kwargs)
    self.units = units
    self.hidden = keras.layers.Dense(units, activation="relu", name="hidden")
    self.output_layer = keras.layers.Dense(1, name="output")

  def build(self, upper_shape):
    """Makes the weights from the static shape of the call's argument."""
    self.hidden.build(upper_shape)
    self.output_layer.build((*upper_shape[:-1], self.units))

  def call(self, upper: tf.Tensor) -> tf.Tensor:
    """Foretells one number a state; see the class."""
    # The state serves the prediction alone.
    return self.output_layer(self.hidden(tf.stop_gradient(upper)))[..., 0]

  def get_config(self):
    """Returns the constructor's arguments."""
    return {**super().get_config(), "units": self.units}
