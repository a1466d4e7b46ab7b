"""What happens around the updates of a run: progress, figures and checkpoints."""

import math
import sys
import time
from collections.abc import Callable

import keras
from checkpoints import Checkpoints
from run_folder import RunFolder, RunFolderError
from tensorboard_log import TensorBoardLog

__all__ = ["Progress", "RunRecorder"]


class RunRecorder(keras.callbacks.Callback):
  """After each evaluation writes metrics.csv, TensorBoard, and last of all a checkpoint.

  In this order: a run goes on from its newest checkpoint, which must find its row in metrics.csv.

  Args:
    run: the run's folder.
    batch_size: images an update.
    start_update: updates made before, where the run is resumed.
    chosen_by: the validation figure by which weights are chosen, the higher the better.
    diagnose: given the update, returns more figures to write down; they are not timed.

  Raises:
    RunFolderError: if metrics.csv lacks the evaluation that the run is resumed from; and from `fit`
      if something cannot be written.
  """

  def __init__(
    self,
    run: RunFolder,
    batch_size: int,
    start_update: int,
    chosen_by: str,
    diagnose: Callable[[int], dict[str, float]] = lambda update: {},
  ):
    super().__init__()
    self.run = run
    self.batch_size = batch_size
    self.chosen_by = chosen_by
    self.diagnose = diagnose
    self.rows = run.read_metrics(until_update=start_update)
    if start_update and (not self.rows or self.rows[-1]["update"] != start_update):
      raise RunFolderError(
        f"run_dir={run.path}: {run.metrics.name} must have a row of update {start_update}, which "
        "its checkpoint is of"
      )
    self.checkpoints = Checkpoints(run)
    self.log = TensorBoardLog(run, start_update)
    self.seconds = self.rows[-1]["train_seconds"] if self.rows else 0.0
    self.images_per_second = 0.0
    self._timed: list[tuple[float, int]] = []

  def on_epoch_begin(self, epoch, logs=None):
    """Forgets the pieces timed before the last evaluation."""
    self._timed = []
    self._update = int(self.model.optimizer.iterations)

  def on_train_batch_begin(self, batch, logs=None):
    """Starts the clock of one execution of several updates."""
    self._start = time.perf_counter()

  def on_train_batch_end(self, batch, logs=None):
    """Stops it, once the updates are done."""
    update = int(self.model.optimizer.iterations)
    self._timed.append((time.perf_counter() - self._start, update - self._update))
    self._update = update

  def on_epoch_end(self, epoch, logs=None):
    """Writes down what training and the evaluation after it gave."""
    update = int(self.model.optimizer.iterations)
    self.seconds += sum(seconds for seconds, _ in self._timed)
    # The first execution compiles the step, so the rate comes from the others where there are any.
    timed = self._timed[1:] or self._timed
    updates = sum(count for _, count in timed)
    self.images_per_second = self.batch_size * updates / sum(seconds for seconds, _ in timed)
    figures = logs | self.diagnose(update)
    row = {
      "update": update,
      "train_seconds": round(self.seconds, 3),
      "images_per_second": round(self.images_per_second, 1),
      "learning_rate": float(self.model.optimizer.learning_rate),
      **{name: float(value) for name, value in sorted(figures.items())},
    }
    self.rows.append(row)
    self.run.write_metrics(self.rows)
    self.log.write(row)
    self.checkpoints.save(
      self.model, is_best=self._goodness(row) == max(map(self._goodness, self.rows))
    )

  def _goodness(self, row: dict[str, float]) -> float:
    value = row[self.chosen_by]
    return -math.inf if math.isnan(value) else value


class Progress(keras.callbacks.Callback):
  """Shows the figures that matter: a bar on a terminal, a line an evaluation in a file.

  Args:
    updates: length of the training, in updates.
    shown: names of training figures, by what the bar calls them.
    describe: makes the line of an evaluation from all its figures.
  """

  def __init__(
    self, updates: int, shown: dict[str, str], describe: Callable[[dict[str, float]], str]
  ):
    super().__init__()
    self.updates = updates
    self.shown = shown
    self.describe = describe
    self.bar = None
    if sys.stdout.isatty():
      self.bar = keras.utils.Progbar(updates, unit_name="update", stateful_metrics=list(shown))

  def on_train_begin(self, logs=None):
    """Says what is slow at first."""
    print("compiling the training step; the first updates take a while", flush=True)

  def on_train_batch_end(self, batch, logs=None):
    """Moves the bar."""
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
