"""Loads the parts of a finished run that an export needs."""

import os
import pathlib
import zipfile
from collections.abc import Sequence
from typing import Any, NamedTuple

import keras

from wsram_tf.captions.caption_network import CaptionNetwork
from wsram_tf.captions.learner import CaptionLearner
from wsram_tf.captions.vocabulary import Vocabulary
from wsram_tf.classification.learner import WakeSleepLearner
from wsram_tf.classification.prediction_network import PredictionNetwork
from wsram_tf.extensions import load_extension
from wsram_tf.model_files.loading import load_model
from wsram_tf.runs.folder import BACKBONE, CLASS_NAMES, VOCABULARY, RunFolder

__all__ = [
  "FinishedCaptionRun",
  "FinishedRun",
  "load_caption_run",
  "load_run",
  "of_caption_network",
]


class FinishedRun(NamedTuple):
  """The parts of a classifier's run.

  Attributes:
    network: the trained prediction network.
    source: where the weights come from.
    test_error_percent: %; None where it is not known.
    class_names: by label; empty where classes have numbers alone.
    fit: how training brought images to the network's size, `resize` or `pad`.
  """

  network: PredictionNetwork
  source: str
  test_error_percent: float | None
  class_names: tuple[str, ...]
  fit: str


class FinishedCaptionRun(NamedTuple):
  """The parts of a captioner's run.

  Attributes:
    network: the trained caption network.
    source: where the weights come from.
    vocabulary: the words by number.
    backbone: makes the network's input from images, float `[B, S, S, 3]` in 0..255; None where the
      network takes images.
    test_figures: the numbers in results.json, by name; empty for a network alone.
  """

  network: CaptionNetwork
  source: str
  vocabulary: Vocabulary
  backbone: keras.Model | None
  test_figures: dict[str, float]

  @property
  def image_shape(self) -> tuple[int, int, int]:
    """Height, width and channels of the images that it describes, pixels."""
    if self.backbone is None:
      return self.network.config.image_shape
    return tuple(self.backbone.inputs[0].shape[1:])


def load_run(run_dir: str | os.PathLike, extensions: Sequence[str] = ()) -> FinishedRun:
  """Loads a classifier's run.

  Args:
    run_dir: the run's folder.
    extensions: files that register its estimator, instead of those that the run recorded.

  Raises:
    ValueError: if a file of the run is damaged, or the run is not a classifier's.
  """
  run = RunFolder(run_dir)
  run.check_finished()
  _load_extensions(run, extensions)
  learner = _load_learner(run, WakeSleepLearner)
  figures = run.read_results()
  return FinishedRun(
    network=learner.prediction_network,
    source=_source(run),
    test_error_percent=figures.get("test_error_percent"),
    class_names=run.read_names(CLASS_NAMES),
    fit=figures.get("fit", "resize"),
  )


def load_caption_run(
  run_dir: str | os.PathLike, extensions: Sequence[str] = ()
) -> FinishedCaptionRun:
  """Loads a captioner's run; see `load_run`.

  Raises:
    ValueError: if a file of the run is missing or damaged, or the run is not a captioner's.
  """
  run = RunFolder(run_dir)
  run.check_finished()
  _load_extensions(run, extensions)
  learner = _load_learner(run, CaptionLearner)
  try:
    vocabulary = Vocabulary.load(run.path / VOCABULARY)
  except (OSError, ValueError) as error:
    raise ValueError(
      f"run_dir={run.path}: {VOCABULARY} must be as training wrote it: {error}"
    ) from error
  figures = {
    name: figure
    for name, figure in run.read_results().items()
    if isinstance(figure, int | float) and not isinstance(figure, bool)
  }
  finished = of_caption_network(learner.prediction_network, vocabulary, _source(run))
  # A backbone that was trained too is in the network, unlike the one in the file.
  if finished.backbone is None and (run.path / BACKBONE).is_file():
    finished = finished._replace(backbone=_load_model(run.path / BACKBONE))
  return finished._replace(test_figures=figures)


def of_caption_network(
  network: CaptionNetwork, vocabulary: Vocabulary, source: str
) -> FinishedCaptionRun:
  """Separates a captioner's network from its backbone, where it has one.

  Args:
    network: trained.
    vocabulary: its words.
    source: where the weights come from.
  """
  backbone = network.backbone
  if backbone is not None:
    network = network.without_backbone()
  return FinishedCaptionRun(network, source, vocabulary, backbone, {})


def _source(run: RunFolder) -> str:
  return f"run {run.path.resolve().name}"


def _load_extensions(run: RunFolder, extensions: Sequence[str]) -> None:
  """Runs the given extensions, or else those that the run recorded.

  Raises:
    ValueError: if one is missing or fails, or came with the run.
  """
  flag = "--extension="
  if not extensions and run.flagfile.is_file():
    lines = run.flagfile.read_text(encoding="utf-8", errors="replace").splitlines()
    extensions = [line.removeprefix(flag) for line in lines if line.startswith(flag)]
    run.check_extensions(extensions)
  for path in extensions:
    load_extension(path)


def _load_learner(run: RunFolder, kind: type) -> Any:
  learner = _load_model(run.model)
  if not isinstance(learner, kind):
    raise ValueError(
      f"run_dir={run.path}: {run.model.name} must hold a {kind.__name__}; "
      f"got {type(learner).__name__}"
    )
  return learner


def _load_model(path: pathlib.Path) -> keras.Model:
  try:
    return load_model(path, compile=False)
  except (ValueError, TypeError, KeyError, OSError, zipfile.BadZipFile) as error:
    raise ValueError(
      f"run_dir={path.parent}: {path.name} must be whole, as training saved it: {error}"
    ) from error
