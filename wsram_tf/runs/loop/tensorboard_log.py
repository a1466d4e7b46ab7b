"""TensorBoard's log of a run: figures, pictures and histograms of its evaluations."""

import pathlib
import time

import numpy as np
import tensorflow as tf
from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.plugins.hparams import api as hparams
from tensorboard.summary.writer.event_file_writer import EventFileWriter

from wsram_tf.runs import record
from wsram_tf.runs.folder import RunFolder
from wsram_tf.runs.task import Summaries

__all__ = ["TensorBoardLog"]

# Figures of answers before the last glimpse.
_BY_GLIMPSE = "error_percent_after_"


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
    _move_to_the_past(self.run.tensorboard)
    writer = EventFileWriter(str(self.run.tensorboard), filename_suffix=".resumed")
    start = SessionLog(status=SessionLog.START)
    writer.add_event(Event(wall_time=time.time(), step=self.start_update + 1, session_log=start))
    writer.close()
    time.sleep(1.0 - time.time() % 1.0)  # The next file must sort after this one, by its second.


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


def _move_to_the_past(folder: pathlib.Path) -> None:
  """Renames the event files whose names hold a second that is not over, in their order.

  A clock that was set back would else give later files names that sort before them.
  """
  latest = int(time.time()) - 1
  for path in sorted(folder.iterdir(), key=_second_and_name, reverse=True):
    if _second_and_name(path)[0] > latest:
      parts = path.name.split(".")
      parts[3] = str(latest)
      path.rename(path.with_name(".".join(parts)))
      latest -= 1  # Before it, there must be none of the same second.


def _second_and_name(path: pathlib.Path) -> tuple[int, str]:
  """Returns the second in the name of an event file, 0 for other files; and the name."""
  parts = path.name.split(".")
  return (int(parts[3]) if len(parts) > 3 and parts[3].isdecimal() else 0), path.name
