"""The location network: emits the parameters of a distribution over locations from a state."""

import keras
import tensorflow as tf

__all__ = ["LocationNetwork"]


@keras.saving.register_keras_serializable("wsram_tf")
class LocationNetwork(keras.layers.Layer):
  """Emits the prior's parameters from the upper layer's state.

  Args:
    num_parameters: P, number of parameters of the distribution.

  Call arguments:
    upper: float `[R, D]`, the upper layer's output.

  Returns:
    float `[R, P]`.

  Source: J. Ba, V. Mnih, K. Kavukcuoglu, Multiple Object Recognition with Visual Attention, ICLR
    2015, the emission network, arXiv 1412.7755.

  Example:

  >>> tuple(LocationNetwork(num_parameters=2)(tf.zeros([6, 128])).shape)
  (6, 2)
  """

  def __init__(self, num_parameters: int, **kwargs):
    super().__init__(**kwargs)
    self.num_parameters = num_parameters
    self.emission = keras.layers.Dense(
      num_parameters,
      # Near zero, so that prior and proposal both start in the middle. With the default kernels
      # they start several scales apart; one sample then holds all the weight, and the first
      # glimpses never recover.
      kernel_initializer=keras.initializers.RandomNormal(stddev=0.01),
      name="emission",
    )

  def build(self, upper_shape):
    """Creates the weights for states of this static shape."""
    self.emission.build(upper_shape)

  def call(self, upper: tf.Tensor) -> tf.Tensor:
    """Emits the parameters of one distribution per row; see the class."""
    return self.emission(upper)

  def get_config(self):
    """Returns the constructor's arguments."""
    return {**super().get_config(), "num_parameters": self.num_parameters}
