"""Captions: the part of a task that does not depend on the images."""

import dataclasses
import functools
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from wsram_tf.captions import (
  CaptionLearner,
  CaptionLossConfig,
  CaptionModelConfig,
  CaptionNetwork,
  DecodingConfig,
  Vocabulary,
  beam_search,
)
from wsram_tf.captions.reports import summaries
from wsram_tf.config import ExplorationConfig, ObjectiveConfig
from wsram_tf.runs.folder import VOCABULARY, RunFolder
from wsram_tf.runs.record import Settings, collect
from wsram_tf.runs.task import Layout, Summaries, Task
from wsram_tf.runs.warm_start import take_weights
from wsram_tf.settings import given_or_default

__all__ = ["CaptionTask", "describe_images", "evaluation_figures"]

# Fields of CaptionModelConfig that the data determine.
FROM_DATA = ("height", "width", "channels", "vocabulary_size", "max_words")


class CaptionTask(Task):
  """A task on images with captions; subclasses provide both.

  A subclass sets `name` and `chosen_by`, calls `fit_model` when it knows its data, at the latest in
  `open`, and implements the methods that `Task` leaves open.

  Args:
    model: the networks; height, width, channels, vocabulary size and words are the data's.
    objective: the estimator.
    exploration: temperature and bonuses.
    loss: credit of a glimpse, label smoothing.
    decoding: the search for captions in evaluations.

  Attributes:
    model, objective, exploration, loss, decoding: as given; `model` fits the data once `fit_model`
      ran.
    vocabulary: the words by number, once `fit_model` ran.
  """

  progress = {
    "train word error %": "word_error_percent",
    "bound nats": "bound",
    "ESS": "effective_sample_size",
  }
  layout = Layout(
    columns={
      "scenes_correct_percent": ("right in every word %", 1),
      "glimpse_on_digit_percent": ("glimpses on their digit %", 1),
      "bleu_4": ("BLEU-4", 1),
      "bleu_1": ("BLEU-1", 1),
      "rouge_l": ("ROUGE-L", 1),
      "cider": ("CIDEr", 3),
      "test_log_likelihood_per_word_nats": ("log-likelihood a word", 3),
      "effective_sample_size": ("ESS", 2),
      "train_seconds": ("seconds", 0),
    },
    plots=(
      ("update", "val_scenes_correct_percent", "validation scenes right in every word, %"),
      ("update", "val_glimpse_on_digit_percent", "glimpses on their digit, %"),
      ("train_seconds", "val_scenes_correct_percent", "validation scenes right in every word, %"),
      ("update", "val_bleu_4", "validation BLEU-4"),
      ("train_seconds", "val_bleu_4", "validation BLEU-4"),
      ("update", "val_log_likelihood_per_word", "validation log-likelihood a word, nats"),
    ),
    lowest_first=False,
  )
  batch_size = 64
  # The grid network ends in a convolution.
  avoids_xla_on_cpu = True

  def __init__(
    self,
    *,
    model: CaptionModelConfig | None = None,
    objective: ObjectiveConfig | None = None,
    exploration: ExplorationConfig | None = None,
    loss: CaptionLossConfig | None = None,
    decoding: DecodingConfig | None = None,
  ):
    self.model = given_or_default("model", model, CaptionModelConfig)
    self.objective = given_or_default("objective", objective, ObjectiveConfig)
    self.exploration = given_or_default("exploration", exploration, ExplorationConfig)
    self.loss = given_or_default("loss", loss, CaptionLossConfig)
    self.decoding = given_or_default("decoding", decoding, DecodingConfig)
    self.decoding.check_model(self.model)
    if self.objective.inference_phase != "wake":
      raise ValueError(
        f"inference_phase={self.objective.inference_phase}: must be wake for captions"
      )

  def fit_model(
    self,
    image_shape: tuple[int, int, int],
    vocabulary: Vocabulary,
    max_words: int,
    layer_shapes: tuple[tuple[int, int, int], ...] = (),
  ) -> None:
    """Makes `model` fit the data.

    Args:
      image_shape: height, width and channels of the model's input: an image, or a feature grid.
      vocabulary: the words.
      max_words: words of the longest caption, its end included.
      layer_shapes: shapes of the grids that the input packs; empty for one grid or an image.

    Raises:
      ValueError: if the model does not fit the shape.
    """
    height, width, channels = image_shape
    self.vocabulary = vocabulary
    self.model = dataclasses.replace(
      self.model,
      height=height,
      width=width,
      channels=channels,
      vocabulary_size=len(vocabulary),
      max_words=max_words,
      layer_shapes=layer_shapes,
    )

  def configs(self) -> Iterable[Any]:
    """Returns the settings of the model and its training; see `Task`."""
    return [self.model, self.objective, self.exploration, self.loss, self.decoding]

  def settings(self) -> Settings:
    """Returns the task's settings without those that the data determine."""
    return collect(self.name, self.configs(), leave_out=FROM_DATA)

  def make_backbone(self) -> keras.Model | None:
    """Makes a backbone that learns with the model; None where there is none."""
    return None

  def make_learner(self, *, clip_norm: float, seed: int) -> CaptionLearner:
    """Makes a learner with fresh weights; see `Task`."""
    return CaptionLearner(
      self.model,
      self.objective,
      self.exploration,
      self.loss,
      backbone=self.make_backbone(),
      clip_norm=clip_norm,
      seed=seed,
    )

  def summaries_of(
    self, learner: CaptionLearner, inputs: np.ndarray, pictures: np.ndarray, config: DecodingConfig
  ) -> Summaries:
    """Shows where a learner looks before the words of its captions.

    Args:
      learner: the learner.
      inputs: float `[B, ...]`, the network's inputs of a few validation images.
      pictures: float `[b, H, W, C]` in 0..1, the first of them as pictures.
      config: the search for the captions.
    """
    answers = describe_images(learner, inputs, config, len(inputs))
    words = [self.vocabulary.decode(row).split() for row in answers["words"]]
    shapes = learner.model_config.grid_shapes
    return Summaries(
      *summaries.looked_at(pictures, answers["locations"], words, shapes, answers.get("layers"))
    )

  def check_begin_with(self, run: RunFolder) -> None:
    """Checks that a run has the same words and form, before features are computed; see `Task`."""
    if Vocabulary.load(run.path / VOCABULARY).words != self.vocabulary.words:
      raise ValueError(f"begin_with={run.path}: its {VOCABULARY} must hold the same words")
    take_weights(self.make_learner(clip_norm=1.0, seed=0), run)

  def check_words(self, run: RunFolder | None) -> None:
    """Checks that a run that is evaluated was trained on the words of the data.

    Raises:
      ValueError: otherwise.
    """
    if run is None or not (run.path / VOCABULARY).exists():
      return
    if Vocabulary.load(run.path / VOCABULARY).words != self.vocabulary.words:
      raise ValueError(
        f"{run.path / VOCABULARY}: must hold the words of the captions that are there now"
      )

  def write_vocabulary(self, run: RunFolder) -> None:
    """Writes the vocabulary into a run's folder."""
    with run.writing(run.path / VOCABULARY) as partial:
      self.vocabulary.save(partial)


def describe_images(
  learner: CaptionLearner, images: np.ndarray, config: DecodingConfig, batch_size: int
) -> dict[str, np.ndarray]:
  """Searches captions for many images.

  Args:
    learner: a trained learner.
    images: float `[n, H, W, C]`, n at least 1.
    config: the search.
    batch_size: images at once.

  Returns:
    the outputs of `beam_search` for all images.
  """
  search = _traced_search(learner.prediction_network, config)
  starts = range(0, len(images), batch_size)
  batches = (images[start : start + batch_size] for start in starts)
  answers = [search(tf.constant(batch, tf.float32)) for batch in batches]
  return {name: np.concatenate([answer[name] for answer in answers]) for name in answers[0]}


@functools.lru_cache(maxsize=2)  # Of one learner: for the choice of its weights and its results.
def _traced_search(network: CaptionNetwork, config: DecodingConfig) -> Callable:
  images = tf.TensorSpec([None, *network.image_shape])
  return tf.function(
    lambda batch: beam_search(network, batch, config),
    input_signature=[images],
    autograph=False,
  )


def evaluation_figures(learner: CaptionLearner, data: tf.data.Dataset) -> Mapping[str, float]:
  """Computes the figures of a finished run that all caption tasks share.

  Args:
    learner: the learner with the chosen weights.
    data: batches of test images and captions.

  Returns:
    the figures, named as in results.json.
  """
  figures = learner.evaluate(data, return_dict=True, verbose=0)
  return {
    "test_word_error_percent": figures["word_error_percent"],
    "test_log_likelihood_per_word_nats": figures["log_likelihood_per_word"],
    "bound_nats": figures["bound"],
    "effective_sample_size": figures["effective_sample_size"],
    "prior_entropy_nats": figures["prior_entropy"],
    "proposal_entropy_nats": figures["proposal_entropy"],
    "parameters": int(sum(np.prod(v.shape) for v in learner.trainable_variables)),
    "parameters_at_test_time": learner.prediction_network.count_params(),
  }
