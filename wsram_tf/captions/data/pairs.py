"""Batches of feature grids and captions; grids are read or computed batch by batch."""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from wsram_tf.captions import grid_network
from wsram_tf.captions.data.computed_grids import ComputedGrids
from wsram_tf.data.pipelines import WHOLE, Shard, map_in_order, shuffled_indices

__all__ = ["evaluation_pairs", "training_pairs"]

# Number of batches to prepare in parallel; each may take a backbone's memory.
_AT_ONCE = 2


def training_pairs(
  grids: np.ndarray | ComputedGrids,
  rows: np.ndarray,
  captions: np.ndarray,
  *,
  batch_size: int,
  seed: int,
  start_step: int = 0,
  shard: Shard = WHOLE,
  may_flip: np.ndarray | None = None,
  layer_shapes: Sequence[tuple[int, int, int]] = (),
) -> tf.data.Dataset:
  """Makes endless training batches; each pass shows every caption once, in a new order.

  Args:
    grids: float16 `[n, H, W, C]`, in memory or mapped from the disk, or `ComputedGrids`.
    rows: int64 `[k]`, the row in `grids` of each caption.
    captions: int32 `[k, T]`: words, the end, padding.
    batch_size: B.
    seed: 0 to 2**31 - 1; with the step, determines a batch.
    start_step: the step of the first batch.
    shard: the rows of each batch to read.
    may_flip: bool `[k]`, the captions that also suit the mirrored image; their grids are mirrored
      left to right at random, half of them. None: no caption.
    layer_shapes: (height, width, channels) of each grid that a row of `grids` packs; empty for one.

  Returns:
    dataset of (grids float32 `[B, H, W, C]`, captions int32 `[B, T]`).

  Raises:
    ValueError: if captions are empty, or rows, captions and `may_flip` differ in number.

  Example:

  >>> grids = np.zeros([2, 7, 7, 5], np.float16)
  >>> captions = np.array([[4, 2], [5, 2], [6, 2]], np.int32)
  >>> data = training_pairs(grids, np.array([0, 0, 1]), captions, batch_size=3, seed=1)
  >>> batch, words = next(iter(data))
  >>> tuple(batch.shape), sorted(words[:, 0].numpy().tolist())
  ((3, 7, 7, 5), [4, 5, 6])
  """
  _check(rows, captions)
  if may_flip is not None and len(may_flip) != len(captions):
    raise ValueError(
      f"may_flip of length {len(may_flip)}: must have one value for each of the "
      f"{len(captions)} captions"
    )
  read, rows, captions = _reader(grids), tf.constant(rows), tf.constant(captions)

  def draw_batch(step: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    pairs = shard.of(shuffled_indices(step, batch_size, captions.shape[0], seed))
    batch = read(tf.gather(rows, pairs))
    if may_flip is not None:
      chosen = tf.random.stateless_uniform([batch_size], [seed, step], alg="philox") < 0.5
      chosen = shard.of(chosen) & tf.gather(may_flip, pairs)
      flipped = grid_network.flip_grids(batch, layer_shapes)
      batch = tf.where(chosen[:, tf.newaxis, tf.newaxis, tf.newaxis], flipped, batch)
    return batch, tf.gather(captions, pairs)

  steps = tf.data.Dataset.counter(start=start_step)
  return map_in_order(steps, draw_batch, at_once=_AT_ONCE)


def evaluation_pairs(
  grids: np.ndarray | ComputedGrids, rows: np.ndarray, captions: np.ndarray, batch_size: int
) -> tf.data.Dataset:
  """Makes one pass over all pairs, in order.

  Args:
    grids: as `training_pairs` takes them.
    rows: as `training_pairs` takes them.
    captions: as `training_pairs` takes them.
    batch_size: B; the last batch may hold fewer.

  Returns:
    dataset of (grids float32 `[B, H, W, C]`, captions int32 `[B, T]`).

  Raises:
    ValueError: as `training_pairs`.

  Example:

  >>> grids, captions = np.zeros([1, 7, 7, 5], np.float16), np.array([[4, 2], [5, 2]], np.int32)
  >>> data = evaluation_pairs(grids, np.array([0, 0]), captions, batch_size=1)
  >>> [words.numpy().tolist() for _, words in data]
  [[[4, 2]], [[5, 2]]]
  """
  _check(rows, captions)
  read = _reader(grids)
  pairs = tf.data.Dataset.from_tensor_slices((rows, captions)).batch(batch_size)
  return map_in_order(pairs, lambda row, caption: (read(row), caption), at_once=_AT_ONCE)


def _reader(grids: np.ndarray | ComputedGrids):
  # numpy_function reads rows on demand; a constant would copy all grids into memory and the graph.
  def read(rows: tf.Tensor) -> tf.Tensor:
    batch = tf.numpy_function(lambda chosen: grids[chosen], [rows], tf.float16)
    return tf.cast(tf.ensure_shape(batch, [rows.shape[0], *grids.shape[1:]]), tf.float32)

  return read


def _check(rows: np.ndarray, captions: np.ndarray) -> None:
  if not len(captions) or len(rows) != len(captions):
    raise ValueError(
      f"rows of length {len(rows)}, captions of length {len(captions)}: must have the same length, "
      "at least 1"
    )
