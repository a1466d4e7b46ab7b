"""What happens around the updates of a run: progress, figures and checkpoints."""

import sys
import time
from collections.abc import Callable

import keras
import tensorflow as tf
from run_folder import RunFolder

__all__ = ["Progress", "RunRecorder"]

# Validation figure by which weights are chosen, the higher the better: the error of a few thousand
# images is too coarse to tell one evaluation from the next.
CHOSEN_BY = "val_log_likelihood"


class RunRecorder(keras.callbacks.Callback):
  """After each evaluation writes metrics.csv, TensorBoard and the last and best weights.

  Args:
    run: the run's folder.
    batch_size: images an update.
    start_update: updates made before, where the run is resumed.
    diagnose: given the update, returns more figures to write down; they are not timed.
  """

  def __init__(
    self,
    run: RunFolder,
    batch_size: int,
    start_update: int,
    diagnose: Callable[[int], dict[str, float]],
  ):
    super().__init__()
    self.run = run
    self.batch_size = batch_size
    self.diagnose = diagnose
    self.rows = run.read_metrics(until_update=start_update)
    self.seconds = self.rows[-1]["train_seconds"] if self.rows else 0.0
    self.images_per_second = 0.0
    self._timed: list[tuple[float, int]] = []
    self._writer = tf.summary.create_file_writer(str(run.tensorboard))

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
    with self._writer.as_default():
      for name, value in row.items():
        kind, _, bare = name.rpartition("val_")
        tag = f"{'validation' if kind or name.startswith('val_') else 'training'}/{bare}"
        tf.summary.scalar(tag, value, step=update)
    self._writer.flush()
    if row[CHOSEN_BY] >= max(r[CHOSEN_BY] for r in self.rows):
      self.run.save_learner(self.run.best, self.model)
    self.run.save_learner(self.run.last, self.model)


class Progress(keras.callbacks.Callback):
  """Shows the figures that matter: a bar on a terminal, a line an evaluation in a file.

  Args:
    updates: length of the training, in updates.
    batch_size: images an update.
  """

  def __init__(self, updates: int, batch_size: int):
    super().__init__()
    self.updates = updates
    self.batch_size = batch_size
    self.bar = None
    if sys.stdout.isatty():
      self.bar = keras.utils.Progbar(
        updates, unit_name="update", stateful_metrics=["train error %", "bound nats", "ESS"]
      )

  def on_train_begin(self, logs=None):
    """Says what is slow at first."""
    print("compiling the training step; the first updates take a while", flush=True)

  def on_train_batch_end(self, batch, logs=None):
    """Moves the bar."""
    if self.bar:
      self.bar.update(
        min(int(self.model.optimizer.iterations), self.updates - 1),
        [
          ("train error %", float(logs["error_percent"])),
          ("bound nats", float(logs["bound"])),
          ("ESS", float(logs["effective_sample_size"])),
        ],
      )

  def on_epoch_end(self, epoch, logs=None):
    """Prints one line for the evaluation."""
    print(
      f"{chr(10) if self.bar else ''}update {int(self.model.optimizer.iterations):,} of "
      f"{self.updates:,}: validation error {logs['val_error_percent']:.2f}% (averaged "
      f"{logs['val_error_percent_averaged']:.2f}%), log-likelihood "
      f"{logs['val_log_likelihood']:.3f} nats, bound {logs['val_bound']:.3f} nats, effective "
      f"sample size {logs['val_effective_sample_size']:.2f}; training error "
      f"{logs['error_percent']:.2f}%",
      flush=True,
    )
