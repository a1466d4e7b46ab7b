"""Control variates: weights that reduce the variance of a score-function gradient."""

import tensorflow as tf

from wsram_tf import numerics

__all__ = ["prior_control_variate", "proposal_control_variate"]


def prior_control_variate(log_prior: tf.Tensor, log_proposal: tf.Tensor) -> tf.Tensor:
  """The control variate v of the prior's gradient, proportional to p(a | image) / q(a).

  The expected score of the prior under the prior is zero. With these weights the samples estimate
  that zero, and subtracting the estimate reduces the variance. Weights of 1/M would estimate the
  expected score of the prior under the proposal, which is not zero, and would bias the gradient.
  Where the prior is the proposal, the weights are 1/M.

  Args:
    log_prior: float `[M, ...]`, nats; log p(a | image).
    log_proposal: float `[M, ...]`, nats; log-density of the sampling distribution.

  Returns:
    float `[M, ...]`, summing to 1 over M; a constant, without a gradient.

  Estimator: self-normalised, so biased at finite M under the proposal; the bias partly cancels that
    of the self-normalised importance weights. Exact where the prior is the proposal.

  Source: J. Ba, R. Grosse, R. Salakhutdinov, B. Frey, Learning Wake-Sleep Recurrent Attention
    Models, NIPS 2015, control variates, arXiv 1509.06812.

  Example:

  >>> import tensorflow as tf
  >>> log_prior, log_proposal = tf.math.log([[0.6], [0.1]]), tf.math.log([[0.2], [0.1]])
  >>> prior_control_variate(log_prior, log_proposal)[:, 0].numpy().round(2).tolist()
  [0.75, 0.25]
  """
  # The weights are constants of the gradient estimate.
  return tf.stop_gradient(numerics.normalize_log_weights(log_prior - log_proposal))


def proposal_control_variate(log_proposal: tf.Tensor, log_sampling: tf.Tensor) -> tf.Tensor:
  """The control variate of the inference network's gradient, proportional to q(a) / s(a).

  Where the samples come from the proposal itself, it is 1/M, which is exact.

  Args:
    log_proposal: float `[M, ...]`, nats; log q(a | y, image).
    log_sampling: float `[M, ...]`, nats; log s(a) of the sampling distribution: the proposal, or a
      wider distribution.

  Returns:
    float `[M, ...]`, summing to 1 over M; a constant, without a gradient.

  Estimator: for samples of the proposal, 1/M leaves the expected gradient unchanged, because the
    expected score of the proposal is zero. For other samples self-normalised, so biased at finite
    M; consistent as M grows.

  Source: J. Ba, R. Grosse, R. Salakhutdinov, B. Frey, Learning Wake-Sleep Recurrent Attention
    Models, NIPS 2015, control variates, arXiv 1509.06812.
  """
  # The weights are constants of the gradient estimate.
  return tf.stop_gradient(numerics.normalize_log_weights(log_proposal - log_sampling))
