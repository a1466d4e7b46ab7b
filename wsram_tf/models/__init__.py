"""The networks: prediction (prior and likelihood) and inference (proposal)."""

from wsram_tf.models.caption_inference_network import CaptionInferenceNetwork
from wsram_tf.models.caption_network import (
  CaptionNetwork,
  Grid,
  deserialized_backbone,
  serialized_backbone,
  word_mask,
)
from wsram_tf.models.inference_network import InferenceNetwork
from wsram_tf.models.prediction_network import (
  ChooseLocation,
  GlimpseSequences,
  PredictionNetwork,
  along_sequences,
  samples_first,
  samples_last,
)

__all__ = [
  "CaptionInferenceNetwork",
  "CaptionNetwork",
  "ChooseLocation",
  "GlimpseSequences",
  "Grid",
  "InferenceNetwork",
  "PredictionNetwork",
  "along_sequences",
  "deserialized_backbone",
  "samples_first",
  "samples_last",
  "serialized_backbone",
  "word_mask",
]
