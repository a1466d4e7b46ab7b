"""Batches of feature grids and captions, grids read or computed when their turn comes."""

import numpy as np
import tensorflow as tf

from wsram_tf.captions.data.computed_grids import ComputedGrids
from wsram_tf.data.orders import shuffled_indices
from wsram_tf.data.pipelines import map_in_order

__all__ = ["evaluation_pairs", "training_pairs"]

# Batches, each of which may take a backbone's memory.
_AT_ONCE = 2


def training_pairs(
  grids: np.ndarray | ComputedGrids,
  rows: np.ndarray,
  captions: np.ndarray,
  *,
  batch_size: int,
  seed: int,
  start_step: int = 0,
) -> tf.data.Dataset:
  """Endless training batches; each pass shows every caption once, in a new order.

  Args:
    grids: float16 `[n, H, W, C]`, perhaps mapped from the disk, or `ComputedGrids`.
    rows: int64 `[k]`, the grid of each caption.
    captions: int32 `[k, T]`: words, the end, padding.
    batch_size: B.
    seed: 0 to 2**31 - 1; with the step, determines a batch.
    start_step: the step of the first batch.

  Returns:
    dataset of (grids float32 `[B, H, W, C]`, captions int32 `[B, T]`).

  Raises:
    ValueError: if there are no captions, or not as many as rows.
  """
  _check(rows, captions)
  read, rows, captions = _reader(grids), tf.constant(rows), tf.constant(captions)

  def draw_batch(step: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    pairs = shuffled_indices(step, batch_size, captions.shape[0], seed)
    return read(tf.gather(rows, pairs)), tf.gather(captions, pairs)

  steps = tf.data.Dataset.counter(start=start_step)
  return map_in_order(steps, draw_batch, at_once=_AT_ONCE)


def evaluation_pairs(
  grids: np.ndarray | ComputedGrids, rows: np.ndarray, captions: np.ndarray, batch_size: int
) -> tf.data.Dataset:
  """All pairs once, in order; the last batch may hold fewer. See `training_pairs`."""
  _check(rows, captions)
  read = _reader(grids)
  pairs = tf.data.Dataset.from_tensor_slices((rows, captions)).batch(batch_size)
  return map_in_order(pairs, lambda row, caption: (read(row), caption), at_once=_AT_ONCE)


def _reader(grids: np.ndarray | ComputedGrids):
  # A constant would hold all grids in memory, and in every graph that mentions it.
  def read(rows: tf.Tensor) -> tf.Tensor:
    batch = tf.numpy_function(lambda chosen: grids[chosen], [rows], tf.float16)
    return tf.cast(tf.ensure_shape(batch, [rows.shape[0], *grids.shape[1:]]), tf.float32)

  return read


def _check(rows: np.ndarray, captions: np.ndarray) -> None:
  if not len(captions) or len(rows) != len(captions):
    raise ValueError(
      f"rows of length {len(rows)}, captions of length {len(captions)}: must be equally many, and "
      "at least one"
    )
