"""Glimpse sequences, and conversions between rows and axes of samples, images and glimpses."""

from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

__all__ = [
  "ChooseAction",
  "GlimpseSequences",
  "along_sequences",
  "samples_first",
  "samples_last",
  "stacked_glimpses",
]


ChooseAction = Callable[[int, tf.Tensor, tf.Tensor], tf.Tensor]


class GlimpseSequences(NamedTuple):
  """M glimpse sequences for each of B images, with the prediction network's outputs.

  Attributes:
    actions: float `[M, B, N, A]`, (row, column) in [-1, 1], A = 2; where the model chooses a scale
      or a layer of features too, (row, column, scale or layer), A = 3.
    upper: float `[M, B, N, D]`, the upper layer's output before each glimpse.
    prior_parameters: float `[M, B, N, P]`, of the prior's distribution over each action.
    log_prior: float `[M, B, N]`, nats, log p(a_n | a_1..a_{n-1}, image).
    prior_entropy: float `[M, B, N]`, nats, of the distribution over each action.
    log_probs: float `[M, B, K]`, nats, log p(y | a, image) for every class.
    lower: float `[M, B, N, D]`, the lower layer's output after each glimpse, which the classifier
      reads; None for captions.
  """

  actions: tf.Tensor
  upper: tf.Tensor
  prior_parameters: tf.Tensor
  log_prior: tf.Tensor
  prior_entropy: tf.Tensor
  log_probs: tf.Tensor
  lower: tf.Tensor | None = None

  @property
  def locations(self) -> tf.Tensor:
    """(row, column) in [-1, 1], float `[M, B, N, 2]`."""
    return self.actions[..., :2]

  @property
  def scales(self) -> tf.Tensor | None:
    """The scale or layer of each glimpse, int64 `[M, B, N]`; None where there is no choice."""
    return tf.cast(self.actions[..., 2], tf.int64) if self.actions.shape[-1] > 2 else None


def samples_first(rows: tf.Tensor, num_samples: int) -> tf.Tensor:
  """Converts rows of images and samples `[B * M, ...]` to `[M, B, ...]`."""
  by_image = tf.reshape(rows, [-1, num_samples, *rows.shape[1:]])
  return tf.transpose(by_image, [1, 0, *range(2, by_image.shape.rank)])


def samples_last(tensor: tf.Tensor) -> tf.Tensor:
  """Converts `[M, B, ...]` to rows of images and samples `[B * M, ...]`."""
  by_image = tf.transpose(tensor, [1, 0, *range(2, tensor.shape.rank)])
  return tf.reshape(by_image, [-1, *tensor.shape[2:]])


def stacked_glimpses(rows: list[tf.Tensor], num_samples: int) -> tf.Tensor:
  """Stacks N tensors of rows of images and samples, `[B * M, ...]`, into `[M, B, N, ...]`."""
  stacked = tf.stack(rows)
  by_image = tf.reshape(stacked, [len(rows), -1, num_samples, *stacked.shape[2:]])
  return tf.transpose(by_image, [2, 1, 0, *range(3, by_image.shape.rank)])


def along_sequences(network: Callable[..., tf.Tensor], *inputs: tf.Tensor) -> tf.Tensor:
  """Calls a network of rows on all glimpses of all sequences at once.

  Args:
    network: maps floats `[R, ...]`, with the rows of one image as neighbours, to floats `[R, P]`.
    *inputs: floats `[M, B, N, ...]`.

  Returns:
    float `[M, B, N, P]`.
  """
  samples, glimpses = inputs[0].shape[0], inputs[0].shape[2]
  if samples is None:  # In an export, where M is dynamic.
    samples = tf.shape(inputs[0])[0]
  rows = [tf.reshape(samples_last(one), [-1, *one.shape[3:]]) for one in inputs]
  found = network(*rows)
  return samples_first(tf.reshape(found, [-1, glimpses, *found.shape[1:]]), samples)
