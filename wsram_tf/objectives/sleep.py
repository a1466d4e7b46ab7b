"""The sleep phase: the inference network learns from what the prediction network dreams."""

import tensorflow as tf

__all__ = ["sleep_proposal_loss"]


def sleep_proposal_loss(log_proposal: tf.Tensor) -> tf.Tensor:
  """Cross-entropy of the proposal over glimpse sequences and labels drawn from the model itself.

  Args:
    log_proposal: float `[M, ...]`, nats; log q(a | y, image) with a drawn from the prior and y from
      the likelihood that those glimpses gave. Carries the gradient.

  Returns:
    loss, float `[...]`, nats.

  Estimator: unbiased for the gradient of E_{p(y|image)} KL(p(a | y) || q(a | y)), under the model.
    The labels are the model's, not the data's.

  Source: J. Bornschein, Y. Bengio, Reweighted Wake-Sleep, ICLR 2015, the sleep phase, arXiv
    1406.2751.
  """
  return -tf.reduce_mean(log_proposal, axis=0)
