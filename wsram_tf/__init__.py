"""Wake-sleep recurrent attention models in TensorFlow and Keras."""

from wsram_tf.captions.caption_network import CaptionNetwork
from wsram_tf.captions.config import CaptionLossConfig, CaptionModelConfig, DecodingConfig
from wsram_tf.captions.data.scene_config import SceneConfig
from wsram_tf.captions.inference_network import CaptionInferenceNetwork
from wsram_tf.captions.learner import CaptionLearner
from wsram_tf.classification.config import GlimpseConfig, LocationConfig, ModelConfig
from wsram_tf.classification.inference_network import InferenceNetwork
from wsram_tf.classification.learner import WakeSleepLearner
from wsram_tf.classification.prediction_network import PredictionNetwork
from wsram_tf.classification.pretrained import PRETRAINED, load_pretrained
from wsram_tf.config import ExplorationConfig, ObjectiveConfig, OptimizerConfig
from wsram_tf.data.canvas_config import CanvasConfig
from wsram_tf.learning.sequences import GlimpseSequences
from wsram_tf.learning.update_guard import NonFiniteUpdateError
from wsram_tf.locations import register_location_family
from wsram_tf.objectives import Estimator, ScoredSequences, register_estimator

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
