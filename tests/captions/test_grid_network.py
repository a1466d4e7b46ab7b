"""The grid network: features that depend on the surroundings and the place of a cell."""

import numpy as np
import tensorflow as tf

from wsram_tf.captions.grid_network import GridNetwork, mix_cells, read_cells


class ReadingTest(tf.test.TestCase):
  def test_a_row_reads_the_cells_of_its_own_image(self):
    generator = np.random.default_rng(0)
    images, cells, samples = 3, 4, 2
    features = generator.normal(size=[images, cells, 5])
    rows, image_of_row = features.reshape(-1, 5), np.repeat(np.arange(images), samples)
    chosen = np.array([3, 0, 1, 1, 2, 0], np.int32)
    self.assertAllEqual(read_cells(rows, chosen, cells), features[image_of_row, chosen])
    shares = generator.dirichlet(np.ones(cells), size=images * samples)
    expected = np.einsum("rl,rlf->rf", shares, features[image_of_row])
    self.assertAllClose(mix_cells(rows, shares), expected, rtol=1e-12)


class GridNetworkTest(tf.test.TestCase):
  def test_a_cell_depends_on_its_surroundings_only(self):
    # Three 3 x 3 convolutions with pooling reach 22 pixels: 7 on each side of the cell's 8.
    network = GridNetwork(units=4, filters=(3, 3, 3), reach=1)
    image = np.random.default_rng(0).uniform(size=[1, 64, 64, 1]).astype(np.float32)
    before = network(image)
    changed = image.copy()
    changed[0, 32, 40] += 1.0
    moved = np.abs(network(changed) - before).max(axis=-1)[0] > 0
    rows, columns = np.nonzero(moved)
    self.assertTrue(moved[4, 5])
    self.assertAllInRange(rows, 3, 4)
    self.assertAllInRange(columns, 4, 5)

  def test_features_identify_the_place_of_a_cell(self):
    for places in ("own", "smooth"):
      with self.subTest(places):
        features = GridNetwork(units=4, places=places)(tf.ones([1, 2, 3, 5]))[0]
        flat = np.reshape(features, [6, 4])
        distances = np.linalg.norm(flat[:, np.newaxis] - flat, axis=-1)
        self.assertGreater(distances[np.triu_indices(6, 1)].min(), 1e-3)

  def test_smooth_places_are_quadratic_in_row_and_column(self):
    # Third differences of a quadratic vanish.
    for places, is_smooth in (("smooth", True), ("own", False)):
      features = GridNetwork(units=4, places=places)(tf.zeros([1, 6, 5, 3]))[0].numpy()
      for axis in (0, 1):
        third = np.abs(np.diff(features, n=3, axis=axis)).max()
        self.assertEqual(third < 1e-5, is_smooth, (places, axis, third))

  def test_refuses_other_places(self):
    with self.assertRaisesRegex(ValueError, "places='round': must be one of own, smooth"):
      GridNetwork(units=4, places="round")

  def test_faint_and_bright_strokes_give_features_of_equal_size(self):
    network = GridNetwork(units=8, filters=(4,), reach=3)
    image = np.random.default_rng(0).uniform(size=[1, 8, 8, 1]).astype(np.float32)
    network(image)
    where = network.where
    sizes = [float(tf.norm(network(scale * image) - where)) for scale in (0.3, 1.0)]
    self.assertAllClose(sizes[0], sizes[1], rtol=0.1)


if __name__ == "__main__":
  tf.test.main()
