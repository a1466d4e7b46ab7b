"""The sleep phase: the loss of the proposal on samples of the prediction network."""

import tensorflow as tf

__all__ = ["sleep_proposal_loss"]


def sleep_proposal_loss(log_proposal: tf.Tensor) -> tf.Tensor:
  """Cross-entropy of the proposal over glimpse sequences and labels drawn from the model.

  Args:
    log_proposal: float `[M, ...]`, nats; log q(a | y, image), with a drawn from the prior and y
      from the likelihood given a. Carries the gradient.

  Returns:
    loss, float `[...]`, nats.

  Estimator: unbiased for the gradient of E_{p(y|image)} KL(p(a | y) || q(a | y)), under the model.
    The labels come from the model, not from the data.

  Source: J. Bornschein, Y. Bengio, Reweighted Wake-Sleep, ICLR 2015, the sleep phase, arXiv
    1406.2751.

  Example:

  >>> import tensorflow as tf
  >>> float(sleep_proposal_loss(tf.constant([-1.0, -3.0])))
  2.0
  """
  return -tf.reduce_mean(log_proposal, axis=0)
