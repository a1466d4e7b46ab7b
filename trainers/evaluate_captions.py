"""Evaluates a finished run on captions, perhaps with another search.

python trainers/evaluate_captions.py --run_dir=DIR [--data_dir=DIR] [--beam_width=5]
"""

import os

# Before TensorFlow is imported: its start-up notes would bury the first lines.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import json
import sys

import caption_sources
import evaluating
import flag_groups
import keras
from absl import app

import wsram_tf
from wsram_tf.data.vocabulary import Vocabulary

__all__ = ["main"]

caption_sources.define_flags()
flag_groups.define(wsram_tf.DecodingConfig)
evaluating.define_flags()


def evaluate() -> dict[str, float]:
  """The figures of the run, under the names of results.json; writes nothing.

  Raises:
    ValueError, FileNotFoundError: if the run or its data are not there.
  """
  run = evaluating.take_up()
  decoding = flag_groups.read(wsram_tf.DecodingConfig)
  source = caption_sources.make_source(run)
  if source.vocabulary.words != Vocabulary.load(run.vocabulary).words:
    raise ValueError(f"{run.vocabulary}: must hold the words of the captions that are there now")
  source.load(run)
  return source.score(keras.saving.load_model(run.model), decoding, None)


def main(argv: list[str]) -> None:
  """Prints the figures as JSON; ends with one clear line on bad input."""
  try:
    if len(argv) > 1:
      raise ValueError(f"{argv[1]!r}: not a flag; write --NAME=VALUE")
    print(json.dumps(evaluate(), indent=2))
  except (ValueError, FileNotFoundError) as error:
    sys.exit(f"evaluate_captions: {error}")


if __name__ == "__main__":
  app.run(main, flags_parser=flag_groups.parse)
