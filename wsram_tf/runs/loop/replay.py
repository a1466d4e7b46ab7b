"""Saves all that is needed to replay an update that was not finite."""

import keras
import numpy as np
import tensorflow as tf

from wsram_tf import files
from wsram_tf.learning.update_guard import NonFiniteUpdateError
from wsram_tf.runs.folder import RunFolder

__all__ = ["save_for_replay"]


def save_for_replay(
  run: RunFolder,
  learner: keras.Model,
  error: NonFiniteUpdateError,
  data: tf.data.Dataset,
) -> None:
  """Writes the batch, the learner before the update, and the terms that were not finite.

  Args:
    run: the run's folder; the files go to its subfolder `nan`.
    learner: the trained learner, stopped at that update.
    error: the update and its terms.
    data: whole training batches from the failed update on.
  """
  folder = run.path / "nan"
  folder.mkdir(exist_ok=True)
  images, targets = next(iter(data))
  with files.replacing(folder / "batch.npz") as partial:
    np.savez_compressed(partial, images=images, targets=targets)
  run.save_learner(folder / "learner.keras", learner)
  report = {
    "step": error.step,
    "seed": learner.seed,
    "bad_terms": error.bad_terms,
    # As text, because JSON has neither NaN nor infinity.
    "terms": {name: str(value) for name, value in error.terms.items()},
  }
  run.write_json(folder / "report.json", report)
