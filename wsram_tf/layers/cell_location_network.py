"""The cell location network: which cell of a feature grid to look at, by what the cells show."""

import keras
import tensorflow as tf

__all__ = ["CellLocationNetwork"]


@keras.saving.register_keras_serializable("wsram_tf")
class CellLocationNetwork(keras.layers.Layer):
  """Emits the parameters of a categorical distribution over cells from a state and the cells' keys.

  Args:
    units: K, numbers by which a state and a cell are compared.

  Call arguments:
    keys: float `[B, L, K]`, what `keys(features)` returned.
    states: float `[B * M, D]`, M neighbouring rows for each image.

  Returns:
    float `[B * M, L]`, logits.

  Source: K. Xu et al., Show, Attend and Tell, ICML 2015, the attention model, arXiv 1502.03044;
    cells and states are compared by a product, which costs less than their hidden layer.
  """

  def __init__(self, units: int, **kwargs):
    super().__init__(**kwargs)
    self.units = units
    self.key = keras.layers.Dense(units, name="key")
    # Near zero: prior and proposal start alike and look everywhere.
    self.query = keras.layers.Dense(
      units, kernel_initializer=keras.initializers.RandomNormal(stddev=0.01), name="query"
    )

  def build(self, features_shape, states_shape):
    """Makes the weights from the static shapes of the features and the states."""
    self.key.build(features_shape)
    self.query.build(states_shape)

  def keys(self, features: tf.Tensor) -> tf.Tensor:
    """What each cell offers to be chosen by: float `[B, L, K]` of features `[B, L, D]`."""
    return self.key(features)

  def call(self, keys: tf.Tensor, states: tf.Tensor) -> tf.Tensor:
    """Emits one distribution's parameters a row; see the class."""
    cells, units = keys.shape[1:]
    samples = tf.shape(states)[0] // tf.maximum(tf.shape(keys)[0], 1)
    queries = tf.reshape(self.query(states), tf.stack([tf.shape(keys)[0], samples, units]))
    return tf.reshape(tf.matmul(queries, keys, transpose_b=True), [-1, cells])

  def get_config(self):
    """Returns the constructor's arguments."""
    return {**super().get_config(), "units": self.units}
