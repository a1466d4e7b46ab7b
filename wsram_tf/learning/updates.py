"""One update of a learner, whose batch may have several parts: replicas and micro-batches.

A replica is one device of one process under a `tf.distribute` strategy. Outside of a strategy there
is one. The rows of a replica may be divided again, into micro-batches, which are differentiated one
after the other: memory then holds one of them at a time, and the replicas still exchange their
gradients once a batch. Every part draws the random numbers of the whole batch and takes those of
its own rows, so the number of parts changes nothing but rounding.
"""

import contextlib
import contextvars
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from wsram_tf.learning.inputs import check_micro_batches

__all__ = [
  "Update",
  "count_skipped",
  "counter_of_batches",
  "mean_over_micro_batches",
  "mean_over_replicas",
  "num_parts",
  "own_rows",
  "rows_of_replica",
]

# The number of the micro-batch that is traced, int32, and their count. Replicas are traced in
# threads of their own, and each thread has its own value.
_MICRO_BATCH: contextvars.ContextVar[tuple[tf.Tensor | int, int]] = contextvars.ContextVar(
  "micro_batch", default=(0, 1)
)


class Update(NamedTuple):
  """The losses, gradients and metrics of one batch, before any weight changes.

  Attributes:
    losses: float scalars, nats, by network.
    gradients: one tensor a variable, by network.
    figures: the input of the metrics: values, or pairs of values and their weights.
    log_probs: for metrics of `compile`, one tensor, float `[M, B, K]`, nats; else empty.
  """

  losses: dict[str, tf.Tensor]
  gradients: dict[str, list[tf.Tensor]]
  figures: dict[str, tf.Tensor | tuple[tf.Tensor, tf.Tensor]]
  log_probs: tuple[tf.Tensor, ...] = ()

  def with_sums(self, variables: Mapping[str, Sequence[keras.Variable]]) -> "Update":
    """This update in a form that may be averaged over parts of a batch.

    Args:
      variables: those of the gradients, by network.

    Returns:
      dense gradients, zero where there was none, and as figures pairs of float scalars: the sum of
      values, or of values times weights, and the sum of weights.
    """
    gradients = {
      name: [_dense(*pair) for pair in zip(group, variables[name], strict=True)]
      for name, group in self.gradients.items()
    }
    figures = {name: _weighted_sums(value) for name, value in self.figures.items()}
    return self._replace(gradients=gradients, figures=figures)

  def with_means(self) -> "Update":
    """Undoes `with_sums` for the figures: pairs of the weighted mean and the sum of weights."""
    means = {
      name: (tf.math.divide_no_nan(total, weight), weight)
      for name, (total, weight) in self.figures.items()
    }
    return self._replace(figures=means)


def _dense(gradient: Any, variable: keras.Variable) -> tf.Tensor:
  if gradient is None:  # For example of the upper recurrent layer with one glimpse.
    return tf.zeros(variable.shape, variable.dtype)
  return tf.ensure_shape(tf.convert_to_tensor(gradient), variable.shape)  # Embeddings are sparse.


def _weighted_sums(
  value: tf.Tensor | tuple[tf.Tensor, tf.Tensor],
) -> tuple[tf.Tensor, tf.Tensor]:
  values, weights = value if isinstance(value, tuple) else (value, tf.ones_like(value))
  return tf.reduce_sum(values * weights), tf.reduce_sum(weights)


def _replica() -> tuple[tf.Tensor | int, int]:
  """The number of the replica that runs the traced code, and the number of replicas."""
  context = tf.distribute.get_replica_context()
  if context is None or context.num_replicas_in_sync == 1:
    return 0, 1
  return context.replica_id_in_sync_group, context.num_replicas_in_sync


def num_parts() -> int:
  """The number of equal parts of the whole batch, one of which the traced code deals with."""
  return _replica()[1] * _MICRO_BATCH.get()[1]


def own_rows(tensor: tf.Tensor, axis: int = 0) -> tf.Tensor:
  """The rows of the part of the batch that the traced code deals with.

  Args:
    tensor: `[..., B, ...]`, made for the whole batch; B must be a multiple of `num_parts()`.
    axis: the axis of B.
  """
  (replica, replicas), (micro_batch, micro_batches) = _replica(), _MICRO_BATCH.get()
  return _rows(tensor, replica * micro_batches + micro_batch, replicas * micro_batches, axis)


def rows_of_replica(tensor: tf.Tensor, among: int) -> tf.Tensor:
  """This replica's rows of a tensor that holds those of its process.

  Args:
    tensor: `[B, ...]`; B must be a multiple of `among`.
    among: the replicas of this process. They have consecutive numbers.
  """
  return _rows(tensor, _replica()[0] % among, among)


def _rows(tensor: tf.Tensor, index: tf.Tensor | int, count: int, axis: int = 0) -> tf.Tensor:
  if count == 1:
    return tensor
  rows = tf.shape(tensor)[axis] // count
  return tf.gather(tensor, index * rows + tf.range(rows), axis=axis)


def counter_of_batches(optimizer: keras.optimizers.Optimizer) -> keras.Variable:
  """The variable that counts the batches given to an optimizer.

  `iterations` counts its updates; with `gradient_accumulation_steps` each takes several batches.
  """
  return optimizer.variables[0] if optimizer.gradient_accumulation_steps else optimizer.iterations


def count_skipped(
  optimizer: keras.optimizers.Optimizer, variables: Sequence[keras.Variable]
) -> None:
  """Counts a batch whose gradient is not applied; among accumulated gradients it is zero."""
  if optimizer.gradient_accumulation_steps:
    optimizer.apply([tf.zeros(one.shape, one.dtype) for one in variables], variables)
  else:
    optimizer.iterations.assign_add(1)


def mean_over_replicas(vector: tf.Tensor) -> tf.Tensor:
  """The mean of float32 vectors over all replicas, equal on each, by one collective operation."""
  count = _replica()[1]
  if count == 1:
    return vector
  context = tf.distribute.get_replica_context()
  return context.all_reduce(tf.distribute.ReduceOp.SUM, vector) / count


def mean_over_micro_batches(
  differentiate: Callable[..., Update],
  rows: Sequence[tf.Tensor],
  count: int,
  variables: Mapping[str, Sequence[keras.Variable]],
) -> Update:
  """Differentiates the micro-batches of a batch one after the other.

  Args:
    differentiate: computes the update of a micro-batch from its rows.
    rows: tensors `[B, ...]`, the arguments of `differentiate`; B must be a multiple of `count`.
    count: number of micro-batches.
    variables: those of the gradients, by network.

  Returns:
    the update of the batch; its figures are pairs of scalars, see `Update.with_means`.

  Raises:
    ValueError: if the micro-batches cannot share the rows, where B is static.
  """
  if rows[0].shape[0] is not None:
    check_micro_batches(count, rows[0].shape[0])

  def of_micro_batch(index: tf.Tensor | int) -> Update:
    with _micro_batch(index, count):
      update = differentiate(*(_rows(tensor, index, count) for tensor in rows))
    return update.with_sums(variables)

  updates = _add_up(of_micro_batch, count, tf.shape(rows[0])[0] // count)
  losses, gradients = tf.nest.map_structure(
    lambda total: total / count, (updates.losses, updates.gradients)
  )
  log_probs = tuple(_join(stacked) for stacked in updates.log_probs)
  return Update(losses, gradients, updates.figures, log_probs).with_means()


@contextlib.contextmanager
def _micro_batch(index: tf.Tensor | int, count: int) -> Iterator[None]:
  """Traces the code inside as that of one micro-batch."""
  token = _MICRO_BATCH.set((index, count))
  try:
    yield
  finally:
    _MICRO_BATCH.reset(token)


def _add_up(
  of_micro_batch: Callable[[tf.Tensor | int], Update], count: int, num_rows: tf.Tensor
) -> Update:
  """The sums of updates, and their `log_probs` stacked, `[count, M, B / count, K]`.

  Args:
    of_micro_batch: computes the update of a micro-batch, given its number.
    count: number of micro-batches.
    num_rows: int32 scalar, rows of a micro-batch.
  """
  # A function, because its outputs tell the loop what to start with. It is traced once.
  compute = tf.function(of_micro_batch, autograph=False).get_concrete_function(
    tf.TensorSpec([], tf.int32)
  )
  outputs = compute.structured_outputs

  def stacked_zeros(spec: tf.TensorSpec) -> tf.Tensor:
    shape = [num_rows if size is None else size for size in spec.shape]
    return tf.zeros([count, *shape], spec.dtype)

  start = tf.nest.map_structure(
    lambda spec: tf.zeros(spec.shape, spec.dtype), outputs._replace(log_probs=())
  )._replace(log_probs=tuple(stacked_zeros(spec) for spec in outputs.log_probs))

  def add(index: tf.Tensor, total: Update) -> tuple[tf.Tensor, Update]:
    update = compute(index)
    added = tf.nest.map_structure(
      tf.add, total._replace(log_probs=()), update._replace(log_probs=())
    )
    log_probs = tuple(
      tf.tensor_scatter_nd_update(stacked, [[index]], [one])
      for stacked, one in zip(total.log_probs, update.log_probs, strict=True)
    )
    return index + 1, added._replace(log_probs=log_probs)

  _, total = tf.while_loop(
    lambda index, _: index < count, add, (tf.constant(0), start), parallel_iterations=1
  )
  return total


def _join(stacked: tf.Tensor) -> tf.Tensor:
  """`[count, M, B / count, K]` to `[M, B, K]`."""
  count, samples, _, classes = stacked.shape
  return tf.reshape(
    tf.transpose(stacked, [1, 0, 2, 3]), [samples, count * tf.shape(stacked)[2], classes]
  )
