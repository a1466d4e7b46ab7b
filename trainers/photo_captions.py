"""Photographs as a source of captions: their splits, vocabulary and scores."""

import dataclasses
import sys
from typing import Any

import captions
import flag_groups
import keras
import numpy as np
import photo_features
import tensorflow as tf
from absl import flags
from run_folder import RunFolder

import wsram_tf
from wsram_tf import drawing
from wsram_tf.captions import scores
from wsram_tf.captions.data import captioned_images, coco_captions, flickr8k, pairs
from wsram_tf.captions.vocabulary import Vocabulary
from wsram_tf.settings import check_settings, setting

__all__ = ["PhotoCaptions", "define_flags"]

DRAWN = 6  # Photographs in the picture of a run.


@dataclasses.dataclass(frozen=True)
class PhotoConfig:
  """Which captions of photographs are used."""

  max_words: int = setting(
    20,
    "for photographs: words of the longest caption, its end included; longer ones are not learnt "
    "from, but are references",
    minimum=2,
  )
  least_word_count: int = setting(
    5, "for photographs: times that a word must occur in training captions to be known", minimum=1
  )
  validation_images: int = setting(
    500, "for photographs: how many of the validation split choose the weights", minimum=1
  )

  def __post_init__(self):
    check_settings(self)


def define_flags() -> None:
  """Defines the flags of photographs."""
  flag_groups.define(PhotoConfig)
  photo_features.define_flags()


class PhotoCaptions(captions.CaptionSource):
  """Photographs and what people wrote of them; see `captions.CaptionSource`.

  Weights are chosen by BLEU-4 of the run's own search, since the log-likelihood begins to fall
  while captions still get better.
  """

  chosen_by = "val_bleu_4"

  def __init__(self, run: RunFolder | None = None):
    self.config = flag_groups.read(PhotoConfig)
    data = flag_groups.read(captions.CaptionDataConfig)
    self.batch_size, self.max_words = data.evaluation_batch_size, self.config.max_words
    # First of all, since reading captions may take minutes.
    self.maker = photo_features.FeatureMaker(run)
    self.image_shape = self.maker.grid_shape
    self.splits, self.report = load_splits(data.dataset)
    self.learnt = captioned_images.without_long_captions(
      self.splits.train, self.max_words, self.report
    )
    if not self.learnt.names:
      raise ValueError(f"max_words={self.max_words}: must leave a caption to learn from")
    self.vocabulary = Vocabulary.from_captions(
      (caption for written in self.learnt.captions for caption in written),
      self.config.least_word_count,
    )
    if len(self.vocabulary) < 5:
      raise ValueError(f"least_word_count={self.config.least_word_count}: must leave some word")
    self.maker.check(self.splits)

  def make_backbone(self) -> keras.Model | None:
    """A backbone that learns with the model, if the flags say so."""
    return self.maker.make_trained()

  def prepare(self, run: RunFolder, lines: list[str]) -> None:
    """Computes the features of all photographs, unless they are there, and looks them up."""
    run.create(lines, resume=flags.FLAGS.resume)
    self.maker.compute(self.splits, run)
    self.load(run)

  def load(self, run: RunFolder) -> None:
    """Opens the features, and leaves out the photographs that have none."""
    self.features = self.maker.open(self.splits, run)
    for name, why in self.features.unreadable.items():
      self.report.add("images cannot be read", f"{name} ({why})")
    for message in self.report.messages():
      print(message, file=sys.stderr, flush=True)
    unreadable = set(self.features.unreadable)
    self.learnt = captioned_images.without_images(self.learnt, unreadable)
    # References stay whole, however long they are.
    self.dev = captioned_images.without_images(self.splits.validation, unreadable)
    self.dev = captioned_images.CaptionedImages(
      *(part[: self.config.validation_images] for part in self.dev)
    )
    self.test = captioned_images.without_images(self.splits.test, unreadable)
    for name, images in (("train", self.learnt), ("validation", self.dev), ("test", self.test)):
      if not images.names:
        raise ValueError(f"data_dir={flags.FLAGS.data_dir!r}: no {name} image can be read")

  def training(self, start_step: int) -> tf.data.Dataset:
    """Endless batches; each pass shows every caption once."""
    return pairs.training_pairs(
      self.features.grids,
      *self._encoded(self.learnt),
      batch_size=flags.FLAGS.batch_size,
      seed=flags.FLAGS.seed,
      start_step=start_step,
    )

  def validation(self) -> tf.data.Dataset:
    """Validation photographs, each with its first caption that is short enough."""
    return self._pairs(self.dev, captions_each=1)

  def judge(self, config: wsram_tf.DecodingConfig) -> keras.callbacks.Callback:
    """Scores captions of validation photographs by BLEU."""
    grids = self.features.grids[self.features.rows_of(self.dev.names)]
    return PhotoJudge(grids, self.dev.captions, self.vocabulary, config, self.batch_size)

  def describe_evaluation(self, logs: dict[str, float]) -> str:
    """One line on an evaluation during the training."""
    return (
      f"validation BLEU-1 {logs['val_bleu_1']:.1f}, BLEU-4 {logs['val_bleu_4']:.1f}, "
      f"log-likelihood {logs['val_log_likelihood_per_word']:.3f} nats a word, bound "
      f"{logs['val_bound']:.2f} nats, effective sample size "
      f"{logs['val_effective_sample_size']:.2f}; training log-likelihood "
      f"{logs['log_likelihood_per_word']:.3f} nats a word"
    )

  def score(
    self, learner: wsram_tf.CaptionLearner, config: wsram_tf.DecodingConfig, run: RunFolder | None
  ) -> dict[str, float]:
    """Scores captions of the test split; writes them, and a picture of the first few."""
    grids = self.features.grids[self.features.rows_of(self.test.names)]
    answers = captions.describe(learner, grids, config, self.batch_size)
    said = [self.vocabulary.decode(words) for words in answers["words"]]
    if run is not None:
      self._write(run, said, answers, learner.model_config.grid_shape)
    return {
      **scores.all_scores(said, self.test.captions),
      **captions.evaluation_figures(learner, self._pairs(self.test)),
      **dataclasses.asdict(config),
      "training_images": len(self.learnt.names),
      "training_captions": sum(map(len, self.learnt.captions)),
      "validation_images": len(self.dev.names),
      "test_images": len(self.test.names),
      "words": len(self.vocabulary),
      "left_out": self.report.counts,
    }

  def headline(self, results: dict[str, float]) -> str:
    """One line on a finished run."""
    figures = ", ".join(f"BLEU-{n} {results[f'bleu_{n}']:.1f}" for n in range(1, 5))
    return (
      f"test {figures}, ROUGE-L {results['rouge_l']:.1f}, CIDEr {results['cider']:.3f}; "
      f"log-likelihood {results['test_log_likelihood_per_word_nats']:.3f} nats a word"
    )

  def _write(
    self,
    run: RunFolder,
    said: list[str],
    answers: dict[str, np.ndarray],
    grid_shape: tuple[int, int],
  ) -> None:
    rows = [
      {"image": name, "caption": caption, "log_prob_nats": round(float(log_prob), 4)}
      for name, caption, log_prob in zip(self.test.names, said, answers["log_prob"], strict=True)
    ]
    run.write_json(run.captions, rows)
    files = self.splits.read(self.test.names[:DRAWN])
    run.save_figure(
      run.glimpses,
      drawing.draw_captions(
        self.maker.pixels(self.test.names[:DRAWN], files),
        answers["locations"][:DRAWN],
        [caption.split() or ["(nothing)"] for caption in said[:DRAWN]],
        grid_shape,
      ),
    )

  def _encoded(
    self, images: captioned_images.CaptionedImages, captions_each: int | None = None
  ) -> tuple[np.ndarray, np.ndarray]:
    short = captioned_images.without_long_captions(
      images, self.max_words, captioned_images.Report()
    )
    rows, encoded = [], []
    for row, written in zip(self.features.rows_of(short.names), short.captions, strict=True):
      for caption in written[:captions_each]:
        rows.append(row)
        encoded.append(self.vocabulary.encode(caption, self.max_words))
    return np.array(rows, np.int64), np.array(encoded, np.int32)

  def _pairs(
    self, images: captioned_images.CaptionedImages, captions_each: int | None = None
  ) -> tf.data.Dataset:
    encoded = self._encoded(images, captions_each)
    return pairs.evaluation_pairs(self.features.grids, *encoded, self.batch_size)


def load_splits(
  dataset: str,
) -> tuple[captioned_images.CaptionSplits, captioned_images.Report]:
  """Reads the captions of a set, as the flags say where it is.

  Raises:
    ValueError, FileNotFoundError: if it is not there.
  """
  data_dir = flags.FLAGS.data_dir
  if dataset == "coco_captions":
    return coco_captions.load_coco_captions(data_dir or None, flags.FLAGS.download)
  if not data_dir:
    raise ValueError(f"data_dir: must be given for dataset={dataset}")
  return flickr8k.load_flickr8k(data_dir)


class PhotoJudge(keras.callbacks.Callback):
  """Adds, after each evaluation, BLEU-1 to BLEU-4 of captions of validation photographs."""

  def __init__(
    self,
    grids: np.ndarray,
    references: list[list[str]],
    vocabulary: Vocabulary,
    config: wsram_tf.DecodingConfig,
    batch_size: int,
  ):
    super().__init__()
    self.grids = grids
    self.references = references
    self.vocabulary = vocabulary
    self.config = config
    self.batch_size = batch_size

  def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
    """Describes and scores."""
    answers = captions.describe(self.model, self.grids, self.config, self.batch_size)
    said = [self.vocabulary.decode(words) for words in answers["words"]]
    for name, value in scores.corpus_bleu(said, self.references).items():
      logs[f"val_{name}"] = value
