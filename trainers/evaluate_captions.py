"""Evaluates a finished run on captions, perhaps with another search.

python trainers/evaluate_captions.py --run_dir=DIR [--data_dir=DIR] [--beam_width=5]
"""

import startup  # noqa: F401

# isort: split
import caption_sources
import evaluating
import flag_groups
import keras
from absl import app
from run_folder import RunFolder

import wsram_tf
from wsram_tf.captions.vocabulary import Vocabulary

__all__ = ["main"]

caption_sources.define_flags()
flag_groups.define(wsram_tf.DecodingConfig)
evaluating.define_flags()


def evaluate(run: RunFolder) -> dict[str, float]:
  """The figures of the run, under the names of results.json; writes nothing.

  Raises:
    ValueError, FileNotFoundError: if the run's data are not there.
  """
  decoding = flag_groups.read(wsram_tf.DecodingConfig)
  source = caption_sources.make_source(run)
  if source.vocabulary.words != Vocabulary.load(run.vocabulary).words:
    raise ValueError(f"{run.vocabulary}: must hold the words of the captions that are there now")
  source.load(run)
  return source.score(keras.saving.load_model(run.model), decoding, None)


def main(argv: list[str]) -> None:
  """Prints the figures as JSON."""
  evaluating.run_evaluation("evaluate_captions", argv, evaluate)


if __name__ == "__main__":
  app.run(main, flags_parser=flag_groups.parse)
