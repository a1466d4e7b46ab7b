"""VIMCO: the gradient of the M-sample bound, with a leave-one-out baseline for each sample."""

import tensorflow as tf

from wsram_tf import numerics

__all__ = ["vimco_sampler_loss", "vimco_signals"]


def vimco_signals(log_weights: tf.Tensor) -> tf.Tensor:
  """The contribution of each sample to the M-sample bound.

  It is the bound minus the bound in which the geometric mean of the other weights replaces the
  sample's weight.

  Args:
    log_weights: float `[M, ...]`, nats, unnormalised, finite.

  Returns:
    float `[M, ...]`, nats; a constant, without a gradient. Zero where all weights are equal.

  Raises:
    ValueError: if M is statically below 2, where there are no other samples.

  Estimator: the subtracted bound does not depend on its own sample, so it leaves the expected
    gradient of the bound unchanged.

  Source: A. Mnih, D. Rezende, Variational Inference for Monte Carlo Objectives, ICML 2016, section
    on the control variate, arXiv 1602.06725.

  Example:

  >>> import tensorflow as tf
  >>> vimco_signals(tf.math.log([[0.2], [0.6]]))[:, 0].numpy().round(2)
  array([-0.41,  0.69], dtype=float32)
  """
  samples = log_weights.shape[0]
  if samples is not None and samples < 2:
    raise ValueError(
      f"log_weights of M={samples} samples: must hold at least 2, because a signal compares one "
      "sample with the others"
    )
  log_weights = tf.stop_gradient(log_weights)  # The signal is a constant that multiplies scores.
  count = tf.shape(log_weights)[0]
  total = tf.reduce_sum(log_weights, axis=0, keepdims=True)
  others = (total - log_weights) / tf.cast(count - 1, log_weights.dtype)
  own = tf.eye(count, dtype=tf.bool)  # [M, M, 1, ...]
  own = tf.reshape(own, tf.concat([[count, count], tf.ones_like(tf.shape(log_weights)[1:])], 0))
  # Entry [i, j]: weight i; where i = j, the mean of the other weights.
  replaced = tf.where(own, others[:, tf.newaxis], log_weights[:, tf.newaxis])
  return numerics.log_mean_exp(log_weights) - numerics.log_mean_exp(replaced)


def vimco_sampler_loss(log_weights: tf.Tensor, log_sampling: tf.Tensor) -> tf.Tensor:
  """The part of the bound's gradient that passes through the sampling distribution.

  Args:
    log_weights: float `[M, ...]`, nats; log p(a, y) - log s(a). Used as a constant.
    log_sampling: float `[M, ...]`, nats; log s(a), of the sampling distribution. Carries the
      gradient.

  Returns:
    loss, float `[...]`, nats (a surrogate: only its gradient has meaning). Its gradient and the
    importance-weighted gradients of the log-densities add up to the gradient of minus the M-sample
    bound.

  Raises:
    ValueError: if M is statically below 2.

  Estimator: unbiased for the score-function part of the gradient of E_s[M-sample bound], under s.

  Source: A. Mnih, D. Rezende, Variational Inference for Monte Carlo Objectives, ICML 2016, arXiv
    1602.06725.
  """
  return -tf.reduce_sum(vimco_signals(log_weights) * log_sampling, axis=0)
