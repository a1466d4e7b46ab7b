"""Requests that a model must answer, and the answers that it must give."""

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence

import numpy as np

from tests.soaking import pictures
from wsram_tf.serving import cpp_loader, examples, looking, manifests
from wsram_tf.serving.verification import agreement

__all__ = ["Pool", "Reference", "filled_up", "is_wrong", "make_pools", "make_references"]

Answer = Mapping[str, np.ndarray]

ROWS = 96  # Of each signature.
PREPARED_SIZES = (1, 1, 1, 2, 3, 5, 8, 16, 32, 64)
TOLERANCE = 1e-5


@dataclasses.dataclass(frozen=True)
class Pool:
  """Right rows for one signature.

  Attributes:
    signature: its name.
    inputs: arrays of `ROWS` rows by name.
    facts: about the model.
    batches: rows of the batches that are asked again and again, an array each.
  """

  signature: str
  inputs: Mapping[str, np.ndarray]
  facts: manifests.Facts
  batches: Sequence[np.ndarray]

  def take(self, rows: np.ndarray) -> dict[str, np.ndarray]:
    """The inputs of some rows."""
    return {name: array[rows] for name, array in self.inputs.items()}


@dataclasses.dataclass(frozen=True)
class Reference:
  """The answers of one version to the rows of a pool.

  Attributes:
    rows: to each row, computed in one batch.
    batches: to each of the pool's batches.
    steady: numbers of the rows whose answer is the same in every batch, up to rounding; others are
      at a tie, which rounding decides.
  """

  rows: Answer
  batches: Sequence[Answer]
  steady: np.ndarray


def filled_up(size: int, sizes: Sequence[int]) -> int:
  """The size of the batch that a server which fills batches up to these sizes makes of one."""
  return next((allowed for allowed in sizes if allowed >= size), size)


def make_pools(
  model: cpp_loader.LoadedModel,
  facts: manifests.Facts,
  seed: int,
  batch_sizes: Sequence[int] = (),
) -> dict[str, Pool]:
  """Makes the pools of a model by signature.

  Args:
    model: gives the states for `look`.
    facts: about it.
    seed: of the rows.
    batch_sizes: rising sizes of all batches; empty for any size.
  """
  generator = np.random.default_rng(seed)
  files = pictures.right_files(facts.height, facts.width, facts.largest_pixels is not None)
  arrays = {
    "images": _images(generator, facts.image_shape),
    "features": _images(generator, facts.feature_shape or [0]),
    "seed": _seeds(generator),
    "threshold": _thresholds(generator),
    "image_bytes": examples.as_bytes_array(
      [files[at] for at in np.resize(generator.permutation(len(files)), ROWS)]
    ),
  }
  if "begin" in model.signatures:
    copy_shape = model.signatures["begin"].inputs["low_resolution"].row_shape
    arrays["low_resolution"] = _images(generator, copy_shape)
    arrays["patches"] = _images(generator, model.signatures["look"].inputs["patches"].row_shape)
    arrays["state"] = _states(generator, model, facts, arrays)
  return {
    name: Pool(
      name,
      {key: arrays[key] for key in signature.inputs},
      facts,
      [generator.integers(ROWS, size=filled_up(size, batch_sizes)) for size in PREPARED_SIZES],
    )
    for name, signature in model.signatures.items()
  }


def make_references(
  model: cpp_loader.LoadedModel, pools: Mapping[str, Pool]
) -> dict[str, Reference]:
  """Asks a version for its answers to all pools.

  Raises:
    Failure: if an answer is not finite.
  """
  references = {}
  for name, pool in pools.items():
    whole = model.run(name, pool.inputs)
    for key, output in whole.items():
      if output.dtype.kind == "f" and not np.isfinite(output).all():
        rows = np.flatnonzero(~np.isfinite(output.reshape(ROWS, -1)).all(axis=1))
        raise agreement.Failure(f"{pool.facts.name} {name}.{key}: rows {rows} are not finite")
    differ = np.zeros(ROWS, bool)
    for size in (1, 7, 32):
      for start in range(0, ROWS, size):
        rows = np.arange(start, min(start + size, ROWS))
        answer = model.run(name, pool.take(rows))
        differ[rows] |= wrong_rows(answer, {key: output[rows] for key, output in whole.items()})
    batches = [model.run(name, pool.take(rows)) for rows in pool.batches]
    references[name] = Reference(whole, batches, np.flatnonzero(~differ))
  return references


def is_wrong(answer: Answer, expected: Answer) -> bool:
  """Whether an answer differs from the one to the same request, even in the last bit."""
  return answer.keys() != expected.keys() or any(
    answer[name].dtype != expected[name].dtype or not np.array_equal(answer[name], expected[name])
    for name in expected
  )


def wrong_rows(answer: Answer, expected: Answer) -> np.ndarray:
  """Which rows differ by more than rounding, bool `[B]`."""
  size = len(next(iter(expected.values())))
  wrong = np.zeros(size, bool)
  for name, right in expected.items():
    output = answer[name]
    if output.shape != right.shape or output.dtype != right.dtype:
      return np.ones(size, bool)
    if right.dtype.kind == "f":
      same = np.abs(output - right) <= TOLERANCE * np.maximum(np.abs(right), 1)
    else:
      same = output == right
    wrong |= ~same.reshape(size, -1).all(axis=1)
  return wrong


def _images(generator: np.random.Generator, row_shape: Sequence[int]) -> np.ndarray:
  """Makes rows of noise and of rectangles; some are black, tiny, beyond 0..1, or huge."""
  rows = generator.random([ROWS, *row_shape], np.float32)
  if len(row_shape) == 3:
    for start in range(0, ROWS // 2, examples.NUM_ROWS):
      images = examples.example_images(*row_shape)
      rolled = np.roll(images, generator.integers(row_shape[0]), axis=1)
      rows[start : start + examples.NUM_ROWS] = examples.to_float(rolled)
  rows[0], rows[1], rows[2] = 0, 1, -0.0
  rows[3] *= 1e-40  # Denormal.
  rows[4] *= np.float32(1e-45)
  rows[5] -= 3
  rows[6] *= 255
  rows[7] *= -1e6
  rows[8] *= 1e12
  rows[9] *= 1e16
  rows[10].reshape(-1)[-1:] = -1e16
  return rows


def _seeds(generator: np.random.Generator) -> np.ndarray:
  limits = np.iinfo(np.int64)
  seeds = generator.integers(limits.min, limits.max, ROWS)
  seeds[:6] = 0, 1, -1, limits.min, limits.max, 1 << 32
  return seeds


def _thresholds(generator: np.random.Generator) -> np.ndarray:
  thresholds = generator.random(ROWS, np.float32)
  thresholds[:6] = 0, 1, -0.0, 1e-45, 1e-38, np.nextafter(np.float32(1), np.float32(0))
  return thresholds


def _states(
  generator: np.random.Generator,
  model: cpp_loader.LoadedModel,
  facts: manifests.Facts,
  arrays: Mapping[str, np.ndarray],
) -> np.ndarray:
  """Makes states that `begin` and `look` answered, and states that no call made."""
  if not isinstance(facts, manifests.ClassifierFacts):
    raise TypeError("facts: must be a classifier's")
  state = model.run("begin", {"low_resolution": arrays["low_resolution"]})["state"]
  for taken in range(1, facts.num_glimpses):
    given = {"state": state, **{key: arrays[key] for key in ("low_resolution", "patches")}}
    inputs = model.signatures["look"].inputs
    following = model.run("look", {key: given[key] for key in inputs})["state"]
    later = np.arange(ROWS) % facts.num_glimpses >= taken
    state = np.where(later[:, np.newaxis], following, state)
  odd = generator.normal(size=state.shape).astype(np.float32)
  odd[::3] *= np.float32(1e10)
  odd[1::3] *= np.float32(1e-42)
  odd[:, looking.COUNT_AT] = generator.integers(facts.num_glimpses, size=ROWS)
  if facts.choose_scale:
    odd[:, looking.SCALE_AT] = generator.integers(facts.glimpse_scales, size=ROWS)
  return np.where(np.arange(ROWS)[:, np.newaxis] % 4 == 3, odd, state)


def versions_in(folder: pathlib.Path) -> dict[str, list[pathlib.Path]]:
  """Finds the versions of every model in a folder, by the model's name."""
  found = {
    path.name: [path / str(number) for number in manifests.version_numbers(path)]
    for path in sorted(folder.iterdir())
    if path.is_dir()
  }
  return {name: versions for name, versions in found.items() if versions}
