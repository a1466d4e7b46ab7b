"""Captions of photographs: their splits, vocabulary and scores."""

import dataclasses
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from wsram_tf import drawing
from wsram_tf.captions import CaptionLearner, DecodingConfig, Vocabulary, scores
from wsram_tf.captions.data import captioned_images, coco_captions, flickr8k, pairs
from wsram_tf.captions.reports.summaries import NUM_IMAGES, NUM_SHOWN
from wsram_tf.data.pipelines import WHOLE, Shard
from wsram_tf.runs.folder import CAPTIONS, RunFolder
from wsram_tf.runs.record import Settings, stored_path
from wsram_tf.runs.task import Summaries
from wsram_tf.settings import given_or_default
from wsram_tf.tasks.captions import CaptionTask, describe_images, evaluation_figures
from wsram_tf.tasks.config import CaptionEvaluationConfig, FeatureConfig, PhotographConfig
from wsram_tf.tasks.photo_features import FeatureMaker

__all__ = ["PHOTOGRAPH_SETS", "PhotographTask"]

PHOTOGRAPH_SETS = ("flickr8k", "coco_captions")
DRAWN = 10  # Photographs in the picture of a run.
SIDES = ("left", "right")  # Words that are wrong in a mirrored photograph.


class PhotographTask(CaptionTask):
  """Describes photographs, from the feature grids of a trained convolutional network.

  BLEU-4 of the run's own search chooses the weights, because the log-likelihood begins to fall
  while captions still improve.

  Args:
    dataset: flickr8k or coco_captions.
    data_dir: folder of Flickr8k, or of prepared TensorFlow Datasets.
    download: whether to fetch coco_captions or a backbone's weights.
    features: the backbone, and the files of its feature grids.
    photographs: which captions are used.
    batches: images a batch in evaluations.
    **options: see `CaptionTask`.

  Raises:
    ValueError: if the set is unknown.
  """

  name = "photographs"
  chosen_by = "val_bleu_4"
  writes_before_training = True

  def __init__(
    self,
    *,
    dataset: str = "flickr8k",
    data_dir: str | os.PathLike | None = None,
    download: bool = False,
    features: FeatureConfig | None = None,
    photographs: PhotographConfig | None = None,
    batches: CaptionEvaluationConfig | None = None,
    **options: Any,
  ):
    super().__init__(**options)
    if dataset not in PHOTOGRAPH_SETS:
      raise ValueError(f"dataset={dataset!r}: must be one of {', '.join(PHOTOGRAPH_SETS)}")
    self.dataset = dataset
    self.data_dir = os.fspath(data_dir) if data_dir else None
    self.download = download
    self.feature_config = given_or_default("features", features, FeatureConfig)
    self.photographs = given_or_default("photographs", photographs, PhotographConfig)
    self.batch_config = given_or_default("batches", batches, CaptionEvaluationConfig)
    self._shown: np.ndarray | None = None

  def configs(self) -> Iterable[Any]:
    """Returns the settings; see `Task`."""
    return [self.photographs, self.feature_config, self.batch_config, *super().configs()]

  def settings(self) -> Settings:
    """Returns the task's settings with the set and its place."""
    own = super().settings()
    # The model's number of words is the data's; the setting of the same name is not.
    extra = [f"--max_words={self.photographs.max_words}", f"--dataset={self.dataset}"]
    if self.data_dir:
      extra.append(f"--data_dir={stored_path(self.data_dir)}")
    lines = [own.lines[0], *sorted([*own.lines[1:], *extra])]
    return own._replace(lines=lines, paths={**own.paths, "data_dir": bool})

  def open(self, run: RunFolder | None) -> None:
    """Loads the backbone and reads the captions; see `Task`."""
    # The backbone first, because reading captions may take minutes.
    self.maker = FeatureMaker(self.feature_config, self.dataset, download=self.download, run=run)
    self.splits, self.report = self._load_splits()
    max_words = self.photographs.max_words
    self.learnt = captioned_images.without_long_captions(self.splits.train, max_words, self.report)
    if not self.learnt.names:
      raise ValueError(f"max_words={max_words}: leaves no caption to learn from; raise it")
    vocabulary = Vocabulary.from_captions(
      (caption for written in self.learnt.captions for caption in written),
      self.photographs.least_word_count,
    )
    if len(vocabulary) < 5:
      raise ValueError(
        f"least_word_count={self.photographs.least_word_count}: leaves an empty vocabulary; lower "
        "it"
      )
    self.fit_model(self.maker.grid_shape, vocabulary, max_words, self.maker.layer_shapes)
    self.check_words(run)
    self.maker.check(self.splits)

  def make_backbone(self) -> keras.Model | None:
    """Makes the backbone that learns, if the settings ask for one; see `CaptionTask`."""
    return self.maker.make_trained()

  def prepare(self, run: RunFolder) -> None:
    """Computes missing features, and leaves out photographs without any; see `Task`."""
    self.maker.compute(self.splits, run)
    self.features = self.maker.open(self.splits, run)
    for name, why in self.features.unreadable.items():
      self.report.add("images cannot be read", f"{name} ({why})")
    for message in self.report.messages():
      print(message, file=sys.stderr, flush=True)
    unreadable = set(self.features.unreadable)
    self.learnt = captioned_images.without_images(self.learnt, unreadable)
    # References stay complete, however long they are.
    self.dev = captioned_images.without_images(self.splits.validation, unreadable)
    self.dev = captioned_images.CaptionedImages(
      *(part[: self.photographs.validation_images] for part in self.dev)
    )
    self.test = captioned_images.without_images(self.splits.test, unreadable)
    for name, images in (("train", self.learnt), ("validation", self.dev), ("test", self.test)):
      if not images.names:
        raise ValueError(f"data_dir={self.data_dir!r}: no {name} image can be read")

  def training_data(
    self, *, batch_size: int, seed: int, start_update: int, shard: Shard = WHOLE
  ) -> tf.data.Dataset:
    """Makes endless batches; each pass contains every caption once; see `Task`."""
    rows, captions = self._encoded(self.learnt)
    may_flip = None
    if self.photographs.augment_flip:
      sides = [number for number, word in enumerate(self.vocabulary.words) if word in SIDES]
      may_flip = ~np.isin(captions, sides).any(axis=1)
    return pairs.training_pairs(
      self.features.grids,
      rows,
      captions,
      batch_size=batch_size,
      seed=seed,
      start_step=start_update,
      shard=shard,
      may_flip=may_flip,
      # A backbone that learns takes photographs, which pack no grids.
      layer_shapes=() if self.feature_config.train_backbone else self.maker.layer_shapes,
    )

  def validation_data(self) -> tf.data.Dataset:
    """Makes batches of validation photographs with their first short caption; see `Task`."""
    return self._pairs(self.dev, captions_each=1)

  def callbacks(self) -> list[keras.callbacks.Callback]:
    """Makes the callback that computes BLEU; see `Task`."""
    grids = self.features.grids[self.features.rows_of(self.dev.names)]
    batch_size = self.batch_config.evaluation_batch_size
    return [PhotoJudge(grids, self.dev.captions, self.vocabulary, self.decoding, batch_size)]

  def summaries(self, learner: CaptionLearner) -> Summaries:
    """Shows where the learner looks in the first validation photographs; see `Task`."""
    names = self.dev.names[:NUM_IMAGES]
    shown = names[:NUM_SHOWN]
    if self._shown is None:
      self._shown = self.maker.pixels(shown, self.splits.read(shown))
    grids = self.features.grids[self.features.rows_of(names)]
    return self.summaries_of(learner, grids, self._shown, self.decoding)

  def describe(self, figures: Mapping[str, float]) -> str:
    """Describes an evaluation in one line; see `Task`."""
    return (
      f"validation BLEU-1 {figures['val_bleu_1']:.1f}, BLEU-4 {figures['val_bleu_4']:.1f}, "
      f"log-likelihood {figures['val_log_likelihood_per_word']:.3f} nats a word, bound "
      f"{figures['val_bound']:.2f} nats, effective sample size "
      f"{figures['val_effective_sample_size']:.2f}; training log-likelihood "
      f"{figures['log_likelihood_per_word']:.3f} nats a word"
    )

  def score(self, learner: CaptionLearner, run: RunFolder | None = None) -> dict[str, Any]:
    """Scores captions of the test split; writes them and a picture; see `Task`."""
    grids = self.features.grids[self.features.rows_of(self.test.names)]
    batch_size = self.batch_config.evaluation_batch_size
    answers = describe_images(learner, grids, self.decoding, batch_size)
    captions = [self.vocabulary.decode(words) for words in answers["words"]]
    if run is not None:
      self.write_vocabulary(run)
      self._write(run, captions, answers, learner.model_config.grid_shapes)
    return {
      **scores.all_scores(captions, self.test.captions),
      **evaluation_figures(learner, self._pairs(self.test)),
      **dataclasses.asdict(self.decoding),
      "training_images": len(self.learnt.names),
      "training_captions": sum(map(len, self.learnt.captions)),
      "validation_images": len(self.dev.names),
      "test_images": len(self.test.names),
      "words": len(self.vocabulary),
      "left_out": self.report.counts,
    }

  def headline(self, results: Mapping[str, Any]) -> str:
    """Describes a finished run in one line; see `Task`."""
    figures = ", ".join(f"BLEU-{n} {results[f'bleu_{n}']:.1f}" for n in range(1, 5))
    return (
      f"test {figures}, brevity penalty {results['brevity_penalty']:.3f}, ROUGE-L "
      f"{results['rouge_l']:.1f}, CIDEr {results['cider']:.3f}; log-likelihood "
      f"{results['test_log_likelihood_per_word_nats']:.3f} nats a word"
    )

  def _load_splits(self) -> tuple[captioned_images.CaptionSplits, captioned_images.Report]:
    if self.dataset == "coco_captions":
      return coco_captions.load_coco_captions(self.data_dir, self.download)
    if not self.data_dir:
      raise ValueError(f"data_dir: must be given for dataset={self.dataset}")
    return flickr8k.load_flickr8k(self.data_dir)

  def _write(
    self,
    run: RunFolder,
    captions: list[str],
    answers: dict[str, np.ndarray],
    grid_shapes: Sequence[tuple[int, int]],
  ) -> None:
    rows = [
      {"image": name, "caption": caption, "log_prob_nats": round(float(log_prob), 4)}
      for name, caption, log_prob in zip(
        self.test.names, captions, answers["log_prob"], strict=True
      )
    ]
    for row, layers in zip(rows, answers.get("layers", ()), strict=False):
      row["layers"] = layers[: len(row["caption"].split())].tolist()
    run.write_json(run.path / CAPTIONS, rows)
    files = self.splits.read(self.test.names[:DRAWN])
    run.save_figure(
      run.glimpses,
      drawing.draw_captions(
        self.maker.pixels(self.test.names[:DRAWN], files),
        answers["locations"][:DRAWN],
        [caption.split() or ["(nothing)"] for caption in captions[:DRAWN]],
        grid_shapes,
        layers=answers["layers"][:DRAWN] if "layers" in answers else None,
      ),
    )

  def _encoded(
    self, images: captioned_images.CaptionedImages, captions_each: int | None = None
  ) -> tuple[np.ndarray, np.ndarray]:
    max_words = self.photographs.max_words
    short = captioned_images.without_long_captions(images, max_words, captioned_images.Report())
    rows, encoded = [], []
    for row, written in zip(self.features.rows_of(short.names), short.captions, strict=True):
      for caption in written[:captions_each]:
        rows.append(row)
        encoded.append(self.vocabulary.encode(caption, max_words))
    return np.array(rows, np.int64), np.array(encoded, np.int32)

  def _pairs(
    self, images: captioned_images.CaptionedImages, captions_each: int | None = None
  ) -> tf.data.Dataset:
    encoded = self._encoded(images, captions_each)
    return pairs.evaluation_pairs(
      self.features.grids, *encoded, self.batch_config.evaluation_batch_size
    )


class PhotoJudge(keras.callbacks.Callback):
  """Adds BLEU-1 to BLEU-4 of captions of validation photographs to each evaluation."""

  def __init__(
    self,
    grids: np.ndarray,
    references: list[list[str]],
    vocabulary: Vocabulary,
    config: DecodingConfig,
    batch_size: int,
  ):
    super().__init__()
    self.grids = grids
    self.references = references
    self.vocabulary = vocabulary
    self.config = config
    self.batch_size = batch_size

  def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
    """Searches captions and scores them."""
    answers = describe_images(self.model, self.grids, self.config, self.batch_size)
    captions = [self.vocabulary.decode(words) for words in answers["words"]]
    for name, value in scores.corpus_bleu(captions, self.references).items():
      logs[f"val_{name}"] = value
