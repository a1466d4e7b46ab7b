"""Orders of examples: stratified ones, for splits, and shuffled ones, for training."""

import numpy as np
import tensorflow as tf

__all__ = ["shuffled_indices", "stratified_order"]

# With fewer rounds of TensorFlow's index cipher the orders of different epochs are correlated.
_SHUFFLE_ROUNDS = 8


def stratified_order(labels: np.ndarray, seed: int) -> np.ndarray:
  """Orders examples so that every prefix holds the classes in proportion, to within one example.

  The p-th of the c examples of a class gets a random key in [p / c, (p + 1) / c), so the keys below
  any threshold t are floor(t c) or one more of each class.

  Args:
    labels: integer `[n]`.
    seed: of the order.

  Returns:
    indices, int `[n]`.
  """
  generator = np.random.default_rng(seed)
  keys = np.empty(len(labels))
  for label in np.unique(labels):
    members = generator.permutation(np.flatnonzero(labels == label))
    keys[members] = (np.arange(len(members)) + generator.random(len(members))) / len(members)
  return np.argsort(keys, kind="stable")


def shuffled_indices(step: tf.Tensor, batch_size: int, count: int, seed: int) -> tf.Tensor:
  """Which examples make up the batch of a step.

  Batch t holds the places t B to t B + B - 1 of one endless sequence, in which each epoch shows
  every example once, in an order of its own.

  Args:
    step: int64, t.
    batch_size: B.
    count: of all examples.
    seed: 0 to 2**63 - 1.

  Returns:
    int64 `[B]`.
  """
  places = step * batch_size + tf.range(batch_size, dtype=tf.int64)
  epochs = places // count
  # The raw op, since index_shuffle pads a batch of seeds along the wrong axis. The cipher reads 32
  # bits of each word.
  low, high = tf.constant(seed & 0xFFFFFFFF, tf.int64), tf.constant(seed >> 32, tf.int64)
  seeds = tf.stack([tf.fill([batch_size], low), tf.fill([batch_size], high), epochs], axis=-1)
  return tf.raw_ops.RandomIndexShuffle(
    index=places % count,
    seed=seeds,
    max_index=tf.fill([batch_size], tf.constant(count - 1, tf.int64)),
    rounds=_SHUFFLE_ROUNDS,
  )
