"""What the training programs share: a run's flags, the optimizer, the updates and their record."""

import sys
import time
from collections.abc import Callable
from typing import Any

import flag_groups
import keras
import tensorflow as tf
from absl import flags
from callbacks import RunRecorder
from checkpoints import Checkpoints
from run_folder import RunFolder

import wsram_tf

__all__ = [
  "define_flags",
  "evaluation_interval",
  "make_optimizer",
  "run_program",
  "train_learner",
]

# Updates that run without coming back to Python.
MOST_STEPS_PER_EXECUTION = 50
# Flags that a run may be repeated or resumed with unchanged.
NOT_PART_OF_A_RUN = ("run_dir", "resume", "data_dir", "download")


def define_flags(batch_size: int) -> None:
  """Defines the flags of a run, with the default of `batch_size`."""
  flags.DEFINE_string("run_dir", None, "folder for the run; default runs/DATE-TIME")
  flags.DEFINE_bool("resume", False, "go on with the run in run_dir from its newest checkpoint")
  flags.DEFINE_integer(
    "seed", 1, "of weights, data order, canvases and samples", lower_bound=0, upper_bound=2**31 - 1
  )
  flags.DEFINE_integer("batch_size", batch_size, "images an update", lower_bound=1)
  flags.DEFINE_integer(
    "evaluate_every", 1_000, "updates from one evaluation and checkpoint to the next", lower_bound=1
  )
  flags.DEFINE_enum(
    "jit_compile",
    "auto",
    ("auto", "on", "off"),
    "compile the training step with XLA; auto: yes, except convolutions on a CPU, which XLA slows",
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
  every = evaluation_interval(optimizer_config.updates)
  keras.utils.set_random_seed(flags.FLAGS.seed)
  learner, optimizer = make_learner(), make_optimizer(optimizer_config)
  run.create(lines, resume=flags.FLAGS.resume)
  saved = Checkpoints(run).load_last()
  if saved is not None:
    learner, optimizer = saved, saved.optimizer
  learner.compile(
    optimizer,
    jit_compile=use_xla(has_convolutions),
    steps_per_execution=steps_per_execution(every),
  )
  start = int(optimizer.iterations)
  recorder = make_recorder(learner, start)
  began = time.time()
  if start < optimizer_config.updates:
    learner.fit(
      make_data(start),
      initial_epoch=start // every,
      epochs=optimizer_config.updates // every,
      steps_per_epoch=every,
      validation_data=validation,
      callbacks=[*callbacks, recorder],
      verbose=0,
    )
  print(f"trained in {time.time() - began:.0f} s; evaluating the best weights", flush=True)
  learner, last = recorder.checkpoints.load_best(), recorder.rows[-1]
  return learner, {
    "updates": optimizer_config.updates,
    "chosen_update": int(learner.optimizer.iterations),
    "images_per_second": last["images_per_second"],
    "train_seconds": last["train_seconds"],
    "seed": flags.FLAGS.seed,
    "device": [device.device_type for device in tf.config.list_physical_devices()][-1],
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
  try:
    if len(argv) > 1:
      raise ValueError(f"{argv[1]!r}: not a flag; write --NAME=VALUE")
    settings = read_settings()
    evaluation_interval(settings.optimizer.updates)
    lines = flag_groups.flag_lines(leave_out=NOT_PART_OF_A_RUN)
    if flags.FLAGS.resume and not flags.FLAGS.run_dir:
      raise ValueError("resume=true: needs --run_dir, the folder of the run to go on with")
    run = RunFolder(flags.FLAGS.run_dir or time.strftime("runs/%Y%m%d-%H%M%S"))
    if flags.FLAGS.resume:
      run.check_resumable(lines)
      run.lock()
    else:
      run.check_new()
    try:
      train(settings, run, lines)
    finally:
      run.release()
  except (ValueError, FileNotFoundError) as error:
    sys.exit(f"{name}: {error}")
