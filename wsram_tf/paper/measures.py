"""Compares curves over updates: values at a point, updates to a level, ratios and orders."""

import itertools
from collections.abc import Mapping, Sequence

import numpy as np

from wsram_tf.paper.published import Curve

__all__ = [
  "agreeing_pairs",
  "curve_of",
  "smoothed_value",
  "speed_up",
  "speed_up_to",
  "updates_to_reach",
]


def curve_of(rows: Sequence[Mapping[str, float]], column: str, x: str = "update") -> Curve:
  """Takes a curve from the rows of a run's metrics; rows without the column are left out."""
  pairs = [(row[x], row[column]) for row in rows if column in row]
  return np.array([a for a, _ in pairs], float), np.array([b for _, b in pairs], float)


def smoothed_value(curve: Curve, fraction: float, width: float = 0.05) -> float:
  """Averages a curve around a fraction of its length.

  Args:
    curve: x, rising, and values.
    fraction: of the last x, from 0 to 1.
    width: of the window on each side, as a fraction of the last x; the nearest point counts always.

  Example:

  >>> smoothed_value((np.array([0.0, 5.0, 10.0]), np.array([3.0, 2.0, 1.0])), 0.5)
  2.0
  """
  x, values = curve
  distance = np.abs(x - fraction * x[-1])
  near = (distance <= width * x[-1]) | (distance == distance.min())
  return float(values[near].mean())


def updates_to_reach(curve: Curve, level: float) -> float | None:
  """Finds where a falling curve first reaches a level, by linear interpolation.

  Args:
    curve: x, rising, and values.
    level: the value to reach or to fall below.

  Returns:
    x, or None where the curve stays above the level.

  Example:

  >>> updates_to_reach((np.array([0.0, 10.0, 20.0]), np.array([4.0, 2.0, 1.0])), 3.0)
  5.0
  """
  x, values = curve
  reached = np.flatnonzero(values <= level)
  if not len(reached):
    return None
  last = int(reached[0])
  if last == 0:
    return float(x[0])
  first = last - 1
  part = (values[first] - level) / (values[first] - values[last])
  return float(x[first] + part * (x[last] - x[first]))


def speed_up(slow: Curve, fast: Curve, fraction: float) -> float | None:
  """How many times sooner one method reaches the value that another has at a point.

  Args:
    slow: the curve of the reference.
    fast: the curve of the other method.
    fraction: the point, as a fraction of the length of `slow`.

  Returns:
    x of the reference by x of the other; None where the other does not reach the value.

  Example:

  >>> x = np.array([0.0, 10.0, 20.0])
  >>> speed_up((x, np.array([4.0, 3.0, 2.0])), (x, np.array([4.0, 2.0, 1.0])), 1.0)
  2.0
  """
  reached = updates_to_reach(fast, smoothed_value(slow, fraction))
  return fraction * float(slow[0][-1]) / reached if reached else None


def speed_up_to(slow: Curve, fast: Curve, level: float) -> float | None:
  """How many times sooner one method falls to a level than another.

  Args:
    slow: the curve of the reference.
    fast: the curve of the other method.
    level: the value to reach or to fall below.

  Returns:
    x of the reference by x of the other; None where one does not reach the level, or has it at its
    first point already.

  Example:

  >>> x = np.array([0.0, 10.0, 20.0])
  >>> speed_up_to((x, np.array([4.0, 3.0, 2.0])), (x, np.array([4.0, 2.0, 1.0])), 2.0)
  2.0
  """
  if min(slow[1][0], fast[1][0]) <= level:
    return None
  first, other = updates_to_reach(slow, level), updates_to_reach(fast, level)
  return first / other if first and other else None


def agreeing_pairs(first: Mapping[str, float], second: Mapping[str, float]) -> tuple[int, int]:
  """Counts the pairs of names that two rankings put in the same order.

  Returns:
    the pairs in the same order, and all pairs of the names that both have.

  Example:

  >>> agreeing_pairs({"a": 1, "b": 2, "c": 3}, {"a": 5, "b": 9, "c": 7})
  (2, 3)
  """
  pairs = list(itertools.combinations([name for name in first if name in second], 2))
  same = [(first[a] < first[b]) == (second[a] < second[b]) for a, b in pairs]
  return sum(same), len(pairs)
