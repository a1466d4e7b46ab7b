"""What a run leaves behind where an update was not finite: all that it takes to see it again."""

from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf
from run_folder import RunFolder

from wsram_tf.learning.update_guard import NonFiniteUpdateError

__all__ = ["save_for_replay"]


def save_for_replay(
  run: RunFolder,
  learner: keras.Model,
  error: NonFiniteUpdateError,
  make_data: Callable[[int], tf.data.Dataset],
) -> None:
  """Writes the batch, the learner as it was before the update, and what went wrong.

  Args:
    run: the run's folder, in which `nan/` is made.
    learner: what was trained, stopped at that update.
    error: what went wrong.
    make_data: gives the training data from an update on; the batch is made again.
  """
  folder = run.path / "nan"
  folder.mkdir(exist_ok=True)
  images, targets = next(iter(make_data(error.step)))
  aside = folder / "partial-batch.npz"  # NumPy goes by the ending.
  np.savez_compressed(aside, images=images, targets=targets)
  aside.replace(folder / "batch.npz")
  run.save_learner(folder / "learner.keras", learner)
  report = {
    "step": error.step,
    "seed": learner.seed,
    "bad_terms": error.bad_terms,
    # As text, since JSON knows neither NaN nor infinity.
    "terms": {name: str(value) for name, value in error.terms.items()},
  }
  run.write_json(folder / "report.json", report)
