"""The context network: area averages and states, compared with NumPy."""

import numpy as np
import tensorflow as tf

from wsram_tf.layers import ContextNetwork


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


class ContextNetworkTest(tf.test.TestCase):
  def test_low_resolution_matches_areas(self):
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
        found = ContextNetwork(side, units=2, num_states=1).low_resolution(tf.constant(images))
        expected = [_naive_low_resolution(image, side) for image in images]
        self.assertAllClose(found, expected, rtol=1e-12, atol=1e-12)
        self.assertAllClose(
          tf.reduce_mean(found, [1, 2]), images.mean(axis=(1, 2)), rtol=1e-12, atol=1e-12
        )

  def test_low_resolution_keeps_rows_and_columns(self):
    image = np.zeros([1, 4, 6, 1], np.float32)
    image[0, 0, 5] = 6.0
    found = ContextNetwork(2, units=2, num_states=1).low_resolution(tf.constant(image))
    self.assertEqual(found.dtype, tf.float32)
    self.assertAllClose(found[0, :, :, 0], [[0.0, 1.0], [0.0, 0.0]])

  def test_states_match_numpy(self):
    low = np.random.default_rng(0).normal(size=[3, 2, 2, 1]).astype(np.float32)
    for num_states in (1, 2):
      network = ContextNetwork(2, units=4, num_states=num_states)
      first, *rest = network(tf.constant(low))
      hidden = np.maximum(low.reshape(3, 4) @ network.hidden.kernel.numpy(), 0)
      states = np.split(hidden @ network.states.kernel.numpy(), num_states, axis=-1)
      self.assertAllClose(first, np.tanh(states[0]), atol=1e-6)
      self.assertLen(rest, num_states - 1)
      if rest:
        self.assertAllClose(rest[0], states[1], atol=1e-6)


if __name__ == "__main__":
  tf.test.main()
