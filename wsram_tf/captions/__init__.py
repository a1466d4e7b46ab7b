"""Captions: the caption network, its inference network and their learner."""

from wsram_tf.captions.backbones import load_backbone
from wsram_tf.captions.beam_search import beam_search
from wsram_tf.captions.caption_network import CaptionNetwork
from wsram_tf.captions.config import CaptionLossConfig, CaptionModelConfig, DecodingConfig
from wsram_tf.captions.inference_network import CaptionInferenceNetwork
from wsram_tf.captions.learner import CaptionLearner
from wsram_tf.captions.scores import all_scores
from wsram_tf.captions.vocabulary import Vocabulary

__all__ = [
  "CaptionInferenceNetwork",
  "CaptionLearner",
  "CaptionLossConfig",
  "CaptionModelConfig",
  "CaptionNetwork",
  "DecodingConfig",
  "Vocabulary",
  "all_scores",
  "beam_search",
  "load_backbone",
]
