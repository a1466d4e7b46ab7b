"""Callbacks that record a run: progress on the screen, metrics.csv, TensorBoard, checkpoints."""

import math
import pathlib
import sys
import time
from collections.abc import Callable, Mapping

import keras
import tensorflow as tf
from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.summary.writer.event_file_writer import EventFileWriter

from wsram_tf.runs.checkpoints import Checkpoints
from wsram_tf.runs.folder import RunFolder, RunFolderError

__all__ = ["Progress", "RunRecorder", "TensorBoardLog"]


class RunRecorder(keras.callbacks.Callback):
  """After each evaluation writes metrics.csv, then TensorBoard's log, then a checkpoint.

  A run resumes from its newest checkpoint, so the checkpoint's row in metrics.csv is written first.

  Args:
    run: the run's folder.
    batch_size: images per update.
    start_update: updates made before; above 0 for a resumed run.
    chosen_by: the validation figure that chooses the weights; higher is better.

  Raises:
    RunFolderError: if metrics.csv lacks the row of the checkpoint; from `fit`, if a file cannot be
      written.
  """

  def __init__(self, run: RunFolder, batch_size: int, start_update: int, chosen_by: str):
    super().__init__()
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
    self.log = TensorBoardLog(run, start_update)
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
    self.log.write(row)
    self.checkpoints.save(
      self.model, is_best=self._goodness(row) == max(map(self._goodness, self.rows))
    )

  def _goodness(self, row: dict[str, float]) -> float:
    value = row[self.chosen_by]
    # NaN is worse than any figure, and better than no weights at all.
    return -math.inf if math.isnan(value) else value


class TensorBoardLog:
  """Writes the figures of evaluations to TensorBoard's log.

  A resumed run first invalidates the points after its checkpoint.

  Args:
    run: the run's folder.
    start_update: updates made before; above 0 for a resumed run.
  """

  def __init__(self, run: RunFolder, start_update: int):
    self.run = run
    self.start_update = start_update
    self._writer = None

  def write(self, row: dict[str, float]) -> None:
    """Adds one row of metrics.csv.

    Raises:
      RunFolderError: if the log cannot be written.
    """
    try:
      if self._writer is None:
        self._invalidate_later_updates()
        self._writer = tf.summary.create_file_writer(str(self.run.tensorboard))
      with self._writer.as_default():
        for name, value in row.items():
          kind, _, bare = name.rpartition("val_")
          tag = f"{'validation' if kind or name.startswith('val_') else 'training'}/{bare}"
          tf.summary.scalar(tag, value, step=row["update"])
      self._writer.flush()
    except (OSError, tf.errors.OpError) as error:
      reason = getattr(error, "strerror", None) or getattr(error, "message", None) or str(error)
      raise self.run.write_error(self.run.tensorboard, reason) from error

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
