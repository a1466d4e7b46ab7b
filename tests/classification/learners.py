"""A small learner of bright squares, its data, and the names of its metrics."""

import dataclasses

import keras
import numpy as np

import wsram_tf

MODEL = wsram_tf.ModelConfig(
  height=20,
  width=24,
  num_classes=4,
  units=8,
  num_glimpses=2,
  context_side=4,
  glimpse=wsram_tf.GlimpseConfig(glimpse_side=6, glimpse_scales=2),
)
TRAINING_METRICS = {
  "loss",
  "bound",
  "log_likelihood",
  "effective_sample_size",
  "prior_entropy",
  "proposal_entropy",
  "prediction_gradient_norm",
  "inference_gradient_norm",
  "error_percent",
}
EVALUATION_METRICS = {
  "loss",
  "error_percent",
  "error_percent_averaged",
  "log_likelihood",
  "bound",
  "effective_sample_size",
  "prior_entropy",
  "proposal_entropy",
}


def make_data(count: int = 16) -> tuple[np.ndarray, np.ndarray]:
  """A bright square in the quadrant that the label names, on a dim pattern."""
  labels = np.arange(count, dtype=np.int32) % 4
  images = 0.2 * np.abs(np.sin(np.arange(count * 20 * 24))).reshape(count, 20, 24, 1)
  for index, label in enumerate(labels):
    row, column = 2 + 10 * (label // 2) + index % 3, 3 + 12 * (label % 2) + index % 2
    images[index, row : row + 5, column : column + 5] = 1.0
  return images.astype(np.float32), labels


def make_learner(
  family: str = "normal",
  cell: str = "lstm",
  seed: int = 3,
  exploration: wsram_tf.ExplorationConfig | None = None,
  **objective,
) -> wsram_tf.WakeSleepLearner:
  keras.utils.set_random_seed(1)
  location = wsram_tf.LocationConfig(location_distribution=family, grid_rows=3, grid_columns=4)
  return wsram_tf.WakeSleepLearner(
    dataclasses.replace(MODEL, cell=cell, location=location),
    wsram_tf.ObjectiveConfig(**{"num_samples": 3, **objective}),
    exploration,
    seed=seed,
  )
