"""Canvases as visible pixels: the same canvases as those of pixels, at any size."""

import dataclasses

import numpy as np
import tensorflow as tf

from tests.support import pixel_lists
from wsram_tf.data.canvases import CanvasConfig, canvas_dataset, evaluation_canvases
from wsram_tf.data.canvases.sparse import visible_pixels
from wsram_tf.data.digits import Digits

_DIGITS = Digits(
  np.random.default_rng(0).integers(0, 256, [7, 12, 10]).astype(np.uint8), np.arange(7)
)
# Small, so that pieces and digits overlap.
_CANVAS = CanvasConfig(canvas_side=24, smallest_digit=6, largest_digit=15, num_clutter=12)


class SparseCanvasesTest(tf.test.TestCase):
  def test_are_the_canvases_of_pixels(self):
    for canvas in (_CANVAS, dataclasses.replace(_CANVAS, num_clutter=0)):
      with self.subTest(canvas=canvas):
        settings = {"batch_size": 5, "seed": 3, "clutter_side": 6}
        one = canvas_dataset(_DIGITS, canvas, **settings)
        other = canvas_dataset(_DIGITS, canvas, as_visible_pixels=True, **settings)
        for (images, labels), (pixels, same) in zip(one.take(3), other.take(3), strict=True):
          self.assertAllEqual(labels, same)
          self.assertAllClose(pixel_lists.drawn(pixels.numpy(), 24), images, rtol=0, atol=1e-6)
        settings["num_canvases"] = 8
        (images, _), *_ = evaluation_canvases(_DIGITS, canvas, **settings)
        (pixels, _), *_ = evaluation_canvases(_DIGITS, canvas, as_visible_pixels=True, **settings)
        self.assertAllClose(pixel_lists.drawn(pixels.numpy(), 24), images, rtol=0, atol=1e-6)

  def test_a_huge_canvas_lists_as_few_pixels_as_a_small_one(self):
    counts = []
    for side in (1_000, 100_000):
      canvas = CanvasConfig(canvas_side=side, smallest_digit=28, largest_digit=28, num_clutter=64)
      data = canvas_dataset(_DIGITS, canvas, as_visible_pixels=True, batch_size=4, seed=1)
      pixels = next(iter(data))[0].numpy()
      self.assertAllInRange(pixels[..., :2], 0, side - 1)
      self.assertGreater(pixels[..., :2].max(), 0.9 * side)
      counts.append(pixels.shape[1])
    self.assertAllClose(*counts, rtol=0.01)

  def test_the_brightest_pixel_of_a_place_is_visible(self):
    pixels = [[[3, 1, 0.2], [3, 2, 0.4], [3, 1, 0.9], [3, 1, 0.5], [1, 3, 0]], [[0, 0, 0.1]] * 5]
    found = visible_pixels(tf.constant(pixels, tf.float32))
    self.assertAllClose(found, [[[3, 1, 0.9], [3, 2, 0.4]], [[0, 0, 0.1], [0, 0, 0]]])


if __name__ == "__main__":
  tf.test.main()
