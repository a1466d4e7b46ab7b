"""The location network: from a state to the parameters of a distribution over locations."""

import keras
import tensorflow as tf

__all__ = ["LocationNetwork"]


@keras.saving.register_keras_serializable("wsram_tf")
class LocationNetwork(keras.layers.Layer):
  """Emits the prior's parameters from the upper layer's state.

  Args:
    num_parameters: P, parameters of the distribution's family.

  Call arguments:
    upper: float `[R, D]`, the upper layer's output.

  Returns:
    float `[R, P]`.

  Source: J. Ba, V. Mnih, K. Kavukcuoglu, Multiple Object Recognition with Visual Attention, ICLR
    2015, the emission network, arXiv 1412.7755.
  """

  def __init__(self, num_parameters: int, **kwargs):
    super().__init__(**kwargs)
    self.num_parameters = num_parameters
    self.emission = keras.layers.Dense(
      num_parameters,
      # Near zero: prior and proposal start alike and in the middle. With the usual kernels they lie
      # several scales apart, one sample holds all the weight, and the first glimpses never recover.
      kernel_initializer=keras.initializers.RandomNormal(stddev=0.01),
      name="emission",
    )

  def build(self, upper_shape):
    """Makes the weights from the static shape of the call's argument."""
    self.emission.build(upper_shape)

  def call(self, upper: tf.Tensor) -> tf.Tensor:
    """Emits one distribution's parameters a row; see the class."""
    return self.emission(upper)

  def get_config(self):
    """Returns the constructor's arguments."""
    return {**super().get_config(), "num_parameters": self.num_parameters}
