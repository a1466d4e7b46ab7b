"""Building blocks of the input pipelines: random streams, host tensors and ordered maps.

Training batches are pure functions of the seed and the step, so a resumed run sees the batches
that an uninterrupted run would see.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

__all__ = [
  "EVALUATION_STREAM",
  "TRAINING_STREAM",
  "WHOLE",
  "Shard",
  "map_in_order",
  "on_host",
  "random_integers",
  "random_rows",
  "shuffled_indices",
  "stream_key",
]

# Training and evaluation draw different numbers even under one seed.
TRAINING_STREAM, EVALUATION_STREAM = 0, 1
# With fewer rounds of TensorFlow's index cipher the orders of different epochs are correlated.
_SHUFFLE_ROUNDS = 8
_BLOCK_ROWS = 1024


class Shard(NamedTuple):
  """The rows of each batch that one of several workers makes, an equal share.

  Attributes:
    index: the worker's number, from 0.
    count: number of workers.

  Example:

  >>> Shard(index=1, count=2).of(tf.range(6)).numpy().tolist()
  [3, 4, 5]
  """

  index: int = 0
  count: int = 1

  def rows(self, batch_size: int) -> int:
    """Returns the number of rows of a batch.

    Raises:
      ValueError: if the workers cannot share the batch equally.
    """
    if batch_size % self.count:
      raise ValueError(f"batch_size={batch_size}: must be a multiple of the {self.count} workers")
    return batch_size // self.count

  def of(self, batch: tf.Tensor) -> tf.Tensor:
    """Returns the rows of a batch, `[B, ...]`, where B is static."""
    if self.count == 1:
      return batch
    rows = self.rows(batch.shape[0])
    return batch[self.index * rows : (self.index + 1) * rows]


WHOLE = Shard()


def map_in_order(
  dataset: tf.data.Dataset, function: Callable[..., Any], at_once: int = tf.data.AUTOTUNE
) -> tf.data.Dataset:
  """Maps a dataset in parallel, prefetches the results and keeps their order.

  TensorFlow does not tune the dataset while it is read, unless its options ask for it: the thread
  that does this may miss the end of an iterator, which then waits for the thread's next round, up
  to a minute.

  Args:
    dataset: elements that `function` accepts.
    function: takes and returns tensors. It runs without AutoGraph, which starts faster; conditions
      on tensors therefore need `tf.cond`.
    at_once: number of elements to map in parallel and to prefetch; without tuning,
      `tf.data.AUTOTUNE` stands for the number of threads, 16 at most.

  Returns:
    dataset of the function's results, in the order of the input.

  Example:

  >>> squares = map_in_order(tf.data.Dataset.range(4), lambda x: x**2)
  >>> [int(square) for square in squares]
  [0, 1, 4, 9]
  """
  plain = tf.autograph.experimental.do_not_convert(function)
  mapped = dataset.map(plain, num_parallel_calls=at_once, deterministic=True)
  mapped = mapped.prefetch(at_once)
  if mapped.options().autotune.enabled is not None:
    return mapped
  options = tf.data.Options()
  options.autotune.enabled = False
  return mapped.with_options(options)


def on_host(images: np.ndarray, labels: np.ndarray) -> tuple[tf.Tensor, tf.Tensor]:
  """Copies images and labels into eager tensors in host memory.

  A pipeline captures eager tensors by reference, but copies arrays into its graph. Tensors in
  device memory would be fetched back for every batch.

  Args:
    images: any dtype, `[n, ...]`.
    labels: integer `[n]`.

  Returns:
    images with their dtype; labels, int32.
  """
  with tf.device("/CPU:0"):
    return tf.constant(images), tf.constant(labels, tf.int32)


def stream_key(seed: int, stream: int) -> tf.Tensor:
  """Derives the key of one stream of random numbers.

  Args:
    seed: 0 to 2**63 - 1.
    stream: `TRAINING_STREAM` or `EVALUATION_STREAM`.

  Returns:
    int64 `[2]`, for `random_integers`.

  Raises:
    ValueError: if seed is out of range.
  """
  if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**63:
    raise ValueError(f"seed={seed!r:.200}: must be from 0 to 2**63 - 1, a whole number")
  with tf.device("/CPU:0"):
    return tf.random.fold_in(tf.constant([seed, 0], tf.int64), stream, alg="philox")


def random_integers(key: tf.Tensor, place: tf.Tensor | int, shape: Sequence[int]) -> tf.Tensor:
  """Draws integers that depend on a key and a place in its stream alone.

  Args:
    key: int64 `[2]`, from `stream_key`.
    place: integer scalar, a step or the number of a block.
    shape: static shape of the result.

  Returns:
    int32, uniform over 0 to 2**31 - 2. The remainder modulo n favours no value by more than a
    factor of 1 + n / 2**31.

  Example:

  >>> key = stream_key(seed=1, stream=TRAINING_STREAM)
  >>> bool(tf.reduce_all(random_integers(key, 5, [3]) == random_integers(key, 5, [3])))
  True
  """
  return tf.random.stateless_uniform(
    shape,
    # fold_in gives different keys for an int32 and an equal int64.
    tf.random.fold_in(key, tf.cast(place, tf.int64), alg="philox"),
    minval=0,
    maxval=tf.int32.max,
    dtype=tf.int32,
    alg="philox",
  )


def random_rows(key: tf.Tensor, num_rows: int, num_columns: int) -> tf.Tensor:
  """Draws rows of integers; row i depends on the key, i and the number of columns alone.

  Args:
    key: int64 `[2]`, from `stream_key`.
    num_rows: number of rows, at least 1.
    num_columns: integers of a row.

  Returns:
    int32 `[num_rows, num_columns]` in host memory, as from `random_integers`.

  Example:

  >>> key = stream_key(seed=1, stream=EVALUATION_STREAM)
  >>> bool(tf.reduce_all(random_rows(key, 5, 2)[:3] == random_rows(key, 3, 2)))
  True
  """
  # Blocks of a fixed size, since a shorter draw need not be a prefix of a longer one.
  num_blocks = -(-num_rows // _BLOCK_ROWS)
  with tf.device("/CPU:0"):
    blocks = [
      random_integers(key, block, [_BLOCK_ROWS, num_columns]) for block in range(num_blocks)
    ]
    return tf.concat(blocks, axis=0)[:num_rows]


def shuffled_indices(step: tf.Tensor, batch_size: int, count: int, seed: int) -> tf.Tensor:
  """Computes the examples of one training batch.

  Batch t holds the places t B to t B + B - 1 of an endless sequence, in which each epoch shows
  every example once, in an order of its own.

  Args:
    step: int64, t.
    batch_size: B.
    count: number of examples.
    seed: 0 to 2**63 - 1.

  Returns:
    indices, int64 `[B]`.

  Example:

  >>> epoch = [shuffled_indices(tf.constant(t, tf.int64), 2, count=6, seed=1) for t in range(3)]
  >>> sorted(tf.concat(epoch, axis=0).numpy().tolist())
  [0, 1, 2, 3, 4, 5]
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
