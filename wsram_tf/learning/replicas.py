"""Training on several replicas: the rows of each replica, and means over all replicas.

A replica is one device of one process under a `tf.distribute` strategy. Every replica draws the
random numbers of the whole batch and takes its own rows, so the number of replicas changes nothing
but rounding. Images are those of the process's replicas. Outside of a strategy there is one
replica, and these functions return their argument.
"""

import tensorflow as tf

__all__ = ["mean_over_replicas", "num_replicas", "own_rows", "weighted_sums"]


def num_replicas() -> int:
  """The number of replicas that run the traced code: 1 outside of `strategy.run`."""
  context = tf.distribute.get_replica_context()
  return context.num_replicas_in_sync if context else 1


def own_rows(tensor: tf.Tensor, axis: int = 0, among: int | None = None) -> tf.Tensor:
  """This replica's equal share of a batch.

  Args:
    tensor: `[..., B, ...]`; B must be a multiple of the number of replicas that share it.
    axis: the axis of B.
    among: the replicas of this process, where they alone share the batch; None for all replicas.
  """
  count = among or num_replicas()
  if count == 1:
    return tensor
  # The replicas of a process have consecutive numbers.
  index = tf.distribute.get_replica_context().replica_id_in_sync_group % count
  rows = tf.shape(tensor)[axis] // count
  return tf.gather(tensor, index * rows + tf.range(rows), axis=axis)


def weighted_sums(value: tf.Tensor | tuple[tf.Tensor, tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
  """The sum of values, or of values times weights, and the sum of weights: float scalars.

  Args:
    value: values, or a pair of values and weights of the same shape.
  """
  values, weights = value if isinstance(value, tuple) else (value, tf.ones_like(value))
  return tf.reduce_sum(values * weights), tf.reduce_sum(weights)


def mean_over_replicas(vector: tf.Tensor) -> tf.Tensor:
  """The mean of float32 vectors over all replicas, equal on each, by one collective operation."""
  count = num_replicas()
  if count == 1:
    return vector
  context = tf.distribute.get_replica_context()
  return context.all_reduce(tf.distribute.ReduceOp.SUM, vector) / count
