"""Records each evaluation of a run: metrics.csv, TensorBoard's log, checkpoints."""

import math
import time
from collections.abc import Callable
from typing import Any

import keras

from wsram_tf.runs import record
from wsram_tf.runs.callbacks.tensorboard_log import TensorBoardLog
from wsram_tf.runs.checkpoints import Checkpoints
from wsram_tf.runs.folder import RunFolder, RunFolderError
from wsram_tf.runs.task import Summaries

__all__ = ["RunRecorder"]


class RunRecorder(keras.callbacks.Callback):
  """After each evaluation writes metrics.csv, then TensorBoard's log, then a checkpoint.

  A run resumes from its newest checkpoint, so the checkpoint's row in metrics.csv is written first.

  Args:
    run: the run's folder.
    batch_size: images per update.
    start_update: updates made before; above 0 for a resumed run.
    chosen_by: the validation figure that chooses the weights; higher is better.
    summaries: makes the pictures and histograms of a learner; see `Task.summaries`.
    settings: of the run.

  Raises:
    RunFolderError: if metrics.csv lacks the row of the checkpoint; from `fit`, if a file cannot be
      written.
  """

  def __init__(
    self,
    run: RunFolder,
    batch_size: int,
    start_update: int,
    chosen_by: str,
    summaries: Callable[[Any], Summaries] = lambda learner: Summaries({}, {}),
    settings: record.Settings | None = None,
  ):
    super().__init__()
    self.summaries = summaries
    self.run = run
    self.batch_size = batch_size
    self.chosen_by = chosen_by
    self.rows = run.read_metrics(until_update=start_update)
    if start_update and (not self.rows or self.rows[-1]["update"] != start_update):
      raise RunFolderError(
        f"run_dir={run.path}: {run.metrics.name} must have a row for update {start_update}, the "
        "update of its checkpoint"
      )
    self.checkpoints = Checkpoints(run)
    self.log = TensorBoardLog(run, start_update, settings)
    self.seconds = self.rows[-1]["train_seconds"] if self.rows else 0.0
    self.images_per_second = 0.0
    self._timed: list[tuple[float, int]] = []

  def on_epoch_begin(self, epoch, logs=None):
    """Discards the times of the previous interval."""
    self._timed = []
    self._update = int(self.model.optimizer.iterations)

  def on_train_batch_begin(self, batch, logs=None):
    """Starts the clock of one execution of several updates."""
    self._start = time.perf_counter()

  def on_train_batch_end(self, batch, logs=None):
    """Stops the clock when the updates are done."""
    update = int(self.model.optimizer.iterations)
    self._timed.append((time.perf_counter() - self._start, update - self._update))
    self._update = update

  def on_epoch_end(self, epoch, logs=None):
    """Records the training interval and the evaluation after it."""
    update = int(self.model.optimizer.iterations)
    self.seconds += sum(seconds for seconds, _ in self._timed)
    # The first execution compiles the step; the rate comes from the others where there are any.
    timed = self._timed[1:] or self._timed
    updates = sum(count for _, count in timed)
    self.images_per_second = self.batch_size * updates / sum(seconds for seconds, _ in timed)
    row = {
      "update": update,
      "train_seconds": round(self.seconds, 3),
      "images_per_second": round(self.images_per_second, 1),
      "learning_rate": float(self.model.optimizer.learning_rate),
      "skipped_updates": 0.0,
      **{name: float(value) for name, value in sorted(logs.items())},
    }
    self.rows.append(row)
    self.run.write_metrics(self.rows)
    self.log.write(row, self.summaries(self.model))
    self.checkpoints.save(
      self.model, is_best=self._goodness(row) == max(map(self._goodness, self.rows))
    )

  def _goodness(self, row: dict[str, float]) -> float:
    value = row[self.chosen_by]
    # NaN is worse than any figure, and better than no weights at all.
    return -math.inf if math.isnan(value) else value
