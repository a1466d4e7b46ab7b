"""The log of a run that TensorBoard shows."""

import time

import tensorflow as tf
from run_folder import RunFolder
from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.summary.writer.event_file_writer import EventFileWriter

__all__ = ["TensorBoardLog"]


class TensorBoardLog:
  """Writes figures of evaluations; a resumed run takes back what it is about to write again.

  Args:
    run: the run's folder.
    start_update: updates made before, where the run is resumed.
  """

  def __init__(self, run: RunFolder, start_update: int):
    self.run = run
    self.start_update = start_update
    self._writer = None

  def write(self, row: dict[str, float]) -> None:
    """Adds one row of metrics.csv.

    Raises:
      RunFolderError: if it cannot be written.
    """
    try:
      if self._writer is None:
        self._forget_later_updates()
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

  def _forget_later_updates(self) -> None:
    if not self.run.tensorboard.exists():
      return
    # A file of its own, named to be read before those that follow: TensorBoard drops all points
    # from this step on that it has read before.
    writer = EventFileWriter(str(self.run.tensorboard), filename_suffix=".resumed")
    start = SessionLog(status=SessionLog.START)
    writer.add_event(Event(wall_time=time.time(), step=self.start_update + 1, session_log=start))
    writer.close()
