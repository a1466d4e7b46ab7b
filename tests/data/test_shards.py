"""Shards: what several workers make together is the batch that one makes."""

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from tests.support import small_runs
from wsram_tf.captions.data import pairs, scenes
from wsram_tf.data import canvases, images
from wsram_tf.data.canvases import CanvasConfig, MegapixelCanvases, MegapixelConfig
from wsram_tf.data.digits import Digits
from wsram_tf.data.pipelines import Shard
from wsram_tf.data.regions.datasets import training_files
from wsram_tf.data.regions.sets import LabelledFiles
from wsram_tf.runs.distribution import Cluster

_GENERATOR = np.random.default_rng(3)
_DIGITS = Digits(_GENERATOR.integers(0, 256, [20, 28, 28], np.uint8), np.arange(20) % 10)
_MEGAPIXEL = MegapixelConfig(megapixel_side=100, megapixel_noise=10, megapixel_shift=5)


def _as_long(pixels: tf.Tensor) -> tf.Tensor:
  """Pads lists of visible pixels, whose length is that of the batch's longest, to one length."""
  length = 60 * 60
  return tf.pad(pixels, [[0, 0], [0, length - tf.shape(pixels)[1]], [0, 0]])


def _datasets() -> dict[str, Callable[..., tf.data.Dataset]]:
  """Every kind of training batches, as functions of step and shard."""
  clutter = CanvasConfig(canvas_side=60, num_clutter=3)
  megapixel = MegapixelCanvases(_DIGITS, _MEGAPIXEL, num_canvases=9, seed=1)
  pictures = images.LabelledImages(
    _GENERATOR.integers(0, 256, [9, 8, 8, 1], np.uint8), np.arange(9)
  )
  augmentation = images.Augmentation(crop=2, flip=True, brightness=0.2)
  files = LabelledFiles(np.array([f"{i}.tif" for i in range(9)], object), np.arange(9))
  grids = _GENERATOR.random([4, 2, 2, 3]).astype(np.float16)
  rows, captions = np.arange(9) % 4, np.arange(27, dtype=np.int32).reshape(9, 3)
  return {
    "canvases": lambda **options: canvases.canvas_dataset(_DIGITS, clutter, **options),
    "visible pixels": lambda **options: canvases.canvas_dataset(
      _DIGITS, clutter, as_visible_pixels=True, **options
    ).map(lambda pixels, labels: (_as_long(pixels), labels)),
    "megapixel": megapixel.training_data,
    "images": lambda **options: images.training_dataset(pictures, augmentation, **options),
    "files": lambda **options: training_files(files, **options),
    "pairs": lambda **options: pairs.training_pairs(grids, rows, captions, **options),
    "scenes": lambda **options: scenes.scene_dataset(_DIGITS, **options),
  }


class ShardTest(tf.test.TestCase):
  def assertBatches(self, found: list, expected: list) -> None:
    for (batch, targets), (whole, whole_targets) in zip(found, expected, strict=True):
      self.assertAllEqual(targets, whole_targets)
      if batch.dtype == tf.string:
        self.assertAllEqual(batch, whole)
      else:  # Products of another size round differently.
        self.assertAllClose(batch, whole, rtol=1e-6, atol=1e-6)

  def test_the_shards_of_a_batch_are_its_rows(self):
    for name, make in _datasets().items():
      with self.subTest(name):
        options = {"batch_size": 6, "seed": 2, "start_step": 1}
        whole = list(make(**options).take(3))
        self.assertEqual(whole[0][0].shape[0], 6)
        parts = [list(make(shard=Shard(i, 3), **options).take(3)) for i in range(3)]
        joined = [
          tuple(tf.concat(pieces, axis=0) for pieces in zip(*of_step, strict=True))
          for of_step in zip(*parts, strict=True)
        ]
        self.assertBatches(joined, whole)
        spec = make(shard=Shard(0, 3), **options).element_spec
        self.assertEqual((spec[0].shape[0], spec[1].shape[0]), (2, 2))

  def test_workers_share_a_batch_equally_or_not_at_all(self):
    for name, make in _datasets().items():
      with (
        self.subTest(name),
        self.assertRaisesRegex(ValueError, "batch_size=7: must be a multiple of the 2 workers"),
      ):
        make(batch_size=7, seed=1, shard=Shard(0, 2))

  def test_a_task_without_shards_makes_whole_batches_for_each_worker(self):
    task, plain = small_runs.array_task(), small_runs.array_task()

    def make(*, batch_size: int, seed: int, start_update: int) -> tf.data.Dataset:
      options = {"batch_size": batch_size, "seed": seed, "start_update": start_update}
      return task.training_data(**options).map(lambda images, labels: (1.0 - images, labels))

    plain.training_data = make
    options = {"batch_size": 4, "seed": 1, "start_update": 2}
    task.prepare(None)
    whole = list(task.training_data(**options).take(2))
    own = [(batch[2:], labels[2:]) for batch, labels in whole]
    second = Cluster(None, False, Shard(1, 2))
    self.assertBatches(list(second.training_data(task, **options).take(2)), own)
    self.assertBatches(list(Cluster(None, True).training_data(task, **options).take(2)), whole)
    found = list(second.training_data(plain, **options).take(2))
    self.assertBatches(found, [(1.0 - batch, labels) for batch, labels in own])


if __name__ == "__main__":
  tf.test.main()
