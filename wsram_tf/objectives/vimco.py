"""VIMCO: the gradient of the M-sample bound, each sample judged against the others."""

import tensorflow as tf

from wsram_tf import numerics

__all__ = ["vimco_sampler_loss", "vimco_signals"]


def vimco_signals(log_weights: tf.Tensor) -> tf.Tensor:
  """How much each sample adds to the M-sample bound.

  The bound less the same bound with one weight replaced by the geometric mean of the others.

  Args:
    log_weights: float `[M, ...]`, nats, unnormalised, finite.

  Returns:
    float `[M, ...]`, nats; a constant, no gradient passes. Zero where all weights are equal.

  Raises:
    ValueError: if M is statically below 2, where there are no other samples.

  Estimator: the subtracted bound does not depend on its own sample, so it leaves the expected
    gradient of the bound as it was.

  Source: A. Mnih, D. Rezende, Variational Inference for Monte Carlo Objectives, ICML 2016, section
    on the control variate, arXiv 1602.06725.
  """
  samples = log_weights.shape[0]
  if samples is not None and samples < 2:
    raise ValueError(f"log_weights has M={samples}: must hold at least 2 samples")
  log_weights = tf.stop_gradient(log_weights)  # The signal multiplies scores as a constant.
  count = tf.shape(log_weights)[0]
  total = tf.reduce_sum(log_weights, axis=0, keepdims=True)
  others = (total - log_weights) / tf.cast(count - 1, log_weights.dtype)
  own = tf.eye(count, dtype=tf.bool)  # [M, M], with a trailing axis for each other one.
  own = tf.reshape(own, tf.concat([[count, count], tf.ones_like(tf.shape(log_weights)[1:])], 0))
  # Entry [i, j]: weight i, or the others' mean where i is the sample j that is left out.
  replaced = tf.where(own, others[:, tf.newaxis], log_weights[:, tf.newaxis])
  return numerics.log_mean_exp(log_weights) - numerics.log_mean_exp(replaced)


def vimco_sampler_loss(log_weights: tf.Tensor, log_sampling: tf.Tensor) -> tf.Tensor:
  """The part of the bound's gradient that goes through the distribution that was sampled.

  Args:
    log_weights: float `[M, ...]`, nats; log p(a, y) - log s(a). Used as a constant.
    log_sampling: float `[M, ...]`, nats; log s(a), of the sampling distribution. Carries the
      gradient.

  Returns:
    loss, float `[...]`, nats (a surrogate: only its gradient has meaning). Together with the
    importance-weighted losses of what the weights are made of it is that of the M-sample bound.

  Raises:
    ValueError: if M is statically below 2.

  Estimator: unbiased for the score-function part of the gradient of E_s[M-sample bound], under s.

  Source: A. Mnih, D. Rezende, Variational Inference for Monte Carlo Objectives, ICML 2016, arXiv
    1602.06725.
  """
  return -tf.reduce_sum(vimco_signals(log_weights) * log_sampling, axis=0)
