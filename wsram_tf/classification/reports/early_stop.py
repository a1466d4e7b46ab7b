"""What a classifier answers before its last glimpse, and what stopping early costs."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from wsram_tf.classification.prediction_network import PredictionNetwork
from wsram_tf.classification.views import glimpses_until

__all__ = ["check_thresholds", "early_stop_figures", "stepwise_probabilities"]


def check_thresholds(thresholds: Sequence[float]) -> None:
  """Checks thresholds for `early_stop_figures`.

  Raises:
    ValueError: if one is not a probability.
  """
  for value in thresholds:
    if not 0 <= value <= 1:
      raise ValueError(f"thresholds={value}: must be probabilities, from 0 to 1")


def stepwise_probabilities(
  network: PredictionNetwork, data: tf.data.Dataset
) -> tuple[np.ndarray, np.ndarray]:
  """Classifies images after each glimpse at the mode of the prior.

  Args:
    network: N glimpses, K classes.
    data: batches of images and labels, n in all.

  Returns:
    probabilities, float32 `[n, N, K]`; labels, int `[n]`.
  """

  @tf.function(autograph=False, reduce_retracing=True)
  def classify(images):
    return network.classify_stepwise(images)["probabilities"]

  probabilities, labels = zip(*((classify(images), labels) for images, labels in data), strict=True)
  return np.concatenate(probabilities), np.concatenate(labels)


def early_stop_figures(
  probabilities: np.ndarray, labels: np.ndarray, thresholds: Sequence[float]
) -> dict[str, Any]:
  """Computes the error after each glimpse, and where an image stops at its first sure answer.

  Args:
    probabilities: float `[n, N, K]`, of the classes after each glimpse.
    labels: int `[n]`.
    thresholds: an image stops once its likeliest class has this probability; after the last
      glimpse in any case.

  Returns:
    `test_error_percent_by_glimpse`, N numbers; `early_stop`, for each threshold a dictionary with
    `threshold`, `mean_glimpses` and `test_error_percent`.

  Example:

  >>> probabilities = np.array([[[0.6, 0.4], [0.9, 0.1]], [[0.7, 0.3], [0.2, 0.8]]])
  >>> found = early_stop_figures(probabilities, np.array([0, 1]), thresholds=[0.65])
  >>> found["test_error_percent_by_glimpse"]
  [50.0, 0.0]
  >>> found["early_stop"]
  [{'threshold': 0.65, 'mean_glimpses': 1.5, 'test_error_percent': 50.0}]
  """
  answers = probabilities.argmax(axis=-1)
  wrong = answers != labels[:, np.newaxis]
  rows, stops = np.arange(len(labels)), []
  for threshold in thresholds:
    limits = np.full(len(labels), threshold, probabilities.dtype)
    glimpses = glimpses_until(probabilities, limits).numpy()
    stops.append(
      {
        "threshold": threshold,
        "mean_glimpses": float(glimpses.mean()),
        "test_error_percent": 100 * float(wrong[rows, glimpses - 1].mean()),
      }
    )
  by_glimpse = [100 * float(error) for error in wrong.mean(axis=0)]
  return {"test_error_percent_by_glimpse": by_glimpse, "early_stop": stops}
