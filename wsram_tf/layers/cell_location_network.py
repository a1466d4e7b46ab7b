"""The cell location network: chooses a cell of a feature grid by its content, and a scale."""

import keras
import tensorflow as tf

__all__ = ["CellLocationNetwork", "with_saliency"]


def with_saliency(keys: tf.Tensor, saliency: tf.Tensor | None) -> tf.Tensor:
  """Appends the saliency of each cell to its key.

  Args:
    keys: float `[B, L, K]`.
    saliency: float `[B, L]`; None for none.

  Returns:
    float `[B, L, K + 1]`; the keys where there is no saliency.
  """
  if saliency is None:
    return keys
  return tf.concat([keys, saliency[..., tf.newaxis]], axis=-1)


@keras.saving.register_keras_serializable("wsram_tf")
class CellLocationNetwork(keras.layers.Layer):
  """Emits the logits of a categorical distribution over cells from a state and the cells' keys.

  The state becomes a query of K units. The logit of a cell is the product of query and key. With
  `saliency`, the product of a learned gain and the cell's saliency is added, so that the
  distribution starts on conspicuous cells: where few cells show anything, a search that starts from
  a uniform distribution hardly ever finds what the gradient could follow.

  Args:
    units: K, units of a query and of a key.
    num_scales: S, scales that a dense layer chooses from by the state alone; 0 for no choice.
    saliency: the gain at the start; 0 for none, and no weight.

  Call arguments:
    keys: float `[B, L, K]`, one key per cell; with `saliency` `[B, L, K + 1]`, as from
      `with_saliency`.
    states: float `[B * M, D]`; the M rows of an image are consecutive.

  Returns:
    logits, float `[B * M, L + S]`: those of the cells, then those of the scales.

  Source: K. Xu et al., Show, Attend and Tell, ICML 2015, the attention model, arXiv 1502.03044. The
    product of query and key replaces their hidden layer, because it costs less. The saliency is an
    addition.

  Example:

  >>> keys, states = tf.ones([2, 9, 16]), tf.ones([2 * 3, 32])  # B = 2, L = 9, M = 3
  >>> tuple(CellLocationNetwork(units=16)(keys, states).shape)
  (6, 9)
  """

  def __init__(self, units: int, num_scales: int = 0, saliency: float = 0.0, **kwargs):
    super().__init__(**kwargs)
    self.units = units
    self.num_scales = num_scales
    self.saliency = saliency
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
    if self.saliency:
      self.gain = self.add_weight(
        name="gain", shape=(1,), initializer=keras.initializers.Constant(self.saliency)
      )

  def call(self, keys: tf.Tensor, states: tf.Tensor) -> tf.Tensor:
    """Emits one distribution per row; see the class."""
    cells, units = keys.shape[1:]
    samples = tf.shape(states)[0] // tf.maximum(tf.shape(keys)[0], 1)
    queries = self.query(states)
    if self.saliency:
      gains = tf.broadcast_to(self.gain, tf.stack([tf.shape(queries)[0], 1]))
      queries = tf.concat([queries, gains], axis=-1)
    queries = tf.reshape(queries, tf.stack([tf.shape(keys)[0], samples, units]))
    logits = tf.reshape(tf.matmul(queries, keys, transpose_b=True), [-1, cells])
    return tf.concat([logits, self.scales(states)], axis=-1) if self.scales else logits

  def get_config(self):
    """Returns the constructor's arguments."""
    own = {"units": self.units, "num_scales": self.num_scales, "saliency": self.saliency}
    return {**super().get_config(), **own}
