"""One test for all observations: the same images give the same copy and the same patches."""

import itertools

import numpy as np
import tensorflow as tf

from wsram_tf.layers import GlimpseSensor
from wsram_tf.observations import PixelObservation, SparseObservation

# Corners, edges, the middle, and places outside that are clipped.
_COORDINATES = (-1.3, -1.0, -0.31, 0.0, 0.45, 1.0)


def _images(height: int, width: int, channels: int) -> np.ndarray:
  """Two images whose pixels are mostly black."""
  rng = np.random.default_rng(height + width)
  images = rng.random([2, height, width, channels])
  return (images * (rng.random([2, height, width, 1]) < 0.3)).astype(np.float32)


def _visible(images: np.ndarray) -> np.ndarray:
  """Lists the visible pixels, in no order, filled with pixels of value 0."""
  lists = []
  for image in images:
    places = np.random.default_rng(1).permutation(np.argwhere(image.any(axis=-1)))
    lists.append(np.concatenate([places, image[tuple(places.T)]], axis=1))
  most = max(map(len, lists)) + 3
  return np.stack([np.pad(one, [[0, most - len(one)], [0, 0]]) for one in lists])


def _sparse(images: np.ndarray, sensor: GlimpseSensor) -> SparseObservation:
  return SparseObservation(tf.constant(_visible(images), tf.float32), images.shape[1:3], sensor)


class ConformanceTest(tf.test.TestCase):
  def test_patches(self):
    places = np.array(list(itertools.product(_COORDINATES, _COORDINATES)), np.float32)
    locations = np.concatenate([places, places[::-1]])
    for height, width, channels in [(20, 20, 1), (7, 31, 3), (1, 5, 1)]:
      images = _images(height, width, channels)
      for side, scales in [(3, 1), (4, 3)]:
        with self.subTest(f"{height} x {width} x {channels}, G={side}, S={scales}"):
          sensor = GlimpseSensor(side, scales)
          expected = PixelObservation(tf.constant(images), sensor).patches(locations)
          found = _sparse(images, sensor).patches(tf.constant(locations))
          self.assertAllEqual(found[:, 0], expected[:, 0])  # Scale 0, to the last bit.
          self.assertAllClose(found, expected, rtol=0, atol=1e-6)

  def test_patches_of_chosen_scales(self):
    images = _images(20, 14, 2)
    places = np.array(list(itertools.product(_COORDINATES, _COORDINATES)), np.float32)
    actions = np.concatenate([places, np.arange(36, dtype=np.float32)[:, None] % 3], axis=1)
    sensor = GlimpseSensor(4, 3, choose_scale=True)
    expected = PixelObservation(tf.constant(images), sensor).patches(actions)
    found = _sparse(images, sensor).patches(tf.constant(actions))
    self.assertEqual(found.shape, [36, 1, 4, 4, 2])
    self.assertAllClose(found, expected, rtol=0, atol=1e-6)

  def test_low_resolution_copy(self):
    for height, width, channels, side in [(20, 20, 1, 4), (7, 31, 3, 5), (9, 12, 1, 9)]:
      with self.subTest(f"{height} x {width} x {channels} to {side}"):
        images, sensor = _images(height, width, channels), GlimpseSensor(2, 1)
        expected = PixelObservation(tf.constant(images), sensor).low_resolution(side)
        found = _sparse(images, sensor).low_resolution(side)
        self.assertAllClose(found, expected, rtol=0, atol=1e-6)

  def test_compiled(self):
    images, sensor = _images(20, 20, 1), GlimpseSensor(4, 2)
    pixels = tf.constant(_visible(images), tf.float32)
    locations = tf.constant([[0.1, -0.4], [1.0, 0.0]])

    @tf.function(jit_compile=True)
    def observe(pixels, locations):
      observation = SparseObservation(pixels, (20, 20), sensor, static_shapes=True)
      return observation.low_resolution(5), observation.patches(locations)

    observation = SparseObservation(pixels, (20, 20), sensor)
    copy, patches = observe(pixels, locations)
    self.assertAllClose(copy, observation.low_resolution(5), rtol=0, atol=1e-6)
    self.assertAllClose(patches, observation.patches(locations), rtol=0, atol=1e-6)


class LargeImageTest(tf.test.TestCase):
  def test_places_up_to_a_million_pixels_are_exact(self):
    side = 2**20
    for place in (0, 1, 12_345, side // 2 - 1, side // 2, side - 2):
      pixels = tf.constant([[[place, side - 1 - place, 1.0]]], tf.float32)
      observation = SparseObservation(pixels, (side, side), GlimpseSensor(2, 1))
      copy = observation.low_resolution(64)[0, ..., 0].numpy()
      cell = tuple(int(axis[0]) for axis in np.nonzero(copy))
      self.assertEqual(cell, (place * 64 // side, (side - 1 - place) * 64 // side))
      self.assertAllClose(copy.sum(), (64 / side) ** 2, rtol=1e-6)
      # Centres between two pixels, so that the patch begins at the pixel.
      centre = [2 * (at + 1) / side - 1 for at in (place, side - 1 - place)]
      patch = observation.patches(tf.constant([centre], tf.float32))[0, 0, ..., 0]
      self.assertAllEqual(patch, [[1.0, 0.0], [0.0, 0.0]])

  def test_refuses_sides_out_of_range(self):
    pixels, sensor = tf.zeros([1, 1, 3]), GlimpseSensor(2, 1)
    with self.assertRaisesRegex(ValueError, r"shape=\(0, 5\): each side must be from 1 to"):
      SparseObservation(pixels, (0, 5), sensor)
    with self.assertRaisesRegex(ValueError, "side=6: must be at most the images' shorter side"):
      SparseObservation(pixels, (9, 5), sensor).low_resolution(6)


if __name__ == "__main__":
  tf.test.main()
