"""The loss of the answers before the last glimpse."""

import tensorflow as tf

__all__ = ["stepwise_loss"]


def stepwise_loss(
  log_prior: tf.Tensor, log_sampling: tf.Tensor, log_likelihood: tf.Tensor
) -> tf.Tensor:
  """Cross-entropy of the answers before the last glimpse, under glimpses from the prior.

  At test time glimpses come from the prior. Samples from another distribution are weighted by
  p(a) / s(a), normalised over the samples. Else the answers would also learn from where a proposal
  that knows the class looks.

  Args:
    log_prior: float `[M, B, N]`, nats, of each glimpse under the prior. Used as a constant.
    log_sampling: float `[M, B, N]`, nats, under the sampling distribution. Used as a constant.
    log_likelihood: float `[M, B, N]`, nats, log p(y | a_1..a_n, image) of the true class after
      each glimpse. Carries the gradient; that after the last glimpse is left out.

  Returns:
    loss, float `[B]`, nats: the mean over the N - 1 glimpses before the last; 0 where N = 1.

  Estimator: self-normalised, so biased at finite M for the gradient of E[log p(y | a_1..a_n)] under
    the prior, and consistent as M grows; unbiased where glimpses come from the prior. It leaves out
    how the glimpses depend on the weights, so the prior does not learn from it.

  Source: C.-Y. Lee et al., Deeply-Supervised Nets, AISTATS 2015, arXiv 1409.5185, for losses of
    intermediate layers. The weights are an addition of this package.

  Example:

  >>> import tensorflow as tf
  >>> even = tf.zeros([2, 1, 3])  # M = 2, B = 1, N = 3.
  >>> after = tf.constant([[[-3.0, -1.0, -9.0]], [[-1.0, -1.0, -9.0]]])
  >>> stepwise_loss(even, even, after).numpy().tolist()
  [1.5]
  """
  glimpses = log_likelihood.shape[-1]
  if glimpses == 1:
    return tf.zeros_like(log_likelihood[0, :, 0])
  log_weights = tf.reduce_sum(log_prior - log_sampling, axis=-1)
  weights = tf.stop_gradient(tf.nn.softmax(log_weights, axis=0))
  return -tf.reduce_sum(weights * tf.reduce_mean(log_likelihood[..., :-1], axis=-1), axis=0)
