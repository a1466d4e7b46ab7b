"""The wake phase of reweighted wake-sleep: losses of the likelihood, the prior and the proposal.

Together their gradients are, with normalised weights w and control variates v,

  prediction network   sum_m w^m d log p(y | a^m) + (w^m - v^m) d log p(a^m)
  inference network    sum_m (w^m - 1/M) d log q(a^m | y)
"""

import tensorflow as tf

from wsram_tf import numerics

__all__ = ["wake_likelihood_loss", "wake_prior_loss", "wake_proposal_loss"]


def _check_samples(log_weights: tf.Tensor) -> None:
  samples = log_weights.shape[0]
  if samples is not None and samples < 2:
    raise ValueError(
      f"log_weights of M={samples} samples: must hold at least 2, because one sample's normalised "
      "weight is always 1"
    )


def _reweighted_loss(
  log_weights: tf.Tensor, log_density: tf.Tensor, control_variate: tf.Tensor | None
) -> tf.Tensor:
  _check_samples(log_weights)
  weights = numerics.normalize_log_weights(log_weights)
  if control_variate is not None:
    weights -= control_variate
  # Reweighted wake-sleep differentiates the log-densities, never the weights.
  return -tf.reduce_sum(tf.stop_gradient(weights) * log_density, axis=0)


def wake_likelihood_loss(
  log_weights: tf.Tensor, log_likelihood: tf.Tensor, equal_weights: bool = False
) -> tf.Tensor:
  """Cross-entropy of the likelihood over the reweighted samples.

  Args:
    log_weights: float `[M, ...]`, nats; log p(a, y) - log q(a). Used as a constant.
    log_likelihood: float `[M, ...]`, nats; log p(y | a, image). Carries the gradient.
    equal_weights: weight each sample by 1/M instead, so that the classifier also learns from poor
      glimpses. The result is not the gradient of log p(y | image).

  Returns:
    loss, float `[...]`, nats.

  Raises:
    ValueError: if M is statically below 2, where normalised weights carry no information.

  Estimator: self-normalised, so biased at finite M for the likelihood's part of the gradient of
    log p(y | image), under the sampling distribution that the weights correct for; consistent as
    M grows. With equal weights unbiased for the gradient of E[log p(y | a, image)] under the
    sampling distribution.

  Source: J. Ba, R. Grosse, R. Salakhutdinov, B. Frey, Learning Wake-Sleep Recurrent Attention
    Models, NIPS 2015, reweighted wake-sleep for attention, arXiv 1509.06812. The option
    of equal weights is an addition of this package.

  Example:

  >>> import tensorflow as tf
  >>> log_weights = tf.math.log([0.3, 0.1])
  >>> float(wake_likelihood_loss(log_weights, tf.constant([-1.0, -3.0])))  # 0.75 * 1 + 0.25 * 3
  1.5
  """
  if equal_weights:
    _check_samples(log_weights)
    return -tf.reduce_mean(log_likelihood, axis=0)
  return _reweighted_loss(log_weights, log_likelihood, None)


def wake_prior_loss(
  log_weights: tf.Tensor, log_prior: tf.Tensor, control_variate: tf.Tensor | None = None
) -> tf.Tensor:
  """Cross-entropy of the prior over the reweighted samples, less a control variate.

  Args:
    log_weights: float `[M, ...]`, nats; log p(a, y) - log q(a). Used as a constant.
    log_prior: float `[M, ...]`, nats; log p(a | image). Carries the gradient.
    control_variate: float `[M, ...]`, weights to subtract, from `prior_control_variate`; or None.

  Returns:
    loss, float `[...]`, nats (a surrogate with a control variate: only its gradient has meaning).

  Raises:
    ValueError: if M is statically below 2, where normalised weights carry no information.

  Estimator: self-normalised, so biased at finite M for the prior's part of the gradient of
    log p(y | image), under the sampling distribution that the weights correct for; consistent as
    M grows.

  Source: J. Ba, R. Grosse, R. Salakhutdinov, B. Frey, Learning Wake-Sleep Recurrent Attention
    Models, NIPS 2015, reweighted wake-sleep for attention, arXiv 1509.06812.
  """
  return _reweighted_loss(log_weights, log_prior, control_variate)


def wake_proposal_loss(
  log_weights: tf.Tensor, log_proposal: tf.Tensor, control_variate: tf.Tensor | None = None
) -> tf.Tensor:
  """Cross-entropy of the proposal over the reweighted samples, less a control variate.

  Args:
    log_weights: float `[M, ...]`, nats; log p(a, y) - log q(a). Used as a constant.
    log_proposal: float `[M, ...]`, nats; log q(a | y, image). Carries the gradient.
    control_variate: float `[M, ...]`, weights to subtract, from `proposal_control_variate`, or
      None.

  Returns:
    loss, float `[...]`, nats (a surrogate with a control variate: only its gradient has meaning).

  Raises:
    ValueError: if M is statically below 2, where normalised weights carry no information.

  Estimator: self-normalised, so biased at finite M for the gradient of KL(p(a | y) || q(a | y)),
    under the proposal; consistent as M grows. Subtracting 1/M leaves the expectation unchanged.

  Source: J. Bornschein, Y. Bengio, Reweighted Wake-Sleep, ICLR 2015, the wake phase of the
    inference network, arXiv 1406.2751.
  """
  return _reweighted_loss(log_weights, log_proposal, control_variate)
