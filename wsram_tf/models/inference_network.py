"""The inference network: where to look, told the label (the proposal). Used in training only."""

import keras
import tensorflow as tf

from wsram_tf import layers

__all__ = ["InferenceNetwork"]


@keras.saving.register_keras_serializable("wsram_tf")
class InferenceNetwork(keras.Model):
  """Emits the parameters of q(a_n | y, a_1..a_{n-1}, image).

  It reads the prediction network's upper state but sends no gradient into it.

  Args:
    num_parameters: P, parameters of the location distribution's family.
    units: D, units of the hidden layer.
    target_size: E, length of the target's encoding; for a label the number of classes.
    state_size: length of the upper layer's output.
    precision: `float32` or `bfloat16`, what the hidden layer computes in.

  Call arguments:
    target: float `[R, E]`, the target's encoding, for a label one-hot.
    upper: float `[R, state_size]`, the upper layer's output before the glimpse.

  Returns:
    float `[R, P]`.

  Source: J. Ba, R. Grosse, R. Salakhutdinov, B. Frey, Learning Wake-Sleep Recurrent Attention
    Models, NIPS 2015, the inference network, arXiv 1509.06812.
  """

  def __init__(
    self,
    num_parameters: int,
    units: int,
    target_size: int,
    state_size: int,
    precision: str = "float32",
    **kwargs,
  ):
    super().__init__(**kwargs)
    self.num_parameters = num_parameters
    self.units = units
    self.target_size = target_size
    self.state_size = state_size
    self.precision = precision
    with layers.computing_in(precision):
      self.hidden = keras.layers.Dense(units, activation="relu", name="hidden")
    self.location_network = layers.LocationNetwork(num_parameters, name="location_network")
    self.build(None)

  def build(self, input_shape):
    """Makes all weights; the constructor's arguments alone decide their shapes."""
    if self.built:
      return
    self.hidden.build((None, self.target_size + self.state_size))
    self.location_network.build((None, self.units))
    self.built = True

  def call(self, target: tf.Tensor, upper: tf.Tensor) -> tf.Tensor:
    """Emits one proposal a row; see the class."""
    # The proposal is fitted to the prediction network, never the other way round.
    features = tf.concat([target, tf.stop_gradient(upper)], axis=-1)
    return self.location_network(self.hidden(features))

  def get_config(self):
    """Returns the constructor's arguments."""
    return {
      "name": self.name,
      "num_parameters": self.num_parameters,
      "units": self.units,
      "target_size": self.target_size,
      "state_size": self.state_size,
      "precision": self.precision,
    }
