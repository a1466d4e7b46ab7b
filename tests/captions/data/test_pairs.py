"""Batches of grids and captions: complete passes, and batches that depend on seed and step."""

import numpy as np
import tensorflow as tf

from wsram_tf.captions.data import pairs

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


if __name__ == "__main__":
  tf.test.main()
