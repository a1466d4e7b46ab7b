"""The recurrent core: two stacked recurrent layers, one step a glimpse."""

from typing import NamedTuple

import keras
import tensorflow as tf

__all__ = ["CoreState", "RecurrentCore"]

CELLS = {"lstm": keras.layers.LSTMCell, "gru": keras.layers.GRUCell}


class CoreState(NamedTuple):
  """The state of both layers; in each list the first tensor is the layer's output.

  Attributes:
    lower: list of floats `[R, D]`, what the classifier reads.
    upper: list of floats `[R, D]`, what the location network and the inference network read.
  """

  lower: list[tf.Tensor]
  upper: list[tf.Tensor]


@keras.saving.register_keras_serializable("wsram_tf")
class RecurrentCore(keras.layers.Layer):
  """One step of the stacked recurrent network.

  The lower layer takes the glimpse, the upper layer takes the lower layer's output. Nothing leads
  from the upper layer back to the lower one, so what the upper layer starts from reaches the class
  only through the choice of glimpses.

  Args:
    units: D, units of each layer.
    cell: `lstm` or `gru`.

  Call arguments:
    inputs: float `[R, D']`, one encoded glimpse a row.
    state: `CoreState`; or, as Keras' cells have it, the flat list of its tensors, the lower layer's
      first, so that `keras.layers.RNN(core)` runs it along a sequence.

  Returns:
    the next `CoreState`; for a flat list the lower layer's output, float `[R, D]`, and the next
    flat list.

  Example:

  ```python
  glimpses = keras.Input((4, 128))  # Four encoded glimpses.
  outputs = keras.layers.RNN(RecurrentCore(64), return_sequences=True)(glimpses)  # [B, 4, 64]
  ```

  Source: J. Ba, V. Mnih, K. Kavukcuoglu, Multiple Object Recognition with Visual Attention, ICLR
    2015, the recurrent network, arXiv 1412.7755.
  """

  def __init__(self, units: int, cell: str = "lstm", **kwargs):
    super().__init__(**kwargs)
    if cell not in CELLS:
      raise ValueError(f"cell={cell!r}: must be one of {', '.join(CELLS)}")
    self.units = units
    self.cell = cell
    self.lower = CELLS[cell](units, name="lower")
    self.upper = CELLS[cell](units, name="upper")

  @property
  def num_states(self) -> int:
    """Tensors in the state of one layer."""
    sizes = self.lower.state_size
    return len(sizes) if isinstance(sizes, list | tuple) else 1

  @property
  def state_size(self) -> list[int]:
    """The width of each tensor of a flat state, as `keras.layers.RNN` asks for it."""
    return [self.units] * (2 * self.num_states)

  @property
  def output_size(self) -> int:
    """The width of the lower layer's output."""
    return self.units

  def get_initial_state(self, batch_size: int | None = None) -> list[tf.Tensor]:
    """A flat state of zeros, floats `[B, D]`, as `keras.layers.RNN` asks for it."""
    return [keras.ops.zeros((batch_size, size), self.compute_dtype) for size in self.state_size]

  def build(self, inputs_shape, state_shape=None):
    """Makes the weights from the static shape of the inputs."""
    self.lower.build(inputs_shape)
    self.upper.build((None, self.units))

  def initial_state(self, upper: list[tf.Tensor]) -> CoreState:
    """The state before the first glimpse: the given upper state over a lower state of zeros.

    Args:
      upper: list of `num_states` floats `[R, D]`.
    """
    return CoreState(lower=[tf.zeros_like(upper[0]) for _ in upper], upper=list(upper))

  def call(
    self, inputs: tf.Tensor, state: CoreState | list[tf.Tensor]
  ) -> CoreState | tuple[tf.Tensor, list[tf.Tensor]]:
    """Takes one step; see the class."""
    if not isinstance(state[0], list | tuple):
      count = self.num_states
      lower, upper = self.call(inputs, CoreState(list(state[:count]), list(state[count:])))
      return lower[0], [*lower, *upper]
    lower, upper = state  # A functional Keras model hands over a plain list.
    output, lower = self.lower(inputs, lower)
    _, upper = self.upper(output, upper)
    return CoreState(lower=list(lower), upper=list(upper))

  def get_config(self):
    """Returns the constructor's arguments."""
    return {**super().get_config(), "units": self.units, "cell": self.cell}
