"""Classification: the prediction network, the inference network and their learner."""

from wsram_tf.classification.config import GlimpseConfig, LocationConfig, ModelConfig
from wsram_tf.classification.diagnostics import GradientProbe, enumerate_gradient, enumerate_model
from wsram_tf.classification.inference_network import InferenceNetwork
from wsram_tf.classification.learner import WakeSleepLearner
from wsram_tf.classification.prediction_network import PredictionNetwork
from wsram_tf.classification.pretrained import PRETRAINED, load_pretrained

__all__ = [
  "PRETRAINED",
  "GlimpseConfig",
  "GradientProbe",
  "InferenceNetwork",
  "LocationConfig",
  "ModelConfig",
  "PredictionNetwork",
  "WakeSleepLearner",
  "enumerate_gradient",
  "enumerate_model",
  "load_pretrained",
]
