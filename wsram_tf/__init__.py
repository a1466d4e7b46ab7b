"""Wake-sleep recurrent attention models in TensorFlow and Keras."""

from wsram_tf.config import (
  GlimpseConfig,
  LocationConfig,
  ModelConfig,
  ObjectiveConfig,
  OptimizerConfig,
)
from wsram_tf.learner import WakeSleepLearner
from wsram_tf.models import GlimpseSequences, InferenceNetwork, PredictionNetwork

__all__ = [
  "GlimpseConfig",
  "GlimpseSequences",
  "InferenceNetwork",
  "LocationConfig",
  "ModelConfig",
  "ObjectiveConfig",
  "OptimizerConfig",
  "PredictionNetwork",
  "WakeSleepLearner",
]
