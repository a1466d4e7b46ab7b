"""The prediction network of a finished run."""

import json
import os
import pathlib
import zipfile
from typing import NamedTuple

import keras

import wsram_tf

__all__ = ["FinishedRun", "load_run"]


class FinishedRun(NamedTuple):
  """What an export takes from a run.

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


def load_run(run_dir: str | os.PathLike) -> FinishedRun:
  """Loads what an export takes from a run's folder.

  Raises:
    ValueError: if a file of the run is damaged, or is no classifier's.
  """
  run_dir = pathlib.Path(run_dir)
  try:
    learner = keras.saving.load_model(run_dir / "model.keras", compile=False)
  except (ValueError, TypeError, KeyError, OSError, zipfile.BadZipFile) as error:
    raise ValueError(
      f"run_dir={str(run_dir)!r}: model.keras must be whole, as training saved it: {error}"
    ) from error
  if not isinstance(learner, wsram_tf.WakeSleepLearner):
    raise ValueError(
      f"run_dir={str(run_dir)!r}: model.keras must hold a WakeSleepLearner; "
      f"got {type(learner).__name__}"
    )
  names, results = run_dir / "class_names.txt", run_dir / "results.json"
  class_names = tuple(names.read_text().splitlines()) if names.is_file() else ()
  if not results.is_file():
    return FinishedRun(learner.prediction_network, None, class_names, "resize")
  try:
    figures = json.loads(results.read_text())
    error, fit = figures.get("test_error_percent"), figures.get("fit", "resize")
    return FinishedRun(learner.prediction_network, error, class_names, fit)
  except (ValueError, AttributeError) as error:
    raise ValueError(
      f"run_dir={str(run_dir)!r}: results.json must be as training wrote it: {error}"
    ) from error
