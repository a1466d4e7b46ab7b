"""The estimators' mathematics: pure functions from log-probabilities to losses."""

from wsram_tf.objectives.control_variates import prior_control_variate, proposal_control_variate
from wsram_tf.objectives.estimators import (
  ESTIMATORS,
  Estimator,
  ScoredSequences,
  register_estimator,
)
from wsram_tf.objectives.exploration import coverage_loss, entropy_loss, linear_schedule
from wsram_tf.objectives.importance import importance_log_weights, multi_sample_bound
from wsram_tf.objectives.sleep import sleep_proposal_loss
from wsram_tf.objectives.variational import (
  baseline_loss,
  leave_one_out_baseline,
  variational_likelihood_loss,
  variational_prior_loss,
)
from wsram_tf.objectives.vimco import vimco_sampler_loss, vimco_signals
from wsram_tf.objectives.wake import wake_likelihood_loss, wake_prior_loss, wake_proposal_loss

__all__ = [
  "ESTIMATORS",
  "Estimator",
  "ScoredSequences",
  "baseline_loss",
  "coverage_loss",
  "entropy_loss",
  "importance_log_weights",
  "leave_one_out_baseline",
  "linear_schedule",
  "multi_sample_bound",
  "prior_control_variate",
  "proposal_control_variate",
  "register_estimator",
  "sleep_proposal_loss",
  "variational_likelihood_loss",
  "variational_prior_loss",
  "vimco_sampler_loss",
  "vimco_signals",
  "wake_likelihood_loss",
  "wake_prior_loss",
  "wake_proposal_loss",
]
