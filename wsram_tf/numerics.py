"""Arithmetic on weights and probabilities that is exact where they underflow or are zero."""

import math

import tensorflow as tf

__all__ = [
  "effective_sample_size",
  "log_mean_exp",
  "normalize_log_weights",
  "sample_categories",
]

# Categories whose probabilities are added up one by one to draw a sample.
MOST_ADDED = 512


def log_mean_exp(log_values: tf.Tensor) -> tf.Tensor:
  """Log of the mean of exponentials over the leading axis.

  Args:
    log_values: float `[M, ...]`, nats; may hold -inf.

  Returns:
    float `[...]`, nats; -inf where every value is -inf.

  Example:

  >>> import tensorflow as tf
  >>> round(float(log_mean_exp(tf.constant([-1000.0, -1000.0]))), 3)  # exp(-1000) underflows.
  -1000.0
  """
  count = tf.cast(tf.shape(log_values)[0], log_values.dtype)
  return tf.reduce_logsumexp(log_values, axis=0) - tf.math.log(count)


def normalize_log_weights(log_weights: tf.Tensor) -> tf.Tensor:
  """Self-normalised weights: exponentials divided by their sum over the leading axis.

  Args:
    log_weights: float `[M, ...]`, nats, unnormalised; may hold -inf.

  Returns:
    float `[M, ...]`, summing to 1 over M; 1/M where all weights of a column are zero (-inf).

  Example:

  >>> import tensorflow as tf
  >>> normalize_log_weights(tf.constant([float("-inf"), float("-inf")])).numpy().tolist()
  [0.5, 0.5]
  """
  all_zero = tf.reduce_all(tf.math.is_inf(log_weights) & (log_weights < 0), axis=0, keepdims=True)
  return tf.nn.softmax(tf.where(all_zero, tf.zeros_like(log_weights), log_weights), axis=0)


def effective_sample_size(normalized_weights: tf.Tensor) -> tf.Tensor:
  """Kish's effective sample size, 1 / sum of squared weights over the leading axis.

  Args:
    normalized_weights: float `[M, ...]`, summing to 1 over M.

  Returns:
    float `[...]`, samples, from 1 (one weight is 1) to M (all weights are equal).

  Example:

  >>> import tensorflow as tf
  >>> float(effective_sample_size(tf.constant([0.5, 0.5, 0.0])))
  2.0
  """
  return 1.0 / tf.reduce_sum(tf.square(normalized_weights), axis=0)


def sample_categories(probabilities: tf.Tensor, uniforms: tf.Tensor) -> tf.Tensor:
  """Draws categories by the inverse of their distribution function.

  Args:
    probabilities: float `[..., L]`, not negative, with a positive sum.
    uniforms: float `[...]` in (0, 1).

  Returns:
    int32 `[...]`, from 0 to L - 1, never a category of probability 0.

  Example:

  >>> sample_categories(tf.constant([[0.2, 0.0, 0.8]] * 2), tf.constant([0.1, 0.3])).numpy()
  array([0, 2], dtype=int32)
  """
  count = probabilities.shape[-1]
  if count <= MOST_ADDED:
    return _inverse(probabilities, uniforms)[0]
  # A running sum is slow on a CPU: first a block of categories, then a category of the block.
  size = math.isqrt(count)
  axes = probabilities.shape.rank
  padded = tf.pad(probabilities, [[0, 0]] * (axes - 1) + [[0, -count % size]])
  blocks = tf.reshape(padded, tf.concat([tf.shape(padded)[:-1], [-1, size]], axis=0))
  block, rest = _inverse(tf.reduce_sum(blocks, axis=-1), uniforms)
  inside, _ = _inverse(tf.gather(blocks, block, batch_dims=axes - 1), rest)
  return block * size + inside


def _inverse(weights: tf.Tensor, uniforms: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
  """Inverts the distribution function of weights `[..., L]` at numbers `[...]` in [0, 1).

  Returns:
    the category, int32 `[...]`; the part of its weight below the number, in [0, 1).
  """
  below = tf.cumsum(weights, axis=-1)
  # Rounding would leave a gap at the end, which would select a category of probability 0.
  below /= below[..., -1:]
  passed = tf.cast(below <= uniforms[..., tf.newaxis], below.dtype)
  category = tf.cast(tf.reduce_sum(passed, axis=-1), tf.int32)
  start = tf.reduce_max(below * passed, axis=-1)
  end = tf.reduce_min(below + passed, axis=-1)
  part = (uniforms - start) / (end - start)
  # Rounding both differences may make them equal.
  return tf.minimum(category, weights.shape[-1] - 1), tf.minimum(part, 1.0 - 2.0**-24)
