"""The weights that the package ships answer, and wrong names are refused."""

import numpy as np
import tensorflow as tf

import wsram_tf
from wsram_tf.data import canvases, digits


class PretrainedTest(tf.test.TestCase):
  def test_reads_digits_it_was_not_trained_on(self):
    test = digits.load_digits("mnist5k", num_validation=400).test
    images, labels = next(
      iter(
        canvases.evaluation_canvases(
          test,
          canvas_shape=(100, 100),
          smallest_digit=14,
          largest_digit=56,
          num_canvases=500,
          batch_size=500,
          seed=3,
        )
      )
    )
    for name in wsram_tf.PRETRAINED:
      answer = wsram_tf.load_pretrained(name)(images)
      # Its error is near 7%; 12% of 500 is over 4 standard errors away.
      self.assertLess(np.mean(answer["class_id"].numpy() != labels.numpy()), 0.12)

  def test_refuses_an_unknown_name(self):
    with self.assertRaisesRegex(ValueError, "name='imagenet': must be one of quickstart"):
      wsram_tf.load_pretrained("imagenet")


if __name__ == "__main__":
  tf.test.main()
