"""Early stops: errors and mean glimpses, against a loop over images."""

import numpy as np
import tensorflow as tf

from wsram_tf.classification.reports import early_stop


class EarlyStopTest(tf.test.TestCase):
  def test_figures_equal_those_of_a_loop(self):
    generator = np.random.default_rng(3)
    probabilities = generator.dirichlet(0.4 * np.ones(3), [50, 4]).astype(np.float32)
    labels = generator.integers(0, 3, 50)
    thresholds = [0.0, 0.5, 0.9, 1.0]
    found = early_stop.early_stop_figures(probabilities, labels, thresholds)
    for threshold, figures in zip(thresholds, found["early_stop"], strict=True):
      glimpses, wrong = [], []
      for answers, label in zip(probabilities, labels, strict=True):
        for n, answer in enumerate(answers, 1):
          if answer.max() >= threshold or n == len(answers):
            break
        glimpses.append(n)
        wrong.append(answer.argmax() != label)
      self.assertEqual(figures["threshold"], threshold)
      self.assertAllClose(figures["mean_glimpses"], np.mean(glimpses))
      self.assertAllClose(figures["test_error_percent"], 100 * np.mean(wrong))
    first, last = found["early_stop"][0], found["early_stop"][-1]
    by_glimpse = found["test_error_percent_by_glimpse"]
    self.assertEqual(by_glimpse[0], first["test_error_percent"])
    self.assertEqual(by_glimpse[3], last["test_error_percent"])
    self.assertEqual((first["mean_glimpses"], last["mean_glimpses"]), (1.0, 4.0))

  def test_refuses_thresholds_that_are_no_probabilities(self):
    early_stop.check_thresholds([0, 0.5, 1])
    for wrong in (-0.1, 1.1, float("nan")):
      with self.assertRaisesRegex(ValueError, f"thresholds={wrong}: must be probabilities"):
        early_stop.check_thresholds([0.5, wrong])


if __name__ == "__main__":
  tf.test.main()
