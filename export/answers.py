"""Compares what a model answered with what it should have.

A search for a caption may take either turn where two captions, or two cells to look at, are equally
good but for rounding, and rounding depends on the batch. So one row that differs is told from a
fault by its score: at a tie both turns are worth the same.
"""

from collections.abc import Mapping
from typing import NamedTuple

import examples
import numpy as np

__all__ = ["Agreement", "Answer", "Failure", "compare"]

# Between the scores of captions of one row that a search ended in, nats a word.
TIE_TOLERANCE = 1e-3

# Outputs by name, of which the first axis is the row.
Answer = Mapping[str, np.ndarray]


class Failure(Exception):
  """What a check found wrong."""


class Agreement(NamedTuple):
  """How well two answers agree.

  Attributes:
    gap: the largest difference of numbers, relative where a value exceeds 1.
    tied: bool `[B]`, rows that differ at a tie, and count for nothing in the gap.
  """

  gap: float
  tied: np.ndarray


def compare(
  signature: str,
  answer: Answer,
  expected: Answer,
  tolerance: float,
  length_exponent: float | None = None,
  where: str = "",
) -> Agreement:
  """Compares two answers to the same request.

  Args:
    signature: whose answers they are.
    answer: outputs by name.
    expected: what they should be.
    tolerance: the largest difference of numbers, relative where a value exceeds 1.
    length_exponent: of a search for captions, whose rows may differ at a tie; None for none.
    where: they were asked for, for messages, from a space on.

  Raises:
    Failure: if a number differs by more than the tolerance, or a string or whole number at all,
      and it is not at a tie.
  """
  gaps = {
    name: _gaps(f"{signature}.{name}{where}", answer[name], expected[name]) for name in expected
  }
  worst = max((float(gap.max(initial=0.0)) for gap in gaps.values()), default=0.0)
  # A NaN is no number that exceeds anything, so the question is whether all are small.
  wrong = {name: ~(gap <= tolerance) for name, gap in gaps.items()}
  differ = np.any(list(wrong.values()), axis=0)
  if not differ.any():
    return Agreement(worst, differ)
  tied = np.zeros_like(differ)
  if length_exponent is not None:
    scores = [_scores(outputs, length_exponent) for outputs in (answer, expected)]
    # Who takes another turn says or sees something else; other numbers on the same way are a fault.
    other_way = wrong["words"] | wrong["locations"]
    tied = other_way & _are_whole(answer) & (np.abs(scores[0] - scores[1]) <= TIE_TOLERANCE)
  for name, rows in wrong.items():
    rows, what = np.flatnonzero(rows & ~tied)[:8], f"{signature}.{name}{where}"
    if not len(rows):
      continue
    output, right = (examples.storable(answers[name])[rows] for answers in (answer, expected))
    if right.dtype.kind == "S":
      raise Failure(f"{what}: {output.tolist()} instead of {right.tolist()}")
    raise Failure(f"{what}: rows {rows.tolist()} differ by up to {gaps[name][rows].max():.1e}")
  return Agreement(max(float(gap[~tied].max(initial=0.0)) for gap in gaps.values()), tied)


def _gaps(what: str, output: np.ndarray, expected: np.ndarray) -> np.ndarray:
  """The largest difference in each row `[B]`; infinite where strings or whole numbers differ."""
  output, expected = examples.storable(output), examples.storable(expected)
  is_string = expected.dtype.kind == "S"  # The longest string's length is part of the type.
  if output.shape != expected.shape or not (is_string or output.dtype == expected.dtype):
    raise Failure(
      f"{what}: {output.dtype} {output.shape} instead of {expected.dtype} {expected.shape}"
    )
  if output.dtype.kind == "f":
    gaps = np.abs(output - expected) / np.maximum(np.abs(expected), 1)
  else:
    gaps = np.where(output == expected, 0.0, np.inf)
  if not gaps.size:
    return np.zeros(len(gaps))
  return gaps.reshape(len(gaps), -1).max(axis=1)


def _are_whole(answer: Answer) -> np.ndarray:
  """Whether each caption is its words, bool `[B]`."""
  joined = [b" ".join(word for word in words if word) for words in answer["words"].tolist()]
  return np.array([*map(bytes.__eq__, joined, answer["caption"].tolist())], bool)


def _scores(answer: Answer, length_exponent: float) -> np.ndarray:
  """What the search compares captions by, nats a word, `[B]`."""
  words = examples.storable(answer["words"])
  # The end counts as a word, unless the caption was cut before it.
  lengths = np.minimum((words != b"").sum(axis=1) + 1, words.shape[1])
  return answer["log_prob"] / lengths**length_exponent
