"""What the training programs share: a run's flags, the optimizer, the updates and their record."""

import functools
import sys
import time
from collections.abc import Callable
from typing import Any

import distribution
import extending
import first_weights
import flag_groups
import keras
import provenance
import run_flags
import startup
import tensorflow as tf
from absl import flags
from bad_update import save_for_replay
from callbacks import RunRecorder
from checkpoints import Checkpoints
from run_folder import RunFolder

import wsram_tf
from wsram_tf.learning import weight_transfer
from wsram_tf.learning.update_guard import ON_NAN, NonFiniteUpdateError

__all__ = [
  "define_flags",
  "evaluation_interval",
  "make_optimizer",
  "run_program",
  "train_learner",
]

# Updates that run without coming back to Python.
MOST_STEPS_PER_EXECUTION = 50


def define_flags(batch_size: int) -> None:
  """Defines the flags of a run, with the default of `batch_size`."""
  flag_groups.define_path("run_dir", "folder for the run, new or empty; absent: runs/DATE-TIME")
  first_weights.define_flags()
  extending.define_flags()
  flags.DEFINE_bool(
    "resume",
    False,
    "go on with the run in run_dir from its newest checkpoint; flags that are not given are the "
    "run's",
  )
  flag_groups.define_count(
    "seed", 1, "seed of weights, data order, canvases and samples", minimum=0
  )
  flag_groups.define_count("batch_size", batch_size, "images an update")
  flag_groups.define_count(
    "evaluate_every",
    1_000,
    "updates from one evaluation and checkpoint to the next; must divide --updates",
  )
  flags.DEFINE_enum(
    "jit_compile",
    "auto",
    ("auto", "on", "off"),
    "compile the training step with XLA; auto: yes, except convolutions on a CPU, which XLA slows",
  )
  flags.DEFINE_enum(
    "on_nan",
    "stop",
    ON_NAN,
    "what follows an update with a loss or gradient that is NaN or infinite, which is never "
    "applied: stop (the update is saved in run_dir/nan) or skip (it is counted)",
  )
  flags.DEFINE_enum(
    "strategy",
    "none",
    distribution.STRATEGIES,
    "devices that share each batch: none (one device), mirrored (all GPUs of this machine) or "
    "multi_worker (several machines, started with one command each, TF_CONFIG saying which is "
    "which; all must see run_dir)",
  )


def make_optimizer(config: wsram_tf.OptimizerConfig) -> keras.optimizers.Optimizer:
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


def use_xla(has_convolutions: bool) -> bool:
  """Whether to compile with XLA, by the flag and for this device."""
  on_cpu = not tf.config.list_physical_devices("GPU")
  return {"on": True, "off": False, "auto": not (has_convolutions and on_cpu)}[
    flags.FLAGS.jit_compile
  ]


def steps_per_execution(every: int) -> int:
  """The most updates that run without coming back to Python, given those between evaluations."""
  return max(n for n in range(1, MOST_STEPS_PER_EXECUTION + 1) if every % n == 0)


def evaluation_interval(updates: int) -> int:
  """Updates between evaluations, at most the whole training.

  Raises:
    ValueError: if the training does not end with an evaluation.
  """
  every = min(flags.FLAGS.evaluate_every, updates)
  if updates % every:
    raise ValueError(f"updates={updates}: must be a multiple of evaluate_every={every}")
  return every


def train_learner(
  run: RunFolder,
  lines: list[str],
  optimizer_config: wsram_tf.OptimizerConfig,
  *,
  make_learner: Callable[[], keras.Model],
  has_convolutions: bool,
  make_data: Callable[[int], tf.data.Dataset],
  validation: Any,
  callbacks: list[keras.callbacks.Callback],
  make_recorder: Callable[[keras.Model, int], RunRecorder],
) -> tuple[keras.Model, dict[str, Any]]:
  """Trains a learner, new or resumed, and takes its best weights.

  Args:
    run: the run's folder, which is made.
    lines: the flags that reproduce the run.
    optimizer_config: the length of the training, and the optimizer.
    make_learner: makes it with fresh weights.
    has_convolutions: whether it has, which decides how it is compiled for this device.
    make_data: gives the training data from an update on.
    validation: what `fit` takes as validation data.
    callbacks: what else happens after an evaluation, before it is recorded.
    make_recorder: makes the recorder, given the learner and the updates made before.

  Returns:
    the learner with the best weights; figures of the training for results.json.
  """
  cluster = distribution.join(flags.FLAGS.strategy)
  every = evaluation_interval(optimizer_config.updates)
  keras.utils.set_random_seed(flags.FLAGS.seed)
  learner, optimizer = make_learner(), make_optimizer(optimizer_config)
  if not flags.FLAGS.resume:
    first_weights.take(learner)
  run.create(lines, resume=flags.FLAGS.resume)
  saved = Checkpoints(run).load_last() if flags.FLAGS.resume else None
  if saved is not None:
    learner, optimizer = saved, saved.optimizer
  elif flags.FLAGS.resume:  # It was stopped before its first checkpoint.
    first_weights.take(learner)
  learner.on_nan = flags.FLAGS.on_nan  # A resumed run may choose anew.
  learner.compile(
    optimizer,
    jit_compile=use_xla(has_convolutions),
    steps_per_execution=steps_per_execution(every),
  )
  start = int(optimizer.iterations)
  fit = functools.partial(learner.fit, verbose=0)
  if cluster.strategy:
    fit = distribution.ReplicatedLearner(
      cluster, learner, make_learner, lambda: make_optimizer(optimizer_config)
    ).fit
  recorder = make_recorder(learner, start) if cluster.is_chief else None
  began = time.time()
  if start < optimizer_config.updates:
    try:
      fit(
        make_data(start),
        initial_epoch=start // every,
        epochs=optimizer_config.updates // every,
        steps_per_epoch=every,
        validation_data=validation,
        callbacks=[*callbacks, recorder],
      )
    except NonFiniteUpdateError as error:
      if cluster.is_chief:
        save_for_replay(run, learner, error, make_data)
      raise
  if not cluster.is_chief:
    print("trained; the chief evaluates and writes the results", flush=True)
    sys.exit(0)
  print(f"trained in {time.time() - began:.0f} s; evaluating the best weights", flush=True)
  # Into the same learner, whose evaluation has been traced and compiled.
  weight_transfer.copy_state(recorder.checkpoints.load_best(), learner)
  last = recorder.rows[-1]
  return learner, {
    "updates": optimizer_config.updates,
    "chosen_update": int(learner.optimizer.iterations),
    "skipped_updates": int(sum(row["skipped_updates"] for row in recorder.rows)),
    "images_per_second": last["images_per_second"],
    "train_seconds": last["train_seconds"],
    "seed": flags.FLAGS.seed,
    "estimator": flags.FLAGS.estimator,
    "num_samples": flags.FLAGS.num_samples,
    "device": [device.device_type for device in tf.config.list_physical_devices()][-1],
    **provenance.software(),
  }


def run_program(
  name: str,
  argv: list[str],
  read_settings: Callable[[], Any],
  train: Callable[[Any, RunFolder, list[str]], None],
) -> None:
  """Checks everything that can be checked, then trains; ends with one clear line on bad input.

  Args:
    name: of the program, for its messages.
    argv: what the flags left of the command line.
    read_settings: reads the flags; what it returns has `optimizer`.
    train: does the work, given the settings, the folder and the lines of the flagfile.
  """
  taken: list[str] = []
  run = None
  try:
    if len(argv) > 1:
      raise ValueError(f"{argv[1]!r}: not a flag; write --NAME=VALUE")
    run_dir = flags.FLAGS.run_dir
    if flags.FLAGS.resume:
      if not run_dir:
        raise ValueError("resume=true: needs --run_dir, the folder of the run to go on with")
      earlier = RunFolder(run_dir)
      taken = run_flags.take_up(earlier.path, earlier.read_flags(), name)
    strategy = flags.FLAGS.strategy
    if strategy == "multi_worker" and not run_dir:
      raise ValueError("strategy=multi_worker: needs --run_dir, the folder that all workers see")
    if not flags.FLAGS.resume:
      first_weights.finished_run()
    lines = [
      run_flags.program_line(name),
      *flag_groups.flag_lines(leave_out=run_flags.NOT_PART_OF_A_RUN),
    ]
    is_writer = distribution.is_chief(strategy)
    run = RunFolder(run_dir or time.strftime("runs/%Y%m%d-%H%M%S"), is_writer=is_writer)
    if flags.FLAGS.resume:
      run.check_resumable(lines)
    elif is_writer:
      run.check_new()
    # Before the settings, which may load a network: workers must meet before TensorFlow does more.
    distribution.join(strategy).check_batch_size(flags.FLAGS.batch_size)
    settings = read_settings()
    evaluation_interval(settings.optimizer.updates)
    if flags.FLAGS.resume:
      run.lock()
    try:
      train(settings, run, lines)
    finally:
      run.release()
  except NonFiniteUpdateError as error:
    sys.exit(f"{name}: {error}; what replays it lies in {run.path / 'nan'}")
  except (ValueError, OSError, distribution.WorkerLostError) as error:
    sys.exit(f"{name}: {error}{run_flags.what_moved(taken)}")
  except KeyboardInterrupt:
    if run is None or not run.flagfile.exists():
      startup.stop(f"{name}: stopped; nothing was written")
    startup.stop(f"{name}: stopped; go on with --resume --run_dir={run.path}")
