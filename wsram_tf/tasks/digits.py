"""Tasks on canvases of digits: at random places and scales, needles, and Megapixel MNIST."""

import dataclasses
from collections.abc import Iterable
from typing import Any

import tensorflow as tf

from wsram_tf.classification import ModelConfig
from wsram_tf.data import canvases, digits
from wsram_tf.data.canvases.config import CanvasConfig, MegapixelConfig
from wsram_tf.data.pipelines import WHOLE, Shard
from wsram_tf.runs.folder import RunFolder
from wsram_tf.settings import given_or_default
from wsram_tf.tasks.classification import ClassificationTask
from wsram_tf.tasks.config import (
  LARGEST_DRAWN,
  NEEDLE_PIXELS,
  CanvasEvaluationConfig,
  DigitSourceConfig,
  MegapixelSetConfig,
  NeedleConfig,
)

__all__ = [
  "TEST_SEED",
  "TRAINING_SEED",
  "VALIDATION_SEED",
  "DigitTask",
  "MegapixelTask",
  "NeedleTask",
  "load_splits",
]

# Seeds of fixed canvases, so that the seed of a run does not choose its test.
VALIDATION_SEED, TEST_SEED, TRAINING_SEED = 1, 2, 3


def load_splits(config: DigitSourceConfig) -> digits.DigitSplits:
  """Loads the digits.

  Raises:
    ValueError, FileNotFoundError: if they cannot be had; the message contains the remedy.
  """
  return digits.load_digits(
    config.digits,
    num_validation=config.validation_digits,
    data_dir=config.data_dir or None,
    download=config.download,
  )


class DigitTask(ClassificationTask):
  """Classifies one digit on a canvas, at a random place and scale, perhaps among clutter.

  Canvases are made during training; evaluations use fixed ones.

  Args:
    canvas: the layout of the canvas.
    source: the digits; by default 5,000 that are part of the installation.
    evaluation: the number of canvases in evaluations.
    **options: see `ClassificationTask`.

  Example:

  >>> import wsram_tf
  >>> from wsram_tf import tasks
  >>> task = tasks.DigitTask(
  ...   model=wsram_tf.ModelConfig(units=128), canvas=wsram_tf.CanvasConfig(canvas_side=60,
  ...   smallest_digit=28, largest_digit=28)
  ... )
  >>> task.model.image_shape
  (60, 60, 1)
  """

  name = "digits"
  observations = ("pixels", "visible_pixels")

  def __init__(
    self,
    *,
    canvas: CanvasConfig | None = None,
    source: DigitSourceConfig | None = None,
    evaluation: CanvasEvaluationConfig | None = None,
    **options: Any,
  ):
    super().__init__(**options)
    self.canvas = given_or_default("canvas", canvas, CanvasConfig)
    self.source = given_or_default("source", source, DigitSourceConfig)
    self.class_names = digits.CLASS_NAMES.get(self.source.digits, ())
    self.evaluation = given_or_default("evaluation", evaluation, CanvasEvaluationConfig)
    self.fit_model((self.canvas.canvas_side, self.canvas.canvas_side, 1), num_classes=10)
    self.data_figures = {"test_canvases": self.evaluation.test_canvases}

  def configs(self) -> Iterable[Any]:
    """Returns the settings; see `Task`."""
    return [self.canvas, self.source, self.evaluation, *super().configs()]

  def prepare(self, run: RunFolder) -> None:
    """Loads the digits; see `Task`."""
    self.splits = load_splits(self.source)

  def training_data(
    self, *, batch_size: int, seed: int, start_update: int, shard: Shard = WHOLE
  ) -> tf.data.Dataset:
    """Makes endless batches of new canvases; see `Task`."""
    return canvases.canvas_dataset(
      self.splits.train,
      self.canvas,
      batch_size=batch_size,
      as_visible_pixels=self.model.observation == "visible_pixels",
      seed=seed,
      start_step=start_update,
      shard=shard,
    )

  def validation_data(self) -> tf.data.Dataset:
    """Makes the fixed validation canvases; see `Task`."""
    count = self.evaluation.validation_canvases
    return self._fixed(self.splits.validation, count, VALIDATION_SEED)

  def test_data(self) -> tf.data.Dataset:
    """Makes the fixed test canvases; see `ClassificationTask`."""
    return self._fixed(self.splits.test, self.evaluation.test_canvases, TEST_SEED)

  def _fixed(self, source: digits.Digits, count: int, seed: int) -> tf.data.Dataset:
    return canvases.evaluation_canvases(
      source,
      self.canvas,
      as_visible_pixels=self.model.observation == "visible_pixels",
      num_canvases=count,
      batch_size=self.evaluation.evaluation_batch_size,
      seed=seed,
    )


class NeedleTask(DigitTask):
  """Finds and classifies one digit of 28 pixels on a large canvas.

  Args:
    needle: the side of the canvas and the number of pieces of other digits.
    model: the networks.
    **options: see `DigitTask`, without `canvas`.
  """

  name = "needles"

  def __init__(
    self, *, needle: NeedleConfig | None = None, model: ModelConfig | None = None, **options: Any
  ):
    self.needle = given_or_default("needle", needle, NeedleConfig)
    canvas = CanvasConfig(
      canvas_side=self.needle.needle_side,
      smallest_digit=NEEDLE_PIXELS,
      largest_digit=NEEDLE_PIXELS,
      num_clutter=self.needle.needle_clutter,
    )
    super().__init__(canvas=canvas, model=model, **options)
    _check_drawn("needle_side", self.needle.needle_side, self.model)

  def configs(self) -> Iterable[Any]:
    """Returns the settings; see `Task`."""
    return [self.needle, *(config for config in super().configs() if config is not self.canvas)]


class MegapixelTask(ClassificationTask):
  """Classifies fixed canvases of Megapixel MNIST: five digits among noise patterns.

  The seed of a run chooses the order of the training canvases, not the canvases.

  Args:
    megapixel: the side of the canvases, the noise, the painting order and the label.
    sets: the numbers of canvases.
    source: the digits; by default 5,000 that are part of the installation.
    **options: see `ClassificationTask`.

  Example:

  >>> import wsram_tf
  >>> from wsram_tf import tasks
  >>> task = tasks.MegapixelTask(
  ...   megapixel=wsram_tf.MegapixelConfig(megapixel_side=3000, megapixel_noise=800),
  ...   sets=tasks.MegapixelSetConfig(megapixel_train=1000),
  ...   model=wsram_tf.ModelConfig(observation="visible_pixels"),
  ... )
  >>> task.model.image_shape, task.data_figures["megapixel_order"]
  ((3000, 3000, 1), 'digits_last')
  """

  name = "megapixel"
  observations = ("pixels", "visible_pixels")

  def __init__(
    self,
    *,
    megapixel: MegapixelConfig | None = None,
    sets: MegapixelSetConfig | None = None,
    source: DigitSourceConfig | None = None,
    **options: Any,
  ):
    super().__init__(**options)
    self.megapixel = given_or_default("megapixel", megapixel, MegapixelConfig)
    self.sets = given_or_default("sets", sets, MegapixelSetConfig)
    self.source = given_or_default("source", source, DigitSourceConfig)
    self.class_names = digits.CLASS_NAMES.get(self.source.digits, ())
    side = self.megapixel.megapixel_side
    _check_drawn("megapixel_side", side, self.model)
    self.fit_model((side, side, 1), num_classes=10)
    self.data_figures = {
      "digits": self.source.digits,
      **dataclasses.asdict(self.megapixel),
      "training_canvases": self.sets.megapixel_train,
      "validation_canvases": self.sets.megapixel_validation,
      "test_canvases": self.sets.megapixel_test,
    }

  def configs(self) -> Iterable[Any]:
    """Returns the settings; see `Task`."""
    return [self.megapixel, self.sets, self.source, *super().configs()]

  def prepare(self, run: RunFolder) -> None:
    """Loads the digits and places them on the canvases; see `Task`."""
    splits = load_splits(self.source)
    self.train, self.validation, self.test = (
      canvases.MegapixelCanvases(split, self.megapixel, num_canvases=count, seed=seed)
      for split, count, seed in (
        (splits.train, self.sets.megapixel_train, TRAINING_SEED),
        (splits.validation, self.sets.megapixel_validation, VALIDATION_SEED),
        (splits.test, self.sets.megapixel_test, TEST_SEED),
      )
    )

  def training_data(
    self, *, batch_size: int, seed: int, start_update: int, shard: Shard = WHOLE
  ) -> tf.data.Dataset:
    """Makes endless batches of the training canvases; see `Task`."""
    return self.train.training_data(
      batch_size=batch_size,
      seed=seed,
      start_step=start_update,
      shard=shard,
      as_visible_pixels=self.model.observation == "visible_pixels",
    )

  def validation_data(self) -> tf.data.Dataset:
    """Makes the fixed validation canvases; see `Task`."""
    return self._fixed(self.validation)

  def test_data(self) -> tf.data.Dataset:
    """Makes the fixed test canvases; see `ClassificationTask`."""
    return self._fixed(self.test)

  def _fixed(self, fixed: canvases.MegapixelCanvases) -> tf.data.Dataset:
    return fixed.evaluation_data(
      batch_size=self.sets.evaluation_batch_size,
      as_visible_pixels=self.model.observation == "visible_pixels",
    )


def _check_drawn(name: str, side: int, model: ModelConfig) -> None:
  if model.observation == "pixels" and side > LARGEST_DRAWN:
    raise ValueError(
      f"{name}={side}: must be at most {LARGEST_DRAWN} with observation=pixels; use "
      "observation=visible_pixels"
    )
