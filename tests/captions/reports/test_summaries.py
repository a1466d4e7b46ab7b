"""What TensorBoard gets of a captioner's training."""

import numpy as np
import tensorflow as tf

from wsram_tf.captions.reports.summaries import caption_tiles, looked_at


class SummariesTest(tf.test.TestCase):
  def test_tiles_frame_the_cells_before_the_words(self):
    # Of 2 x 4 cells of an image of 32 x 64 pixels, the last of the first row.
    locations = np.array([[[-0.5, 0.75], [0.5, 0.75]]], np.float32)
    tile = caption_tiles(np.zeros([1, 32, 64, 1]), locations, [["seven"]], [(2, 4)])
    top = tile.shape[0] - 256 - 4
    # 64 pixels become 256, and the lines are 2 pixels wide.
    inside = tile[top : top + 128, 4:260].astype(int)
    coloured = np.argwhere(np.ptp(inside, axis=-1) > 60)
    self.assertAllEqual(coloured.min(axis=0), [0, 192])
    self.assertAllEqual(coloured.max(axis=0), [64, 255])
    self.assertLess(tile[:top, :, 0].min(), 128)  # The words, black on white.

  def test_each_layer_has_its_own_cells(self):
    locations = np.zeros([1, 1, 2], np.float32)
    for layer, side in ((0, 256), (1, 64)):
      layers = np.array([[layer]])
      shapes = [(1, 1), (4, 4)]
      tile = caption_tiles(np.zeros([1, 16, 16, 3]), locations, [["a"]], shapes, layers)
      inside = tile[-260:-4, 4:260].astype(int)
      coloured = np.argwhere(np.ptp(inside, axis=-1) > 60)
      extent = np.minimum(coloured.max(axis=0), 255) - coloured.min(axis=0) + 1
      self.assertAllLessEqual(np.abs(extent - side), 1)

  def test_counts_the_glimpses_before_words_alone(self):
    locations = np.arange(12, dtype=np.float32).reshape(2, 3, 2) / 12
    locations[1, 0] = np.nan  # Of weights that diverged.
    layers = np.array([[0, 1, 1], [1, 0, 0]])
    words = [["a", "four"], ["nothing"]]
    images, histograms = looked_at(
      np.zeros([1, 8, 8, 1]), locations, words, [(2, 2), (4, 4)], layers
    )
    self.assertAllEqual(histograms["glimpses/row"], locations[0, :2, 0])
    self.assertAllEqual(histograms["glimpses/column"], locations[0, :2, 1])
    self.assertAllEqual(histograms["glimpses/layer"], [0, 1, 1])
    self.assertEqual(images["glimpses/validation"].shape[1:], (264, 3))

  def test_captions_without_words_are_shown(self):
    tile = caption_tiles(np.zeros([1, 8, 8, 1]), np.zeros([1, 3, 2]), [[]], [(2, 2)])
    self.assertEqual(tile[-260:-4, 4:260].max(), 0)


if __name__ == "__main__":
  tf.test.main()
