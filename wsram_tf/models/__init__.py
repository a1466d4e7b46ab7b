"""The networks: prediction (prior and likelihood) and inference (proposal)."""

from wsram_tf.models.inference_network import InferenceNetwork
from wsram_tf.models.prediction_network import (
  GlimpseSequences,
  PredictionNetwork,
  make_location_distribution,
  samples_first,
  samples_last,
)

__all__ = [
  "GlimpseSequences",
  "InferenceNetwork",
  "PredictionNetwork",
  "make_location_distribution",
  "samples_first",
  "samples_last",
]
