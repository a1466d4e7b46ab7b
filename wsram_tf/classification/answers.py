"""The answers of a classifier: classes, their probabilities, and where it looked."""

import tensorflow as tf

from wsram_tf.learning.sequences import GlimpseSequences

__all__ = ["answer", "glimpses_until"]


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
  >>> [int(glimpses_until(after, [value])) for value in (0.4, 0.8, 0.95)]
  [1, 2, 3]
  """
  before_last = tf.reduce_max(probabilities[:, :-1], axis=-1) < tf.expand_dims(threshold, axis=-1)
  unsure = tf.math.cumprod(tf.cast(before_last, tf.int64), axis=-1)
  return 1 + tf.reduce_sum(unsure, axis=-1)
