"""Synchronous training on several devices of one machine or of several, by `tf.distribute`.

Keras' `fit` cannot withhold a non-finite update under a strategy, and fails under
`MultiWorkerMirroredStrategy` (Keras issue 20585), so the loop is here. A copy of the learner lives
on all devices and is trained. The learner itself receives its state after each execution, and is
evaluated, saved and stopped like any other.
"""

import contextlib
import functools
import inspect
import json
import os
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from wsram_tf.data.pipelines import WHOLE, Shard, map_in_order
from wsram_tf.learning import updates, weight_transfer
from wsram_tf.learning.update_guard import WatchUpdates
from wsram_tf.runs.task import Task

__all__ = ["STRATEGIES", "Cluster", "ReplicatedLearner", "WorkerLostError", "is_chief", "join"]

STRATEGIES = ("none", "mirrored", "multi_worker")
# Errors of a collective operation after a worker was lost.
LOST = (
  tf.errors.AbortedError,
  tf.errors.CancelledError,
  tf.errors.DeadlineExceededError,
  tf.errors.InternalError,
  tf.errors.UnavailableError,
)


class WorkerLostError(RuntimeError):
  """A worker no longer answers; the message explains how to resume."""


class Cluster(NamedTuple):
  """The processes that train together.

  Attributes:
    strategy: of `tf.distribute`; None for an ordinary training.
    is_chief: whether this process writes the run folder.
    shard: this process's rows of each batch.
  """

  strategy: tf.distribute.Strategy | None
  is_chief: bool
  shard: Shard = WHOLE

  def check_batch_size(self, batch_size: int, micro_batches: int = 1) -> None:
    """Checks that the replicas and their micro-batches can share a batch equally.

    Raises:
      ValueError: otherwise, with the number of replicas.
    """
    count = self.strategy.num_replicas_in_sync if self.strategy else 1
    if batch_size % count:
      raise ValueError(f"batch_size={batch_size}: must be a multiple of the {count} replicas")
    rows = batch_size // count
    if rows % micro_batches:
      raise ValueError(f"micro_batches={micro_batches}: must divide the {rows} images of a device")

  def training_data(self, task: Task, **options: Any) -> tf.data.Dataset:
    """Makes this process's rows of a task's training batches.

    Args:
      task: makes whole batches, or with `shard` these rows alone.
      **options: of `Task.training_data`.
    """
    if self.shard.count == 1:
      return task.training_data(**options)
    if "shard" in inspect.signature(task.training_data).parameters:
      return task.training_data(**options, shard=self.shard)
    return map_in_order(
      task.training_data(**options),
      lambda images, targets: (self.shard.of(images), self.shard.of(targets)),
    )


def read_tf_config() -> tuple[int, int, bool]:
  """Reads the environment variable TF_CONFIG.

  Returns:
    the number of workers; the number of this worker; whether it is the chief.

  Raises:
    ValueError: if the variable is missing or malformed.
  """
  text = os.environ.get("TF_CONFIG", "")
  example = (
    '\'{"cluster": {"worker": ["HOST:PORT", "HOST:PORT"]}, '
    '"task": {"type": "worker", "index": 0}}\''
  )
  if not text:
    raise ValueError(
      "strategy=multi_worker: the environment variable TF_CONFIG must list the workers, for "
      f"example {example}"
    )
  try:
    config = json.loads(text)
    cluster = {kind: list(config["cluster"][kind]) for kind in config["cluster"]}
    kind, index = config["task"]["type"], int(config["task"]["index"])
    addresses = [*cluster.get("chief", []), *cluster.get("worker", [])]
    if not all(isinstance(word, str) for word in (kind, *addresses)):
      raise TypeError("not text")
  except (LookupError, TypeError, ValueError, AttributeError, OverflowError, RecursionError):
    raise ValueError(f"TF_CONFIG={text:.2000}: must be JSON, for example {example}") from None
  if not set(cluster) <= {"chief", "worker"} or not cluster.get("worker"):
    raise ValueError(f"TF_CONFIG={text}: its cluster must hold workers, and at most a chief")
  if kind not in cluster or not 0 <= index < len(cluster[kind]):
    raise ValueError(f"TF_CONFIG={text}: its task must be part of its cluster; got {kind} {index}")
  if len(set(addresses)) < len(addresses):
    raise ValueError(f"TF_CONFIG={text}: the addresses of the workers must differ")
  number = index + (len(cluster.get("chief", [])) if kind == "worker" else 0)
  return len(addresses), number, number == 0


def is_chief(kind: str) -> bool:
  """Returns whether this process writes the run folder; `join` is not needed before."""
  return kind != "multi_worker" or read_tf_config()[2]


@functools.cache  # A process joins once.
def join(kind: str) -> Cluster:
  """Connects to the other workers, if any, before TensorFlow does anything else.

  Args:
    kind: one of `STRATEGIES`.

  Raises:
    ValueError: if TF_CONFIG is missing or malformed.
  """
  if kind == "none":
    return Cluster(None, True)
  if kind == "mirrored":
    return Cluster(tf.distribute.MirroredStrategy(), True)
  count, number, is_chief = read_tf_config()
  print(f"worker {number} of {count}: waiting for the others", flush=True)
  return Cluster(tf.distribute.MultiWorkerMirroredStrategy(), is_chief, Shard(number, count))


class ReplicatedLearner:
  """Mirrors a learner on every device and trains the mirror.

  Args:
    cluster: the processes and devices; must have a strategy.
    learner: a compiled learner, new or resumed.
    make_learner: makes a learner of the same form.
    make_optimizer: makes its optimizer, of which the update rule and the schedule are used.

  Raises:
    ValueError: if the workers are not at the same update.
  """

  def __init__(
    self,
    cluster: Cluster,
    learner: keras.Model,
    make_learner: Callable[[], keras.Model],
    make_optimizer: Callable[[], keras.optimizers.Optimizer],
  ):
    self.cluster = cluster
    self.strategy = cluster.strategy
    self.learner = learner
    learner.build_optimizer()
    with lost_workers_reported(learner), self.strategy.scope():
      self.copy = make_learner()
      self.copy.micro_batches = learner.micro_batches
      self.copy.compile(make_optimizer(), jit_compile=learner.jit_compile)
      self.copy.build_optimizer()
      weight_transfer.copy_state(self.learner, self.copy)
      self._check_start(int(learner.optimizer.iterations))
    # Above 0 where a replica has a request to stop; like the guard's state in the first device.
    self._stop = tf.Variable(0.0, trainable=False)
    # Collective operations cannot be compiled by XLA; what comes before and after them can.
    compiled = functools.partial(tf.function, jit_compile=learner.jit_compile, autograph=False)
    self._differentiate = compiled(self._own_sums)
    self._apply = [
      compiled(functools.partial(self._apply_sums, records=local == 0))
      for local in range(len(self._local_values(self._first_variable())))
    ]
    self._train = tf.function(self._train_steps)
    self._form: Any = None  # Of the vector that the replicas exchange; known once it is traced.

  def _check_start(self, start: int) -> None:
    def gather():
      return tf.distribute.get_replica_context().all_gather(tf.constant([start]), axis=0)

    starts = self.strategy.experimental_local_results(self.strategy.run(tf.function(gather)))[0]
    if len(set(starts.numpy().tolist())) > 1:
      raise ValueError(
        f"run_dir: the workers are at updates {starts.numpy().tolist()}; all must see the chief's "
        "folder, and either all or none must resume"
      )

  def _first_variable(self) -> tf.Variable:
    return self.copy.trained_variables()[0].value

  def _local_values(self, value: Any) -> tuple[Any, ...]:
    return self.strategy.experimental_local_results(value)

  def _own_sums(self, images: tf.Tensor, targets: tf.Tensor, stop: tf.Tensor) -> tf.Tensor:
    """The losses, gradients and figures of this replica's rows, and its `stop`, in one vector.

    One vector for all, because each collective operation waits for the slowest replica. It holds
    the sums over the replica's rows of the figures, and its means of losses and gradients.
    """
    local = len(self._apply)
    own = [updates.rows_of_replica(tensor, among=local) for tensor in (images, targets)]
    update = self.copy.differentiate(*own)
    update = update.with_sums(self.copy.network_variables())
    self._form = tf.nest.map_structure(tf.TensorSpec.from_tensor, update)
    flat = [*tf.nest.flatten(update), stop]
    return tf.concat([tf.reshape(one, [-1]) for one in flat], axis=0)

  def _parts_of(self, vector: tf.Tensor) -> tuple[Any, tf.Tensor]:
    """Undoes the vector of `_own_sums`: the update, and `stop`."""
    flat = tf.nest.flatten(self._form)
    *parts, stop = tf.split(vector, [*(one.shape.num_elements() for one in flat), 1])
    shaped = [tf.reshape(part, one.shape) for part, one in zip(parts, flat, strict=True)]
    return tf.nest.pack_sequence_as(self._form, shaped), stop[0]

  @tf.autograph.experimental.do_not_convert
  def _train_step(self, images: tf.Tensor, targets: tf.Tensor, stop: tf.Tensor) -> None:
    """Like the learner's `train_step`, with the mean over replicas before the clipping."""
    means = self.strategy.run(
      lambda *own: updates.mean_over_replicas(self._differentiate(*own)), (images, targets, stop)
    )
    variable = self._first_variable()
    own = self._local_values(variable)

    def apply(component: tf.Variable, vector: tf.Tensor) -> None:
      (local,) = (place for place, one in enumerate(own) if one is component)
      self._apply[local](vector)

    # In here, each variable stands for its copy on one device.
    self.strategy.extended.update(variable, apply, args=(means,), group=False)

  def _apply_sums(self, vector: tf.Tensor, records: bool) -> None:
    """Updates the variables of one device.

    Args:
      vector: the mean of `_own_sums` over all replicas.
      records: whether this device keeps the guard and the metrics; one of a process does.
    """
    learner, optimizer = self.learner, self.copy.optimizer
    update, stop = self._parts_of(vector)
    if records:
      self._stop.assign(stop)
    gradients, norms = learner.clip(update.gradients)
    figures = update.with_means().figures
    skip = learner.on_nan == "skip"
    step = tf.convert_to_tensor(optimizer.iterations.value)

    def apply() -> None:
      # Not `optimizer.apply`, which would sum the gradients over replicas once more.
      rate = tf.convert_to_tensor(optimizer.learning_rate)
      flat = [gradient for group in gradients.values() for gradient in group]
      for variable, gradient in zip(self.copy.trained_variables(), flat, strict=True):
        optimizer.update_step(gradient, variable, rate)
      optimizer.iterations.assign_add(1)
      if records:
        learner.update_figures(norms, figures)

    def pass_over() -> None:
      optimizer.iterations.assign_add(int(skip))

    admitted = learner.guard.admits(update.losses, norms, step, skip, records=records)
    tf.cond(admitted, apply, pass_over)

  def _train_steps(self, batches: Any, count: tf.Tensor, stop: tf.Tensor) -> None:
    for _ in tf.range(count):
      self._train_step(*next(batches), stop)

  def fit(
    self,
    data: tf.data.Dataset,
    *,
    initial_epoch: int,
    epochs: int,
    steps_per_epoch: int,
    validation_data: Any,
    callbacks: list[keras.callbacks.Callback],
  ) -> None:
    """Trains like `keras.Model.fit`; only the chief evaluates and runs the callbacks.

    The last callback, a `Stopper`, runs on every worker: a request to stop one stops all.

    Args:
      data: endless batches of this process's rows; each replica takes its own.
      initial_epoch, epochs, steps_per_epoch, validation_data, callbacks: as in Keras.

    Raises:
      NonFiniteUpdateError: if an update is not finite and `on_nan` is stop.
      WorkerLostError: if a worker is lost.
    """
    learner, at_once = self.learner, self.learner.steps_per_execution
    watch = WatchUpdates(learner.guard, learner.on_nan == "skip")
    *of_chief, stopper = callbacks
    called = keras.callbacks.CallbackList(
      [watch, *(of_chief if self.cluster.is_chief else []), stopper],
      model=learner,
      epochs=epochs,
      steps=steps_per_epoch,
      verbose=0,
    )
    batches = iter(learner.checked(data)[0])
    called.on_train_begin()
    for epoch in range(initial_epoch, epochs):
      learner.reset_metrics()
      called.on_epoch_begin(epoch)
      for begin in range(0, steps_per_epoch, at_once):
        called.on_train_batch_begin(begin)
        with lost_workers_reported(learner), self.strategy.scope():
          self._train(batches, tf.constant(at_once), tf.constant(float(stopper.has_request)))
        stopper.is_agreed = float(self._stop) > 0
        weight_transfer.copy_state(self.copy, learner)
        called.on_train_batch_end(begin + at_once - 1, training_figures(learner))
      if self.cluster.is_chief:
        figures = training_figures(learner)
        validation = learner.evaluate(
          validation_data, return_dict=True, verbose=0, callbacks=called
        )
        figures |= {f"val_{name}": value for name, value in validation.items()}
        called.on_epoch_end(epoch, figures)
    called.on_train_end()


@contextlib.contextmanager
def lost_workers_reported(learner: keras.Model) -> Iterator[None]:
  """Converts the errors of a collective operation without a worker into `WorkerLostError`."""
  try:
    yield
  except LOST as error:
    raise WorkerLostError(
      f"a worker was lost after update {int(learner.optimizer.iterations)} "
      f"({type(error).__name__}); start all workers again with --resume to continue from the last "
      "checkpoint"
    ) from error


def training_figures(learner: keras.Model) -> dict[str, float]:
  """Returns the means of the training metrics since their reset."""
  return {name: float(value) for name, value in learner.results(learner.training_metrics).items()}
