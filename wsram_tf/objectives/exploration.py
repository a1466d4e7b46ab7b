"""Bonuses that keep the prior looking around, for any estimator, and their schedule."""

import tensorflow as tf

__all__ = ["coverage_loss", "entropy_loss", "linear_schedule"]


def entropy_loss(entropy: tf.Tensor) -> tf.Tensor:
  """Less of it is more entropy of the prior.

  Args:
    entropy: float `[M, B, N]`, nats, of the prior before each glimpse. Carries the gradient.

  Returns:
    loss, float `[B]`, nats: minus the entropies' sum over glimpses, averaged over samples.

  Estimator: no estimate of log p(y | image) is meant: a regulariser, whose gradient leaves out that
    the glimpses before were sampled. A normal with a fixed scale has constant entropy: no gradient.

  Source: K. Xu et al., Show, Attend and Tell, ICML 2015, section on hard attention, arXiv
    1502.03044.
  """
  return -tf.reduce_mean(tf.reduce_sum(entropy, axis=-1), axis=0)


def coverage_loss(cell_probabilities: tf.Tensor) -> tf.Tensor:
  """Less of it is more of the image looked at in the course of a sequence.

  Args:
    cell_probabilities: float `[M, B, N, L]`, the prior's probability of each of L cells before each
      glimpse. Carries the gradient.

  Returns:
    loss, float `[B]`: the variance over cells of the expected looks at each, times L; zero where
    all cells are looked at alike; averaged over samples.

  Estimator: no estimate of log p(y | image) is meant: a regulariser, whose gradient leaves out that
    the glimpses before were sampled.

  Source: K. Xu et al., Show, Attend and Tell, ICML 2015, doubly stochastic attention, arXiv
    1502.03044.
  """
  looks = tf.reduce_sum(cell_probabilities, axis=2)  # [M, B, L]
  mean = tf.reduce_mean(looks, axis=-1, keepdims=True)
  return tf.reduce_mean(tf.reduce_sum(tf.square(looks - mean), axis=-1), axis=0)


def linear_schedule(start: float, end: float, updates: int, step: tf.Tensor) -> float | tf.Tensor:
  """A value that goes straight from `start` to `end` over a number of updates, then stays.

  Args:
    start: the value at update 0.
    end: the value from update `updates` on.
    updates: how long it takes, updates; 0: it stays at `start` for ever.
    step: int, updates made before.

  Returns:
    the value, a float where it never changes, else a float32 scalar.
  """
  if not updates:
    return start
  done = tf.minimum(tf.cast(step, tf.float32) / float(updates), 1.0)
  return start + (end - start) * done
