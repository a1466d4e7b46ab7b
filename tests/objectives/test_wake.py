"""The wake phase's losses: their values, their gradients' bias, and what they refuse."""

import numpy as np
import pytest
import tensorflow as tf

from tests.support.models import enumeration
from wsram_tf import objectives

_INF = np.inf
# Ordinary, extreme, equal and zero weights, side by side on the batch axis.
_LOG_WEIGHTS = np.array(
  [
    [0.5, 1e3, -1e3, 1e3, 7.0, -_INF, -_INF, 1e3],
    [-1.5, -1e3, -1e3, 999.0, 7.0, 0.25, -_INF, -_INF],
    [2.0, 0.0, -999.0, 1e3, 7.0, -2.0, -_INF, -1e3],
  ]
)
_LOG_DENSITY = -np.arange(1.0, 25.0).reshape(3, 8) / 7


def _log_weights(tuples: enumeration.Tuples) -> tf.Tensor:
  return objectives.importance_log_weights(
    tuples.log_prior, tuples.log_likelihood, tuples.log_proposal
  )


def _losses() -> dict:
  """The losses as functions of (log-weights, log-density), by name."""
  return {
    "likelihood": objectives.wake_likelihood_loss,
    "equal": lambda w, x: objectives.wake_likelihood_loss(w, x, equal_weights=True),
    "prior": objectives.wake_prior_loss,
    "proposal": objectives.wake_proposal_loss,
    "centred prior": lambda w, x: objectives.wake_prior_loss(
      w, x, objectives.prior_control_variate(0.5 * x, -x)
    ),
    "centred proposal": lambda w, x: objectives.wake_proposal_loss(
      w, x, objectives.proposal_control_variate(x, x)
    ),
  }


def _exact_weights(name: str) -> np.ndarray:
  """What each loss multiplies the log-densities by, to full precision."""
  weights = enumeration.exact_normalized_weights(_LOG_WEIGHTS)
  if name == "equal":
    return np.full_like(weights, 1 / 3)
  if name == "centred prior":
    return weights - enumeration.exact_normalized_weights(1.5 * _LOG_DENSITY)
  if name == "centred proposal":
    return weights - 1 / 3
  return weights


class WakeLossesTest(tf.test.TestCase):
  def test_match_exact_arithmetic(self):
    for dtype, tolerance in ((tf.float32, 1e-5), (tf.float64, enumeration.TOLERANCE)):
      for name, loss in _losses().items():
        with self.subTest(name, dtype=dtype.name):
          log_density = tf.Variable(_LOG_DENSITY, dtype=dtype)
          with tf.GradientTape() as tape:
            value = loss(tf.constant(_LOG_WEIGHTS, dtype), log_density)
          gradient = tape.gradient(value, log_density)
          exact = _exact_weights(name)
          self.assertEqual(value.dtype, dtype)
          self.assertAllClose(value, -(exact * _LOG_DENSITY).sum(axis=0), rtol=0, atol=tolerance)
          # Only the log-density is differentiated, neither the weights nor the variates.
          self.assertAllClose(gradient, -exact, rtol=0, atol=tolerance)

  def test_weights_are_constants(self):
    for name, loss in _losses().items():
      with self.subTest(name):
        log_weights = tf.Variable(_LOG_WEIGHTS[:, :3])
        with tf.GradientTape() as tape:
          value = loss(log_weights, tf.constant(_LOG_DENSITY[:, :3]))
        self.assertIsNone(tape.gradient(value, log_weights))

  def test_control_variates_given_are_constants(self):
    for loss in (objectives.wake_prior_loss, objectives.wake_proposal_loss):
      variate = tf.Variable(np.full([3, 8], 1 / 3))
      with tf.GradientTape() as tape:
        value = loss(_LOG_WEIGHTS, tf.constant(_LOG_DENSITY), variate)
      self.assertIsNone(tape.gradient(value, variate))

  def test_one_sample_is_refused(self):
    for name, loss in _losses().items():
      with (
        self.subTest(name),
        self.assertRaisesRegex(ValueError, "log_weights of M=1 samples: must"),
      ):
        loss(tf.zeros([1, 4]), tf.zeros([1, 4]))

  def test_agree_in_every_mode_and_with_unknown_shapes(self):
    def every_loss(log_weights: tf.Tensor, log_density: tf.Tensor) -> dict[str, tf.Tensor]:
      return {name: loss(log_weights, log_density) for name, loss in _losses().items()}

    expected = every_loss(tf.constant(_LOG_WEIGHTS), tf.constant(_LOG_DENSITY))
    for shape, compiled in (
      ([3, 8], True),
      ([3, None], False),
      ([None, None], False),
      ([None, None], True),
    ):
      spec = tf.TensorSpec(shape, tf.float64)
      function = tf.function(
        every_loss, input_signature=[spec, spec], jit_compile=compiled, autograph=False
      )
      for name, found in function(_LOG_WEIGHTS, _LOG_DENSITY).items():
        with self.subTest(name, shape=shape, compiled=compiled):
          self.assertAllClose(found, expected[name], rtol=0, atol=enumeration.TOLERANCE)


@pytest.mark.smoke
class WakeGradientsTest(tf.test.TestCase):
  def _check_bias_shrinks(self, loss, of: str, exact: np.ndarray):
    biases = [
      np.linalg.norm(enumeration.gradient(enumeration.TOY, samples, loss, of).mean - exact)
      for samples in (2, 3, 4, 5)
    ]
    self.assertAllLess(np.diff(biases), 0.0)
    # Self-normalised, so biased all the same.
    self.assertGreater(biases[-1], 1e-3)
    # The bias is of the order of 1/M.
    self.assertLess(biases[-1], 0.6 * biases[0])

  def test_exact_gradient_is_that_of_log_marginal_likelihood(self):
    # The posterior expectations that the estimators are compared with below.
    toy = enumeration.TOY
    prior, likelihood = tf.Variable(toy.prior), tf.Variable(toy.likelihood)
    with tf.GradientTape() as tape:
      log_joint = enumeration.log_probs(prior) + tf.math.log_sigmoid(likelihood)
      log_marginal_likelihood = tf.reduce_logsumexp(log_joint)
    by_prior, by_likelihood = tape.gradient(log_marginal_likelihood, [prior, likelihood])
    tolerance = enumeration.TOLERANCE
    self.assertAllClose(log_marginal_likelihood, toy.log_marginal_likelihood, 0, tolerance)
    self.assertAllClose(by_prior, toy.posterior @ enumeration.scores(toy.prior), 0, tolerance)
    self.assertAllClose(by_likelihood, toy.posterior / (1 + np.exp(toy.likelihood)), 0, tolerance)

  def test_likelihood_bias_shrinks(self):
    toy = enumeration.TOY
    self._check_bias_shrinks(
      lambda t: objectives.wake_likelihood_loss(_log_weights(t), t.log_likelihood),
      "likelihood",
      -toy.posterior / (1 + np.exp(toy.likelihood)),
    )

  def test_prior_bias_shrinks(self):
    toy = enumeration.TOY
    self._check_bias_shrinks(
      lambda t: objectives.wake_prior_loss(_log_weights(t), t.log_prior),
      "prior",
      -toy.posterior @ enumeration.scores(toy.prior),
    )

  def test_proposal_bias_shrinks(self):
    toy = enumeration.TOY
    self._check_bias_shrinks(
      lambda t: objectives.wake_proposal_loss(_log_weights(t), t.log_proposal),
      "proposal",
      -toy.posterior @ enumeration.scores(toy.proposal),
    )

  def test_equal_weights_average_the_likelihood_over_the_proposal(self):
    toy = enumeration.TOY
    proposal = np.exp(enumeration.log_probs(toy.proposal).numpy())
    for samples in (2, 4):
      gradient = enumeration.gradient(
        toy,
        samples,
        lambda t: objectives.wake_likelihood_loss(_log_weights(t), t.log_likelihood, True),
        "likelihood",
      )
      self.assertAllClose(
        gradient.mean, -proposal / (1 + np.exp(toy.likelihood)), 0, enumeration.TOLERANCE
      )

  def test_prior_as_proposal_weighs_by_likelihood(self):
    tuples = enumeration.all_tuples(enumeration.PRIOR_AS_PROPOSAL, 3)
    likelihood = np.exp(tuples.log_likelihood)
    weights = likelihood / likelihood.sum(axis=0)
    variate = objectives.prior_control_variate(tuples.log_prior, tuples.log_proposal)
    tolerance = enumeration.TOLERANCE
    self.assertAllClose(
      objectives.wake_likelihood_loss(_log_weights(tuples), tuples.log_likelihood),
      -(weights * tuples.log_likelihood).numpy().sum(axis=0),
      0,
      tolerance,
    )
    self.assertAllClose(
      objectives.wake_prior_loss(_log_weights(tuples), tuples.log_prior, variate),
      -((weights - 1 / 3) * tuples.log_prior).numpy().sum(axis=0),
      0,
      tolerance,
    )
