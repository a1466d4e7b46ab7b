"""What training and evaluating on canvases of digits share: their flags and their data."""

import dataclasses
from typing import Any

import classification
import flag_groups
from absl import flags
from digit_source import TEST_SEED, VALIDATION_SEED, DigitSourceConfig, load_splits

import wsram_tf
from wsram_tf.data import canvases, digits
from wsram_tf.settings import check_settings, setting

__all__ = ["DataConfig", "Settings", "define_flags", "make_data", "read_settings"]


@dataclasses.dataclass(frozen=True)
class DataConfig:
  """How many canvases evaluations see."""

  validation_canvases: int = setting(
    2_000, "fixed canvases made from the validation digits", minimum=1
  )
  test_canvases: int = setting(10_000, "fixed canvases made from the test digits", minimum=1)
  evaluation_batch_size: int = setting(500, "canvases a batch in evaluations", minimum=1)

  def __post_init__(self):
    check_settings(self)


@dataclasses.dataclass(frozen=True)
class Settings(classification.Settings):
  """All that a run on digits is made from."""

  source: DigitSourceConfig
  data: DataConfig
  canvas: wsram_tf.CanvasConfig


def define_flags() -> None:
  """Defines the flags of `Settings`, the folder of prepared data, and the download."""
  flag_groups.define(DigitSourceConfig)
  flag_groups.define(DataConfig)
  flag_groups.define(wsram_tf.CanvasConfig)
  classification.define_flags()
  flag_groups.define_path("data_dir", "folder of prepared TensorFlow Datasets, for digits=mnist")
  flags.DEFINE_bool("download", False, "fetch digits=mnist where it is not prepared")


def read_settings(canvas: wsram_tf.CanvasConfig | None = None) -> Settings:
  """Reads the flags.

  Args:
    canvas: how digits are laid out; None for what the flags say.

  Raises:
    ValueError: if flags contradict each other, naming them.
  """
  canvas = canvas or flag_groups.read(wsram_tf.CanvasConfig)
  return classification.read_settings(
    Settings,
    (canvas.canvas_side, canvas.canvas_side, 1),
    num_classes=10,
    source=flag_groups.read(DigitSourceConfig),
    data=flag_groups.read(DataConfig),
    canvas=canvas,
  )


def make_data(settings: Settings) -> classification.Data:
  """The canvases that the settings describe.

  Raises:
    ValueError, FileNotFoundError: if their digits cannot be had; the message says what to run.
  """
  data, canvas = settings.data, settings.canvas
  splits = load_splits(settings.source)
  layout: dict[str, Any] = {
    "canvas_shape": (canvas.canvas_side, canvas.canvas_side),
    "smallest_digit": canvas.smallest_digit,
    "largest_digit": canvas.largest_digit,
    "num_clutter": canvas.num_clutter,
  }

  def evaluation(source: digits.Digits, count: int, seed: int):
    return canvases.evaluation_canvases(
      source, num_canvases=count, batch_size=data.evaluation_batch_size, seed=seed, **layout
    )

  return classification.Data(
    make_training=lambda start: canvases.canvas_dataset(
      splits.train,
      batch_size=flags.FLAGS.batch_size,
      seed=flags.FLAGS.seed,
      start_step=start,
      **layout,
    ),
    validation=evaluation(splits.validation, data.validation_canvases, VALIDATION_SEED),
    test=evaluation(splits.test, data.test_canvases, TEST_SEED),
    figures={"test_canvases": data.test_canvases},
  )
