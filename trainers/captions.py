"""What training on captions needs, whatever the captions are of: flags, search, figures."""

import abc
import dataclasses
import functools
from collections.abc import Callable

import flag_groups
import keras
import numpy as np
import tensorflow as tf
from run_folder import RunFolder

import wsram_tf
from wsram_tf.captions import beam_search
from wsram_tf.captions.vocabulary import Vocabulary
from wsram_tf.settings import check_settings, setting

__all__ = [
  "TRAINING_FIGURES",
  "CaptionDataConfig",
  "CaptionSource",
  "Settings",
  "define_flags",
  "describe",
  "evaluation_figures",
  "read_settings",
]

# What the progress bar shows.
TRAINING_FIGURES = {
  "train word error %": "word_error_percent",
  "bound nats": "bound",
  "ESS": "effective_sample_size",
}
DATASETS = ("scenes", "flickr8k", "coco_captions")


@dataclasses.dataclass(frozen=True)
class CaptionDataConfig:
  """Which captions are used."""

  dataset: str = setting(
    "scenes",
    "scenes (digits on canvases, made on the fly), flickr8k (photographs; give data_dir and "
    "backbone) or coco_captions (photographs of TensorFlow Datasets; give backbone)",
    choices=DATASETS,
  )
  evaluation_batch_size: int = setting(100, "images a batch in evaluations", minimum=1)

  def __post_init__(self):
    check_settings(self)


class CaptionSource(abc.ABC):
  """Where images and their captions come from.

  It is made from flags, quickly unless captions lie inside of records, and raises a `ValueError` if
  they will not do; `prepare` does what takes time. What it gives in place of images may be feature
  grids computed before.

  Args:
    run: the run that goes on or is evaluated; None for a new one. Nothing is written there yet.

  Attributes:
    image_shape: (H, W, C) of what the model calls the image: it, or a backbone's grid.
    max_words: words of the longest caption, its end included.
    vocabulary: the words.
    chosen_by: the validation figure by which weights are chosen; the higher the better.
  """

  image_shape: tuple[int, int, int]
  max_words: int
  vocabulary: Vocabulary
  chosen_by: str

  def make_backbone(self) -> keras.Model | None:
    """What learns with the model and makes its grid of an image, new each time; None: nothing."""
    return None

  @abc.abstractmethod
  def prepare(self, run: RunFolder, lines: list[str]) -> None:
    """Reads or computes what training needs.

    Args:
      run: where it may write, once it has called `run.create`.
      lines: the flags that reproduce the run.

    Raises:
      ValueError, FileNotFoundError: if it cannot be had.
    """

  @abc.abstractmethod
  def load(self, run: RunFolder) -> None:
    """Reads what `prepare` read or made, and writes nothing.

    Raises:
      ValueError, FileNotFoundError: if it is not there.
    """

  @abc.abstractmethod
  def training(self, start_step: int) -> tf.data.Dataset:
    """Endless batches of (images, captions), from an update on."""

  @abc.abstractmethod
  def validation(self) -> tf.data.Dataset:
    """Batches of (images, captions), for `fit`."""

  @abc.abstractmethod
  def judge(self, config: wsram_tf.DecodingConfig) -> keras.callbacks.Callback:
    """What adds `chosen_by` to the figures of an evaluation."""

  @abc.abstractmethod
  def describe_evaluation(self, logs: dict[str, float]) -> str:
    """One line on an evaluation during the training."""

  @abc.abstractmethod
  def score(
    self, learner: wsram_tf.CaptionLearner, config: wsram_tf.DecodingConfig, run: RunFolder | None
  ) -> dict[str, float]:
    """The figures of a finished run for results.json.

    Args:
      learner: with the chosen weights.
      config: the search.
      run: where pictures and captions are written; None: nowhere.
    """

  @abc.abstractmethod
  def headline(self, results: dict[str, float]) -> str:
    """One line on a finished run."""


@dataclasses.dataclass(frozen=True)
class Settings:
  """All that a run on captions is made from."""

  source: CaptionSource
  model: wsram_tf.CaptionModelConfig
  loss: wsram_tf.CaptionLossConfig
  decoding: wsram_tf.DecodingConfig
  objective: wsram_tf.ObjectiveConfig
  exploration: wsram_tf.ExplorationConfig
  optimizer: wsram_tf.OptimizerConfig


# Fields of the model that the data decide.
_FROM_DATA = ("height", "width", "channels", "vocabulary_size", "max_words")


def define_flags() -> None:
  """Defines the flags of `Settings` but for those of the sources."""
  flag_groups.define(wsram_tf.CaptionModelConfig, leave_out=_FROM_DATA)
  flag_groups.define(wsram_tf.CaptionLossConfig)
  flag_groups.define(wsram_tf.DecodingConfig)
  flag_groups.define(wsram_tf.ObjectiveConfig)
  flag_groups.define(wsram_tf.ExplorationConfig)
  flag_groups.define(wsram_tf.OptimizerConfig)


def read_settings(source: CaptionSource) -> Settings:
  """Reads the flags.

  Raises:
    ValueError: if flags contradict each other, naming them.
  """
  height, width, channels = source.image_shape
  model = flag_groups.read(
    wsram_tf.CaptionModelConfig,
    height=height,
    width=width,
    channels=channels,
    vocabulary_size=len(source.vocabulary),
    max_words=source.max_words,
  )
  objective = flag_groups.read(wsram_tf.ObjectiveConfig)
  if objective.inference_phase != "wake":
    raise ValueError(f"inference_phase={objective.inference_phase}: must be wake for captions")
  return Settings(
    source=source,
    model=model,
    loss=flag_groups.read(wsram_tf.CaptionLossConfig),
    decoding=flag_groups.read(wsram_tf.DecodingConfig),
    objective=objective,
    exploration=flag_groups.read(wsram_tf.ExplorationConfig),
    optimizer=flag_groups.read(wsram_tf.OptimizerConfig),
  )


def describe(
  learner: wsram_tf.CaptionLearner,
  images: np.ndarray,
  config: wsram_tf.DecodingConfig,
  batch_size: int,
) -> dict[str, np.ndarray]:
  """Gives captions of many images.

  Args:
    learner: what sees and speaks.
    images: float `[n, H, W, C]`, n at least 1.
    config: the search.
    batch_size: images at once.

  Returns:
    what `beam_search` gives, of all images.
  """
  search = _traced_search(learner.prediction_network, config)
  starts = range(0, len(images), batch_size)
  batches = (images[start : start + batch_size] for start in starts)
  answers = [search(tf.constant(batch, tf.float32)) for batch in batches]
  return {name: np.concatenate([answer[name] for answer in answers]) for name in answers[0]}


@functools.lru_cache(maxsize=2)  # Of one learner: what chooses its weights, and what scores them.
def _traced_search(network: wsram_tf.CaptionNetwork, config: wsram_tf.DecodingConfig) -> Callable:
  images = tf.TensorSpec([None, *network.image_shape])
  return tf.function(
    lambda batch: beam_search(network, batch, config),
    input_signature=[images],
    autograph=False,
  )


def evaluation_figures(learner: wsram_tf.CaptionLearner, data: tf.data.Dataset) -> dict[str, float]:
  """The figures of a finished run that all sources have, under the names of results.json.

  Args:
    learner: with the chosen weights.
    data: batches of test images and captions.
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
