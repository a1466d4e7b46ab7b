"""The cell network: features of the content, equal at every place, and of the place."""

import numpy as np
import tensorflow as tf

from wsram_tf.layers import CellNetwork, saliency

SIDE = 12


def _copy(row: int, column: int, brightness: float = 1.0) -> tf.Tensor:
  """Makes a uniform low-resolution image with one small blob."""
  blob = np.random.default_rng(0).uniform(size=[3, 3])
  copy = np.zeros([1, SIDE, SIDE, 1], np.float32)
  copy[0, row : row + 3, column : column + 3, 0] = brightness * blob
  return tf.constant(copy)


class CellNetworkTest(tf.test.TestCase):
  def setUp(self):
    super().setUp()
    self.network = CellNetwork(units=5, filters=(4,))
    self.network(_copy(0, 0))
    generator = np.random.default_rng(1)
    self.network.set_weights([generator.normal(size=w.shape) for w in self.network.get_weights()])

  def what(self, copy: tf.Tensor) -> np.ndarray:
    """Computes features without the positional part: `[SIDE, SIDE, F]`."""
    self.network.where.kernel.assign(tf.zeros_like(self.network.where.kernel))
    return self.network(copy).numpy().reshape([SIDE, SIDE, 5])

  def test_equal_content_has_equal_features_at_every_place(self):
    # Away from the edge, where the padding has an effect.
    one, other = self.what(_copy(3, 4)), self.what(_copy(5, 6))
    self.assertAllClose(one[2:7, 3:8], other[4:9, 5:10], rtol=1e-4, atol=1e-4)
    self.assertNotAllClose(one[2:7, 3:8], other[2:7, 3:8])

  def test_a_cell_depends_on_its_surroundings_only(self):
    # Two 3 x 3 convolutions reach two cells. A swap of pixels keeps the image's mean and variance.
    copy = np.random.default_rng(2).uniform(size=[1, SIDE, SIDE, 1]).astype(np.float32)
    changed = copy.copy()
    changed[0, 5, 6], changed[0, 5, 7] = copy[0, 5, 7], copy[0, 5, 6]
    moved = np.abs(self.what(tf.constant(changed)) - self.what(tf.constant(copy))).max(-1) > 1e-3
    rows, columns = np.nonzero(moved)
    self.assertAllInRange(rows, 3, 7)
    self.assertAllInRange(columns, 4, 9)
    self.assertTrue(moved[5, 6])

  def test_normalises_faint_content(self):
    bright, faint = self.what(_copy(4, 4)), self.what(_copy(4, 4, brightness=0.2))
    self.assertAllClose(bright, faint, rtol=0.1, atol=0.3)
    even = self.network(tf.fill([1, SIDE, SIDE, 1], 0.7))
    self.assertAllClose(even, self.network(tf.zeros([1, SIDE, SIDE, 1])), rtol=1e-3, atol=1e-3)

  def test_a_sum_of_waves_identifies_any_cell(self):
    # The image is uniform, so each unit of a feature is one wave.
    network = CellNetwork(units=182)
    even = tf.zeros([1, SIDE, SIDE, 1])
    network(even)
    network.where.kernel.assign(np.eye(182))
    basis = network(even)[0].numpy()
    for cell in (0, 5 * SIDE + 7, SIDE * SIDE - 1):
      hill = basis @ basis[cell]
      self.assertEqual(np.argmax(hill), cell)
      # At most half the peak three cells away, a quarter of the image.
      far = hill.reshape([SIDE, SIDE])[(cell // SIDE + 3) % SIDE, (cell % SIDE + 3) % SIDE]
      self.assertLess(far, 0.5 * hill[cell])


class SaliencyTest(tf.test.TestCase):
  def test_is_the_standardised_distance_from_the_mean(self):
    images = np.random.default_rng(3).uniform(size=[2, 4, 4, 3]).astype(np.float32)
    for channels in (1, 3):
      pixels = images[..., :channels].reshape(2, 16, channels)
      distances = np.linalg.norm(pixels - pixels.mean(axis=1, keepdims=True), axis=-1)
      expected = distances / np.sqrt((distances**2).mean(axis=1, keepdims=True))
      found = saliency(tf.constant(images[..., :channels]))
      self.assertAllClose(found, expected, rtol=1e-3)
      if channels == 1:
        scaled = np.abs(pixels - pixels.mean(axis=1, keepdims=True)) / pixels.std(1, keepdims=True)
        self.assertAllClose(found, scaled[..., 0], rtol=1e-3)
    self.assertAllEqual(saliency(tf.fill([1, 4, 4, 3], 0.25)), tf.zeros([1, 16]))


if __name__ == "__main__":
  tf.test.main()
