"""The estimators by name: the distribution that each samples from, and its losses.

`register_estimator` adds one of your own.
"""

import re
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import tensorflow as tf

from wsram_tf.objectives import control_variates, importance, variational, vimco, wake

__all__ = ["ESTIMATORS", "Estimator", "ScoredSequences", "register_estimator"]

# The distributions that an estimator may sample from.
SAMPLES_FROM = ("prior", "inference", "mixture")


class ScoredSequences(NamedTuple):
  """The log-densities of M glimpse sequences for each of B images.

  The last axis holds the parts of a sequence: N glimpses, and the T parts of the target that the
  likelihood is a product of (1 for a label; for a caption its words, one after each glimpse). With
  credit by part, a glimpse answers for the parts of the target that follow it, else for all.

  Attributes:
    log_prior: float `[M, B, N]`, nats, log p(a_n | a_1..a_{n-1}, image).
    log_likelihood: float `[M, B, T]`, nats, log p(y_t | a, image) of the true target.
    log_sampling: float `[M, B, N]`, nats, of the distribution that each glimpse was drawn from.
    log_proposal: float `[M, B, N]`, nats, of the inference network; None where there is none.
    is_correct: float `[M, B, T]`, 1 where the likeliest answer is the true one, else 0.
    baseline: float `[M, B, N]`, the learned baseline before each glimpse; None where there is none.
    credit_by_part: whether glimpse n is weighted by what comes from it on; needs T = N.
    credit_horizon: with credit by part, for how many parts a glimpse answers, its own included;
      0: for all that follow. A short one takes out the noise of glimpses long after, at the price
      of a bias where they still depend on it.
  """

  log_prior: tf.Tensor
  log_likelihood: tf.Tensor
  log_sampling: tf.Tensor
  log_proposal: tf.Tensor | None = None
  is_correct: tf.Tensor | None = None
  baseline: tf.Tensor | None = None
  credit_by_part: bool = False
  credit_horizon: int = 0

  def credited(self, parts: tf.Tensor) -> tf.Tensor:
    """What each glimpse answers for: float `[M, B, 1]`, or with credit by part `[M, B, N]`."""
    if self.credit_by_part:
      from_here = tf.cumsum(parts, axis=-1, reverse=True)
      if not 0 < self.credit_horizon < parts.shape[-1]:
        return from_here
      paddings = [[0, 0]] * (parts.shape.rank - 1) + [[0, self.credit_horizon]]
      return from_here - tf.pad(from_here, paddings)[..., self.credit_horizon :]
    return tf.reduce_sum(parts, axis=-1, keepdims=True)

  @property
  def log_weights(self) -> tf.Tensor:
    """Unnormalised importance log-weights, float `[M, B, 1 or N]`, nats; a constant."""
    return importance.importance_log_weights(
      self.credited(self.log_prior),
      self.credited(self.log_likelihood),
      self.credited(self.log_sampling),
    )

  @property
  def prior_weights(self) -> tf.Tensor:
    """Weights of the samples as samples of the prior, float `[M, B, 1 or N]`; a constant."""
    return control_variates.prior_control_variate(
      self.credited(self.log_prior), self.credited(self.log_sampling)
    )


class Estimator(NamedTuple):
  """A way to learn from glimpse sequences.

  Attributes:
    help: one line for a person.
    samples_from: `prior`, `inference` (the proposal) or `mixture` of both.
    prediction_loss: gives the prediction network's loss, float `[B]`, of `ScoredSequences`.
    inference_loss: gives the inference network's loss, float `[B]`; None where there is none.
    baseline_signal: what the learned baseline foretells; None where there is none.
    least_samples: the smallest M that it is defined for.
  """

  help: str
  samples_from: str
  prediction_loss: Callable[[ScoredSequences], tf.Tensor]
  inference_loss: Callable[[ScoredSequences], tf.Tensor] | None = None
  baseline_signal: Callable[[ScoredSequences], tf.Tensor] | None = None
  least_samples: int = 2

  def baseline_loss(self, scored: ScoredSequences) -> tf.Tensor:
    """The learned baseline's loss, float `[B]`."""
    loss = variational.baseline_loss(
      self.baseline_signal(scored), scored.baseline, scored.prior_weights
    )
    return tf.reduce_sum(loss, axis=-1)


def log_likelihood_signal(scored: ScoredSequences) -> tf.Tensor:
  """log p(y | a, image), float `[M, B, 1 or N]`, nats."""
  return scored.credited(scored.log_likelihood)


def correctness_signal(scored: ScoredSequences) -> tf.Tensor:
  """The number of right answers, float `[M, B, 1 or N]`; of a label 0 or 1."""
  return scored.credited(scored.is_correct)


def no_baseline(scored: ScoredSequences, signal: tf.Tensor) -> None:
  """Subtracts nothing."""
  return None


def learned_baseline(scored: ScoredSequences, signal: tf.Tensor) -> tf.Tensor:
  """Subtracts what a network foretells from the state before each glimpse."""
  return scored.baseline


def leave_one_out(scored: ScoredSequences, signal: tf.Tensor) -> tf.Tensor:
  """Subtracts the other samples' mean."""
  return variational.leave_one_out_baseline(signal, scored.prior_weights)


def variational_loss(scored: ScoredSequences, signal, baseline) -> tf.Tensor:
  """The prediction network's loss of the variational estimators, float `[B]`."""
  weights, value = scored.prior_weights, signal(scored)
  likelihood = variational.variational_likelihood_loss(scored.log_likelihood, weights)
  prior = variational.variational_prior_loss(
    value, scored.log_prior, weights, baseline(scored, value)
  )
  return tf.reduce_sum(likelihood, axis=-1) + tf.reduce_sum(prior, axis=-1)


def wake_loss(scored: ScoredSequences, control_variate: bool, equal: bool = False) -> tf.Tensor:
  """The prediction network's loss of the wake-sleep estimators, float `[B]`."""
  likelihood = wake.wake_likelihood_loss(scored.log_weights, scored.log_likelihood, equal)
  variate = scored.prior_weights if control_variate else None
  prior = wake.wake_prior_loss(scored.log_weights, scored.log_prior, variate)
  return tf.reduce_sum(likelihood, axis=-1) + tf.reduce_sum(prior, axis=-1)


def proposal_loss(scored: ScoredSequences, control_variate: bool) -> tf.Tensor:
  """The inference network's loss in the wake phase, float `[B]`."""
  variate = None
  if control_variate:
    variate = control_variates.proposal_control_variate(
      scored.credited(scored.log_proposal), scored.credited(scored.log_sampling)
    )
  loss = wake.wake_proposal_loss(scored.log_weights, scored.log_proposal, variate)
  return tf.reduce_sum(loss, axis=-1)


def vimco_loss(scored: ScoredSequences) -> tf.Tensor:
  """The sampling distribution's part of the M-sample bound's loss, float `[B]`."""
  weights, log_sampling = scored.log_weights, scored.log_sampling
  through_samples = vimco.vimco_sampler_loss(weights, log_sampling)
  # The bound holds log s in each log-weight, with a minus.
  through_weights = -wake.wake_prior_loss(weights, log_sampling)
  return tf.reduce_sum(through_samples + through_weights, axis=-1)


def vimco_prior_loss(scored: ScoredSequences) -> tf.Tensor:
  """The loss of the M-sample bound where the prior is sampled, float `[B]`."""
  return wake_loss(scored, control_variate=False) + vimco_loss(scored)


def _variational(help: str, signal, baseline, least_samples: int = 1) -> Estimator:
  return Estimator(
    help,
    "prior",
    partial(variational_loss, signal=signal, baseline=baseline),
    baseline_signal=signal if baseline is learned_baseline else None,
    least_samples=least_samples,
  )


def _wake_sleep(
  help: str,
  samples_from: str = "inference",
  *,
  prior_variate: bool = True,
  proposal_variate: bool = True,
  equal: bool = False,
) -> Estimator:
  trained = (
    None if samples_from == "prior" else partial(proposal_loss, control_variate=proposal_variate)
  )
  prediction = partial(wake_loss, control_variate=prior_variate, equal=equal)
  return Estimator(help, samples_from, prediction, trained)


ESTIMATORS: dict[str, Estimator] = {
  "wake_sleep": _wake_sleep("the paper's: inference network, both control variates"),
  "wake_sleep_equal_likelihood": _wake_sleep(
    "the same, the likelihood trained on all samples equally", equal=True
  ),
  "wake_sleep_no_control_variate": _wake_sleep(
    "the paper's without control variates", prior_variate=False, proposal_variate=False
  ),
  "wake_sleep_no_prior_control_variate": _wake_sleep(
    "the paper's without the prior's control variate", prior_variate=False
  ),
  "wake_sleep_no_proposal_control_variate": _wake_sleep(
    "the paper's without the inference network's control variate", proposal_variate=False
  ),
  "wake_sleep_prior": _wake_sleep("the prior as the proposal, control variate", "prior"),
  "wake_sleep_prior_equal_likelihood": _wake_sleep(
    "the same, the likelihood trained on all samples equally", "prior", equal=True
  ),
  "wake_sleep_prior_no_control_variate": _wake_sleep(
    "the prior as the proposal, no control variate", "prior", prior_variate=False
  ),
  "wake_sleep_mixture": _wake_sleep(
    "samples from a mixture of prior and inference network, both control variates", "mixture"
  ),
  "wake_sleep_mixture_equal_likelihood": _wake_sleep(
    "the same, the likelihood trained on all samples equally", "mixture", equal=True
  ),
  "variational": _variational(
    "variational bound, log-likelihood as the signal, no baseline",
    log_likelihood_signal,
    no_baseline,
  ),
  "variational_learned_baseline": _variational(
    "the same, less a learned baseline", log_likelihood_signal, learned_baseline
  ),
  "variational_leave_one_out": _variational(
    "the same, less the other samples' mean", log_likelihood_signal, leave_one_out, 2
  ),
  "variational_correctness": _variational(
    "right or wrong as the signal, no baseline", correctness_signal, no_baseline
  ),
  "variational_correctness_learned_baseline": _variational(
    "right or wrong, less a learned baseline", correctness_signal, learned_baseline
  ),
  "variational_correctness_leave_one_out": _variational(
    "right or wrong, less the other samples' mean", correctness_signal, leave_one_out, 2
  ),
  "vimco": Estimator(
    "VIMCO on the M-sample bound, inference network",
    "inference",
    partial(wake_loss, control_variate=False),
    vimco_loss,
  ),
  "vimco_prior": Estimator(
    "VIMCO on the M-sample bound, the prior as the proposal", "prior", vimco_prior_loss
  ),
}


def register_estimator(name: str, estimator: Estimator) -> None:
  """Adds an estimator, so that `ObjectiveConfig(estimator=name)` accepts its name.

  A saved learner stores the name alone: register the estimator before you load one.

  Args:
    name: a new name, of letters, digits and underscores.
    estimator: the distribution to sample from, and the losses.

  Raises:
    ValueError: if the name is malformed or built in, or the estimator lacks what it samples from.
    TypeError: if `estimator` is no `Estimator`.

  Example:

  ```python
  def likelihood_only_loss(scored):
    return -tf.reduce_mean(tf.reduce_sum(scored.log_likelihood, axis=-1), axis=0)

  wsram_tf.register_estimator(
    "likelihood_only",
    wsram_tf.Estimator("the likelihood alone", "prior", likelihood_only_loss, least_samples=1),
  )
  ```
  """
  if not isinstance(name, str) or not re.fullmatch(r"\w{1,100}", name, re.ASCII):
    raise ValueError(f"name={name!r}: must be 1 to 100 letters, digits and underscores")
  if not isinstance(estimator, Estimator):
    raise TypeError(f"estimator={estimator!r}: must be a wsram_tf.Estimator")
  if estimator.samples_from not in SAMPLES_FROM:
    raise ValueError(
      f"samples_from={estimator.samples_from!r}: must be one of {', '.join(SAMPLES_FROM)}"
    )
  if estimator.samples_from != "prior" and not estimator.inference_loss:
    raise ValueError(
      f"inference_loss=None: must be given for samples_from={estimator.samples_from!r}, "
      "which samples from an inference network"
    )
  # Running a notebook's cell again replaces its own estimator, never a built-in one.
  if name in _BUILT_IN:
    raise ValueError(f"name={name!r}: must be new, the package defines an estimator of this name")
  ESTIMATORS[name] = estimator


_BUILT_IN = frozenset(ESTIMATORS)
