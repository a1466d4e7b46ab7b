"""What the prediction network sees of images: forms, observations, features; and its answers."""

from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from wsram_tf.classification.config import GlimpseConfig, ModelConfig
from wsram_tf.classification.inputs.checks import LabelRules
from wsram_tf.classification.inputs.forms import PathRules, PixelListRules
from wsram_tf.layers import GlimpseSensor
from wsram_tf.layers.glimpse_sensor import Cutting
from wsram_tf.learning.no_return import earlier_cells
from wsram_tf.learning.sequences import GlimpseSequences, along_sequences
from wsram_tf.observations import (
  Observation,
  PixelObservation,
  RegionObservation,
  SparseObservation,
)

__all__ = [
  "FORMS",
  "View",
  "answer",
  "glimpses_until",
  "observe",
  "patches_at",
  "pictures",
  "priors_along",
  "where_of",
]

# Side of the reduced copies of large images in pictures, pixels.
LARGEST_PICTURE = 512


class Form(NamedTuple):
  """A form of images.

  Attributes:
    rules: of images and labels.
    rank: axes of a batch.
  """

  rules: type[LabelRules]
  rank: int


# By `ModelConfig.observation`.
FORMS = {
  "pixels": Form(LabelRules, 4),
  "visible_pixels": Form(PixelListRules, 3),
  "regions": Form(PathRules, 1),
}


class View(NamedTuple):
  """B images, prepared once for all glimpses and samples.

  Attributes:
    observation: gives the patches of each glimpse; None where the caller of `step` has them.
    context: list of floats `[B, D]`, the first state of the core's upper layer.
    cells: float `[B, L, F]`, the features of each cell; None unless the prior is a `keyed_grid`.
    keys: float `[B, L, K]`, the vectors that the prior compares a state with; with saliency
      `[B, L, K + 1]`; None likewise.
    saliency: float `[B, L]`, how conspicuous each cell is; None without `location_saliency`.
  """

  observation: Observation | None
  context: list[tf.Tensor]
  cells: tf.Tensor | None
  keys: tf.Tensor | None
  saliency: tf.Tensor | None = None


def observe(
  config: ModelConfig, sensor: GlimpseSensor, images: tf.Tensor, cutting: Cutting, compiled: bool
) -> Observation:
  """Makes the observation of images; see `PredictionNetwork.observe`."""
  if config.observation == "regions":
    return RegionObservation(images, sensor, config.channels)
  if config.observation == "visible_pixels":
    return SparseObservation(images, config.image_shape[:2], sensor, static_shapes=compiled)
  return PixelObservation(images, sensor, cutting)


def where_of(config: GlimpseConfig, actions: tf.Tensor) -> tf.Tensor:
  """The glimpse network's input about the place of actions `[R, A]`.

  Returns:
    float `[R, 2]`, (row, column); with `choose_scale` `[R, 2 + S]`, then the scale, one-hot.
  """
  if not config.chooses_scale:
    return actions
  scales = tf.one_hot(tf.cast(actions[:, 2], tf.int32), config.glimpse_scales, dtype=actions.dtype)
  return tf.concat([actions[:, :2], scales], axis=-1)


def patches_at(
  observation: Observation, locations: tf.Tensor, scales: tf.Tensor | None
) -> tf.Tensor:
  """Cuts the patches at given locations; see `PredictionNetwork.patches`."""
  actions = tf.convert_to_tensor(locations)
  if scales is not None:
    chosen = tf.cast(scales, actions.dtype)[..., tf.newaxis]
    actions = tf.concat([actions, chosen], axis=-1)
  return tf.stack([observation.patches(at) for at in tf.unstack(actions, axis=1)], axis=1)


def pictures(
  config: ModelConfig, sensor: GlimpseSensor, images: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
  """Makes pictures of images; see `PredictionNetwork.pictures`."""
  sizes = np.tile(config.image_shape[:2], (len(images), 1))
  if config.observation == "pixels":
    return images, sizes
  observation = observe(config, sensor, tf.convert_to_tensor(images), "gather", compiled=False)
  if isinstance(observation, RegionObservation):
    sizes = observation.sizes.numpy()
  sides = sizes.min(axis=1)
  # A file that cannot be read is a pixel large, and its picture black.
  side = sides[sides > 1].min(initial=LARGEST_PICTURE)
  return observation.low_resolution(int(side)).numpy(), sizes


def priors_along(network: Any, view: View, actions: tf.Tensor, upper: tf.Tensor) -> tf.Tensor:
  """Computes the prior's parameters before each glimpse, float `[M, B, N, P]`.

  All glimpses at once: one large product is cheaper, forwards and backwards, than N small ones.

  Args:
    network: a `PredictionNetwork`.
    view: of B images.
    actions: float `[M, B, N, A]`.
    upper: float `[M, B, N, D]`, the upper layer's output before each glimpse.
  """
  taken = [earlier_cells(network.cells(actions))] if network.config.location.no_return else []
  return along_sequences(lambda *rows: network.prior(view, *rows), upper, *taken)


def answer(sequences: GlimpseSequences, log_probs: tf.Tensor) -> dict[str, tf.Tensor]:
  """Makes the answer of one sequence an image; see `PredictionNetwork`.

  Args:
    sequences: of B images, M = 1.
    log_probs: float `[B, K]`, or after each glimpse `[B, N, K]`, nats.
  """
  scales = {} if sequences.scales is None else {"scales": sequences.scales[0]}
  return {
    "class_id": tf.argmax(log_probs, axis=-1),
    "probabilities": tf.exp(log_probs),
    "locations": sequences.locations[0],
    **scales,
  }


def glimpses_until(probabilities: tf.Tensor, threshold: tf.Tensor) -> tf.Tensor:
  """Counts the glimpses until the likeliest class reaches a threshold.

  Args:
    probabilities: float `[B, N, K]`, of the classes after each glimpse.
    threshold: float `[B]`, a probability for each image.

  Returns:
    int64 `[B]`, from 1; N where no answer reaches it.

  Example:

  >>> after = tf.constant([[[0.5, 0.5], [0.9, 0.1], [0.6, 0.4]]])
  >>> [int(glimpses_until(after, [value])[0]) for value in (0.4, 0.8, 0.95)]
  [1, 2, 3]
  """
  before_last = tf.reduce_max(probabilities[:, :-1], axis=-1) < tf.expand_dims(threshold, axis=-1)
  unsure = tf.math.cumprod(tf.cast(before_last, tf.int64), axis=-1)
  return 1 + tf.reduce_sum(unsure, axis=-1)
