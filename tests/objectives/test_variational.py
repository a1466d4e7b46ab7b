"""The variational losses: limiting cases, what is a constant, and what they refuse."""

import itertools

import numpy as np
import tensorflow as tf

from tests.support.models import enumeration
from wsram_tf import objectives

_SIGNAL = np.array([[-1.0, 5.0, -1e4], [-3.0, 5.0, -1e-4], [2.0, 5.0, -7.0]])
_LOG_PRIOR = np.array([[0.5, -1.0, 2.0], [-0.25, 0.0, 1.0], [-2.0, 3.0, -1.0]])
_WEIGHTS = np.array([[0.5, 1 / 3, 0.0], [0.25, 1 / 3, 1.0], [0.25, 1 / 3, 0.0]])


class LeaveOneOutTest(tf.test.TestCase):
  def test_is_the_weighted_mean_of_the_others(self):
    for dtype, tolerance in (("float32", 1e-6), ("float64", 1e-12)):
      baseline = objectives.leave_one_out_baseline(
        tf.constant(_SIGNAL, dtype), tf.constant(_WEIGHTS, dtype)
      )
      self.assertEqual(baseline.dtype, dtype)
      for m in range(3):
        rest = [i for i in range(3) if i != m]
        total = _WEIGHTS[rest].sum(axis=0)
        mean = (_WEIGHTS[rest] * _SIGNAL[rest]).sum(axis=0) / np.where(total, total, 1)
        self.assertAllClose(baseline[m], mean, rtol=tolerance, atol=tolerance)

  def test_equal_signals_leave_no_gradient(self):
    log_prior = tf.Variable(_LOG_PRIOR)
    signal = tf.fill([3, 3], tf.constant(-4.2, tf.float64))
    weights = tf.fill([3, 3], tf.constant(1 / 3, tf.float64))
    with tf.GradientTape() as tape:
      loss = objectives.variational_prior_loss(
        signal, log_prior, weights, objectives.leave_one_out_baseline(signal, weights)
      )
    self.assertAllClose(tape.gradient(loss, log_prior), np.zeros([3, 3]), 0, enumeration.TOLERANCE)

  def test_one_sample_is_refused(self):
    with self.assertRaisesRegex(ValueError, "signal of M=1 samples: must hold at least 2"):
      objectives.leave_one_out_baseline(tf.zeros([1, 4]), tf.ones([1, 4]))


class VariationalLossesTest(tf.test.TestCase):
  def test_only_the_log_densities_carry_a_gradient(self):
    variables = [tf.Variable(x) for x in (_SIGNAL, _LOG_PRIOR, _WEIGHTS, 0.5 * _SIGNAL)]
    signal, log_prior, weights, baseline = variables
    with tf.GradientTape(persistent=True) as tape:
      prior = objectives.variational_prior_loss(signal, log_prior, weights, baseline)
      likelihood = objectives.variational_likelihood_loss(log_prior, weights)
      fitted = objectives.baseline_loss(signal, baseline, weights)
    self.assertAllClose(
      tape.gradient(prior, variables)[1], -_WEIGHTS * 0.5 * _SIGNAL, 0, enumeration.TOLERANCE
    )
    self.assertAllClose(tape.gradient(likelihood, log_prior), -_WEIGHTS, 0, enumeration.TOLERANCE)
    self.assertAllClose(
      tape.gradient(fitted, baseline), -_WEIGHTS * _SIGNAL, 0, enumeration.TOLERANCE
    )
    for loss, constants in (
      (prior, (signal, weights, baseline)),
      (likelihood, (weights,)),
      (fitted, (signal, weights)),
    ):
      self.assertEqual(tape.gradient(loss, constants), (None,) * len(constants))

  def test_a_constant_signal_moves_the_prior_at_another_temperature_without_a_baseline(self):
    """Exact expectations over all tuples of 5 samples of 3 choices, self-normalised weights."""
    logits = tf.Variable(np.array([1.0, 0.0, 0.0]))
    tuples = np.array(list(itertools.product(range(3), repeat=5))).T  # [M, tuples]
    signal = tf.fill(tuples.shape, tf.constant(-2.3, tf.float64))

    def pull(temperature: float, baseline: tf.Tensor | None) -> float:
      """Expected change of the largest logit in a step of gradient descent."""
      sampled = tf.math.log_softmax(tf.constant([1.0, 0.0, 0.0], tf.float64) / temperature)
      log_sampled = tf.gather(sampled, tuples)
      probabilities = tf.exp(tf.reduce_sum(log_sampled, axis=0))
      with tf.GradientTape() as tape:
        log_prior = tf.gather(tf.math.log_softmax(logits), tuples)
        weights = tf.nn.softmax(log_prior - log_sampled, axis=0)
        losses = objectives.variational_prior_loss(signal, log_prior, weights, baseline)
        loss = tf.reduce_sum(probabilities * losses)
      return -float(tf.convert_to_tensor(tape.gradient(loss, logits))[0])

    self.assertAllClose(pull(1.0, None), 0.0, 0, enumeration.TOLERANCE)
    self.assertAllClose(pull(1.5, signal), 0.0, 0, enumeration.TOLERANCE)
    self.assertGreater(pull(1.5, None), 0.01)  # Sharper.
    self.assertLess(pull(0.7, None), -0.01)  # Flatter.

  def test_agree_in_every_mode(self):
    arrays = (_SIGNAL, _LOG_PRIOR, _WEIGHTS, 0.5 * _SIGNAL)
    expected = objectives.variational_prior_loss(*map(tf.constant, arrays))
    for shape in ([3, None], [None, None]):
      for compiled in (False, True):
        function = tf.function(
          objectives.variational_prior_loss,
          input_signature=[tf.TensorSpec(shape, tf.float64)] * 4,
          jit_compile=compiled,
        )
        self.assertAllClose(function(*arrays), expected, 0, enumeration.TOLERANCE)


if __name__ == "__main__":
  tf.test.main()
