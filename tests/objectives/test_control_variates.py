"""Control variates: what they do to the gradient's expectation and variance, by enumeration."""

import numpy as np
import tensorflow as tf

from tests.support.models import enumeration
from wsram_tf import objectives

_SAMPLES = (2, 3, 4, 5)


def _log_weights(tuples: enumeration.Tuples) -> tf.Tensor:
  return objectives.importance_log_weights(
    tuples.log_prior, tuples.log_likelihood, tuples.log_proposal
  )


def _plain_prior_loss(tuples: enumeration.Tuples) -> tf.Tensor:
  return objectives.wake_prior_loss(_log_weights(tuples), tuples.log_prior)


def _centred_prior_loss(tuples: enumeration.Tuples) -> tf.Tensor:
  variate = objectives.prior_control_variate(tuples.log_prior, tuples.log_proposal)
  return objectives.wake_prior_loss(_log_weights(tuples), tuples.log_prior, variate)


def _wrongly_centred_prior_loss(tuples: enumeration.Tuples) -> tf.Tensor:
  variate = tf.ones_like(tuples.log_prior) / tuples.log_prior.shape[0]
  return objectives.wake_prior_loss(_log_weights(tuples), tuples.log_prior, variate)


def _plain_proposal_loss(tuples: enumeration.Tuples) -> tf.Tensor:
  return objectives.wake_proposal_loss(_log_weights(tuples), tuples.log_proposal)


def _centred_proposal_loss(tuples: enumeration.Tuples) -> tf.Tensor:
  variate = objectives.proposal_control_variate(tuples.log_proposal, tuples.log_proposal)
  return objectives.wake_proposal_loss(_log_weights(tuples), tuples.log_proposal, variate)


def _oracle_prior_gradient(toy: enumeration.Toy, num_samples: int) -> enumeration.Gradient:
  """Of -sum_m (w^m - v^m) log p(a^m), by NumPy alone."""
  sequences = np.indices([enumeration.NUM_SEQUENCES] * num_samples).reshape(num_samples, -1)
  prior, proposal = (
    np.exp(enumeration.log_probs(parameters).numpy()) for parameters in (toy.prior, toy.proposal)
  )
  ratio = prior / proposal
  weights = (ratio / (1 + np.exp(-toy.likelihood)))[sequences]
  variates = ratio[sequences]
  centred = weights / weights.sum(axis=0) - variates / variates.sum(axis=0)
  by_tuple = -np.einsum("mt,mtp->tp", centred, enumeration.scores(toy.prior)[sequences])
  probabilities = np.prod(proposal[sequences], axis=0)
  mean = probabilities @ by_tuple
  return enumeration.Gradient(mean, probabilities @ np.square(by_tuple - mean))


class _VarianceTestCase(tf.test.TestCase):
  def _check_variance_falls(self, plain: enumeration.Gradient, centred: enumeration.Gradient):
    # A rare component may gain a little; the whole falls by more than half.
    self.assertAllLess(centred.variance - plain.variance, 0.005)
    self.assertLess(centred.variance.sum(), 0.5 * plain.variance.sum())


class ProposalControlVariateTest(_VarianceTestCase):
  def test_is_one_over_m(self):
    for dtype in (np.float32, np.float64):
      log_proposal = tf.constant([[-1e3, 0.0], [1e3, -9.0], [0.0, 0.0], [2.0, 1.0]], dtype)
      variate = objectives.proposal_control_variate(log_proposal, log_proposal)
      self.assertEqual(variate.dtype, dtype)
      self.assertAllEqual(variate, np.full([4, 2], 0.25))

  def test_is_constant(self):
    log_proposal = tf.Variable([[0.5], [-0.25]])
    with tf.GradientTape() as tape:
      variate = objectives.proposal_control_variate(log_proposal, log_proposal)
    self.assertIsNone(tape.gradient(variate, log_proposal))

  def test_under_another_distribution_corrects_for_it(self):
    log_proposal = np.array([[0.5, -2.0], [-1.5, 0.25], [0.0, -1.0]])
    log_sampling = np.array([[-0.5, 1.0], [0.25, 0.0], [-1.0, -1.0]])
    exact = enumeration.exact_normalized_weights(log_proposal - log_sampling)
    variate = objectives.proposal_control_variate(log_proposal, log_sampling)
    self.assertAllClose(variate, exact, rtol=0, atol=enumeration.TOLERANCE)

  def test_keeps_expected_gradient_and_lowers_variance(self):
    for num_samples in _SAMPLES:
      with self.subTest(num_samples=num_samples):
        plain, centred = (
          enumeration.gradient(enumeration.TOY, num_samples, loss, "proposal")
          for loss in (_plain_proposal_loss, _centred_proposal_loss)
        )
        self.assertAllClose(plain.mean, centred.mean, rtol=0, atol=enumeration.TOLERANCE)
        self._check_variance_falls(plain, centred)


class PriorControlVariateTest(_VarianceTestCase):
  def test_matches_exact_arithmetic(self):
    log_prior = np.array([[0.0, 1e3, -np.inf, -np.inf], [-1.0, -1e3, -2.0, -np.inf]])
    log_proposal = np.array([[-0.5, 2.0, -1.0, -1.0], [-1.5, 1.0, -1.0, -2.0]])
    exact = enumeration.exact_normalized_weights(log_prior - log_proposal)
    for dtype, tolerance in ((np.float32, 1e-6), (np.float64, enumeration.TOLERANCE)):
      variate = objectives.prior_control_variate(
        tf.constant(log_prior, dtype), tf.constant(log_proposal, dtype)
      )
      self.assertEqual(variate.dtype, dtype)
      self.assertAllClose(variate, exact, rtol=0, atol=tolerance)

  def test_is_constant(self):
    log_densities = [tf.Variable([[0.5], [-0.25]]), tf.Variable([[0.0], [1.0]])]
    with tf.GradientTape() as tape:
      variate = objectives.prior_control_variate(*log_densities)
    self.assertEqual(tape.gradient(variate, log_densities), [None, None])

  def test_under_proposal_matches_oracle_and_lowers_variance(self):
    for num_samples in _SAMPLES:
      with self.subTest(num_samples=num_samples):
        plain, centred = (
          enumeration.gradient(enumeration.TOY, num_samples, loss, "prior")
          for loss in (_plain_prior_loss, _centred_prior_loss)
        )
        oracle = _oracle_prior_gradient(enumeration.TOY, num_samples)
        self.assertAllClose(centred.mean, oracle.mean, rtol=0, atol=enumeration.TOLERANCE)
        self.assertAllClose(centred.variance, oracle.variance, rtol=0, atol=enumeration.TOLERANCE)
        self._check_variance_falls(plain, centred)

  def test_one_over_m_in_its_place_is_a_bug(self):
    toy = enumeration.TOY
    exact = -toy.posterior @ enumeration.scores(toy.prior)
    # What 1/M subtracts instead of nothing: the prior's expected score under the proposal.
    proposal = np.exp(enumeration.log_probs(toy.proposal).numpy())
    shift = proposal @ enumeration.scores(toy.prior)
    self.assertGreater(np.abs(shift).max(), 0.05)
    for num_samples in _SAMPLES:
      with self.subTest(num_samples=num_samples):
        plain, centred, wrong = (
          enumeration.gradient(toy, num_samples, loss, "prior").mean
          for loss in (_plain_prior_loss, _centred_prior_loss, _wrongly_centred_prior_loss)
        )
        self.assertAllClose(wrong - plain, shift, rtol=0, atol=enumeration.TOLERANCE)
        self.assertGreater(np.abs(wrong - centred).max(), 0.05)
        # On this fixture the right form lowers the bias as well, the wrong one raises it.
        bias, plain_bias, wrong_bias = (
          np.abs(mean - exact).max() for mean in (centred, plain, wrong)
        )
        self.assertLess(bias, 0.9 * plain_bias)
        self.assertGreater(wrong_bias, 1.2 * plain_bias)

  def test_bias_shrinks_with_samples(self):
    toy = enumeration.TOY
    exact = -toy.posterior @ enumeration.scores(toy.prior)
    biases = [
      np.linalg.norm(
        enumeration.gradient(toy, num_samples, _centred_prior_loss, "prior").mean - exact
      )
      for num_samples in _SAMPLES
    ]
    self.assertAllLess(np.diff(biases), 0.0)
    self.assertGreater(biases[-1], 1e-3)

  def test_prior_as_proposal(self):
    for num_samples in _SAMPLES:
      with self.subTest(num_samples=num_samples):
        toy = enumeration.PRIOR_AS_PROPOSAL
        tuples = enumeration.all_tuples(toy, num_samples)
        variate = objectives.prior_control_variate(tuples.log_prior, tuples.log_proposal)
        self.assertAllClose(
          variate, np.full(variate.shape, 1 / num_samples), rtol=0, atol=enumeration.TOLERANCE
        )
        plain, centred = (
          enumeration.gradient(toy, num_samples, loss, "prior")
          for loss in (_plain_prior_loss, _centred_prior_loss)
        )
        self.assertAllClose(plain.mean, centred.mean, rtol=0, atol=enumeration.TOLERANCE)
        self._check_variance_falls(plain, centred)
