"""The losses of the built-in estimators, and the log-densities that every estimator takes."""

from typing import NamedTuple

import tensorflow as tf

from wsram_tf.objectives import control_variates, importance, variational, vimco, wake

__all__ = [
  "ScoredSequences",
  "correctness",
  "learned_baseline_loss",
  "log_likelihood",
  "proposal_loss",
  "variational_loss",
  "vimco_loss",
  "vimco_prior_loss",
  "wake_loss",
]


class ScoredSequences(NamedTuple):
  """The log-densities of M glimpse sequences for each of B images.

  The last axis holds the parts of a sequence: its N glimpses, or the T factors of the likelihood.
  A label is 1 factor; a caption has one factor for each word, after the glimpse before that word.
  Credit decides which factors weight a glimpse: all of them, or with credit by part only the
  factors from that glimpse on.

  Attributes:
    log_prior: float `[M, B, N]`, nats, log p(a_n | a_1..a_{n-1}, image).
    log_likelihood: float `[M, B, T]`, nats, log p(y_t | a, image) of the true target.
    log_sampling: float `[M, B, N]`, nats, of the distribution that each glimpse was drawn from.
    log_proposal: float `[M, B, N]`, nats, of the inference network; None where there is none.
    is_correct: float `[M, B, T]`, 1 where the likeliest answer is the true one, else 0.
    baseline: float `[M, B, N]`, the learned baseline before each glimpse; None where there is none.
    credit_by_part: weight glimpse n by the parts from n on only; needs T = N.
    credit_horizon: with credit by part, the number of parts that weight a glimpse, its own part
      included; 0: all later ones. A short horizon removes the noise of later parts and adds a bias
      where they depend on the glimpse.

  Example:

  >>> import tensorflow as tf
  >>> two = tf.math.log([[[0.5]], [[0.25]]])  # M = 2 samples, B = 1 image, N = T = 1.
  >>> scored = ScoredSequences(log_prior=two, log_likelihood=two, log_sampling=two)
  >>> tf.exp(scored.log_weights)[:, 0, 0].numpy().round(2).tolist()
  [0.5, 0.25]
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
    """Sums the parts that weight each glimpse.

    Args:
      parts: float `[M, B, N]`.

    Returns:
      float `[M, B, 1]`; with credit by part `[M, B, N]`.
    """
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
    """Weights that turn the samples into samples of the prior, float `[M, B, 1 or N]`; a constant.

    They sum to 1 over M.
    """
    return control_variates.prior_control_variate(
      self.credited(self.log_prior), self.credited(self.log_sampling)
    )


def log_likelihood(scored: ScoredSequences) -> tf.Tensor:
  """The signal log p(y | a, image), float `[M, B, 1 or N]`, nats."""
  return scored.credited(scored.log_likelihood)


def correctness(scored: ScoredSequences) -> tf.Tensor:
  """The signal that counts correct answers, float `[M, B, 1 or N]`; 0 or 1 for a label."""
  return scored.credited(scored.is_correct)


SIGNALS = {"log_likelihood": log_likelihood, "correctness": correctness}


def variational_loss(
  scored: ScoredSequences, signal: str, baseline: str | None = None
) -> tf.Tensor:
  """The prediction network's loss of the variational estimators, float `[B]`.

  Args:
    scored: M sequences for each of B images.
    signal: `log_likelihood` or `correctness`.
    baseline: the baseline to subtract: `learned`, `leave_one_out` or None.
  """
  weights, value = scored.prior_weights, SIGNALS[signal](scored)
  subtracted = None
  if baseline == "learned":
    subtracted = scored.baseline
  elif baseline == "leave_one_out":
    subtracted = variational.leave_one_out_baseline(value, weights)
  likelihood = variational.variational_likelihood_loss(scored.log_likelihood, weights)
  prior = variational.variational_prior_loss(value, scored.log_prior, weights, subtracted)
  return tf.reduce_sum(likelihood, axis=-1) + tf.reduce_sum(prior, axis=-1)


def learned_baseline_loss(scored: ScoredSequences, signal: tf.Tensor) -> tf.Tensor:
  """The learned baseline's loss, float `[B]`.

  Args:
    scored: M sequences for each of B images.
    signal: float `[M, B, 1 or N]`, the value that the baseline predicts.
  """
  loss = variational.baseline_loss(signal, scored.baseline, scored.prior_weights)
  return tf.reduce_sum(loss, axis=-1)


def wake_loss(scored: ScoredSequences, control_variate: bool, equal: bool = False) -> tf.Tensor:
  """The prediction network's loss of the wake-sleep estimators, float `[B]`.

  Args:
    scored: M sequences for each of B images.
    control_variate: subtract the prior's control variate.
    equal: train the likelihood on all samples equally.
  """
  likelihood = wake.wake_likelihood_loss(scored.log_weights, scored.log_likelihood, equal)
  variate = scored.prior_weights if control_variate else None
  prior = wake.wake_prior_loss(scored.log_weights, scored.log_prior, variate)
  return tf.reduce_sum(likelihood, axis=-1) + tf.reduce_sum(prior, axis=-1)


def proposal_loss(scored: ScoredSequences, control_variate: bool) -> tf.Tensor:
  """The inference network's loss in the wake phase, float `[B]`.

  Args:
    scored: M sequences for each of B images.
    control_variate: subtract the proposal's control variate.
  """
  variate = None
  if control_variate:
    variate = control_variates.proposal_control_variate(
      scored.credited(scored.log_proposal), scored.credited(scored.log_sampling)
    )
  loss = wake.wake_proposal_loss(scored.log_weights, scored.log_proposal, variate)
  return tf.reduce_sum(loss, axis=-1)


def vimco_loss(scored: ScoredSequences) -> tf.Tensor:
  """The sampling distribution's part of the loss of the M-sample bound, float `[B]`."""
  weights, log_sampling = scored.log_weights, scored.log_sampling
  through_samples = vimco.vimco_sampler_loss(weights, log_sampling)
  # Each log-weight of the bound holds -log s.
  through_weights = -wake.wake_prior_loss(weights, log_sampling)
  return tf.reduce_sum(through_samples + through_weights, axis=-1)


def vimco_prior_loss(scored: ScoredSequences) -> tf.Tensor:
  """The loss of the M-sample bound where the samples come from the prior, float `[B]`."""
  return wake_loss(scored, control_variate=False) + vimco_loss(scored)
