"""Trains a model that describes images, with one hard glimpse before each word.

python trainers/train_captions.py --flagfile=trainers/flagfiles/scenes.flags [--run_dir=DIR]
python trainers/train_captions.py --flagfile=trainers/flagfiles/flickr8k.flags --data_dir=DIR \\
  --backbone=FILE.keras [--run_dir=DIR]
python trainers/train_captions.py --flagfile=trainers/flagfiles/flickr8k.flags \
  --dataset=coco_captions --backbone=FILE.keras [--data_dir=DIR] [--run_dir=DIR]
"""

import startup  # noqa: F401

# isort: split
import caption_sources
import captions
import first_weights
import flag_groups
import training
from absl import app, flags
from callbacks import Progress, RunRecorder
from run_folder import RunFolder

import wsram_tf
from wsram_tf.captions.vocabulary import Vocabulary

__all__ = ["main"]

caption_sources.define_flags()
captions.define_flags()
training.define_flags(batch_size=64)


def make_learner(settings: captions.Settings) -> wsram_tf.CaptionLearner:
  """Makes a learner with fresh weights."""
  return wsram_tf.CaptionLearner(
    settings.model,
    settings.objective,
    settings.exploration,
    settings.loss,
    backbone=settings.source.make_backbone(),
    clip_norm=settings.optimizer.clip_norm,
    seed=flags.FLAGS.seed,
  )


def check_first_weights(settings: captions.Settings) -> None:
  """Refuses to begin with the weights of a run whose words or model are others.

  Raises:
    ValueError: naming the run.
  """
  run = first_weights.finished_run()
  if run is not None and Vocabulary.load(run.vocabulary).words != settings.source.vocabulary.words:
    raise ValueError(f"begin_with={run.path}: its {run.vocabulary.name} must hold the same words")
  first_weights.check(lambda: make_learner(settings))


def train(settings: captions.Settings, run: RunFolder, lines: list[str]) -> None:
  """Trains, chooses the weights, and writes everything that a run folder holds."""
  source, batch_size = settings.source, flags.FLAGS.batch_size
  if not flags.FLAGS.resume:
    check_first_weights(settings)
  source.prepare(run, lines)
  learner, figures = training.train_learner(
    run,
    lines,
    settings.optimizer,
    make_learner=lambda: make_learner(settings),
    # The grid network ends in one, whatever its filters.
    has_convolutions=True,
    make_data=source.training,
    validation=source.validation(),
    callbacks=[
      source.judge(settings.decoding),
      Progress(settings.optimizer.updates, captions.TRAINING_FIGURES, source.describe_evaluation),
    ],
    make_recorder=lambda learner, start: RunRecorder(run, batch_size, start, source.chosen_by),
  )
  results = source.score(learner, settings.decoding, run)
  run.save_learner(run.model, learner)
  with run.writing(run.vocabulary) as aside:
    source.vocabulary.save(aside)
  run.write_json(run.results, {**results, **figures})
  print(f"{source.headline(results)}\nresults: {run.results}\npicture: {run.glimpses}")


def main(argv: list[str]) -> None:
  """Checks everything that can be checked, then trains."""
  training.run_program("train_captions", argv, caption_sources.read_settings, train)


if __name__ == "__main__":
  app.run(main, flags_parser=flag_groups.parse)
