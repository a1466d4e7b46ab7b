"""Several replicas that train as one: which rows of a batch are a replica's, and the common mean.

A replica is one device of one process under a `tf.distribute` strategy. The random numbers of a
whole batch are drawn by all alike, and each takes its rows; so how many replicas there are changes
nothing but rounding.
Outside of a strategy there is one replica, and nothing here does anything.
"""

from typing import Any

import tensorflow as tf

__all__ = ["mean_over_replicas", "num_replicas", "own_rows", "weighted_sums"]


def num_replicas() -> int:
  """How many replicas run what is traced now: 1 outside of `strategy.run`."""
  context = tf.distribute.get_replica_context()
  return context.num_replicas_in_sync if context else 1


def own_rows(tensor: tf.Tensor, axis: int = 0) -> tf.Tensor:
  """This replica's equal share of what a whole batch has along an axis.

  Args:
    tensor: of the whole batch, `[..., B, ...]`; B a multiple of the number of replicas.
    axis: of B.
  """
  count = num_replicas()
  if count == 1:
    return tensor
  index = tf.distribute.get_replica_context().replica_id_in_sync_group
  rows = tf.shape(tensor)[axis] // count
  return tf.gather(tensor, index * rows + tf.range(rows), axis=axis)


def weighted_sums(value: tf.Tensor | tuple[tf.Tensor, tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
  """The sum of values, or of values times weights, and the sum of weights: float scalars.

  Args:
    value: what a mean is of, or a pair of it and its weights of the same shape.
  """
  values, weights = value if isinstance(value, tuple) else (value, tf.ones_like(value))
  return tf.reduce_sum(values * weights), tf.reduce_sum(weights)


def mean_over_replicas(tensors: Any) -> Any:
  """The mean of floats over all replicas, by one collective operation; the same for each.

  Args:
    tensors: a nest of float32 tensors of static shape.
  """
  count = num_replicas()
  if count == 1:
    return tensors
  flat = tf.nest.flatten(tensors)
  sizes = [tensor.shape.num_elements() for tensor in flat]
  # One long vector: many short ones would each wait for the slowest replica.
  vector = tf.concat([tf.reshape(tensor, [-1]) for tensor in flat], axis=0)
  context = tf.distribute.get_replica_context()
  vector = context.all_reduce(tf.distribute.ReduceOp.SUM, vector) / count
  means = tf.split(vector, sizes)
  shaped = [tf.reshape(mean, tensor.shape) for mean, tensor in zip(means, flat, strict=True)]
  return tf.nest.pack_sequence_as(tensors, shaped)
