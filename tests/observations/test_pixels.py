"""Observations of pixels: area averages, compared with NumPy, and patches."""

import numpy as np
import tensorflow as tf

from wsram_tf.layers import GlimpseSensor
from wsram_tf.observations import PixelObservation, area_means


def _overlap(first: float, last: float, pixel: int) -> float:
  return max(0.0, min(last, pixel + 1) - max(first, pixel))


def _naive_low_resolution(image: np.ndarray, side: int) -> np.ndarray:
  """Averages the area of each low-resolution pixel, fractions of pixels included."""
  height, width, channels = image.shape
  copy = np.zeros([side, side, channels])
  for i in range(side):
    for j in range(side):
      for row in range(height):
        for column in range(width):
          tall = _overlap(i * height / side, (i + 1) * height / side, row)
          wide = _overlap(j * width / side, (j + 1) * width / side, column)
          copy[i, j] += tall * wide * image[row, column]
  return copy / ((height / side) * (width / side))


class AreaMeansTest(tf.test.TestCase):
  def test_match_areas(self):
    # Whole blocks, fractions of pixels, three channels, equal size, a single pixel.
    for height, width, channels, side in [
      (6, 6, 1, 3),
      (7, 7, 1, 3),
      (5, 8, 3, 4),
      (9, 4, 2, 4),
      (4, 4, 1, 4),
      (5, 3, 1, 1),
    ]:
      with self.subTest(f"{height} x {width} x {channels} to {side}"):
        images = np.random.default_rng(0).random([2, height, width, channels])
        found = area_means(tf.constant(images), side)
        expected = [_naive_low_resolution(image, side) for image in images]
        self.assertAllClose(found, expected, rtol=1e-12, atol=1e-12)
        self.assertAllClose(
          tf.reduce_mean(found, [1, 2]), images.mean(axis=(1, 2)), rtol=1e-12, atol=1e-12
        )

  def test_keep_rows_and_columns(self):
    image = np.zeros([1, 4, 6, 1], np.float32)
    image[0, 0, 5] = 6.0
    found = area_means(tf.constant(image), 2)
    self.assertEqual(found.dtype, tf.float32)
    self.assertAllClose(found[0, :, :, 0], [[0.0, 1.0], [0.0, 0.0]])


class PixelObservationTest(tf.test.TestCase):
  def test_gives_the_copy_and_the_patches_of_its_images(self):
    images = tf.constant(np.random.default_rng(1).random([2, 9, 7, 3]), tf.float32)
    locations = tf.constant(np.random.default_rng(2).uniform(-1, 1, [6, 2]), tf.float32)
    sensor = GlimpseSensor(3, 2)
    expected = sensor(sensor.prepare(images), locations)
    for cutting in ("gather", "xla"):
      observation = PixelObservation(images, sensor, cutting)
      self.assertEqual(observation.dtype, tf.float32)
      self.assertAllEqual(observation.low_resolution(4), area_means(images, 4))
      self.assertAllEqual(observation.patches(locations), expected)


if __name__ == "__main__":
  tf.test.main()
