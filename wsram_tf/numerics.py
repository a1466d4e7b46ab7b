"""Arithmetic on log-weights that is exact where weights underflow or are zero."""

import tensorflow as tf

__all__ = ["effective_sample_size", "log_mean_exp", "normalize_log_weights"]


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
