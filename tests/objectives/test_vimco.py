"""VIMCO's signals against a naive version, and their limiting cases."""

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from tests.support.models import enumeration
from wsram_tf import objectives


def naive_signals(log_weights: np.ndarray) -> np.ndarray:
  """One sample at a time, in NumPy's float64."""

  def bound(values: np.ndarray) -> np.ndarray:
    top = values.max(axis=0)
    return top + np.log(np.exp(values - top).mean(axis=0))

  signals = []
  for m in range(len(log_weights)):
    replaced = log_weights.copy()
    replaced[m] = np.delete(log_weights, m, axis=0).mean(axis=0)
    signals.append(bound(log_weights) - bound(replaced))
  return np.array(signals)


class VimcoSignalsTest(tf.test.TestCase):
  def test_match_a_naive_version(self):
    log_weights = np.array([[0.5, -800.0, 3.0], [-2.0, 700.0, 3.0], [1.5, 0.0, 3.0]])
    for dtype, tolerance in (("float32", 1e-4), ("float64", 1e-10)):
      for table in (log_weights, log_weights[..., np.newaxis], log_weights[:2]):
        signals = objectives.vimco_signals(tf.constant(table, dtype))
        self.assertEqual(signals.dtype, dtype)
        self.assertAllClose(signals, naive_signals(table), rtol=tolerance, atol=tolerance)

  def test_match_tensorflow_probability(self):
    log_weights = np.random.default_rng(0).normal(0.0, 3.0, [5, 7])
    swapped, whole = tfp.stats.log_soomean_exp(log_weights, axis=0)
    self.assertAllClose(
      objectives.vimco_signals(tf.constant(log_weights)), whole - swapped, 1e-10, 1e-10
    )

  def test_vanish_where_all_weights_are_equal(self):
    self.assertAllClose(
      objectives.vimco_signals(tf.fill([4, 2], tf.constant(-3.5, tf.float64))),
      np.zeros([4, 2]),
      0,
      enumeration.TOLERANCE,
    )

  def test_are_constants(self):
    log_weights = tf.Variable([[0.5], [-1.0]])
    log_sampling = tf.Variable([[0.25], [0.0]])
    with tf.GradientTape() as tape:
      loss = objectives.vimco_sampler_loss(log_weights, log_sampling)
    by_weights, by_sampling = tape.gradient(loss, [log_weights, log_sampling])
    self.assertIsNone(by_weights)
    self.assertAllClose(by_sampling, -objectives.vimco_signals(log_weights))

  def test_one_sample_is_refused(self):
    with self.assertRaisesRegex(ValueError, "log_weights of M=1 samples: must hold at least 2"):
      objectives.vimco_signals(tf.zeros([1, 4]))

  def test_agree_in_every_mode(self):
    log_weights = np.array([[0.5, -80.0], [-2.0, 70.0], [1.5, 0.0]])
    for shape in ([3, 2], [None, None]):
      for compiled in (False, True):
        function = tf.function(
          objectives.vimco_signals,
          input_signature=[tf.TensorSpec(shape, tf.float64)],
          jit_compile=compiled and None not in shape,  # The number of samples shapes its tensors.
        )
        self.assertAllClose(function(log_weights), naive_signals(log_weights), 0, 1e-10)


if __name__ == "__main__":
  tf.test.main()
