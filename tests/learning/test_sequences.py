"""Samples as an axis of their own, and laid out on the batch axis."""

import tensorflow as tf

from wsram_tf.learning.sequences import samples_first, samples_last


class SamplesTest(tf.test.TestCase):
  def test_samples_of_one_image_are_neighbours(self):
    rows = tf.constant([[10 * b + m] for b in range(3) for m in range(2)])
    self.assertAllEqual(samples_first(rows, 2)[:, :, 0], [[0, 10, 20], [1, 11, 21]])

  def test_the_two_are_inverse(self):
    rows = tf.reshape(tf.range(6 * 4 * 2), [6, 4, 2])
    self.assertAllEqual(samples_last(samples_first(rows, 2)), rows)
    self.assertEqual(samples_first(rows, 2).shape, [2, 3, 4, 2])


if __name__ == "__main__":
  tf.test.main()
