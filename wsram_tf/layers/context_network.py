"""The context network: a low-resolution copy of the image becomes the upper layer's first state."""

import keras
import numpy as np
import tensorflow as tf

__all__ = ["ContextNetwork"]


def area_weights(size: int, new_size: int) -> np.ndarray:
  """Weights `[new_size, size]` that average `size` pixels over `new_size` equal stretches."""
  edges = np.linspace(0, size, new_size + 1)
  first = np.arange(size)
  overlap = np.minimum(edges[1:, None], first + 1) - np.maximum(edges[:-1, None], first)
  return np.maximum(overlap, 0) * new_size / size


@keras.saving.register_keras_serializable("wsram_tf")
class ContextNetwork(keras.layers.Layer):
  """Gives the first state of the core's upper layer, and nothing else.

  Args:
    side: side of the low-resolution copy, pixels.
    units: D, units of the hidden layer and of each state.
    num_states: tensors in the upper layer's state: 2 for an LSTM, 1 for a GRU.

  Call arguments:
    low_resolution: float `[B, side, side, C]`, what `low_resolution(images)` returned.

  Returns:
    list of `num_states` floats `[B, D]`, the first (the output state) in (-1, 1).

  Source: J. Ba, V. Mnih, K. Kavukcuoglu, Multiple Object Recognition with Visual Attention, ICLR
    2015, the context network, arXiv 1412.7755.
  """

  def __init__(self, side: int, units: int, num_states: int, **kwargs):
    super().__init__(**kwargs)
    self.side = side
    self.units = units
    self.num_states = num_states
    self.hidden = keras.layers.Dense(units, activation="relu", name="hidden")
    self.states = keras.layers.Dense(units * num_states, name="states")

  def build(self, low_resolution_shape):
    """Makes the weights from the static shape of the call's argument."""
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
    # Columns first, as one plain product that needs no transposed copy of the images.
    _, height, width, channels = images.shape
    columns = tf.constant(area_weights(width, self.side), images.dtype)
    if channels > 1:
      # Not as a constant: of a wide image it would outweigh the rest of an exported graph.
      each = tf.eye(channels, dtype=images.dtype)
      columns = tf.einsum("dw,ce->dcwe", columns, each)
      columns = tf.reshape(columns, [self.side * channels, width * channels])
    flat = tf.reshape(images, [-1, width * channels])
    halfway = tf.matmul(flat, columns, transpose_b=True)
    halfway = tf.reshape(halfway, [-1, height, self.side, channels])
    return tf.einsum("ah,bhdc->badc", rows, halfway)

  def call(self, low_resolution: tf.Tensor) -> list[tf.Tensor]:
    """Encodes one image a row; see the class."""
    features = tf.reshape(low_resolution, [-1, self.hidden.kernel.shape[0]])
    first, *rest = tf.split(self.states(self.hidden(features)), self.num_states, axis=-1)
    return [tf.tanh(first), *rest]

  def get_config(self):
    """Returns the constructor's arguments."""
    return {
      **super().get_config(),
      "side": self.side,
      "units": self.units,
      "num_states": self.num_states,
    }
