"""The prediction network of a finished run."""

import json
import os
import pathlib
import zipfile

import keras

import wsram_tf

__all__ = ["load_network"]


def load_network(run_dir: str | os.PathLike) -> tuple[wsram_tf.PredictionNetwork, float | None]:
  """Loads a run's prediction network, and its test error in % or None where it has none.

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
  results = run_dir / "results.json"
  if not results.is_file():
    return learner.prediction_network, None
  try:
    return learner.prediction_network, json.loads(results.read_text()).get("test_error_percent")
  except (ValueError, AttributeError) as error:
    raise ValueError(
      f"run_dir={str(run_dir)!r}: results.json must be as training wrote it: {error}"
    ) from error
