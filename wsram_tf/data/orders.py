"""Orders of examples, and stratified splits. Loads no TensorFlow."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol, TypeVar

import numpy as np

__all__ = ["LabelledExamples", "first_few", "hold_out", "stratified_order"]

_Self = TypeVar("_Self")


class LabelledExamples(Protocol):
  """A named tuple of arrays `[n, ...]`, one of them `labels`."""

  @property
  def labels(self) -> np.ndarray:
    """The labels, integer `[n]`."""
    ...

  def __iter__(self) -> Iterator[np.ndarray]: ...

  @classmethod
  def _make(cls: type[_Self], iterable: Iterable[np.ndarray], /) -> _Self: ...


_Examples = TypeVar("_Examples", bound=LabelledExamples)


def stratified_order(labels: np.ndarray, seed: int) -> np.ndarray:
  """Orders examples so that every prefix holds the classes in proportion, to within one example.

  The p-th of the c examples of a class gets a random key in [p / c, (p + 1) / c). The number of
  keys below a threshold t is therefore floor(t c) or floor(t c) + 1 for each class.

  Args:
    labels: integer `[n]`.
    seed: seed of the order.

  Returns:
    indices, int `[n]`.

  Example:

  >>> labels = np.array([0] * 6 + [1] * 3)
  >>> order = stratified_order(labels, seed=1)
  >>> np.bincount(labels[order[:3]]).tolist()
  [2, 1]
  """
  generator = np.random.default_rng(seed)
  keys = np.empty(len(labels))
  for label in np.unique(labels):
    members = generator.permutation(np.flatnonzero(labels == label))
    keys[members] = (np.arange(len(members)) + generator.random(len(members))) / len(members)
  return np.argsort(keys, kind="stable")


def hold_out(
  data: _Examples,
  count: int,
  seed: int,
  setting: str,
  *,
  class_names: Sequence[str] = (),
  counts: np.ndarray | None = None,
  advice: str = "hold out fewer",
) -> tuple[_Examples, _Examples]:
  """Splits examples into (kept, held out), each class in proportion and in a random order.

  Args:
    data: named tuple of arrays `[n, ...]`, with a field `labels`.
    count: number of examples to hold out; a smaller set is a subset of any larger one.
    seed: seed of the split.
    setting: the setting that decides `count`, as `name=value`, for the error message.
    class_names: names of the classes, by label, for the error message; default: the labels.
    counts: examples of each class, by label, for the error message; default: those in `data`.
    advice: remedy, for the error message.

  Returns:
    Two named tuples of the type of `data`.

  Raises:
    ValueError: if a class would lose all its examples.

  Example:

  >>> from wsram_tf.data.digits import Digits
  >>> digits = Digits(np.zeros([10, 28, 28], np.uint8), np.arange(10) % 2)
  >>> kept, held_out = hold_out(digits, 4, seed=1, setting="num_validation=4")
  >>> kept.images.shape, np.bincount(held_out.labels).tolist()
  ((6, 28, 28), [2, 2])
  """
  order = stratified_order(data.labels, seed)
  held_out, kept = order[:count], order[count:]
  lost = np.setdiff1d(data.labels, data.labels[kept])
  if lost.size:
    counts = np.bincount(data.labels) if counts is None else counts
    names = [f"{class_names[label] if class_names else label} ({counts[label]})" for label in lost]
    raise ValueError(
      f"{setting}: must leave at least one training example of every class; these classes (with "
      f"their number of examples) keep none: {first_few(names)}; {advice}"
    )
  # The kept part begins with whole rounds of all classes; shuffling removes this regularity.
  kept = np.random.default_rng(seed + 1).permutation(kept)
  rest = data._make(array[kept] for array in data)
  return rest, data._make(array[held_out] for array in data)


def first_few(names: Sequence[str], count: int | None = None, most: int = 5) -> str:
  """Joins the first names of a list and counts the rest, for messages.

  Args:
    names: names in order; those beyond `most` are not shown.
    count: length of the whole list, where `names` holds its beginning alone; default:
      `len(names)`.
    most: number of names to show.

  Example:

  >>> first_few(["a", "b", "c"], count=1200, most=2)
  'a, b and 1,198 more'
  """
  shown = names[:most]
  more = (len(names) if count is None else count) - len(shown)
  return ", ".join(shown) + (f" and {more:,} more" if more > 0 else "")
