"""The bonuses and their schedule."""

import numpy as np
import tensorflow as tf

from wsram_tf import objectives


class ExplorationTest(tf.test.TestCase):
  def test_entropy_adds_up_over_glimpses_and_averages_over_samples(self):
    entropy = tf.constant([[[1.0, 2.0]], [[3.0, 6.0]]])  # [M, B, N] = [2, 1, 2]
    self.assertAllClose(objectives.entropy_loss(entropy), [-6.0])

  def test_coverage_is_zero_where_all_cells_are_looked_at_alike(self):
    ways = np.array(
      [
        [[0.25] * 4] * 4,  # Anywhere, four times.
        np.eye(4),  # Each cell once.
        [[0.5, 0.5, 0, 0], [0.5, 0.5, 0, 0], [0, 0, 0.5, 0.5], [0, 0, 0.5, 0.5]],
        [[1.0, 0, 0, 0]] * 4,  # One cell, always.
        [[1.0, 0, 0, 0]] * 2 + [[0, 1.0, 0, 0]] * 2,
      ]
    )
    loss = objectives.coverage_loss(tf.constant(ways[np.newaxis]))
    self.assertAllClose(loss, [0.0, 0.0, 0.0, 12.0, 4.0], 0, 1e-12)

  def test_coverage_gradient_leads_to_the_cells_not_looked_at(self):
    logits = tf.Variable([[[[2.0, 0.0, 0.0], [2.0, 0.0, -1.0]]]])
    with tf.GradientTape() as tape:
      loss = objectives.coverage_loss(tf.nn.softmax(logits))
    down = -tape.gradient(loss, logits).numpy()
    self.assertAllLess(down[..., 0], 0.0)
    self.assertAllGreater(down[..., 2], 0.0)

  def test_schedule_goes_straight_to_its_end_and_stays(self):
    values = [
      float(objectives.linear_schedule(3.0, 1.0, 4, tf.constant(step))) for step in (0, 1, 2, 4, 9)
    ]
    self.assertAllClose(values, [3.0, 2.5, 2.0, 1.0, 1.0])
    self.assertEqual(objectives.linear_schedule(3.0, 1.0, 0, tf.constant(7)), 3.0)


if __name__ == "__main__":
  tf.test.main()
