"""The estimators' mathematics: pure functions from log-probabilities to losses."""

from wsram_tf.objectives.control_variates import prior_control_variate, proposal_control_variate
from wsram_tf.objectives.importance import importance_log_weights, multi_sample_bound
from wsram_tf.objectives.wake import wake_likelihood_loss, wake_prior_loss, wake_proposal_loss

__all__ = [
  "importance_log_weights",
  "multi_sample_bound",
  "prior_control_variate",
  "proposal_control_variate",
  "wake_likelihood_loss",
  "wake_prior_loss",
  "wake_proposal_loss",
]
