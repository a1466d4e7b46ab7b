"""Wake-sleep recurrent attention models in TensorFlow and Keras."""

from wsram_tf.config import (
  CanvasConfig,
  ExplorationConfig,
  GlimpseConfig,
  LocationConfig,
  ModelConfig,
  ObjectiveConfig,
  OptimizerConfig,
)
from wsram_tf.learner import WakeSleepLearner
from wsram_tf.models import GlimpseSequences, InferenceNetwork, PredictionNetwork
from wsram_tf.pretrained import PRETRAINED, load_pretrained

__all__ = [
  "PRETRAINED",
  "CanvasConfig",
  "ExplorationConfig",
  "GlimpseConfig",
  "GlimpseSequences",
  "InferenceNetwork",
  "LocationConfig",
  "ModelConfig",
  "ObjectiveConfig",
  "OptimizerConfig",
  "PredictionNetwork",
  "WakeSleepLearner",
  "load_pretrained",
]
