"""Importance weights: what holds of their mean and of its log, by enumeration."""

import dataclasses

import numpy as np
import tensorflow as tf

from tests.support.models import enumeration
from wsram_tf import objectives


def _log_weights(tuples: enumeration.Tuples) -> tf.Tensor:
  return objectives.importance_log_weights(
    tuples.log_prior, tuples.log_likelihood, tuples.log_proposal
  )


def _expected_bounds(toy: enumeration.Toy) -> list[float]:
  """The expected bound for M = 1 to 5."""
  bounds = []
  for num_samples in range(1, 6):
    tuples = enumeration.all_tuples(toy, num_samples)
    bounds.append(tuples.expectation(objectives.multi_sample_bound(_log_weights(tuples))))
  return bounds


class ImportanceWeightsTest(tf.test.TestCase):
  def test_are_joint_over_proposal(self):
    tables = [np.array([[-1.5, 2.0], [0.25, -1e3]]) * scale for scale in (1.0, 0.5, -2.0)]
    for dtype in (np.float32, np.float64):
      log_prior, log_likelihood, log_proposal = (table.astype(dtype) for table in tables)
      log_weights = objectives.importance_log_weights(log_prior, log_likelihood, log_proposal)
      self.assertEqual(log_weights.dtype, dtype)
      self.assertAllEqual(log_weights, log_prior + log_likelihood - log_proposal)

  def test_zero_likelihood_is_zero_weight(self):
    log_likelihood = tf.constant([[-np.inf], [-1.0]])
    log_weights = objectives.importance_log_weights(
      tf.zeros([2, 1]), log_likelihood, tf.zeros([2, 1])
    )
    self.assertAllEqual(log_weights, [[-np.inf], [-1.0]])

  def test_are_constants(self):
    log_densities = [tf.Variable([[0.5], [-0.25]]) for _ in range(3)]
    with tf.GradientTape() as tape:
      log_weights = objectives.importance_log_weights(*log_densities)
    self.assertEqual(tape.gradient(log_weights, log_densities), [None] * 3)

  def test_mean_weight_is_unbiased(self):
    for toy in (enumeration.TOY, enumeration.PRIOR_AS_PROPOSAL):
      for num_samples in range(1, 6):
        with self.subTest(num_samples=num_samples):
          tuples = enumeration.all_tuples(toy, num_samples)
          self.assertAllClose(tuples.probabilities.sum(), 1.0, rtol=0, atol=enumeration.TOLERANCE)
          mean_weight = tf.reduce_mean(tf.exp(_log_weights(tuples)), axis=0)
          self.assertAllClose(
            tuples.expectation(mean_weight),
            np.exp(toy.log_marginal_likelihood),
            rtol=0,
            atol=enumeration.TOLERANCE,
          )


class MultiSampleBoundTest(tf.test.TestCase):
  def test_is_log_of_the_mean_weight(self):
    weights = np.array([[1.0, 5.0], [2.0, 1.0], [6.0, 0.0]])
    for dtype in (np.float32, np.float64):
      with np.errstate(divide="ignore"):
        bound = objectives.multi_sample_bound(tf.constant(np.log(weights), dtype))
      self.assertEqual(bound.dtype, dtype)
      self.assertAllClose(bound, np.log([3.0, 2.0]))

  def test_rises_with_samples_and_stays_below(self):
    for toy in (enumeration.TOY, enumeration.PRIOR_AS_PROPOSAL):
      bounds = _expected_bounds(toy)
      self.assertAllGreater(np.diff(bounds), 1e-4)
      self.assertAllLess(bounds, toy.log_marginal_likelihood - 1e-4)

  def test_is_tight_when_proposal_is_posterior(self):
    toy = dataclasses.replace(
      enumeration.TOY, proposal=enumeration.parameters_of(enumeration.TOY.posterior)
    )
    for bound in _expected_bounds(toy):
      self.assertAllClose(bound, toy.log_marginal_likelihood, rtol=0, atol=enumeration.TOLERANCE)
