"""What a run has done since its last evaluation, for a run that stops before the next one."""

import json
import pathlib
from typing import NamedTuple

import keras

__all__ = ["Interval", "describe", "read", "restore", "skipped_updates"]


class Interval(NamedTuple):
  """The begun interval between two evaluations.

  Attributes:
    begin: updates made before it.
    skipped: updates in it that were not finite and skipped.
    timed: seconds and updates of each execution in it.
    metrics: the variables of each metric, such as sum and count of a mean, by its name.
  """

  begin: int
  skipped: int
  timed: list[tuple[float, int]]
  metrics: dict[str, list[float]]


def describe(
  learner: keras.Model, begin: int, skipped: int, timed: list[tuple[float, int]]
) -> Interval:
  """Describes the interval that a learner is in; see `Interval` for the arguments."""
  metrics = {
    metric.name: [float(variable) for variable in metric.variables] for metric in learner.metrics
  }
  return Interval(begin, skipped, list(timed), metrics)


def restore(interval: Interval, learner: keras.Model) -> None:
  """Sets a learner's metrics, and its count of skipped updates, as they were when it stopped."""
  for metric in learner.metrics:
    for variable, value in zip(metric.variables, interval.metrics[metric.name], strict=True):
      variable.assign(value)
  if interval.skipped:
    learner.guard.skipped.assign_add(interval.skipped)


def skipped_updates(learner: keras.Model) -> int:
  """Counts the updates that a learner skipped; 0 for a model without a guard."""
  guard = getattr(learner, "guard", None)
  return int(guard.skipped) if guard else 0


def read(path: pathlib.Path) -> Interval:
  """Reads the file of an interval.

  Raises:
    ValueError: if it holds none.
  """
  try:
    interval = Interval(**json.loads(path.read_text(encoding="utf-8")))
    timed = [(float(seconds), int(updates)) for seconds, updates in interval.timed]
    metrics = {name: [float(value) for value in row] for name, row in interval.metrics.items()}
    return Interval(int(interval.begin), int(interval.skipped), timed, metrics)
  except (OSError, TypeError, ValueError, AttributeError) as error:
    raise ValueError(f"{path.name}: must describe an interval, {error}") from error
