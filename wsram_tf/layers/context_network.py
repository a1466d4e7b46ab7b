"""The context network: computes the upper layer's first state from a low-resolution image."""

import keras
import numpy as np
import tensorflow as tf

__all__ = ["ContextNetwork"]


def area_weights(size: int, new_size: int) -> np.ndarray:
  """Makes weights `[new_size, size]` that average `size` pixels over `new_size` equal intervals."""
  edges = np.linspace(0, size, new_size + 1)
  first = np.arange(size)
  overlap = np.minimum(edges[1:, None], first + 1) - np.maximum(edges[:-1, None], first)
  return np.maximum(overlap, 0) * new_size / size


@keras.saving.register_keras_serializable("wsram_tf")
class ContextNetwork(keras.layers.Layer):
  """Computes the first state of the core's upper layer.

  A user's own context network may take its place. `PredictionNetwork` requires a Keras layer that

  - builds with `build(low_resolution_shape)`, where the shape is `(None, side, side, C)` with the
    config's `context_side`;
  - has a method `low_resolution(images)` from float `[B, H, W, C]` in 0..1 to float
    `[B, side, side, C]`, once per batch; the cell network reads the same result;
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

  Call arguments:
    low_resolution: float `[B, side, side, C]`, from `low_resolution(images)`.

  Returns:
    list of `num_states` floats `[B, D]`; the first (the output state) is the activation's.

  Source: J. Ba, V. Mnih, K. Kavukcuoglu, Multiple Object Recognition with Visual Attention, ICLR
    2015, the context network, arXiv 1412.7755.

  Example:

  >>> network = ContextNetwork(side=12, units=32, num_states=2)
  >>> low_resolution = network.low_resolution(tf.zeros([4, 100, 100, 1]))
  >>> tuple(low_resolution.shape)
  (4, 12, 12, 1)
  >>> [tuple(state.shape) for state in network(low_resolution)]
  [(4, 32), (4, 32)]
  """

  def __init__(self, side: int, units: int, num_states: int, activation: str = "tanh", **kwargs):
    super().__init__(**kwargs)
    self.side = side
    self.units = units
    self.num_states = num_states
    self.activation = activation
    self.hidden = keras.layers.Dense(units, activation="relu", name="hidden")
    self.states = keras.layers.Dense(units * num_states, name="states")

  def build(self, low_resolution_shape):
    """Creates the weights for low-resolution images of this static shape."""
    self.hidden.build((None, self.side * self.side * low_resolution_shape[-1]))
    self.states.build((None, self.units))

  def low_resolution(self, images: tf.Tensor) -> tf.Tensor:
    """Averages images over `side` x `side` equal areas.

    Args:
      images: float `[B, H, W, C]`.

    Returns:
      float `[B, side, side, C]`.
    """
    rows = tf.constant(area_weights(images.shape[1], self.side), images.dtype)
    # Columns first, as one matrix product that needs no transposed copy of the images.
    _, height, width, channels = images.shape
    columns = tf.constant(area_weights(width, self.side), images.dtype)
    if channels > 1:
      # Computed in the graph: as a constant, a wide image's matrix would dominate an export's size.
      each = tf.eye(channels, dtype=images.dtype)
      columns = tf.einsum("dw,ce->dcwe", columns, each)
      columns = tf.reshape(columns, [self.side * channels, width * channels])
    flat = tf.reshape(images, [-1, width * channels])
    averaged = tf.matmul(flat, columns, transpose_b=True)
    averaged = tf.reshape(averaged, [-1, height, self.side, channels])
    return tf.einsum("ah,bhdc->badc", rows, averaged)

  def call(self, low_resolution: tf.Tensor) -> list[tf.Tensor]:
    """Encodes one image per row; see the class."""
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
    }
