"""The inference network: the proposal of actions, given the label. Used in training only."""

import keras
import tensorflow as tf

from wsram_tf import layers

__all__ = ["InferenceNetwork"]


@keras.saving.register_keras_serializable("wsram_tf")
class InferenceNetwork(keras.Model):
  """Emits the parameters of q(a_n | y, a_1..a_{n-1}, image).

  It reads the prediction network's upper state, without a gradient to it.

  Args:
    num_parameters: P, parameters of the actions' distribution.
    units: D, units of the hidden layer.
    target_size: E, length of the target's encoding; for a label the number of classes.
    state_size: length of the upper layer's output.
    precision: `float32` or `bfloat16`, the number format of the hidden layer.
    location_units: K, size of the vectors that compare a state with a cell, for `keyed_grid`; 0 for
      the other families.
    num_scales: of the P parameters, logits of a chosen scale, for `keyed_grid`; else 0.
    saliency: as in `layers.CellLocationNetwork`, for `keyed_grid`. The gain is a weight of its own.

  Call arguments:
    target: float `[R, E]`, the target's encoding, for a label one-hot.
    upper: float `[R, state_size]`, the upper layer's output before the glimpse.
    keys: float `[B, L, K]` or `[B, L, K + 1]`, what `keys` returned, where `location_units` is not
      0; then the R / B rows of one image are neighbours.

  Returns:
    float `[R, P]`.

  Source: J. Ba, R. Grosse, R. Salakhutdinov, B. Frey, Learning Wake-Sleep Recurrent Attention
    Models, NIPS 2015, the inference network, arXiv 1509.06812.

  Example:

  >>> import tensorflow as tf
  >>> network = InferenceNetwork(num_parameters=2, units=8, target_size=10, state_size=16)
  >>> network(tf.one_hot([3], 10), tf.zeros([1, 16])).shape
  TensorShape([1, 2])
  """

  @layers.full_precision()
  def __init__(
    self,
    num_parameters: int,
    units: int,
    target_size: int,
    state_size: int,
    precision: str = "float32",
    location_units: int = 0,
    num_scales: int = 0,
    saliency: float = 0.0,
    **kwargs,
  ):
    super().__init__(**kwargs)
    self.num_parameters = num_parameters
    self.units = units
    self.target_size = target_size
    self.state_size = state_size
    self.precision = precision
    self.location_units = location_units
    self.num_scales = num_scales
    self.saliency = saliency
    with layers.computing_in(precision):
      self.hidden = keras.layers.Dense(units, activation="relu", name="hidden")
    self.location_keys = None
    if location_units:
      self.location_network = layers.CellLocationNetwork(
        location_units, num_scales, saliency, name="location_network"
      )
      # A bias would raise all logits equally, which changes no probability.
      self.location_keys = keras.layers.Dense(location_units, use_bias=False, name="location_keys")
    else:
      self.location_network = layers.LocationNetwork(num_parameters, name="location_network")
    self.build(None)

  def build(self, input_shape):
    """Makes all weights; their shapes depend on the constructor's arguments alone."""
    if self.built:
      return
    self.hidden.build((None, self.target_size + self.state_size))
    if self.location_units:
      cells = (None, self.num_parameters - self.num_scales, self.location_units)
      self.location_keys.build(cells)
      self.location_network.build(cells, (None, self.units))
    else:
      self.location_network.build((None, self.units))
    self.built = True

  def keys(self, cells: tf.Tensor | None, saliency: tf.Tensor | None = None) -> tf.Tensor | None:
    """The vectors of the cells that a state is compared with.

    Args:
      cells: float `[B, L, K]`, as in `View.cells`; None for families without keys.
      saliency: float `[B, L]`, as in `View.saliency`; None without it.

    Returns:
      float `[B, L, K]`, with saliency `[B, L, K + 1]`; None where `cells` is None.
    """
    if cells is None:
      return None
    # The proposal fits the prediction network, never the reverse.
    return layers.with_saliency(self.location_keys(tf.stop_gradient(cells)), saliency)

  def call(self, target: tf.Tensor, upper: tf.Tensor, keys: tf.Tensor | None = None) -> tf.Tensor:
    """Emits one proposal a row; see the class."""
    # As in `keys`: no gradient to the prediction network.
    state = self.hidden(tf.concat([target, tf.stop_gradient(upper)], axis=-1))
    return self.location_network(state) if keys is None else self.location_network(keys, state)

  def get_config(self):
    """Returns the constructor's arguments."""
    return {
      "name": self.name,
      "num_parameters": self.num_parameters,
      "units": self.units,
      "target_size": self.target_size,
      "state_size": self.state_size,
      "precision": self.precision,
      "location_units": self.location_units,
      "num_scales": self.num_scales,
      "saliency": self.saliency,
    }
