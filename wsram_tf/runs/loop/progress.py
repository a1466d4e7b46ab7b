"""What a run prints: a progress bar on a terminal, and one line for each evaluation."""

import sys
from collections.abc import Callable, Mapping

import keras

__all__ = ["Progress"]


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
    self._announced = False
    if sys.stdout.isatty():
      self.bar = keras.utils.Progbar(updates, unit_name="update", stateful_metrics=list(shown))

  def on_train_batch_begin(self, batch, logs=None):
    """Announces the compilation, once."""
    if not self._announced:
      print("compiling the training step; the first updates take a while", flush=True)
    self._announced = True

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
