"""Trains a model that describes images, with one hard glimpse before each word.

python trainers/train_captions.py --flagfile=trainers/flagfiles/scenes.flags [--run_dir=DIR]
"""

import os

# Before TensorFlow is imported: its start-up notes would bury the first lines.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import captions
import training
from absl import app, flags
from callbacks import Progress, RunRecorder
from run_folder import RunFolder

import wsram_tf
from wsram_tf.data import digits, scene_captions, scenes

__all__ = ["main"]

captions.define_flags()
training.define_flags(batch_size=64)
flags.DEFINE_string("data_dir", None, "folder of prepared TensorFlow Datasets, for digits=mnist")
flags.DEFINE_bool("download", False, "fetch digits=mnist where it is not prepared")


def make_learner(settings: captions.Settings) -> wsram_tf.CaptionLearner:
  """Makes a learner with fresh weights."""
  return wsram_tf.CaptionLearner(
    settings.model,
    settings.objective,
    settings.exploration,
    settings.loss,
    clip_norm=settings.optimizer.clip_norm,
    seed=flags.FLAGS.seed,
  )


def train(settings: captions.Settings, run: RunFolder, lines: list[str]) -> None:
  """Trains, chooses the weights, and writes everything that a run folder holds."""
  data, layout = settings.data, settings.scene.arguments()
  splits = digits.load_digits(
    data.digits,
    num_validation=data.validation_digits,
    data_dir=flags.FLAGS.data_dir,
    download=flags.FLAGS.download,
  )
  validation = scenes.evaluation_scenes(
    splits.validation, num_scenes=data.validation_scenes, seed=captions.VALIDATION_SEED, **layout
  )
  batch_size = flags.FLAGS.batch_size
  learner, figures = training.train_learner(
    run,
    lines,
    settings.optimizer,
    make_learner=lambda: make_learner(settings),
    has_convolutions=bool(settings.model.grid_filters),
    make_data=lambda start: scenes.scene_dataset(
      splits.train, batch_size=batch_size, seed=flags.FLAGS.seed, start_step=start, **layout
    ),
    validation=captions.batches(validation, data.evaluation_batch_size),
    callbacks=[
      captions.SceneJudge(validation, data.evaluation_batch_size),
      Progress(settings.optimizer.updates, captions.TRAINING_FIGURES, captions.describe_evaluation),
    ],
    make_recorder=lambda learner, start: RunRecorder(run, batch_size, start, captions.CHOSEN_BY),
  )
  test = scenes.evaluation_scenes(
    splits.test, num_scenes=data.test_scenes, seed=captions.TEST_SEED, **layout
  )
  describer = captions.Describer(learner, settings.decoding, data.evaluation_batch_size)
  results = captions.score(learner, describer, test)
  run.save_learner(run.model, learner)
  run.save_figure(run.glimpses, captions.draw_cases(learner, describer, test))
  with run.writing(run.vocabulary) as aside:
    scene_captions.VOCABULARY.save(aside)
  run.write_json(run.results, {**results, **figures, "test_scenes": data.test_scenes})
  print(
    f"test scenes right in every word {results['scenes_correct_percent']:.1f}%, glimpses on their "
    f"digit {results['glimpse_on_digit_percent']:.1f}%\nresults: {run.results}\n"
    f"picture: {run.glimpses}"
  )


def main(argv: list[str]) -> None:
  """Checks everything that can be checked, then trains."""
  training.run_program("train_captions", argv, captions.read_settings, train)


if __name__ == "__main__":
  app.run(main)
