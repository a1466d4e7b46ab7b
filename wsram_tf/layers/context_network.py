"""The context network: computes the upper layer's first state from a low-resolution image."""

import keras
import tensorflow as tf

__all__ = ["ContextNetwork"]


@keras.saving.register_keras_serializable("wsram_tf")
class ContextNetwork(keras.layers.Layer):
  """Computes the first state of the core's upper layer.

  A user's own context network may take its place. `PredictionNetwork` requires a Keras layer that

  - builds with `build(low_resolution_shape)`, where the shape is `(None, side, side, C)` with the
    config's `context_side`;
  - is called with `low_resolution` and returns a list of `num_states` tensors, float `[B, D]`, with
    the config's `units` as D; the first is the initial output of the upper layer;
  - treats the images of a batch independently, with B unknown before running;
  - returns its constructor's arguments from `get_config` and is registered with
    `keras.saving.register_keras_serializable`, so that models can be saved and loaded.

  Only this network and the cell network see the whole image. Their result reaches the class through
  the choice of glimpses alone.

  Args:
    side: side of the low-resolution image, pixels.
    units: D, units of the hidden layer and of each state.
    num_states: number of tensors in the upper layer's state: 2 for an LSTM, else 1.
    activation: of the first state: `tanh`, or `relu` for a core of ReLU units.
    pool: side of the blocks of pixels that are averaged before the hidden layer; must divide side.

  Raises:
    ValueError: if pool does not divide side.

  Call arguments:
    low_resolution: float `[B, side, side, C]`, from `Observation.low_resolution`.

  Returns:
    list of `num_states` floats `[B, D]`; the first (the output state) is the activation's.

  Source: J. Ba, V. Mnih, K. Kavukcuoglu, Multiple Object Recognition with Visual Attention, ICLR
    2015, the context network, arXiv 1412.7755.

  Example:

  >>> network = ContextNetwork(side=12, units=32, num_states=2)
  >>> [tuple(state.shape) for state in network(tf.zeros([4, 12, 12, 1]))]
  [(4, 32), (4, 32)]
  """

  def __init__(
    self,
    side: int,
    units: int,
    num_states: int,
    activation: str = "tanh",
    pool: int = 1,
    **kwargs,
  ):
    super().__init__(**kwargs)
    if side % pool:
      raise ValueError(f"pool={pool}: must divide side={side}")
    self.side = side
    self.units = units
    self.num_states = num_states
    self.activation = activation
    self.pool = pool
    self.hidden = keras.layers.Dense(units, activation="relu", name="hidden")
    self.states = keras.layers.Dense(units * num_states, name="states")

  def build(self, low_resolution_shape):
    """Creates the weights for low-resolution images of this static shape."""
    self.hidden.build((None, (self.side // self.pool) ** 2 * low_resolution_shape[-1]))
    self.states.build((None, self.units))

  def call(self, low_resolution: tf.Tensor) -> list[tf.Tensor]:
    """Encodes one image per row; see the class."""
    if self.pool > 1:
      low_resolution = tf.nn.avg_pool2d(low_resolution, self.pool, self.pool, "VALID")
    features = tf.reshape(low_resolution, [-1, self.hidden.kernel.shape[0]])
    first, *rest = tf.split(self.states(self.hidden(features)), self.num_states, axis=-1)
    return [keras.activations.get(self.activation)(first), *rest]

  def get_config(self):
    """Returns the constructor's arguments."""
    return {
      **super().get_config(),
      "side": self.side,
      "units": self.units,
      "num_states": self.num_states,
      "activation": self.activation,
      "pool": self.pool,
    }
