"""Compares the answers of a model with the expected ones.

Where two captions, or two cells to look at, are equally good but for rounding, a search may end
with either, because rounding depends on the batch. The score separates this tie from a fault:
at a tie both captions have the same score. A glimpse that is drawn from fixed random numbers may
fall on the next cell in the same way; where several sequences are averaged, that changes the score
a little.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from wsram_tf.serving import examples

__all__ = ["Agreement", "Answer", "Failure", "compare"]

# Largest difference of the scores of two captions at a tie, nats a word.
TIE_TOLERANCE = 1e-3
# The same where one of several sequences is drawn otherwise.
DRAWN_TOLERANCE = 0.1
# Largest difference of the likeness to the kept captions, where one of them is another at a tie.
LIKENESS_TOLERANCE = 0.05

# Outputs by name; the first axis is the row.
Answer = Mapping[str, np.ndarray]


class Failure(Exception):
  """An export fails a check; the message gives the finding."""


class Agreement(NamedTuple):
  """How well two answers agree.

  Attributes:
    gap: the largest difference of numbers, relative where a value exceeds 1.
    tied: bool `[B]`, rows that differ at a tie; the gap leaves them out.
  """

  gap: float
  tied: np.ndarray


def compare(
  signature: str,
  answer: Answer,
  expected: Answer,
  tolerance: float,
  length_exponent: float | None = None,
  averaged_samples: int = 0,
  where: str = "",
) -> Agreement:
  """Compares two answers to the same request.

  Args:
    signature: that answered, for messages.
    answer: outputs by name.
    expected: the right outputs by name.
    tolerance: the largest difference of numbers, relative where a value exceeds 1.
    length_exponent: of a search for captions, which allows ties; None without search.
    averaged_samples: sequences that the search draws and averages; 0: it draws none.
    where: the circumstances, for messages; begins with a space.

  Raises:
    Failure: if, beside ties, a number differs by more than the tolerance, or a string or a whole
      number differs at all.
  """
  gaps = {
    name: _gaps(f"{signature}.{name}{where}", answer[name], expected[name]) for name in expected
  }
  worst = max((float(gap.max(initial=0.0)) for gap in gaps.values()), default=0.0)
  # A gap may be NaN, which exceeds no number.
  wrong = {name: ~(gap <= tolerance) for name, gap in gaps.items()}
  differ = np.any(list(wrong.values()), axis=0)
  if not differ.any():
    return Agreement(worst, differ)
  tied = np.zeros_like(differ)
  if length_exponent is not None:
    # At a tie words or locations differ; other numbers for the same words are a fault.
    other_way = wrong["words"] | wrong["locations"] | wrong.get("layers", False)
    if "likeness" in expected:  # The kept captions may differ, though the answer does not.
      other_way |= wrong["likeness"] & ~wrong["log_prob"]
    if averaged_samples:
      other_way = differ
    near = _are_near(answer, expected, length_exponent, averaged_samples)
    tied = other_way & _are_whole(answer) & near
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
  """Computes the largest difference in each row `[B]`: infinite between strings or integers."""
  output, expected = examples.storable(output), examples.storable(expected)
  is_string = expected.dtype.kind == "S"  # The type includes the length of the longest string.
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
  """Whether each caption consists of its words, bool `[B]`."""
  joined = [b" ".join(word for word in words if word) for words in answer["words"].tolist()]
  return np.array([*map(bytes.__eq__, joined, answer["caption"].tolist())], bool)


def _are_near(
  answer: Answer, expected: Answer, length_exponent: float, averaged_samples: int
) -> np.ndarray:
  """Whether a search may end with either of two captions, bool `[B]`."""
  largest = DRAWN_TOLERANCE if averaged_samples else TIE_TOLERANCE
  scores = [_scores(outputs, length_exponent) for outputs in (answer, expected)]
  near = np.abs(scores[0] - scores[1]) <= largest
  if "likeness" not in expected:
    return near
  # A consensus compares captions by their likeness alone, so other words may have another score.
  words = [examples.storable(outputs["words"]) for outputs in (answer, expected)]
  near |= np.any(words[0] != words[1], axis=1) & np.isfinite(scores[0])
  return near & (np.abs(answer["likeness"] - expected["likeness"]) <= LIKENESS_TOLERANCE)


def _scores(answer: Answer, length_exponent: float) -> np.ndarray:
  """Computes the scores that the search compares captions by, nats a word, `[B]`."""
  words = examples.storable(answer["words"])
  # The end counts as a word, unless the search cut the caption before it.
  lengths = np.minimum((words != b"").sum(axis=1) + 1, words.shape[1])
  return answer["log_prob"] / lengths**length_exponent
