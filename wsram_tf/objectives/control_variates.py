"""Weights whose subtraction takes noise out of a gradient of a score."""

import tensorflow as tf

from wsram_tf import numerics

__all__ = ["prior_control_variate", "proposal_control_variate"]


def prior_control_variate(log_prior: tf.Tensor, log_proposal: tf.Tensor) -> tf.Tensor:
  """The control variate v of the prior's gradient, proportional to p(a | image) / q(a).

  The expected score of the prior under the prior is zero; the samples estimate that zero with these
  weights, and subtracting the estimate leaves less noise. 1/M in their place would estimate the
  prior's score under the proposal, which is not zero, and would shift the gradient. Where the prior
  is the proposal they are 1/M.

  Args:
    log_prior: float `[M, ...]`, nats; log p(a | image).
    log_proposal: float `[M, ...]`, nats; log of the distribution that the samples were drawn from.

  Returns:
    float `[M, ...]`, summing to 1 over M; a constant, no gradient passes.

  Estimator: self-normalised, so biased at finite M under the proposal; the bias partly cancels that
    of the self-normalised importance weights. Exact where the prior is the proposal.

  Source: J. Ba, R. Grosse, R. Salakhutdinov, B. Frey, Learning Wake-Sleep Recurrent Attention
    Models, NIPS 2015, control variates, arXiv 1509.06812.
  """
  # A baseline must not itself be differentiated.
  return tf.stop_gradient(numerics.normalize_log_weights(log_prior - log_proposal))


def proposal_control_variate(log_proposal: tf.Tensor, log_sampling: tf.Tensor) -> tf.Tensor:
  """The control variate of the inference network's gradient, proportional to q(a) / s(a).

  Where the samples are the proposal's own it is 1/M, which is exact.

  Args:
    log_proposal: float `[M, ...]`, nats; log q(a | y, image).
    log_sampling: float `[M, ...]`, nats; log s(a), of the distribution that the samples were drawn
      from: the proposal itself, or one that explores more.

  Returns:
    float `[M, ...]`, summing to 1 over M; a constant, no gradient passes.

  Estimator: 1/M is unbiased for samples of the proposal, whose expected score is zero; the
    gradient's expectation stays what it was. For other samples self-normalised, so biased at
    finite M; consistent as M grows.

  Source: J. Ba, R. Grosse, R. Salakhutdinov, B. Frey, Learning Wake-Sleep Recurrent Attention
    Models, NIPS 2015, control variates, arXiv 1509.06812.
  """
  # A baseline must not itself be differentiated.
  return tf.stop_gradient(numerics.normalize_log_weights(log_proposal - log_sampling))
