"""What an export takes from the folder of a finished run."""

import json
import os
import pathlib
import zipfile
from collections.abc import Sequence
from typing import Any, NamedTuple

import keras

import wsram_tf
from wsram_tf.captions.vocabulary import Vocabulary
from wsram_tf.extensions import load_extension

__all__ = ["FinishedCaptionRun", "FinishedRun", "load_caption_run", "load_run"]


class FinishedRun(NamedTuple):
  """What an export takes from a run on images of classes.

  Attributes:
    network: the trained prediction network.
    test_error_percent: %; None where it is not known.
    class_names: by label; empty where a class has none but its number.
    fit: how images were brought to the network's size, `resize` or `pad`.
  """

  network: wsram_tf.PredictionNetwork
  test_error_percent: float | None
  class_names: tuple[str, ...]
  fit: str


class FinishedCaptionRun(NamedTuple):
  """What an export takes from a run on captions.

  Attributes:
    network: the trained caption network.
    vocabulary: the words by number.
    backbone: makes the network's input of an image, float `[B, S, S, 3]` in 0..255; None where the
      image itself is the input.
    test_figures: the numbers in results.json, by name.
  """

  network: wsram_tf.CaptionNetwork
  vocabulary: Vocabulary
  backbone: keras.Model | None
  test_figures: dict[str, float]


def load_run(run_dir: str | os.PathLike, extensions: Sequence[str] = ()) -> FinishedRun:
  """Loads what an export takes from a classifier's run.

  Args:
    run_dir: the run's folder.
    extensions: files that register its estimator, in place of those that the run recorded.

  Raises:
    ValueError: if a file of the run is damaged, or is no classifier's.
  """
  run_dir = pathlib.Path(run_dir)
  _load_extensions(run_dir, extensions)
  learner = _load_learner(run_dir, wsram_tf.WakeSleepLearner)
  figures, names = _read_results(run_dir), run_dir / "class_names.txt"
  return FinishedRun(
    network=learner.prediction_network,
    test_error_percent=figures.get("test_error_percent"),
    class_names=tuple(names.read_text().splitlines()) if names.is_file() else (),
    fit=figures.get("fit", "resize"),
  )


def load_caption_run(
  run_dir: str | os.PathLike, extensions: Sequence[str] = ()
) -> FinishedCaptionRun:
  """Loads what an export takes from a captioner's run; see `load_run`.

  Raises:
    ValueError: if a file of the run is missing or damaged, or is no captioner's.
  """
  run_dir = pathlib.Path(run_dir)
  _load_extensions(run_dir, extensions)
  learner = _load_learner(run_dir, wsram_tf.CaptionLearner)
  try:
    vocabulary = Vocabulary.load(run_dir / "vocabulary.txt")
  except (OSError, ValueError) as error:
    raise ValueError(
      f"run_dir={str(run_dir)!r}: vocabulary.txt must be as training wrote it: {error}"
    ) from error
  network = learner.prediction_network
  backbone = network.backbone
  if backbone is not None:  # It learnt with the rest; what the run began with no longer counts.
    network = network.without_backbone()
  elif (run_dir / "backbone.keras").is_file():
    backbone = _load_model(run_dir, "backbone.keras")
  figures = {
    name: figure
    for name, figure in _read_results(run_dir).items()
    if isinstance(figure, int | float) and not isinstance(figure, bool)
  }
  return FinishedCaptionRun(network, vocabulary, backbone, figures)


def _load_extensions(run_dir: pathlib.Path, extensions: Sequence[str]) -> None:
  """Runs the files that register what a learner was trained with: those given, or the run's own.

  Raises:
    ValueError: if one is missing or fails.
  """
  flagfile, flag = run_dir / "flags.flags", "--extension="
  if not extensions and flagfile.is_file():
    lines = flagfile.read_text(encoding="utf-8", errors="replace").splitlines()
    extensions = [line.removeprefix(flag) for line in lines if line.startswith(flag)]
  for path in extensions:
    load_extension(path)


def _load_learner(run_dir: pathlib.Path, kind: type) -> Any:
  learner = _load_model(run_dir, "model.keras")
  if not isinstance(learner, kind):
    raise ValueError(
      f"run_dir={str(run_dir)!r}: model.keras must hold a {kind.__name__}; "
      f"got {type(learner).__name__}"
    )
  return learner


def _load_model(run_dir: pathlib.Path, file: str) -> keras.Model:
  try:
    return keras.saving.load_model(run_dir / file, compile=False)
  except (ValueError, TypeError, KeyError, OSError, zipfile.BadZipFile) as error:
    raise ValueError(
      f"run_dir={str(run_dir)!r}: {file} must be whole, as training saved it: {error}"
    ) from error


def _read_results(run_dir: pathlib.Path) -> dict[str, Any]:
  """The figures of a run; empty where there are none."""
  results = run_dir / "results.json"
  if not results.is_file():
    return {}
  try:
    return dict(json.loads(results.read_text()).items())
  except (ValueError, AttributeError) as error:
    raise ValueError(
      f"run_dir={str(run_dir)!r}: results.json must be as training wrote it: {error}"
    ) from error
