"""Every estimator's gradient, by enumeration: what it is unbiased for, or only consistent."""

import dataclasses

import numpy as np
import tensorflow as tf

from tests.support.models import enumeration
from wsram_tf import config, objectives

_ESTIMATORS = objectives.ESTIMATORS
_TOY = enumeration.TOY
_IS_CORRECT = np.array([1.0, 1.0, 0.0, 0.0, 1.0, 0.0])  # Of each of the six sequences.
_FORETOLD = 0.3  # What a learned baseline might say.
_VARIATIONAL = [name for name in _ESTIMATORS if name.startswith("variational")]
_SELF_NORMALISED = [
  name for name in _ESTIMATORS if name.startswith("wake_sleep") and "equal" not in name
]


@dataclasses.dataclass(frozen=True)
class Enumerated:
  """The distribution of one estimator's gradients over all tuples of M sequences.

  Attributes:
    mean: the expected gradient by parameters, of `prior`, `likelihood` and `proposal`.
    variance: the sum over components of the variance, likewise.
  """

  mean: dict[str, np.ndarray]
  variance: dict[str, float]


def log_sampling(tuples: enumeration.Tuples, samples_from: str) -> tf.Tensor:
  """The log-density that an estimator's samples are drawn from, `[M, T]`."""
  if samples_from == "mixture":
    both = tf.stack([tuples.log_prior, tuples.log_proposal])
    return tf.reduce_logsumexp(both, axis=0) - np.log(2.0)
  return {"prior": tuples.log_prior, "inference": tuples.log_proposal}[samples_from]


def enumerated(
  name: str, num_samples: int, toy: enumeration.Toy = _TOY, tempered: bool = False
) -> Enumerated:
  """Both losses' gradients, added up, under the estimator's sampling distribution.

  With `tempered`, samples come from another distribution than the estimator's own, which is a
  function of the same parameters, as at a temperature of 2.
  """
  estimator = _ESTIMATORS[name]
  with tf.GradientTape() as tape:
    tuples = enumeration.all_tuples(toy, num_samples)
    sampling = log_sampling(tuples, estimator.samples_from)
    if tempered:
      parameters = {"prior": tuples.prior, "inference": tuples.proposal}[estimator.samples_from]
      all_log_probs = tf.nn.log_softmax(enumeration.log_probs(parameters) / 2.0)
      sampling = tf.transpose(tf.gather(all_log_probs, tuples.sequences.T, batch_dims=1))
    scored = objectives.ScoredSequences(
      log_prior=tuples.log_prior[..., tf.newaxis],
      log_likelihood=tuples.log_likelihood[..., tf.newaxis],
      log_sampling=sampling[..., tf.newaxis],
      log_proposal=tuples.log_proposal[..., tf.newaxis],
      is_correct=tf.constant(_IS_CORRECT[tuples.sequences][..., np.newaxis]),
      baseline=tf.fill([*sampling.shape, 1], tf.constant(_FORETOLD, tf.float64)),
    )
    loss = estimator.prediction_loss(scored)
    if estimator.inference_loss:
      loss += estimator.inference_loss(scored)
  variables = {"prior": tuples.prior, "likelihood": tuples.likelihood, "proposal": tuples.proposal}
  gradients = tape.gradient(loss, variables, unconnected_gradients="zero")
  probabilities = np.exp(sampling.numpy().sum(axis=0))
  np.testing.assert_allclose(probabilities.sum(), 1.0, rtol=0, atol=enumeration.TOLERANCE)
  mean = {key: probabilities @ value.numpy() for key, value in gradients.items()}
  variance = {
    key: float((probabilities @ np.square(value.numpy() - mean[key])).sum())
    for key, value in gradients.items()
  }
  return Enumerated(mean, variance)


def exact_gradients(objective) -> dict[str, np.ndarray]:
  """Minus the gradient of a function of (log p(a), log p(y | a), log q(a)), each `[6]`."""
  variables = {
    "prior": tf.Variable(_TOY.prior),
    "likelihood": tf.Variable(_TOY.likelihood),
    "proposal": tf.Variable(_TOY.proposal),
  }
  with tf.GradientTape() as tape:
    value = -objective(
      enumeration.log_probs(variables["prior"]),
      tf.math.log_sigmoid(variables["likelihood"]),
      enumeration.log_probs(variables["proposal"]),
    )
  gradients = tape.gradient(value, variables, unconnected_gradients="zero")
  return {name: gradient.numpy() for name, gradient in gradients.items()}


def variational_bound(log_prior, log_likelihood, log_proposal):
  """E_p log p(y | a)."""
  return tf.reduce_sum(tf.exp(log_prior) * log_likelihood)


def log_marginal_likelihood(log_prior, log_likelihood, log_proposal):
  """log p(y)."""
  return tf.reduce_logsumexp(log_prior + log_likelihood)


def multi_sample_bound(num_samples: int, samples_from: str):
  """E of the M-sample bound, as a function of everything that it depends on."""
  sequences = np.indices([enumeration.NUM_SEQUENCES] * num_samples).reshape(num_samples, -1)

  def bound(log_prior, log_likelihood, log_proposal):
    log_samples = log_prior if samples_from == "prior" else log_proposal
    log_weights = tf.gather(log_prior + log_likelihood - log_samples, sequences)
    probabilities = tf.exp(tf.reduce_sum(tf.gather(log_samples, sequences), axis=0))
    mean_weight = tf.reduce_logsumexp(log_weights, axis=0) - np.log(num_samples)
    return tf.reduce_sum(probabilities * mean_weight)

  return bound


class EstimatorsTestCase(tf.test.TestCase):
  def assert_gradients(self, found: dict, exact: dict, *networks: str):
    for network in networks:
      self.assertAllClose(found[network], exact[network], 0, enumeration.TOLERANCE, network)

  def bias(self, found: dict, exact: dict, *networks: str) -> float:
    return float(np.linalg.norm([np.linalg.norm(found[n] - exact[n]) for n in networks]))


class VariationalTest(EstimatorsTestCase):
  def test_unbiased_for_the_variational_bound_whatever_the_baseline(self):
    exact = exact_gradients(variational_bound)
    for name in _VARIATIONAL:
      for num_samples in (2, 3) if "leave" in name else (1, 2, 3):
        with self.subTest(name, num_samples=num_samples):
          found = enumerated(name, num_samples).mean
          self.assert_gradients(found, exact, "likelihood", "proposal")
          if "correctness" in name:
            signal = exact_gradients(lambda p, y, q: tf.reduce_sum(tf.exp(p) * _IS_CORRECT))
            self.assert_gradients(found, signal, "prior")
          else:
            self.assert_gradients(found, exact, "prior")

  def test_leave_one_out_lowers_variance(self):
    for num_samples in (2, 3, 4):
      plain = enumerated("variational", num_samples).variance["prior"]
      centred = enumerated("variational_leave_one_out", num_samples).variance["prior"]
      self.assertLess(centred, 0.7 * plain)

  def test_sampled_elsewhere_the_bias_shrinks(self):
    exact = exact_gradients(variational_bound)
    for name in ("variational", "variational_leave_one_out"):
      biases = [
        self.bias(enumerated(name, m, tempered=True).mean, exact, "prior", "likelihood")
        for m in (2, 3, 4, 5)
      ]
      with self.subTest(name):
        self.assertAllLess(np.diff(biases), 0.0)
        self.assertLess(biases[-1], 0.6 * biases[0])

  def test_baseline_loss_is_least_at_the_expected_signal(self):
    tuples = enumeration.all_tuples(enumeration.PRIOR_AS_PROPOSAL, 2)
    for name, values in (
      ("variational_learned_baseline", tf.math.log_sigmoid(_TOY.likelihood).numpy()),
      ("variational_correctness_learned_baseline", _IS_CORRECT),
    ):
      expected = float(np.exp(enumeration.log_probs(_TOY.prior)) @ values)
      baseline = tf.Variable(
        tf.fill([*tuples.log_prior.shape, 1], tf.constant(expected, "float64"))
      )
      with tf.GradientTape() as tape:
        loss = _ESTIMATORS[name].baseline_loss(
          objectives.ScoredSequences(
            log_prior=tuples.log_prior[..., tf.newaxis],
            log_likelihood=tuples.log_likelihood[..., tf.newaxis],
            log_sampling=tuples.log_proposal[..., tf.newaxis],
            is_correct=tf.constant(_IS_CORRECT[tuples.sequences][..., np.newaxis]),
            baseline=baseline,
          )
        )
      by_tuple = tape.gradient(loss, baseline).numpy().sum(axis=(0, 2))
      self.assertAllClose(tuples.expectation(by_tuple), 0.0, 0, enumeration.TOLERANCE)


class WakeSleepTest(EstimatorsTestCase):
  def test_consistent_for_the_log_marginal_likelihood(self):
    exact = exact_gradients(log_marginal_likelihood)
    for name in _SELF_NORMALISED:
      biases = [
        self.bias(enumerated(name, m).mean, exact, "prior", "likelihood") for m in (2, 3, 4, 5)
      ]
      with self.subTest(name):
        self.assertAllLess(np.diff(biases), 0.0)
        self.assertLess(biases[-1], 0.6 * biases[0])
        self.assertGreater(biases[-1], 1e-3)  # Self-normalised, so biased all the same.

  def test_sampled_elsewhere_still_consistent(self):
    exact = exact_gradients(log_marginal_likelihood)
    for name in ("wake_sleep", "wake_sleep_prior"):
      biases = [
        self.bias(enumerated(name, m, tempered=True).mean, exact, "prior", "likelihood")
        for m in (2, 3, 4, 5)
      ]
      with self.subTest(name):
        self.assertAllLess(np.diff(biases), 0.0)
        self.assertLess(biases[-1], 0.6 * biases[0])

  def test_inference_network_follows_the_posterior(self):
    exact = {"proposal": -_TOY.posterior @ enumeration.scores(_TOY.proposal)}
    for name in _SELF_NORMALISED:
      if _ESTIMATORS[name].inference_loss:
        biases = [self.bias(enumerated(name, m).mean, exact, "proposal") for m in (2, 3, 4, 5)]
        with self.subTest(name):
          self.assertAllLess(np.diff(biases), 0.0)
          self.assertLess(biases[-1], 0.7 * biases[0])

  def test_proposal_control_variate_is_free_and_prior_control_variate_is_not(self):
    for num_samples in (2, 3, 4):
      both, none, only_proposal, only_prior = (
        enumerated(f"wake_sleep{suffix}", num_samples)
        for suffix in (
          "",
          "_no_control_variate",
          "_no_prior_control_variate",
          "_no_proposal_control_variate",
        )
      )
      self.assert_gradients(both.mean, none.mean, "proposal", "likelihood")
      self.assert_gradients(only_prior.mean, both.mean, "prior")
      self.assert_gradients(only_proposal.mean, none.mean, "prior")
      self.assertLess(both.variance["proposal"], 0.5 * none.variance["proposal"])
      self.assertLess(both.variance["prior"], 0.5 * none.variance["prior"])
      self.assertEqual(only_prior.variance["proposal"], none.variance["proposal"])
      self.assertEqual(only_proposal.variance["prior"], none.variance["prior"])

  def test_prior_is_the_general_form_with_the_prior_as_proposal(self):
    toy = enumeration.PRIOR_AS_PROPOSAL
    for suffix in ("", "_equal_likelihood", "_no_control_variate"):
      special = enumerated(f"wake_sleep_prior{suffix}", 3, toy).mean
      general = enumerated(f"wake_sleep{suffix}", 3, toy).mean
      mixture = enumerated("wake_sleep_mixture", 3, toy).mean
      self.assert_gradients(special, general, "prior", "likelihood")
      if not suffix:
        self.assert_gradients(special, mixture, "prior", "likelihood")

  def test_equal_likelihood_averages_over_what_is_sampled_and_leaves_the_rest(self):
    for name in ("wake_sleep", "wake_sleep_prior", "wake_sleep_mixture"):
      equal, plain = enumerated(f"{name}_equal_likelihood", 3).mean, enumerated(name, 3).mean
      self.assert_gradients(equal, plain, "prior", "proposal")
      prior, proposal = (np.exp(enumeration.log_probs(x)) for x in (_TOY.prior, _TOY.proposal))
      sampled = {
        "wake_sleep": proposal,
        "wake_sleep_prior": prior,
        "wake_sleep_mixture": (prior + proposal) / 2,
      }[name]
      exact = {"likelihood": -sampled / (1 + np.exp(_TOY.likelihood))}
      self.assert_gradients(equal, exact, "likelihood")


class VimcoTest(EstimatorsTestCase):
  def test_unbiased_for_the_multi_sample_bound(self):
    for name, samples_from in (("vimco", "inference"), ("vimco_prior", "prior")):
      for num_samples in (2, 3, 4):
        with self.subTest(name, num_samples=num_samples):
          exact = exact_gradients(multi_sample_bound(num_samples, samples_from))
          found = enumerated(name, num_samples).mean
          self.assert_gradients(found, exact, "prior", "likelihood", "proposal")

  def test_with_the_prior_as_proposal_is_vimco_prior(self):
    toy = enumeration.PRIOR_AS_PROPOSAL
    general, special = enumerated("vimco", 3, toy).mean, enumerated("vimco_prior", 3, toy).mean
    self.assert_gradients(special, general, "likelihood")
    # The prior moves both as the model and as what is sampled.
    self.assertAllClose(
      special["prior"], general["prior"] + general["proposal"], 0, enumeration.TOLERANCE
    )


class CreditTest(tf.test.TestCase):
  """Two glimpses, a part of the target after each."""

  def setUp(self):
    super().setUp()
    self.log_prior = np.array([[[-1.0, 0.5]], [[0.25, -2.0]], [[0.5, 0.5]]])
    self.log_sampling = np.array([[[0.5, -0.5]], [[-1.5, 0.25]], [[0.0, -1.0]]])
    self.log_likelihood = np.array([[[-2.0, -0.5]], [[-0.25, -1.0]], [[-1.0, -3.0]]])

  def gradients(self, name: str, by_part: bool) -> dict[str, np.ndarray]:
    variables = {
      "log_prior": tf.Variable(self.log_prior),
      "log_likelihood": tf.Variable(self.log_likelihood),
    }
    with tf.GradientTape() as tape:
      scored = objectives.ScoredSequences(
        **variables,
        log_sampling=tf.constant(self.log_sampling),
        log_proposal=tf.constant(self.log_sampling),
        credit_by_part=by_part,
      )
      scored = scored._replace(
        log_prior=tf.convert_to_tensor(scored.log_prior),
        log_likelihood=tf.convert_to_tensor(scored.log_likelihood),
      )
      loss = _ESTIMATORS[name].prediction_loss(scored)
    return {key: value.numpy() for key, value in tape.gradient(loss, variables).items()}

  def test_the_whole_sequence_by_default(self):
    ratio = (self.log_prior - self.log_sampling).sum(axis=-1, keepdims=True)
    total = ratio + self.log_likelihood.sum(axis=-1, keepdims=True)
    w, v = (enumeration.exact_normalized_weights(x) for x in (total, ratio))
    found = self.gradients("wake_sleep", by_part=False)
    both = np.ones([1, 1, 2])
    self.assertAllClose(found["log_prior"], -(w - v) * both, 0, enumeration.TOLERANCE)
    self.assertAllClose(found["log_likelihood"], -w * both, 0, enumeration.TOLERANCE)

  def test_by_part_only_what_follows(self):
    def rest(x):
      return np.flip(np.cumsum(np.flip(x, -1), -1), -1)

    ratio = rest(self.log_prior - self.log_sampling)
    w = enumeration.exact_normalized_weights(ratio + rest(self.log_likelihood))
    v = enumeration.exact_normalized_weights(ratio)
    found = self.gradients("wake_sleep", by_part=True)
    self.assertAllClose(found["log_prior"], -(w - v), 0, enumeration.TOLERANCE)
    self.assertAllClose(found["log_likelihood"], -w, 0, enumeration.TOLERANCE)
    prior_weights = enumeration.exact_normalized_weights(ratio)
    found = self.gradients("variational", by_part=True)
    self.assertAllClose(
      found["log_prior"], -prior_weights * rest(self.log_likelihood), 0, enumeration.TOLERANCE
    )


class RegisterEstimatorTest(tf.test.TestCase):
  def setUp(self):
    super().setUp()
    self.addCleanup(_ESTIMATORS.pop, "likelihood_only", None)

  def test_a_registered_estimator_is_accepted_by_name_and_may_be_replaced(self):
    with self.assertRaisesRegex(ValueError, "estimator='likelihood_only': must be one of"):
      config.ObjectiveConfig(estimator="likelihood_only")
    for help in ("first", "second"):  # A notebook's cell runs twice.
      own = _ESTIMATORS["variational"]._replace(help=help)
      objectives.register_estimator("likelihood_only", own)
      self.assertIs(_ESTIMATORS["likelihood_only"], own)
    self.assertEqual(config.ObjectiveConfig(estimator="likelihood_only").num_samples, 5)

  def test_refuses_what_cannot_work(self):
    own = _ESTIMATORS["variational"]
    for name, estimator, error, message in (
      ("wake_sleep", own, ValueError, "name='wake_sleep': must be new"),
      ("a b", own, ValueError, "name='a b': must be 1 to 100 letters"),
      ("own", own.prediction_loss, TypeError, "must be a wsram_tf.Estimator"),
      ("own", own._replace(samples_from="q"), ValueError, "samples_from='q': must be one of"),
      ("own", own._replace(samples_from="mixture"), ValueError, "inference_loss=None: must be"),
    ):
      with self.assertRaisesRegex(error, message):
        objectives.register_estimator(name, estimator)
    self.assertNotIn("own", _ESTIMATORS)


if __name__ == "__main__":
  tf.test.main()
