"""The grid network: one feature a cell, of what is near the cell and where it is."""

import numpy as np
import tensorflow as tf

from wsram_tf.captions.grid_network import GridNetwork


class GridNetworkTest(tf.test.TestCase):
  def test_a_cell_sees_its_surroundings_alone(self):
    # Three poolings and 3 x 3 convolutions: 22 pixels, from 7 before the cell to 7 after it.
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

  def test_features_tell_where_a_cell_is(self):
    for places in ("own", "smooth"):
      with self.subTest(places):
        features = GridNetwork(units=4, places=places)(tf.ones([1, 2, 3, 5]))[0]
        flat = np.reshape(features, [6, 4])
        distances = np.linalg.norm(flat[:, np.newaxis] - flat, axis=-1)
        self.assertGreater(distances[np.triu_indices(6, 1)].min(), 1e-3)

  def test_with_smooth_places_no_cell_stands_out_from_its_neighbours(self):
    # Of empty cells, the features are second-order in row and column: third differences vanish.
    for places, is_smooth in (("smooth", True), ("own", False)):
      features = GridNetwork(units=4, places=places)(tf.zeros([1, 6, 5, 3]))[0].numpy()
      for axis in (0, 1):
        third = np.abs(np.diff(features, n=3, axis=axis)).max()
        self.assertEqual(third < 1e-5, is_smooth, (places, axis, third))

  def test_places_of_another_name_are_refused(self):
    with self.assertRaisesRegex(ValueError, "places='round': must be own or smooth"):
      GridNetwork(units=4, places="round")

  def test_faint_strokes_and_bright_ones_give_features_of_one_size(self):
    network = GridNetwork(units=8, filters=(4,), reach=3)
    image = np.random.default_rng(0).uniform(size=[1, 8, 8, 1]).astype(np.float32)
    network(image)
    where = network.where
    sizes = [float(tf.norm(network(scale * image) - where)) for scale in (0.3, 1.0)]
    self.assertAllClose(sizes[0], sizes[1], rtol=0.1)


if __name__ == "__main__":
  tf.test.main()
