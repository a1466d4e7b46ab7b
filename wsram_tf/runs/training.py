"""Trains and evaluates runs: `train` makes a run folder, `evaluate` scores its learner again."""

import contextlib
import functools
import os
import pathlib
import time
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from wsram_tf.config import OptimizerConfig, TrainingConfig
from wsram_tf.learning import weight_transfer
from wsram_tf.learning.base_learner import BaseLearner
from wsram_tf.learning.update_guard import NonFiniteUpdateError
from wsram_tf.model_files.loading import load_model
from wsram_tf.runs import distribution, record, warm_start
from wsram_tf.runs.checkpoints import Checkpoints
from wsram_tf.runs.folder import RunFolder
from wsram_tf.runs.loop import fitting
from wsram_tf.runs.loop.intervals import Interval
from wsram_tf.runs.loop.progress import Progress
from wsram_tf.runs.loop.recorder import RunRecorder
from wsram_tf.runs.loop.replay import save_for_replay
from wsram_tf.runs.loop.stop_requests import RunStoppedError, StopRequests, Terminated
from wsram_tf.runs.loop.stopper import Stopper
from wsram_tf.runs.task import Task
from wsram_tf.settings import check_instance, check_path, given_or_default

__all__ = [
  "TrainedRun",
  "evaluate",
  "evaluation_interval",
  "make_optimizer",
  "run_settings",
  "train",
]

# Updates that run without returning to Python.
MOST_STEPS_PER_EXECUTION = 50


class TrainedRun(NamedTuple):
  """A finished run.

  Attributes:
    path: the run's folder.
    learner: the learner with the chosen weights.
    results: the figures of results.json; empty on workers other than the chief.
  """

  path: pathlib.Path
  learner: BaseLearner
  results: dict[str, Any]


def train(
  task: Task,
  run_dir: str | os.PathLike,
  training: TrainingConfig | None = None,
  optimizer: OptimizerConfig | None = None,
  *,
  resume: bool = False,
  begin_with: str | os.PathLike | None = None,
  settings: record.Settings | None = None,
  stop_requests: StopRequests | None = None,
) -> TrainedRun:
  """Trains a task's learner and writes a run folder with the model, figures and a picture.

  After a stop, the same call with `resume=True` ends with the same weights as a run without one.
  SIGTERM, which clusters send before they take a machine, and `training.max_hours` stop the run
  after the current updates, with a checkpoint.

  Args:
    task: the data and the model.
    run_dir: the folder, new or empty; with `resume` the folder of the run.
    training: batch size, seed, evaluations, devices; None for the defaults of the task.
    optimizer: length of the training and learning rate; None for the defaults.
    resume: whether to continue the run in `run_dir` from its newest checkpoint.
    begin_with: folder of a finished run whose weights replace the random ones.
    settings: the record of the run; None for the settings of the arguments.
    stop_requests: entered before the call; None: SIGTERM, and the time since the call.

  Returns:
    the finished run.

  Raises:
    ValueError: if settings contradict each other, or the folder does not fit them; nothing is
      written then.
    NonFiniteUpdateError: if an update is not finite and `training.on_nan` is `stop`.
    WorkerLostError: if another worker is lost.
    RunStoppedError: after a request to stop; `resume=True` continues.

  Example:

  >>> import tempfile
  >>> import wsram_tf
  >>> from wsram_tf import runs, tasks
  >>> task = tasks.DigitTask(
  ...   model=wsram_tf.ModelConfig(units=8, num_glimpses=1),
  ...   objective=wsram_tf.ObjectiveConfig("variational", num_samples=1),
  ...   evaluation=tasks.CanvasEvaluationConfig(validation_canvases=20, test_canvases=20),
  ... )
  >>> with tempfile.TemporaryDirectory() as folder:
  ...   run = runs.train(
  ...     task,
  ...     f"{folder}/run",
  ...     wsram_tf.TrainingConfig(batch_size=4, jit_compile="off"),
  ...     wsram_tf.OptimizerConfig(updates=2),
  ...   )  # doctest: +ELLIPSIS
  compiling the training step; ...
  >>> run.results["updates"]
  2
  """
  check_instance("task", task, Task)
  if training is None:
    training = TrainingConfig(batch_size=task.batch_size)
  optimizer = given_or_default("optimizer", optimizer, OptimizerConfig)
  check_instance("training", training, TrainingConfig)
  check_instance("resume", resume, bool)
  check_path("run_dir", run_dir)
  if begin_with is not None:
    check_path("begin_with", begin_with)
  settings = settings or run_settings(task, training, optimizer, begin_with)
  is_writer = distribution.is_chief(training.strategy)
  run = RunFolder(run_dir, is_writer=is_writer)
  if begin_with and not resume:
    warm_start.finished_run(begin_with)
  if resume:
    run.check_resumable(settings)
  elif is_writer:
    run.check_new()
  # First of all that uses TensorFlow: the workers must connect before it does anything else.
  cluster = distribution.join(training.strategy)
  cluster.check_batch_size(training.batch_size, training.micro_batches)
  evaluation_interval(training, optimizer)
  task.open(run if resume else None)
  if resume:
    run.lock()
  try:
    with contextlib.ExitStack() as stack:
      requests = stop_requests or stack.enter_context(StopRequests())
      requests.limit_hours(training.max_hours)
      plan = _Plan(task, run, training, optimizer, settings, resume, begin_with)
      return _train(plan, requests)
  except Terminated as error:
    raise RunStoppedError("stopped by SIGTERM") from error
  finally:
    task.close()
    run.release()


def evaluate(task: Task, run_dir: str | os.PathLike, **options: Any) -> dict[str, Any]:
  """Computes the figures of a finished run again, perhaps with another task's data.

  Args:
    task: the task that the run was trained on.
    run_dir: the run's folder; nothing is written there.
    **options: of `task.evaluate`, such as `importance_samples`.

  Returns:
    the figures, named as in results.json.

  Raises:
    ValueError: if the folder holds no finished run, or the data cannot be had.
  """
  check_instance("task", task, Task)
  run = RunFolder(run_dir)
  run.check_finished()
  task.open(run)
  try:
    task.prepare(RunFolder(run_dir, is_writer=False))
    return task.evaluate(load_model(run.model), **options)
  finally:
    task.close()


def run_settings(
  task: Task,
  training: TrainingConfig,
  optimizer: OptimizerConfig,
  begin_with: str | os.PathLike | None = None,
) -> record.Settings:
  """Collects the settings that reproduce a run."""
  own = record.collect(task.name, [training, optimizer])
  of_task = task.settings()
  extra = [f"--begin_with={record.stored_path(os.fspath(begin_with))}"] if begin_with else []
  return record.Settings(
    [of_task.lines[0], *sorted({*own.lines[1:], *of_task.lines[1:], *extra})],
    own.defaults | of_task.defaults,
    {**own.paths, **of_task.paths, "begin_with": bool},
    is_complete=False,
  )


def make_optimizer(config: OptimizerConfig) -> keras.optimizers.Optimizer:
  """Makes Adam with its learning-rate schedule."""
  rate = config.learning_rate
  if config.schedule == "cosine":
    rate = keras.optimizers.schedules.CosineDecay(
      0.0 if config.warmup_updates else rate,
      decay_steps=config.updates - config.warmup_updates,
      warmup_target=rate if config.warmup_updates else None,
      warmup_steps=config.warmup_updates,
    )
  elif config.warmup_updates:
    rate = keras.optimizers.schedules.PolynomialDecay(0.0, config.warmup_updates, rate)
  return keras.optimizers.Adam(rate)


def evaluation_interval(training: TrainingConfig, optimizer: OptimizerConfig) -> int:
  """Returns the updates between evaluations, at most the whole training.

  Raises:
    ValueError: if the training does not end with an evaluation.
  """
  every = min(training.evaluate_every, optimizer.updates)
  if optimizer.updates % every:
    raise ValueError(f"updates={optimizer.updates}: must be a multiple of evaluate_every={every}")
  return every


def use_xla(jit_compile: str, task: Task) -> bool:
  """Returns whether to compile a task's learner with XLA on this device."""
  on_cpu = not tf.config.list_physical_devices("GPU")
  avoids = task.excludes_xla or (task.avoids_xla_on_cpu and on_cpu)
  return {"on": True, "off": False, "auto": not avoids}[jit_compile]


def steps_per_execution(every: int) -> int:
  """Returns the most updates that run without returning to Python between two evaluations."""
  return max(n for n in range(1, MOST_STEPS_PER_EXECUTION + 1) if every % n == 0)


class _Plan(NamedTuple):
  """What one call of `train` does; see there."""

  task: Task
  run: RunFolder
  training: TrainingConfig
  optimizer: OptimizerConfig
  settings: record.Settings
  resume: bool
  begin_with: str | os.PathLike | None

  def make_learner(self) -> BaseLearner:
    return self.task.make_learner(clip_norm=self.optimizer.clip_norm, seed=self.training.seed)

  def make_optimizer(self) -> keras.optimizers.Optimizer:
    return make_optimizer(self.optimizer)

  def data_options(self, start_update: int) -> dict[str, int]:
    """The arguments of `Task.training_data`."""
    batch_size, seed = self.training.batch_size, self.training.seed
    return {"batch_size": batch_size, "seed": seed, "start_update": start_update}


def _train(plan: _Plan, requests: StopRequests) -> TrainedRun:
  learner, interval = _prepare(plan)
  began = time.time()
  recorder = _fit(plan, learner, interval, requests)
  requests.raise_now()
  if recorder is None:
    print("trained; the chief evaluates and writes the results", flush=True)
    return TrainedRun(plan.run.path, learner, {})
  print(f"trained in {time.time() - began:.0f} s; evaluating the best weights", flush=True)
  return _finish(plan, learner, recorder)


def _prepare(plan: _Plan) -> tuple[BaseLearner, Interval | None]:
  """Prepares the task, writes the first files of the run, and makes its learner, new or saved.

  Returns:
    the compiled learner; what a resumed run did since its last evaluation, None if nothing.
  """
  task, run, training, resume = plan.task, plan.run, plan.training, plan.resume
  if plan.begin_with and not resume:
    task.check_begin_with(warm_start.finished_run(plan.begin_with))
  if task.writes_before_training:
    run.create(plan.settings, resume=resume)
  task.prepare(run)
  keras.utils.set_random_seed(training.seed)
  learner, optimizer = plan.make_learner(), plan.make_optimizer()
  if plan.begin_with and not resume:
    warm_start.take_weights(learner, warm_start.finished_run(plan.begin_with))
  run.create(plan.settings, resume=resume)
  saved, interval = Checkpoints(run).load_newest() if resume else (None, None)
  if saved is not None:
    learner, optimizer = saved, saved.optimizer
  elif plan.begin_with and resume:  # The run was stopped before its first checkpoint.
    warm_start.take_weights(learner, warm_start.finished_run(plan.begin_with))
  # A resumed run may choose these again.
  learner.on_nan, learner.micro_batches = training.on_nan, training.micro_batches
  learner.compile(
    optimizer,
    jit_compile=use_xla(training.jit_compile, task),
    steps_per_execution=steps_per_execution(evaluation_interval(training, plan.optimizer)),
  )
  return learner, interval


def _fit(
  plan: _Plan, learner: BaseLearner, interval: Interval | None, requests: StopRequests
) -> RunRecorder | None:
  """Trains to the end.

  Returns:
    the recorder of the run; None on workers other than the chief.
  """
  task, training = plan.task, plan.training
  cluster = distribution.join(training.strategy)
  start = int(learner.optimizer.iterations)
  fit = functools.partial(learner.fit, verbose=0)
  if cluster.strategy:
    fit = distribution.ReplicatedLearner(
      cluster, learner, plan.make_learner, plan.make_optimizer
    ).fit
  progress = Progress(plan.optimizer.updates, task.progress, task.describe)
  stopper = Stopper(requests, agrees=training.strategy == "multi_worker")
  recorder, callbacks = None, [progress, stopper]
  if cluster.is_chief:
    evaluated = interval.begin if interval else start
    recorder = RunRecorder(
      plan.run,
      training.batch_size,
      evaluated,
      task.chosen_by,
      task.summaries,
      plan.settings,
      interval,
    )
    callbacks = [*task.callbacks(), progress, recorder, stopper]
  try:
    fitting.fit_from(
      start,
      learner,
      fit,
      lambda begin: cluster.training_data(task, **plan.data_options(begin)),
      task.validation_data(),
      callbacks,
      every=evaluation_interval(training, plan.optimizer),
      updates=plan.optimizer.updates,
      interval=interval,
    )
  except NonFiniteUpdateError as error:
    if cluster.is_chief:
      whole = task.training_data(**plan.data_options(error.step))
      save_for_replay(plan.run, learner, error, whole)
    raise
  except (Terminated, distribution.WorkerLostError) as error:
    reason = requests.reason
    if isinstance(error, Terminated):
      reason = reason or "a request to another worker"  # All stop together.
    if not reason:
      raise
    requests.forgo_grace()
    # With a lost worker, the metrics may be further than the weights.
    if recorder and isinstance(error, Terminated):
      recorder.save_interval()
    raise RunStoppedError(
      f"stopped by {reason} after update {int(learner.optimizer.iterations)}"
    ) from error
  return recorder


def _finish(plan: _Plan, learner: BaseLearner, recorder: RunRecorder) -> TrainedRun:
  """Scores the chosen weights, and writes the model and the results."""
  run = plan.run
  # Into the same learner, whose evaluation is traced and compiled already.
  weight_transfer.copy_state(recorder.checkpoints.load_best(), learner)
  results = {
    **plan.task.score(learner, run),
    **_training_figures(learner, recorder, plan.training, plan.optimizer),
  }
  run.save_learner(run.model, learner)
  run.write_json(run.results, results)
  print(f"{plan.task.headline(results)}\nresults: {run.results}\npicture: {run.glimpses}")
  return TrainedRun(run.path, learner, results)


def _training_figures(
  learner: BaseLearner,
  recorder: RunRecorder,
  training: TrainingConfig,
  optimizer_config: OptimizerConfig,
) -> dict[str, Any]:
  last = recorder.rows[-1]
  return {
    "updates": optimizer_config.updates,
    "chosen_update": int(learner.optimizer.iterations),
    "skipped_updates": int(sum(row["skipped_updates"] for row in recorder.rows)),
    "images_per_second": last["images_per_second"],
    "train_seconds": last["train_seconds"],
    "seed": training.seed,
    "estimator": learner.objective_config.estimator,
    "num_samples": learner.objective_config.num_samples,
    "device": [device.device_type for device in tf.config.list_physical_devices()][-1],
    **record.software(),
  }
