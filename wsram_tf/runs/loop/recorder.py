"""Records each evaluation of a run: metrics.csv, TensorBoard's log, checkpoints."""

import math
import time
from collections.abc import Callable
from typing import Any

import keras

from wsram_tf.runs import record
from wsram_tf.runs.checkpoints import Checkpoints
from wsram_tf.runs.folder import RunFolder, RunFolderError
from wsram_tf.runs.loop import intervals
from wsram_tf.runs.loop.intervals import Interval
from wsram_tf.runs.loop.tensorboard_log import TensorBoardLog
from wsram_tf.runs.task import Summaries

__all__ = ["RunRecorder"]


class RunRecorder(keras.callbacks.Callback):
  """After each evaluation writes metrics.csv, then TensorBoard's log, then a checkpoint.

  A run resumes from its newest checkpoint, so the checkpoint's row in metrics.csv is written first.
  A run that is stopped between two evaluations saves its learner with the interval so far.

  Args:
    run: the run's folder.
    batch_size: images per update.
    start_update: update of the last evaluation before; 0 for a new run.
    chosen_by: the validation figure that chooses the weights; higher is better.
    summaries: makes the pictures and histograms of a learner; see `Task.summaries`.
    settings: of the run.
    interval: what a resumed run did after that evaluation; None if nothing.

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
    interval: Interval | None = None,
  ):
    super().__init__()
    self.interval = interval
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
    self._timed: list[tuple[float, int]] = list(interval.timed) if interval else []
    self._begin = start_update
    self._skipped_before = 0
    self._evaluated: Interval | None = None

  def on_epoch_begin(self, epoch, logs=None):
    """Begins an interval, or continues that of a stopped run."""
    self._update = int(self.model.optimizer.iterations)
    self._skipped_before = intervals.skipped_updates(self.model)
    if self.interval is None:
      self._begin, self._timed = self._update, []
    else:
      intervals.restore(self.interval, self.model)
      self.interval = None

  def on_train_batch_begin(self, batch, logs=None):
    """Starts the clock of one execution of several updates."""
    self._start = time.perf_counter()

  def on_train_batch_end(self, batch, logs=None):
    """Stops the clock when the updates are done."""
    update = int(self.model.optimizer.iterations)
    self._timed.append((time.perf_counter() - self._start, update - self._update))
    self._update = update

  def on_test_begin(self, logs=None):
    """Keeps the interval, because an evaluation resets the metrics."""
    self._evaluated = self._interval()

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
    self._begin, self._timed = update, []
    self._evaluated = self.interval = None

  def save_interval(self) -> bool:
    """Saves a learner that is stopped between two evaluations, or in one.

    Returns:
      whether there was anything to save.

    Raises:
      RunFolderError: if a file cannot be written.
    """
    interval = self._evaluated or self._interval()
    if int(self.model.optimizer.iterations) == interval.begin:
      return False
    self.checkpoints.save_stopped(self.model, interval)
    return True

  def _interval(self) -> Interval:
    skipped = intervals.skipped_updates(self.model) - self._skipped_before
    return intervals.describe(self.model, self._begin, skipped, self._timed)

  def _goodness(self, row: dict[str, float]) -> float:
    value = row[self.chosen_by]
    # NaN is worse than any figure, and better than no weights at all.
    return -math.inf if math.isnan(value) else value
