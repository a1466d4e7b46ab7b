"""What every wake-sleep learner shares, whatever its targets are."""

from wsram_tf.learning.base_learner import BaseLearner, Update
from wsram_tf.learning.checked_model import CheckedModel
from wsram_tf.learning.sampling import (
  DrawnSequences,
  Proposal,
  Sampler,
  draw,
  score_sequences,
)
from wsram_tf.learning.sequences import GlimpseSequences
from wsram_tf.learning.update_guard import NonFiniteUpdateError

__all__ = [
  "BaseLearner",
  "CheckedModel",
  "DrawnSequences",
  "GlimpseSequences",
  "NonFiniteUpdateError",
  "Proposal",
  "Sampler",
  "Update",
  "draw",
  "score_sequences",
]
