"""Requests that a model must refuse, each with the rule that it breaks."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from tests.soaking import pictures
from tests.soaking.right_requests import ROWS, Pool
from wsram_tf.serving import examples, looking, manifests

__all__ = ["WrongRequest", "wrong_request"]

_SHAPE = "not compatible with expected shape"
_DTYPES = (np.float32, np.float64, np.int32, np.int64, np.uint8, np.bool_)


class Fault(NamedTuple):
  """A wrong input.

  Attributes:
    what: the kind of the fault.
    value: the wrong array.
    words: that the refusal must hold.
  """

  what: str
  value: np.ndarray
  words: Sequence[str]


class WrongRequest(NamedTuple):
  """A request that a model must refuse.

  Attributes:
    what: input and kind of the fault.
    inputs: arrays by name.
    rules: words for each fault in it; the refusal must hold those of one.
  """

  what: str
  inputs: dict[str, np.ndarray]
  rules: list[Sequence[str]]

  def is_named(self, message: str) -> bool:
    """Whether a refusal names a fault of the request and its rule."""
    return any(all(word in message for word in words) for words in self.rules)


def wrong_request(
  generator: np.random.Generator, pool: Pool, files: Sequence[bytes]
) -> WrongRequest:
  """Makes a wrong request from right rows.

  Args:
    generator: of random numbers.
    pool: of the signature.
    files: right image files of the model.
  """
  inputs = pool.take(generator.integers(ROWS, size=generator.integers(2, 6)))
  names = list(inputs)
  chosen = [names[generator.integers(len(names))]]
  if len(names) > 1 and generator.integers(8) == 0:
    chosen = names  # All inputs are wrong.
  whats, rules = [], []
  for name in chosen:
    fault = _fault(generator, name, inputs[name], pool, files)
    inputs[name] = fault.value
    whats.append(f"{name}: {fault.what}" if name != "image_bytes" else fault.what)
    rules.append(fault.words)
  what = whats[0] if len(whats) == 1 else "several inputs"
  if len(whats) > 1:  # Rows may differ in number too, which names one of the inputs.
    rules += [(f"{name}: must hold one",) for name in names]
  return WrongRequest(what, inputs, rules)


def _fault(
  generator: np.random.Generator, name: str, right: np.ndarray, pool: Pool, files: Sequence[bytes]
) -> Fault:
  if name == "image_bytes":
    special = [_wrong_file] * 6
  elif name == "seed":
    special = [_rows] * 3
  elif name == "threshold":
    special = [_rows, _outside, _outside, _not_finite]
  elif name == "state":
    special = [_wrong_state] * 4 + [_not_finite] * 2
  elif len(pool.inputs) > 1 and name in ("patches", "low_resolution"):
    special = [_rows, _not_finite, _not_finite]
  else:
    special = [_not_finite] * 3
  kinds: list[Callable[..., Fault]] = [_shape, _shape, _dtype, *special]
  kind = kinds[generator.integers(len(kinds))]
  return kind(generator, name, right, pool, files)


def _shape(generator: np.random.Generator, name: str, right: np.ndarray, *_) -> Fault:
  """Changes the rank, or the length of an axis."""
  kind = generator.integers(4)
  if kind == 0:
    return Fault("rank", right[0, ...].reshape(right.shape[1:]), (name, _SHAPE))
  if kind == 1 or right.ndim == 1:
    more = (1,) * int(generator.integers(1, 4))
    where = [right.reshape(more + right.shape), right.reshape(right.shape + more)]
    return Fault("rank", where[generator.integers(2)], (name, _SHAPE))
  axis = int(generator.integers(1, right.ndim))
  lengths = {0, 1, right.shape[axis] - 1, right.shape[axis] + 1, 3 * right.shape[axis]}
  length = int(generator.choice(sorted(lengths - {right.shape[axis]})))
  where = np.arange(length) % right.shape[axis]
  return Fault("length of an axis", right.take(where, axis), (name, _SHAPE))


def _dtype(generator: np.random.Generator, name: str, right: np.ndarray, *_) -> Fault:
  words = ("Expects arg[", "is provided")  # The runtime numbers the inputs.
  if right.dtype != object and generator.integers(len(_DTYPES)) == 0:
    return Fault("dtype", np.full(right.shape, b"text", object), words)
  dtypes = [dtype for dtype in _DTYPES if dtype != right.dtype]
  dtype = dtypes[generator.integers(len(dtypes))]
  return Fault("dtype", np.ones(right.shape, dtype), words)


def _rows(generator: np.random.Generator, name: str, right: np.ndarray, *_) -> Fault:
  counts = {0, 1, len(right) - 1, len(right) + 1, 100 * len(right)} - {len(right)}
  rows = np.arange(generator.choice(sorted(counts))) % len(right)
  rule = {
    "seed": "seed: must hold one number for each row of images",
    "threshold": "threshold: must hold one row for each row of images",
  }
  words = rule.get(name, f"{name}: must hold one row for each row of state")
  return Fault("number of rows", right[rows], (words,))


def _not_finite(generator: np.random.Generator, name: str, right: np.ndarray, *_) -> Fault:
  values = {"NaN": np.nan, "infinity": np.inf, "-infinity": -np.inf, "too large": 1.1e16}
  values |= {"largest": np.finfo(np.float32).max, "least": np.finfo(np.float32).min}
  what = list(values)[generator.integers(len(values))]
  wrong = right.copy()
  flat = wrong.reshape(-1)
  count = int(generator.integers(1, 4))
  # A state's first number and its scale have rules of their own.
  free = np.flatnonzero(np.arange(right.size) % right[0].size > looking.SCALE_AT)
  places = free if name == "state" else np.arange(right.size)
  flat[generator.choice(places, size=min(count, len(places)), replace=False)] = values[what]
  return Fault("not finite, or too large", wrong, (f"{name}: must be finite",))


def _outside(generator: np.random.Generator, name: str, right: np.ndarray, *_) -> Fault:
  values = (-1e-30, -0.01, -1, 1.0000002, 1.01, 2, 1e10, -1e15)
  wrong = right.copy()
  wrong[generator.integers(len(wrong))] = values[generator.integers(len(values))]
  return Fault("outside 0..1", wrong, (f"{name}: must be from 0 to 1",))


def _wrong_state(
  generator: np.random.Generator, name: str, right: np.ndarray, pool: Pool, *_
) -> Fault:
  facts = pool.facts
  if not isinstance(facts, manifests.ClassifierFacts):
    raise TypeError("pool: must be a classifier's")
  what, at, end = "the number of glimpses taken", looking.COUNT_AT, facts.num_glimpses
  if facts.choose_scale and generator.integers(2):
    what, at, end = "the scale", looking.SCALE_AT, facts.glimpse_scales
  values = (-1, -1e-30, 0.5, end - 0.5, end, end + 1, 127, 2**24, -(2**31), 1e9, -1e15)
  wrong = right.copy()
  wrong[generator.integers(len(wrong)), at] = values[generator.integers(len(values))]
  words = f"state: {what}, value {at} of a row, must be a whole number from 0 to {end - 1}"
  return Fault("a state that no call made", wrong, (words,))


def _wrong_file(
  generator: np.random.Generator, name: str, right: np.ndarray, pool: Pool, files: Sequence[bytes]
) -> Fault:
  facts = pool.facts
  any_size = facts.largest_pixels is not None
  refused = pictures.wrong_file(generator, files, facts.height, facts.width, any_size)
  wrong = list(right)
  wrong[generator.integers(len(wrong))] = refused.contents
  return Fault(refused.what, examples.as_bytes_array(wrong), (refused.words,))
