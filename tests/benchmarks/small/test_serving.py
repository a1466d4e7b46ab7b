"""What the benchmark of serving asks; the test compares no timings."""

from unittest import mock

import tensorflow as tf

from tests.benchmarks import serving
from tests.support.serving import exports


class MeasureTest(tf.test.TestCase):
  def test_times_every_signature_at_every_batch_size(self):
    version = str(exports.model_dir())
    self.enterContext(mock.patch.dict(serving.BATCHES, {1: 3, 64: 2}))
    seconds = serving.measure(version, version, threads=1, rounds=1)
    asked = {name for name, _ in seconds} - {"identity"}
    signatures = "attend begin classify_averaged classify_bytes classify_stepwise look prior_map"
    self.assertEqual(asked, {*signatures.split(), "serving_default"})
    for (name, batch), times in seconds.items():
      with self.subTest(name=name, batch=batch):
        self.assertLen(times, serving.BATCHES[batch])


if __name__ == "__main__":
  tf.test.main()
