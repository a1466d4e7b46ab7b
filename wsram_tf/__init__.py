"""Wake-sleep recurrent attention models in TensorFlow and Keras."""

from wsram_tf.caption_config import (
  CaptionLossConfig,
  CaptionModelConfig,
  DecodingConfig,
  SceneConfig,
)
from wsram_tf.caption_learner import CaptionLearner
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
from wsram_tf.location_families import register_location_family
from wsram_tf.models import (
  CaptionInferenceNetwork,
  CaptionNetwork,
  GlimpseSequences,
  InferenceNetwork,
  PredictionNetwork,
)
from wsram_tf.objectives import Estimator, ScoredSequences, register_estimator
from wsram_tf.pretrained import PRETRAINED, load_pretrained
from wsram_tf.update_guard import NonFiniteUpdateError

__all__ = [
  "PRETRAINED",
  "CanvasConfig",
  "CaptionInferenceNetwork",
  "CaptionLearner",
  "CaptionLossConfig",
  "CaptionModelConfig",
  "CaptionNetwork",
  "DecodingConfig",
  "Estimator",
  "ExplorationConfig",
  "GlimpseConfig",
  "GlimpseSequences",
  "InferenceNetwork",
  "LocationConfig",
  "ModelConfig",
  "NonFiniteUpdateError",
  "ObjectiveConfig",
  "OptimizerConfig",
  "PredictionNetwork",
  "SceneConfig",
  "ScoredSequences",
  "WakeSleepLearner",
  "load_pretrained",
  "register_estimator",
  "register_location_family",
  "show_glimpses",
]


def __getattr__(name: str) -> object:
  """Loads `show_glimpses` when it is asked for, because Matplotlib takes time to import."""
  if name == "show_glimpses":
    from wsram_tf.drawing import show_glimpses

    return show_glimpses
  raise AttributeError(f"module 'wsram_tf' has no attribute {name!r}")
