"""Compares searches for captions on validation photographs, to choose one.

  python -m tests.benchmarks.caption_search --run_dir=RUN --search=3:1:0 --search=5:0.7:10

Each search is BEAM_WIDTH:LENGTH_EXPONENT:AVERAGED_SAMPLES, and with a fourth number, the exponent,
one for the consensus. Prints the BLEU scores, the brevity penalty in them, CIDEr and the seconds of
each. With `--checkpoint`, another state of the run is searched, for example one of its checkpoints.
For a captioner over several layers, `--layers` adds a table of the words of the last search by
kind: the share of each layer among the glimpses before them, at the mode of the prior, and the
prior's mean probability of each layer and mean entropy.
"""

import collections
import dataclasses
import time

import keras
import numpy as np
import tensorflow as tf
from absl import app, flags

from wsram_tf.captions import CaptionLearner, DecodingConfig, scores
from wsram_tf.cli import run_flags
from wsram_tf.cli.flags import ProgramFlags
from wsram_tf.cli.tasks import PROGRAMS
from wsram_tf.paper import words
from wsram_tf.runs.folder import RunFolder
from wsram_tf.tasks.captions import describe_images
from wsram_tf.tasks.photographs import PhotographTask

_RUN_DIR = flags.DEFINE_string("run_dir", None, "folder of a run on photographs", required=True)
_CHECKPOINT = flags.DEFINE_string("checkpoint", None, "file of the learner; absent: the run's")
_SEARCHES = flags.DEFINE_multi_string("search", ["3:1:0"], "beam width, length exponent, samples")
_IMAGES = flags.DEFINE_integer("images", 500, "photographs, the first of the split", lower_bound=1)
_LAYERS = flags.DEFINE_bool("layers", False, "also how the words of the last search choose layers")
_BATCH_SIZE = flags.DEFINE_integer("batch_size", 50, "photographs at once", lower_bound=1)


def _opened(run: RunFolder) -> PhotographTask:
  """The task of a run, with its data."""
  program = "train_captions"
  own = ProgramFlags("caption_search", "")
  own.define_path("run_dir", "")
  PROGRAMS[program].define(own)
  own.parse([f"--run_dir={run.path}", f"--validation_images={_IMAGES.value}"])
  run_flags.take_up(own, program)
  task = PROGRAMS[program].make_task(own)
  assert isinstance(task, PhotographTask), "the run must be one on photographs"
  task.open(run)
  task.prepare(RunFolder(run.path, is_writer=False))
  return task


def _print_layers(task: PhotographTask, learner: CaptionLearner, grids, answers) -> None:
  """Prints, for each kind of word, which layers the glimpses before it are in."""
  network = learner.prediction_network
  sizes = [rows * columns for rows, columns in network.config.grid_shapes]
  found = collections.defaultdict(list)
  for start in range(0, len(grids), _BATCH_SIZE.value):
    some = slice(start, start + _BATCH_SIZE.value)
    captions = answers["words"][some]
    grid = network.look(tf.constant(grids[some], tf.float32))
    parameters = network.attend(grid, tf.constant(captions, tf.int32)).prior_parameters[0]
    priors = np.split(tf.nn.softmax(parameters).numpy(), np.cumsum(sizes)[:-1], axis=-1)
    masses = np.stack([prior.sum(axis=-1) for prior in priors], axis=-1)
    entropies = network.location_distribution.entropy(parameters).numpy()
    chosen = np.eye(len(sizes))[answers["layers"][some]]
    for row, caption in enumerate(captions):
      for n, word in enumerate(task.vocabulary.decode(caption).split()):
        values = [*chosen[row, n], *masses[row, n], entropies[row, n]]
        kinds = [kind for kind, members in words.KINDS.items() if word in members]
        for kind in (*kinds, "all words"):
          found[kind].append(values)
  print("\n| word | number | glimpses in each layer, % | probability of each, % | entropy, nats |")
  print("|---|---|---|---|---|")
  for kind in (*words.KINDS, "all words"):
    if found[kind]:
      means = np.mean(found[kind], axis=0)
      shares = [f"{100 * mean:.0f}" for mean in means[:-1]]
      cells = [", ".join(half) for half in (shares[: len(sizes)], shares[len(sizes) :])]
      print(f"| {kind} | {len(found[kind])} | {' | '.join(cells)} | {means[-1]:.2f} |")


def main(argv):
  del argv
  run = RunFolder(_RUN_DIR.value)
  task = _opened(run)
  learner = keras.models.load_model(_CHECKPOINT.value or run.path / "model.keras")
  grids = task.features.grids[task.features.rows_of(task.dev.names)]
  print(f"update {int(learner.optimizer.iterations):,}, {len(task.dev.names)} photographs")
  print("| search | BLEU-1 | BLEU-2 | BLEU-3 | BLEU-4 | penalty | CIDEr | s |")
  print("|---|---|---|---|---|---|---|---|")
  for search in _SEARCHES.value:
    width, exponent, samples, *consensus = search.split(":")
    config = DecodingConfig(int(width), float(exponent), int(samples))
    if consensus:
      (weight,) = map(float, consensus)
      config = dataclasses.replace(config, consensus=True, consensus_exponent=weight)
    start = time.perf_counter()
    answers = describe_images(learner, grids, config, _BATCH_SIZE.value)
    seconds = time.perf_counter() - start
    captions = [task.vocabulary.decode(words) for words in answers["words"]]
    bleu = scores.corpus_bleu(captions, task.dev.captions)
    figures = " | ".join(f"{value:.1f}" for value in bleu.values())
    penalty = scores.brevity_penalty(captions, task.dev.captions)
    cider = scores.corpus_cider(captions, task.dev.captions)
    print(f"| {search} | {figures} | {penalty:.3f} | {cider:.3f} | {seconds:.0f} |", flush=True)
  if _LAYERS.value:
    if "layers" not in answers:
      raise app.UsageError("layers=true: needs a captioner over several layers")
    _print_layers(task, learner, grids, answers)


if __name__ == "__main__":
  app.run(main)
