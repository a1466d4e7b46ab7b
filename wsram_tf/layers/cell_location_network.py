"""The cell location network: chooses a cell of a feature grid by its content, and a scale."""

import keras
import tensorflow as tf

__all__ = ["CellLocationNetwork"]


@keras.saving.register_keras_serializable("wsram_tf")
class CellLocationNetwork(keras.layers.Layer):
  """Emits the logits of a categorical distribution over cells from a state and the cells' keys.

  The state becomes a query of K units. The logit of a cell is the product of query and key.

  Args:
    units: K, units of a query and of a key.
    num_scales: S, scales that a dense layer chooses from by the state alone; 0 for no choice.

  Call arguments:
    keys: float `[B, L, K]`, one key per cell.
    states: float `[B * M, D]`; the M rows of an image are consecutive.

  Returns:
    logits, float `[B * M, L + S]`: those of the cells, then those of the scales.

  Source: K. Xu et al., Show, Attend and Tell, ICML 2015, the attention model, arXiv 1502.03044. The
    product of query and key replaces their hidden layer, because it costs less.

  Example:

  >>> keys, states = tf.ones([2, 9, 16]), tf.ones([2 * 3, 32])  # B = 2, L = 9, M = 3
  >>> tuple(CellLocationNetwork(units=16)(keys, states).shape)
  (6, 9)
  """

  def __init__(self, units: int, num_scales: int = 0, **kwargs):
    super().__init__(**kwargs)
    self.units = units
    self.num_scales = num_scales
    # Near zero, so that prior and proposal start close to each other and close to uniform.
    self.query = keras.layers.Dense(
      units, kernel_initializer=keras.initializers.RandomNormal(stddev=0.01), name="query"
    )
    self.scales = None
    if num_scales:
      self.scales = keras.layers.Dense(
        num_scales, kernel_initializer=keras.initializers.RandomNormal(stddev=0.01), name="scales"
      )

  def build(self, keys_shape, states_shape):
    """Creates the weights for states of this static shape."""
    self.query.build(states_shape)
    if self.scales:
      self.scales.build(states_shape)

  def call(self, keys: tf.Tensor, states: tf.Tensor) -> tf.Tensor:
    """Emits one distribution per row; see the class."""
    cells, units = keys.shape[1:]
    samples = tf.shape(states)[0] // tf.maximum(tf.shape(keys)[0], 1)
    queries = tf.reshape(self.query(states), tf.stack([tf.shape(keys)[0], samples, units]))
    logits = tf.reshape(tf.matmul(queries, keys, transpose_b=True), [-1, cells])
    return tf.concat([logits, self.scales(states)], axis=-1) if self.scales else logits

  def get_config(self):
    """Returns the constructor's arguments."""
    return {**super().get_config(), "units": self.units, "num_scales": self.num_scales}
