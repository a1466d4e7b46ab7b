"""The ordered map of the input pipelines: order, and iterators that end at once."""

import time

import numpy as np
import tensorflow as tf
from absl.testing import parameterized

import wsram_tf
from wsram_tf.data.pipelines import map_in_order


def _options(enabled: bool | None) -> tf.data.Options:
  options = tf.data.Options()
  if enabled is not None:
    options.autotune.enabled = enabled
  return options


class MapInOrderTest(parameterized.TestCase, tf.test.TestCase):
  def test_keeps_the_order_of_elements_that_take_different_times(self):
    def wait(x: np.ndarray) -> np.ndarray:
      time.sleep(0.05 * (x % 2 == 0))
      return x

    mapped = map_in_order(
      tf.data.Dataset.range(20), lambda x: tf.numpy_function(wait, [x], tf.int64), at_once=4
    )
    self.assertEqual(list(mapped.as_numpy_iterator()), list(range(20)))

  # The thread that tunes a dataset may miss the end of an iterator, which then waits for it.
  @parameterized.parameters((None, False), (False, False), (True, True))
  def test_is_not_tuned_unless_its_options_ask_for_it(self, asked, found):
    dataset = tf.data.Dataset.range(3).with_options(_options(asked))
    self.assertIs(map_in_order(dataset, lambda x: x).options().autotune.enabled, found)

  def test_learners_read_datasets_without_tuning(self):
    learner = wsram_tf.WakeSleepLearner(wsram_tf.ModelConfig(height=8, width=8, units=4))
    pairs = np.zeros([2, 8, 8, 1], np.float32), np.zeros([2], np.int32)
    checked, _, _ = learner.checked(tf.data.Dataset.from_tensor_slices(pairs).batch(2))
    self.assertIs(checked.options().autotune.enabled, False)


if __name__ == "__main__":
  tf.test.main()
