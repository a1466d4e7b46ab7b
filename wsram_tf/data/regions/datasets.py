"""Batches of labelled files, for networks that read regions of them."""

import numpy as np
import tensorflow as tf

from wsram_tf.data.pipelines import WHOLE, Shard, map_in_order, on_host, shuffled_indices
from wsram_tf.data.regions.sets import LabelledFiles

__all__ = ["evaluation_files", "training_files"]


def training_files(
  files: LabelledFiles, *, batch_size: int, seed: int, start_step: int = 0, shard: Shard = WHOLE
) -> tf.data.Dataset:
  """Makes endless training batches; each epoch shows every file once, in a new order.

  Args:
    files: to train on.
    batch_size: B.
    seed: 0 to 2**63 - 1; with the step, determines a batch.
    start_step: the step of the first batch.
    shard: the rows of each batch.

  Returns:
    dataset of (paths, string `[B]`, and labels, int32 `[B]`).

  Example:

  >>> files = LabelledFiles(np.array(["a.tif", "b.tif"], object), np.array([0, 1]))
  >>> paths, labels = next(iter(training_files(files, batch_size=2, seed=1)))
  >>> sorted(paths.numpy().tolist())
  [b'a.tif', b'b.tif']
  """
  paths, labels = _on_host(files)

  def draw_batch(step: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    indices = shard.of(shuffled_indices(step, batch_size, len(files.labels), seed))
    return tf.gather(paths, indices), tf.gather(labels, indices)

  return map_in_order(tf.data.Dataset.counter(start=start_step), draw_batch)


def evaluation_files(files: LabelledFiles, batch_size: int) -> tf.data.Dataset:
  """Makes one pass over all files, in order: paths, string `[B]`, and labels, int32 `[B]`."""
  return tf.data.Dataset.from_tensor_slices(_on_host(files)).batch(batch_size)


def _on_host(files: LabelledFiles) -> tuple[tf.Tensor, tf.Tensor]:
  return on_host(files.paths.astype(np.str_), files.labels)
