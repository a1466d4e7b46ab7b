"""Trains a wake-sleep recurrent attention model on digits at random places and scales.

python trainers/train_mnist.py --flagfile=trainers/flagfiles/quickstart.flags [--run_dir=DIR]
"""

import os

# Before TensorFlow is imported: its start-up notes would bury the first lines.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import mnist
import training
from absl import app, flags
from callbacks import Progress, RunRecorder
from run_folder import RunFolder

import wsram_tf
from wsram_tf.data import canvases

__all__ = ["main"]

mnist.define_flags()
training.define_flags(batch_size=128)


def make_learner(settings: mnist.Settings) -> wsram_tf.WakeSleepLearner:
  """Makes a learner with fresh weights."""
  return wsram_tf.WakeSleepLearner(
    settings.model,
    settings.objective,
    settings.exploration,
    clip_norm=settings.optimizer.clip_norm,
    seed=flags.FLAGS.seed,
  )


def compile_learner(
  learner: wsram_tf.WakeSleepLearner, optimizer: keras.optimizers.Optimizer, every: int
) -> None:
  """Compiles for this device."""
  learner.compile(
    optimizer,
    jit_compile=training.use_xla(bool(learner.model_config.glimpse.glimpse_filters)),
    steps_per_execution=training.steps_per_execution(every),
  )


def train(settings: mnist.Settings, run: RunFolder, lines: list[str]) -> None:
  """Trains, chooses the weights, and writes everything that a run folder holds."""
  splits, batch_size = mnist.load(settings), flags.FLAGS.batch_size
  every = training.evaluation_interval(settings.optimizer.updates)
  validation = mnist.validation_canvases(settings, splits)
  test = mnist.test_canvases(settings, splits)
  learner, figures = training.train_learner(
    run,
    lines,
    settings.optimizer,
    make_learner=lambda: make_learner(settings),
    compile_learner=lambda learner, optimizer: compile_learner(learner, optimizer, every),
    make_data=lambda start: canvases.canvas_dataset(
      splits.train,
      batch_size=batch_size,
      seed=flags.FLAGS.seed,
      start_step=start,
      **mnist.canvas_arguments(settings.canvas),
    ),
    validation=validation,
    callbacks=[
      Progress(settings.optimizer.updates, mnist.TRAINING_FIGURES, mnist.describe_evaluation)
    ],
    make_recorder=lambda start: RunRecorder(run, batch_size, start, mnist.CHOSEN_BY),
  )
  results = mnist.score(learner, test)
  run.save_learner(run.model, learner)
  run.save_figure(run.glimpses, mnist.draw_cases(learner, test))
  run.write_json(run.results, {**results, **figures, "test_canvases": settings.data.test_canvases})
  print(
    f"test error {results['test_error_percent']:.2f}%, averaged over "
    f"{learner.num_evaluation_samples} sampled sequences "
    f"{results['test_error_percent_averaged']:.2f}%\nresults: {run.results}\n"
    f"picture: {run.glimpses}"
  )


def main(argv: list[str]) -> None:
  """Checks everything that can be checked, then trains."""
  training.run_program("train_mnist", argv, mnist.read_settings, train)


if __name__ == "__main__":
  app.run(main)
