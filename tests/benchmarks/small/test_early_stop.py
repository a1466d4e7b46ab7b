"""What the benchmark of early answers measures; the test compares no timings."""

import numpy as np
import tensorflow as tf

from tests.benchmarks import early_stop
from tests.support.serving import exports


class MeasureTest(tf.test.TestCase):
  def test_glimpses_and_errors_are_those_of_classify_stepwise(self):
    version = exports.model_dir()
    images = np.random.RandomState(1).uniform(size=[6, 40, 36, 1]).astype(np.float32)
    answer = exports.cpp().run(
      version, "classify_stepwise", images=images, threshold=np.ones(6, np.float32)
    )
    sure = answer["probabilities"].max(axis=-1)
    middle = float(np.median(sure[:, 0]))  # So that some images stop at once.
    labels = answer["class_id"].copy()
    labels[0] = (labels[0] + 1) % 10
    measured = early_stop.measure(str(version), images, labels, [0.0, middle, 1.0])
    self.assertLen(measured, 5)
    for title, glimpses in (
      ("serving_default", 2),
      ("all glimpses", 2),
      ("until 0", 1),
      (f"until {middle:g}", np.where(sure[:, 0] >= middle, 1, 2).mean()),
      ("until 1", 2),
    ):
      self.assertEqual(measured[title][0], glimpses, title)
    for title in ("serving_default", "all glimpses", "until 1"):
      self.assertAllClose(measured[title][1], 100 / 6)


if __name__ == "__main__":
  tf.test.main()
