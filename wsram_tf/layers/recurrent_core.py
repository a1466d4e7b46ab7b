"""The recurrent core: two stacked recurrent layers that take one step per glimpse."""

from typing import NamedTuple

import keras
import tensorflow as tf

__all__ = ["CoreState", "RecurrentCore"]


class _LstmCell(keras.layers.LSTMCell):
  """A cell whose products are made outside of it; see `RecurrentCore`."""

  def advance(
    self, products: tf.Tensor, states: list[tf.Tensor] | None, recurrent: tf.Tensor | None
  ) -> list[tf.Tensor]:
    """Takes one step; both products are float `[R, 4 * D]`, without the biases.

    Args:
      products: of the inputs and the kernel.
      states: before the step, floats `[R, D]`; None for zeros.
      recurrent: product of the states' output and the recurrent kernel; None for zeros.

    Returns:
      the states after it; the first is the layer's output.
    """
    gates = products if recurrent is None else products + recurrent
    enter, forget, candidate, leave = keras.ops.split(gates + self.bias, 4, axis=-1)
    carry = keras.ops.sigmoid(enter) * keras.ops.tanh(candidate)
    if states is not None:
      carry = keras.ops.sigmoid(forget) * states[1] + carry
    return [keras.ops.sigmoid(leave) * keras.ops.tanh(carry), carry]


class _GruCell(keras.layers.GRUCell):
  """A cell whose products are made outside of it; see `RecurrentCore`."""

  def advance(
    self, products: tf.Tensor, states: list[tf.Tensor] | None, recurrent: tf.Tensor | None
  ) -> list[tf.Tensor]:
    """Takes one step, as that of `_LstmCell`, from floats `[R, 3 * D]`."""
    input_bias, recurrent_bias = self.bias[0], self.bias[1]
    recurrent = recurrent_bias if recurrent is None else recurrent + recurrent_bias
    update_in, reset_in, new_in = keras.ops.split(products + input_bias, 3, axis=-1)
    update, reset, new = keras.ops.split(recurrent, 3, axis=-1)
    update = keras.ops.sigmoid(update_in + update)
    new = keras.ops.tanh(new_in + keras.ops.sigmoid(reset_in + reset) * new)
    hidden = (1 - update) * new
    return [hidden if states is None else update * states[0] + hidden]


class _ReluCell(keras.layers.SimpleRNNCell):
  """A plain recurrent layer of ReLU units, whose products are made outside of it."""

  def __init__(self, units: int, name: str):
    # The identity carries a state and its gradient unchanged over the steps. With Keras' default, a
    # random orthogonal matrix, ReLU units lose about half of the state at each step.
    super().__init__(units, activation="relu", recurrent_initializer="identity", name=name)

  def advance(
    self, products: tf.Tensor, states: list[tf.Tensor] | None, recurrent: tf.Tensor | None
  ) -> list[tf.Tensor]:
    """Takes one step, as that of `_LstmCell`, from floats `[R, D]`."""
    del states  # The product is all that it reads of them.
    sums = products if recurrent is None else products + recurrent
    # The bias comes last. Before the product with a state that is zero, as Keras adds it,
    # TensorFlow's graph optimiser fails on the ReLU and prints errors.
    return [keras.ops.relu(sums + self.bias)]


CELLS = {"lstm": _LstmCell, "gru": _GruCell, "relu": _ReluCell}


class CoreState(NamedTuple):
  """The state of both layers; the first tensor of each list is the layer's output.

  Attributes:
    lower: list of floats `[R, D]`; the classifier reads its output.
    upper: list of floats `[R, D]`; the location network and the inference network read its output.
  """

  lower: list[tf.Tensor]
  upper: list[tf.Tensor]


@keras.saving.register_keras_serializable("wsram_tf")
class RecurrentCore(keras.layers.Layer):
  """One step of the stacked recurrent network.

  The lower layer reads the glimpse; the upper layer reads the lower layer's output. No connection
  leads from the upper layer to the lower one, so the upper layer's first state affects the class
  only through the choice of glimpses.

  Args:
    units: D, units of each layer.
    cell: `lstm`, `gru`, or `relu`: plain recurrent layers of ReLU units, as in the paper, with the
      identity as the initial recurrent weights.

  Call arguments:
    inputs: float `[R, D']`, one encoded glimpse per row; with `multiplied` float `[R, W]`.
    state: `CoreState`, or the flat list of its tensors, lower layer first. The flat form is that of
      Keras' cells, so `keras.layers.RNN(core)` runs the core along a sequence. An empty list in
      place of a layer's tensors stands for zeros, and saves their product.
    multiplied: whether the inputs have been multiplied by `input_kernels` before.
    num_samples: M, so many neighbouring rows of the inputs share a row of the state, float `[R / M,
      D]`, whose product is made once.

  Returns:
    the next `CoreState`; for a flat list, the lower layer's output, float `[R, D]`, and the next
    flat list.

  Raises:
    ValueError: if the cell is unknown.

  Source: J. Ba, V. Mnih, K. Kavukcuoglu, Multiple Object Recognition with Visual Attention, ICLR
    2015, the recurrent network, arXiv 1412.7755. For the initial weights of ReLU units: Q. Le, N.
    Jaitly, G. Hinton, A Simple Way to Initialize Recurrent Networks of Rectified Linear Units,
    2015, arXiv 1504.00941.

  Example:

  >>> glimpses = tf.zeros([2, 4, 128])  # Four encoded glimpses of two images.
  >>> outputs = keras.layers.RNN(RecurrentCore(units=64), return_sequences=True)(glimpses)
  >>> tuple(outputs.shape)
  (2, 4, 64)
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
    """Number of tensors in the state of one layer."""
    sizes = self.lower.state_size
    return len(sizes) if isinstance(sizes, list | tuple) else 1

  @property
  def output_activation(self) -> str:
    """Activation of a layer's output; a first state with the same range trains best."""
    return "relu" if self.cell == "relu" else "tanh"

  @property
  def state_size(self) -> list[int]:
    """Width of each tensor of a flat state, for `keras.layers.RNN`."""
    return [self.units] * (2 * self.num_states)

  @property
  def output_size(self) -> int:
    """Width of the lower layer's output."""
    return self.units

  def get_initial_state(self, batch_size: int | None = None) -> list[tf.Tensor]:
    """Returns a flat state of zeros, floats `[B, D]`, for `keras.layers.RNN`."""
    return [keras.ops.zeros((batch_size, size), self.compute_dtype) for size in self.state_size]

  def build(self, inputs_shape, state_shape=None):
    """Creates the weights for inputs of this static shape."""
    self.lower.build(inputs_shape)
    self.upper.build((None, self.units))

  def initial_state(self, upper: list[tf.Tensor], num_samples: int | tf.Tensor = 1) -> CoreState:
    """Returns the state before the first glimpse: a lower state of zeros and a given upper state.

    Args:
      upper: list of `num_states` floats `[R, D]`.
      num_samples: M, how often each row is repeated.
    """
    upper = _repeated(upper, num_samples)
    return CoreState(lower=[tf.zeros_like(upper[0]) for _ in upper], upper=list(upper))

  def input_kernels(self, sizes: list[int]) -> list[tf.Tensor]:
    """Splits the lower layer's weights for its inputs.

    Inputs that several steps or rows share are then multiplied once.

    Args:
      sizes: lengths of the parts of an input, whose sum is D'.

    Returns:
      for each part float `[size, W]`; the sum of the parts' products is what `call` takes with
      `multiplied`.

    Example:

    >>> core = RecurrentCore(units=8)
    >>> core.build((None, 5))
    >>> words, features = core.input_kernels([2, 3])
    >>> tuple(words.shape), tuple(features.shape)
    ((2, 32), (3, 32))
    """
    return tf.split(tf.cast(self.lower.kernel, self.compute_dtype), sizes, axis=0)

  def call(
    self,
    inputs: tf.Tensor,
    state: CoreState | list[tf.Tensor],
    multiplied: bool = False,
    num_samples: int | tf.Tensor = 1,
  ) -> CoreState | tuple[tf.Tensor, list[tf.Tensor]]:
    """Takes one step; see the class."""
    if not isinstance(state[0], list | tuple):
      count = self.num_states
      state = CoreState(list(state[:count]), list(state[count:]))
      lower, upper = self.call(inputs, state, multiplied, num_samples)
      return lower[0], [*lower, *upper]
    lower, upper = state  # A functional Keras model passes a plain list.
    products = inputs if multiplied else keras.ops.matmul(inputs, self.lower.kernel)
    lower = _advance(self.lower, products, lower, num_samples)
    products = keras.ops.matmul(lower[0], self.upper.kernel)
    return CoreState(lower, _advance(self.upper, products, upper, num_samples))

  def get_config(self):
    """Returns the constructor's arguments."""
    return {**super().get_config(), "units": self.units, "cell": self.cell}


def _advance(
  cell: _LstmCell | _GruCell | _ReluCell,
  products: tf.Tensor,
  states: list[tf.Tensor],
  num_samples: int | tf.Tensor,
) -> list[tf.Tensor]:
  """Takes one step of a layer, M rows of products for each row of its states."""
  if not states:
    return cell.advance(products, None, None)
  recurrent = keras.ops.matmul(states[0], cell.recurrent_kernel)
  recurrent, *states = _repeated([recurrent, *states], num_samples)
  return cell.advance(products, states, recurrent)


def _repeated(tensors: list[tf.Tensor], num_samples: int | tf.Tensor) -> list[tf.Tensor]:
  """Repeats each row of each tensor."""
  if isinstance(num_samples, int) and num_samples == 1:
    return tensors
  return [tf.repeat(tensor, num_samples, axis=0) for tensor in tensors]
