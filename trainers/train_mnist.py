"""Trains a wake-sleep recurrent attention model on digits at random places and scales.

python trainers/train_mnist.py --flagfile=trainers/flagfiles/quickstart.flags [--run_dir=DIR]
"""

import os
import sys
import time

# Before TensorFlow is imported: its start-up notes would bury the first lines.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import diagnosing
import flag_groups
import keras
import mnist
import tensorflow as tf
from absl import app, flags
from callbacks import Progress, RunRecorder
from run_folder import RunFolder

import wsram_tf
from wsram_tf.data import canvases

__all__ = ["evaluation_interval", "main"]

# Updates that run without coming back to Python.
MOST_STEPS_PER_EXECUTION = 50
# Flags that a run may be repeated or resumed with unchanged.
NOT_PART_OF_A_RUN = ("run_dir", "resume", "data_dir", "download")

mnist.define_flags()
diagnosing.define_flags()
_RUN_DIR = flags.DEFINE_string("run_dir", None, "folder for the run; default runs/DATE-TIME")
_RESUME = flags.DEFINE_bool("resume", False, "go on with the run in run_dir from its last weights")
_SEED = flags.DEFINE_integer(
  "seed", 1, "of weights, data order, canvases and samples", lower_bound=0, upper_bound=2**31 - 1
)
_BATCH_SIZE = flags.DEFINE_integer("batch_size", 128, "images an update", lower_bound=1)
_EVALUATE_EVERY = flags.DEFINE_integer(
  "evaluate_every", 1_000, "updates from one evaluation and checkpoint to the next", lower_bound=1
)
_JIT_COMPILE = flags.DEFINE_enum(
  "jit_compile",
  "auto",
  ("auto", "on", "off"),
  "compile the training step with XLA; auto: yes, except convolutions on a CPU, which XLA slows",
)


def make_learner(settings: mnist.Settings) -> wsram_tf.WakeSleepLearner:
  """Makes a learner with fresh weights."""
  keras.utils.set_random_seed(_SEED.value)
  return wsram_tf.WakeSleepLearner(
    settings.model,
    settings.objective,
    settings.exploration,
    clip_norm=settings.optimizer.clip_norm,
    seed=_SEED.value,
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


def compile_learner(learner: wsram_tf.WakeSleepLearner, optimizer, evaluate_every: int) -> None:
  """Compiles for this device."""
  convolutions_on_cpu = learner.model_config.glimpse.glimpse_filters and not (
    tf.config.list_physical_devices("GPU")
  )
  learner.compile(
    optimizer,
    jit_compile={"on": True, "off": False, "auto": not convolutions_on_cpu}[_JIT_COMPILE.value],
    steps_per_execution=max(
      n for n in range(1, MOST_STEPS_PER_EXECUTION + 1) if evaluate_every % n == 0
    ),
  )


def evaluation_interval(updates: int) -> int:
  """Updates between evaluations, at most the whole training.

  Raises:
    ValueError: if the training does not end with an evaluation.
  """
  every = min(_EVALUATE_EVERY.value, updates)
  if updates % every:
    raise ValueError(f"updates={updates}: must be a multiple of evaluate_every={every}")
  return every


def train(settings: mnist.Settings, run: RunFolder, lines: list[str]) -> None:
  """Trains, chooses the weights, and writes everything that a run folder holds."""
  splits = mnist.load(settings)
  every = evaluation_interval(settings.optimizer.updates)
  validation = mnist.validation_canvases(settings, splits)
  test = mnist.test_canvases(settings, splits)
  learner = make_learner(settings)
  optimizer = make_optimizer(settings.optimizer)
  if _RESUME.value and run.last.exists():
    learner = mnist.load_learner(run.last)
    optimizer = learner.optimizer
  compile_learner(learner, optimizer, every)
  start = int(optimizer.iterations)
  run.create(lines)
  data = canvases.canvas_dataset(
    splits.train,
    batch_size=_BATCH_SIZE.value,
    seed=_SEED.value,
    start_step=start,
    **mnist.canvas_arguments(settings.canvas),
  )
  diagnosis = diagnosing.Diagnosis(learner, validation)
  recorder = RunRecorder(run, _BATCH_SIZE.value, start, diagnosis)
  began = time.time()
  if start < settings.optimizer.updates:
    learner.fit(
      data,
      initial_epoch=start // every,
      epochs=settings.optimizer.updates // every,
      steps_per_epoch=every,
      validation_data=validation,
      callbacks=[Progress(settings.optimizer.updates, _BATCH_SIZE.value), recorder],
      verbose=0,
    )
  print(f"trained in {time.time() - began:.0f} s; evaluating the best weights", flush=True)
  learner = mnist.load_learner(run.best)
  chosen_update = int(learner.optimizer.iterations)
  results = mnist.score(learner, test)
  run.save_learner(run.model, learner)
  run.save_figure(run.glimpses, mnist.draw_cases(learner, test))
  last = recorder.rows[-1]
  run.write_json(
    run.results,
    {
      **results,
      "updates": settings.optimizer.updates,
      "chosen_update": chosen_update,
      "images_per_second": last["images_per_second"],
      "train_seconds": last["train_seconds"],
      "seed": _SEED.value,
      "test_canvases": settings.data.test_canvases,
      "device": [device.device_type for device in tf.config.list_physical_devices()][-1],
    },
  )
  print(
    f"test error {results['test_error_percent']:.2f}%, averaged over "
    f"{learner.num_evaluation_samples} sampled sequences "
    f"{results['test_error_percent_averaged']:.2f}%\nresults: {run.results}\n"
    f"picture: {run.glimpses}"
  )


def main(argv: list[str]) -> None:
  """Checks everything that can be checked, then trains."""
  try:
    if len(argv) > 1:
      raise ValueError(f"{argv[1]!r}: not a flag; write --NAME=VALUE")
    settings = mnist.read_settings()
    evaluation_interval(settings.optimizer.updates)
    lines = flag_groups.flag_lines(leave_out=NOT_PART_OF_A_RUN)
    if _RESUME.value and not _RUN_DIR.value:
      raise ValueError("resume=true: needs --run_dir, the folder of the run to go on with")
    run = RunFolder(_RUN_DIR.value or time.strftime("runs/%Y%m%d-%H%M%S"))
    if _RESUME.value:
      run.check_resumable(lines)
    else:
      run.check_new()
    train(settings, run, lines)
  except (ValueError, FileNotFoundError) as error:
    sys.exit(f"train_mnist: {error}")


if __name__ == "__main__":
  app.run(main)
