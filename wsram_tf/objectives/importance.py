"""Importance weights of glimpse sequences, and the M-sample bound."""

import tensorflow as tf

from wsram_tf import numerics

__all__ = ["importance_log_weights", "multi_sample_bound"]


def importance_log_weights(
  log_prior: tf.Tensor, log_likelihood: tf.Tensor, log_proposal: tf.Tensor
) -> tf.Tensor:
  """Unnormalised log-weights, log p(a | image) + log p(y | a, image) - log q(a).

  Args:
    log_prior: float `[M, ...]`, nats; log p(a | image).
    log_likelihood: float `[M, ...]`, nats; log p(y | a, image).
    log_proposal: float `[M, ...]`, nats; log-density of the sampling distribution.

  Returns:
    float `[M, ...]`, nats; a constant, without a gradient.

  Estimator: the mean of exp(log-weight) over M is unbiased for p(y | image) under the sampling
    distribution.

  Source: J. Bornschein, Y. Bengio, Reweighted Wake-Sleep, ICLR 2015, arXiv 1406.2751.
  """
  # Reweighted wake-sleep differentiates the log-densities, never the weights.
  return tf.stop_gradient(log_prior + log_likelihood - log_proposal)


def multi_sample_bound(log_weights: tf.Tensor) -> tf.Tensor:
  """The M-sample lower bound on log p(y | image): the log of the mean weight.

  Args:
    log_weights: float `[M, ...]`, nats, unnormalised.

  Returns:
    float `[...]`, nats.

  Estimator: in expectation at most log p(y | image); it never falls as M grows, and it equals
    log p(y | image) where the proposal is the posterior.

  Source: Y. Burda, R. Grosse, R. Salakhutdinov, Importance Weighted Autoencoders, ICLR 2016,
    arXiv 1509.00519.

  Example:

  >>> import tensorflow as tf
  >>> round(float(multi_sample_bound(tf.math.log([0.2, 0.6]))), 4)  # log 0.4
  -0.9163
  """
  return numerics.log_mean_exp(log_weights)
