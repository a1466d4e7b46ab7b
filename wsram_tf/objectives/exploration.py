"""Regularisers that spread the prior over the image, and their schedule."""

import tensorflow as tf

__all__ = ["coverage_loss", "entropy_loss", "linear_schedule"]


def entropy_loss(entropy: tf.Tensor) -> tf.Tensor:
  """Negative prior entropy; minimising it spreads the prior.

  Args:
    entropy: float `[M, B, N]`, nats, of the prior before each glimpse. Carries the gradient.

  Returns:
    loss, float `[B]`, nats: minus the sum of the entropies over glimpses, averaged over samples.

  Estimator: none of log p(y | image): a regulariser. Its gradient omits the dependence of a glimpse
    on the samples before it. A normal with a fixed scale has constant entropy, so no gradient.

  Source: K. Xu et al., Show, Attend and Tell, ICML 2015, section on hard attention, arXiv
    1502.03044.

  Example:

  >>> import tensorflow as tf
  >>> entropy_loss(tf.ones([2, 1, 3])).numpy().tolist()  # M = 2, B = 1, N = 3.
  [-3.0]
  """
  return -tf.reduce_mean(tf.reduce_sum(entropy, axis=-1), axis=0)


def coverage_loss(cell_probabilities: tf.Tensor) -> tf.Tensor:
  """Variance over cells of the expected number of glimpses; minimising it covers the image.

  Args:
    cell_probabilities: float `[M, B, N, L]`, the prior's probability of each of L cells before each
      glimpse. Carries the gradient.

  Returns:
    loss, float `[B]`: L times the variance over cells of the expected number of glimpses, averaged
    over samples; zero where that number is equal for all cells.

  Estimator: none of log p(y | image): a regulariser. Its gradient omits the dependence of a glimpse
    on the samples before it.

  Source: K. Xu et al., Show, Attend and Tell, ICML 2015, doubly stochastic attention, arXiv
    1502.03044.
  """
  looks = tf.reduce_sum(cell_probabilities, axis=2)  # [M, B, L]
  mean = tf.reduce_mean(looks, axis=-1, keepdims=True)
  return tf.reduce_mean(tf.reduce_sum(tf.square(looks - mean), axis=-1), axis=0)


def linear_schedule(start: float, end: float, updates: int, step: tf.Tensor) -> float | tf.Tensor:
  """Interpolates linearly from `start` to `end` over a number of updates, then stays at `end`.

  Args:
    start: the value at update 0.
    end: the value from update `updates` on.
    updates: length of the schedule, updates; 0: the value stays at `start`.
    step: int, updates made before.

  Returns:
    the value, a float where `updates` is 0, else a float32 scalar.

  Example:

  >>> float(linear_schedule(2.0, 1.0, 100, step=50))
  1.5
  """
  if not updates:
    return start
  done = tf.minimum(tf.cast(step, tf.float32) / float(updates), 1.0)
  return start + (end - start) * done
