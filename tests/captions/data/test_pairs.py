"""Batches of grids and captions: complete passes, and batches that depend on seed and step."""

import numpy as np
import tensorflow as tf

from wsram_tf.captions.data import pairs
from wsram_tf.data.pipelines import WHOLE, Shard

# All values of grid r are r, and the captions of image r begin with r + 10.
_GRIDS = np.arange(7, dtype=np.float16)[:, None, None, None] * np.ones([7, 2, 2, 3], np.float16)
_ROWS = np.repeat(np.arange(7), 3)
_CAPTIONS = np.stack([_ROWS + 10, np.tile([4, 5, 6], 7), np.full(21, 2)], axis=1).astype(np.int32)


def take(count: int, start: int = 0, seed: int = 1) -> list[tuple[np.ndarray, np.ndarray]]:
  """Returns the first batches of five from a step on."""
  data = pairs.training_pairs(_GRIDS, _ROWS, _CAPTIONS, batch_size=5, seed=seed, start_step=start)
  return [(grids.numpy(), captions.numpy()) for grids, captions in data.take(count)]


class CaptionPairsTest(tf.test.TestCase):
  def test_a_pass_shows_every_caption_once_with_its_grid(self):
    batches = take(21)  # Five passes.
    grids = np.concatenate([grids for grids, _ in batches])
    captions = np.concatenate([captions for _, captions in batches])
    self.assertEqual(grids.dtype, np.float32)
    self.assertAllEqual(grids, (captions[:, 0] - 10)[:, None, None, None] * np.ones([2, 2, 3]))
    passes = captions.reshape(5, 21, 3)
    for one in passes:
      self.assertAllEqual(sorted(map(tuple, one)), sorted(map(tuple, _CAPTIONS)))
    self.assertNotAllEqual(passes[0], passes[1])

  def test_seed_and_step_determine_a_batch(self):
    for wanted, got in zip(take(9)[6:], take(3, start=6), strict=True):
      self.assertAllEqual(wanted[1], got[1])
      self.assertAllEqual(wanted[0], got[0])
    self.assertNotAllEqual(take(1)[0][1], take(1, seed=2)[0][1])

  def test_flips_half_of_the_grids_whose_captions_allow_it(self):
    # Two packed grids, 1 x 3 x 2 and 2 x 2 x 1, of the numbers 0 to 9.
    shapes = [(1, 3, 2), (2, 2, 1)]
    grids = np.broadcast_to(np.arange(10, dtype=np.float16), [7, 1, 1, 10])
    flipped = [4, 5, 2, 3, 0, 1, 7, 6, 9, 8]
    may_flip = _ROWS % 2 == 0
    options = {"batch_size": 21, "seed": 1, "may_flip": may_flip, "layer_shapes": shapes}

    def taken(start: int = 0, shard: Shard = WHOLE) -> tuple[np.ndarray, np.ndarray]:
      data = pairs.training_pairs(
        grids, _ROWS, _CAPTIONS, start_step=start, shard=shard, **options
      ).take(40 - start)
      images, captions = zip(*((i.numpy(), c.numpy()) for i, c in data), strict=True)
      return np.concatenate(images).reshape(-1, 10), np.concatenate(captions)

    images, captions = taken()
    is_flipped = (images == flipped).all(axis=1)
    self.assertAllEqual(is_flipped | (images == np.arange(10)).all(axis=1), [True] * len(images))
    allowed = captions[:, 0] % 2 == 0
    self.assertFalse(is_flipped[~allowed].any())
    # 480 throws of a coin: four standard deviations.
    self.assertAllClose(is_flipped[allowed].mean(), 0.5, atol=4 * 0.5 / 480**0.5)
    # The step determines them, also in the parts of several workers.
    later, _ = taken(start=30)
    self.assertAllEqual(later, images[30 * 21 :])
    part, _ = taken(shard=Shard(index=1, count=3))
    self.assertAllEqual(part, images.reshape(40, 21, 10)[:, 7:14].reshape(-1, 10))

  def test_flips_a_single_grid(self):
    grids = np.arange(6, dtype=np.float16).reshape(1, 2, 3, 1)
    captions = np.tile(_CAPTIONS[:1], [64, 1])
    rows = np.zeros(64, np.int64)
    data = pairs.training_pairs(
      grids, rows, captions, batch_size=64, seed=1, may_flip=np.ones(64, bool)
    )
    images = {tuple(image.ravel()) for image in next(iter(data))[0].numpy()}
    self.assertEqual(images, {(0, 1, 2, 3, 4, 5), (2, 1, 0, 5, 4, 3)})

  def test_shapes_are_known_before_running(self):
    data = pairs.training_pairs(_GRIDS, _ROWS, _CAPTIONS, batch_size=5, seed=1)
    grids, captions = data.element_spec
    self.assertEqual((grids.shape, captions.shape), ((5, 2, 2, 3), (5, 3)))

  def test_evaluation_shows_all_in_order(self):
    batches = list(pairs.evaluation_pairs(_GRIDS, _ROWS, _CAPTIONS, 8))
    self.assertEqual([len(captions) for _, captions in batches], [8, 8, 5])
    self.assertAllEqual(tf.concat([captions for _, captions in batches], 0), _CAPTIONS)
    self.assertAllEqual(tf.concat([grids[:, 0, 0, 0] for grids, _ in batches], 0), _ROWS)

  def test_refuses_rows_and_captions_that_do_not_match(self):
    for rows, captions in ((_ROWS[1:], _CAPTIONS), (_ROWS[:0], _CAPTIONS[:0])):
      with self.assertRaisesRegex(ValueError, "must have the same length, at least 1"):
        pairs.training_pairs(_GRIDS, rows, captions, batch_size=5, seed=1)
    with self.assertRaisesRegex(ValueError, "may_flip of length 20: must have one value for each"):
      pairs.training_pairs(
        _GRIDS, _ROWS, _CAPTIONS, batch_size=5, seed=1, may_flip=np.ones(20, bool)
      )


if __name__ == "__main__":
  tf.test.main()
