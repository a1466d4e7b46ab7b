"""Callbacks that record a run: progress on the screen, metrics.csv, TensorBoard, checkpoints."""

import math
import pathlib
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.plugins.hparams import api as hparams
from tensorboard.summary.writer.event_file_writer import EventFileWriter

from wsram_tf.runs import record
from wsram_tf.runs.checkpoints import Checkpoints
from wsram_tf.runs.folder import RunFolder, RunFolderError
from wsram_tf.runs.task import Summaries

__all__ = ["Progress", "RunRecorder", "TensorBoardLog"]

# Figures of answers before the last glimpse.
_BY_GLIMPSE = "error_percent_after_"


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


class TensorBoardLog:
  """Writes the figures, pictures and histograms of evaluations to TensorBoard's log.

  A resumed run first invalidates the points after its checkpoint.

  Args:
    run: the run's folder.
    start_update: updates made before; above 0 for a resumed run.
    settings: of the run, for TensorBoard's table of hyperparameters; None for no table.
  """

  def __init__(self, run: RunFolder, start_update: int, settings: record.Settings | None = None):
    self.run = run
    self.start_update = start_update
    self.settings = settings
    self._writer = None

  def write(self, row: dict[str, float], summaries: Summaries | None = None) -> None:
    """Adds one row of metrics.csv, and what the task shows.

    Raises:
      RunFolderError: if the log cannot be written.
    """
    step = row["update"]
    try:
      if self._writer is None:
        self._open()
      with self._writer.as_default():
        for name, value in row.items():
          tf.summary.scalar(_tag(name), value, step=step)
        if summaries:
          for tag, image in summaries.images.items():
            tf.summary.image(tag, image[np.newaxis], step=step)
          for tag, values in summaries.histograms.items():
            tf.summary.histogram(tag, values, step=step)
      self._writer.flush()
    except (OSError, tf.errors.OpError) as error:
      reason = getattr(error, "strerror", None) or getattr(error, "message", None) or str(error)
      raise self.run.write_error(self.run.tensorboard, reason) from error

  def _open(self) -> None:
    self._invalidate_later_updates()
    self._writer = tf.summary.create_file_writer(str(self.run.tensorboard))
    if self.settings and self.settings.lines:
      with self._writer.as_default():
        hparams.hparams(_hyperparameters(self.settings), trial_id=self.run.path.name)

  def _invalidate_later_updates(self) -> None:
    if not self.run.tensorboard.exists():
      return
    # TensorBoard reads files in the order of their names, which hold the second, and drops, at this
    # event, all points from this step on that it has read before.
    newest = max(map(_second, self.run.tensorboard.iterdir()), default=0)
    time.sleep(max(0.0, newest + 1 - time.time()))
    writer = EventFileWriter(str(self.run.tensorboard), filename_suffix=".resumed")
    start = SessionLog(status=SessionLog.START)
    writer.add_event(Event(wall_time=time.time(), step=self.start_update + 1, session_log=start))
    writer.close()
    time.sleep(1.0)  # The next file must sort after this one.


def _tag(name: str) -> str:
  """Returns the tag of a figure: the part before the slash groups TensorBoard's charts."""
  group = "validation" if name.startswith("val_") else "training"
  bare = name.removeprefix("val_")
  if bare.startswith(_BY_GLIMPSE):
    return f"error_by_glimpse/{group}_after_{bare.removeprefix(_BY_GLIMPSE)}"
  return f"{group}/{bare}"


def _hyperparameters(settings: record.Settings) -> dict[str, float | str | bool]:
  """Returns the settings by name, numbers as numbers."""
  values: dict[str, float | str | bool] = {}
  for line in settings.lines:
    name, equals, text = line.removeprefix("--").partition("=")
    if line.startswith("--") and equals:
      try:
        values[name] = float(text)
      except ValueError:
        values[name] = {"true": True, "false": False}.get(text, text)
  return values


def _second(path: pathlib.Path) -> int:
  """Returns the second in the name of an event file; 0 for other files."""
  parts = path.name.split(".")
  return int(parts[3]) if len(parts) > 3 and parts[3].isdecimal() else 0


class Progress(keras.callbacks.Callback):
  """Prints a progress bar on a terminal, and one line for each evaluation.

  Args:
    updates: length of the training, in updates.
    shown: training figures by their label in the bar.
    describe: makes the line of an evaluation from all figures.
  """

  def __init__(
    self, updates: int, shown: Mapping[str, str], describe: Callable[[dict[str, float]], str]
  ):
    super().__init__()
    self.updates = updates
    self.shown = shown
    self.describe = describe
    self.bar = None
    if sys.stdout.isatty():
      self.bar = keras.utils.Progbar(updates, unit_name="update", stateful_metrics=list(shown))

  def on_train_begin(self, logs=None):
    """Announces the compilation."""
    print("compiling the training step; the first updates take a while", flush=True)

  def on_train_batch_end(self, batch, logs=None):
    """Updates the bar."""
    if self.bar:
      self.bar.update(
        min(int(self.model.optimizer.iterations), self.updates - 1),
        [(name, float(logs[figure])) for name, figure in self.shown.items()],
      )

  def on_epoch_end(self, epoch, logs=None):
    """Prints one line for the evaluation."""
    print(
      f"{chr(10) if self.bar else ''}update {int(self.model.optimizer.iterations):,} of "
      f"{self.updates:,}: {self.describe(logs)}",
      flush=True,
    )
