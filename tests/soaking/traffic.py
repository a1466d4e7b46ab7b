"""Threads that ask models right and wrong requests while versions come and go."""

import array
import collections
import contextlib
import ctypes
import pathlib
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from tests.soaking import pictures, right_requests, wrong_requests
from wsram_tf.serving import cpp_loader, examples, manifests

__all__ = ["Memory", "Served", "Tally", "Traffic", "mean_size", "resident_memory"]

# Largest batch of each part of the right requests, with its weight; the smallest is the one before.
_SIZES = ((1, 0.3), (8, 0.3), (32, 0.3), (64, 0.1))
_DAMAGED = 0.04  # The part of requests with files that a decoder may take or not.
_SHOWN = 12  # Failures that are kept.


class Version(NamedTuple):
  """A loaded version, and the answers that it must give."""

  number: int
  model: cpp_loader.LoadedModel
  references: Mapping[str, right_requests.Reference]


class Served:
  """A model whose versions are loaded and unloaded.

  Args:
    paths: of its versions.
    seed: of its requests.
    batch_sizes: of right requests; empty for any size.

  Attributes:
    pools: right rows by signature.
    files: right image files.
    current: the version that answers.
    ties: rows of all pools and versions whose answer rounding decides.
  """

  def __init__(self, paths: Sequence[pathlib.Path], seed: int, batch_sizes: Sequence[int] = ()):
    self.paths = paths
    self.facts = manifests.read_manifest(paths[0]).facts
    models = [cpp_loader.LoadedModel(path) for path in paths]
    self.pools = right_requests.make_pools(models[0], self.facts, seed, batch_sizes)
    self.references = [right_requests.make_references(model, self.pools) for model in models]
    facts = self.facts
    any_size = facts.largest_pixels is not None
    self.files = pictures.right_files(facts.height, facts.width, any_size)
    self.ties = sum(
      right_requests.ROWS - len(one.steady) for all_ in self.references for one in all_.values()
    )
    for model in models[1:]:
      model.close()
    self.current = Version(0, models[0], self.references[0])

  def replace(self) -> int:
    """Loads the next version, warms it up, lets it answer, and unloads the one before.

    Returns:
      the number of warm-up answers that were wrong.
    """
    old = self.current
    number = (old.number + 1) % len(self.paths)
    model, wrong = cpp_loader.LoadedModel(self.paths[number]), 0
    for name, pool in self.pools.items():
      expected = self.references[number][name].batches
      for at in (0, len(expected) - 1):
        answer = model.run(name, pool.take(pool.batches[at]))
        wrong += right_requests.is_wrong(answer, expected[at])
    self.current = Version(number, model, self.references[number])
    old.model.close()
    return wrong


class Tally:
  """Counts of one thread.

  Attributes:
    rows: answered right, or wrongly.
    counts: requests by what they are.
    failures: what must not be, by kind.
    examples: texts of the first failures.
    latencies: of right requests, seconds.
  """

  def __init__(self):
    self.rows, self.wrong_requests, self.requests = 0, 0, 0
    self.counts: collections.Counter[str] = collections.Counter()
    self.failures: collections.Counter[str] = collections.Counter()
    self.examples: list[str] = []
    self.latencies = array.array("f")

  def fail(self, kind: str, text: str) -> None:
    """Counts a failure."""
    self.failures[kind] += 1
    if len(self.examples) < _SHOWN:
      self.examples.append(f"{kind}: {' '.join(text.split())[:400]}")


class Traffic:
  """Threads that ask, and one that replaces versions.

  Args:
    models: all models.
    rows: of right requests, of all threads together.
    wrong: wrong requests, of all threads together.
    threads: that ask.
    seed: of the requests.
    replace_every: requests between two replacements of a version.
    batch_sizes: rising sizes of right batches; empty for any from 1 to 64.
  """

  def __init__(
    self,
    models: Sequence[Served],
    rows: int,
    wrong: int,
    threads: int,
    seed: int,
    replace_every: int,
    batch_sizes: Sequence[int] = (),
  ):
    self._batch_sizes, self._mean_size = batch_sizes, mean_size(batch_sizes)
    self._models, self._replace_every = models, replace_every
    self._rows, self._wrong = rows / threads, wrong / threads
    self.tallies = [Tally() for _ in range(threads)]
    self.replaced, self.wrong_warmups, self.retried = 0, 0, 0
    self._open, self._ended = threading.Event(), threading.Event()
    self._open.set()
    # A thread holds its lock while it asks.
    self._locks = [threading.Lock() for _ in range(threads + 1)]
    self._workers = [
      threading.Thread(target=self._ask, args=(number, np.random.default_rng([seed, number])))
      for number in range(threads)
    ]
    self._replacer = threading.Thread(target=self._replace)
    self._errors: list[BaseException] = []

  def start(self) -> None:
    """Starts all threads."""
    for thread in (*self._workers, self._replacer):
      thread.start()

  def join(self) -> None:
    """Waits for the end of the requests; raises what ended a thread early."""
    for worker in self._workers:
      worker.join()
    self._ended.set()
    self._replacer.join()
    if self._errors:
      raise self._errors[0]

  @property
  def requests(self) -> int:
    """Requests so far."""
    return sum(tally.requests for tally in self.tallies)

  @property
  def is_running(self) -> bool:
    """Whether a thread still asks."""
    return any(worker.is_alive() for worker in self._workers)

  @contextlib.contextmanager
  def paused(self) -> Iterator[None]:
    """Holds all threads between two requests."""
    self._open.clear()
    with contextlib.ExitStack() as stack:
      for lock in self._locks:
        stack.enter_context(lock)
      yield
    self._open.set()

  def _replace(self) -> None:
    try:
      number = 0
      while not self._ended.wait(0.05):
        if self.requests < (number + 1) * self._replace_every:
          continue
        self._open.wait()
        with self._locks[-1]:
          model = self._models[number % len(self._models)]
          wrong = model.replace()
        self.replaced, self.wrong_warmups = self.replaced + 1, self.wrong_warmups + wrong
        number += 1
    except BaseException as error:
      self._errors.append(error)

  def _ask(self, number: int, generator: np.random.Generator) -> None:
    tally, lock = self.tallies[number], self._locks[number]
    try:
      while True:
        rows, wrong = self._rows - tally.rows, self._wrong - tally.wrong_requests
        if rows <= 0 and wrong <= 0:
          return
        right = max(rows, 0) / self._mean_size
        self._open.wait()
        with lock:
          served = self._models[generator.integers(len(self._models))]
          names = list(served.pools)
          pool = served.pools[names[generator.integers(len(names))]]
          if generator.random() < _DAMAGED and "image_bytes" in pool.inputs:
            self._ask_damaged(tally, generator, served, pool)
          elif generator.random() * (right + max(wrong, 0)) < right:
            self._ask_right(tally, generator, served, pool)
          else:
            self._ask_wrong(tally, generator, served, pool)
          tally.requests += 1
    except BaseException as error:
      self._errors.append(error)

  def _run(
    self, served: Served, name: str, inputs: Mapping[str, np.ndarray]
  ) -> tuple[Version, Mapping[str, np.ndarray]]:
    """Asks the current version, or the next one where it is unloaded in between."""
    while True:
      version = served.current
      try:
        return version, version.model.run(name, inputs)
      except ValueError as error:
        if "must be open" not in str(error):
          raise
        self.retried += 1

  def _ask_right(
    self,
    tally: Tally,
    generator: np.random.Generator,
    served: Served,
    pool: right_requests.Pool,
  ) -> None:
    again = generator.integers(2) == 0
    if again:
      at = int(generator.integers(len(pool.batches)))
      rows = pool.batches[at]
    else:
      steady = served.current.references[pool.signature].steady
      rows = generator.choice(steady, size=_size(generator, self._batch_sizes))
    inputs = pool.take(rows)
    began = time.perf_counter()
    try:
      version, answer = self._run(served, pool.signature, inputs)
    except cpp_loader.ServingError as error:
      tally.fail("right, but refused", f"{served.facts.name} {pool.signature} {error}")
      tally.rows += len(rows)
      return
    tally.latencies.append(time.perf_counter() - began)
    reference = version.references[pool.signature]
    if again:
      wrong = right_requests.is_wrong(answer, reference.batches[at])
    else:
      expected = {key: output[rows] for key, output in reference.rows.items()}
      differ = right_requests.wrong_rows(answer, expected)
      # Another version may be at a tie elsewhere.
      wrong = differ[np.isin(rows, reference.steady)].any()
    if wrong:
      tally.fail("right, but answered wrongly", f"{served.facts.name} {pool.signature}")
    tally.rows += len(rows)
    tally.counts[f"right: {pool.signature}"] += 1
    tally.counts["right: the same batch again" if again else "right: rows in other batches"] += 1

  def _ask_wrong(
    self,
    tally: Tally,
    generator: np.random.Generator,
    served: Served,
    pool: right_requests.Pool,
  ) -> None:
    request = wrong_requests.wrong_request(generator, pool, served.files)
    tally.wrong_requests += 1
    tally.counts[f"wrong: {request.what}"] += 1
    where = f"{served.facts.name} {pool.signature}, {request.what}"
    try:
      self._run(served, pool.signature, request.inputs)
    except cpp_loader.ServingError as error:
      if error.code != "INVALID_ARGUMENT":
        tally.fail("wrong, refused by another code", f"{where}: {error}")
      elif not request.is_named(error.message):
        rules = " or ".join(map(str, request.rules))
        tally.fail("wrong, refused without name and rule", f"{where}, {rules}: {error}")
    else:
      shapes = {key: (value.shape, value.dtype) for key, value in request.inputs.items()}
      tally.fail("wrong, but answered", f"{where}: {shapes}")

  def _ask_damaged(
    self,
    tally: Tally,
    generator: np.random.Generator,
    served: Served,
    pool: right_requests.Pool,
  ) -> None:
    contents = pictures.damaged_file(generator, served.files)
    try:
      _, answer = self._run(
        served, pool.signature, {"image_bytes": examples.as_bytes_array([contents])}
      )
    except cpp_loader.ServingError as error:
      tally.counts["damaged file: refused"] += 1
      if error.code != "INVALID_ARGUMENT" or "image_bytes" not in error.message:
        tally.fail("damaged, refused otherwise", f"{pool.signature} {contents!r:.200}: {error}")
      return
    tally.counts["damaged file: answered"] += 1
    if not all(np.isfinite(one).all() for one in answer.values() if one.dtype.kind == "f"):
      tally.fail("damaged, answered with NaN", f"{pool.signature} {contents!r:.200}")


class Memory(NamedTuple):
  """The resident memory of this process, MB.

  Attributes:
    held: with the memory that the allocator keeps for each thread after it was freed.
    used: without it.
  """

  held: float
  used: float


def resident_memory() -> Memory:
  """Measures the resident memory, before and after the allocator gives back what is free."""
  held = _resident_megabytes()
  ctypes.CDLL(None).malloc_trim(0)
  return Memory(held, _resident_megabytes())


def _resident_megabytes() -> float:
  status = pathlib.Path("/proc/self/status").read_text()
  return int(status.split("VmRSS:")[1].split()[0]) / 1e3


def mean_size(batch_sizes: Sequence[int] = ()) -> float:
  """The mean number of rows of a right request."""
  # The batches of half of the requests are prepared ones.
  prepared = [right_requests.filled_up(size, batch_sizes) for size in right_requests.PREPARED_SIZES]
  drawn, least = 0.0, 1
  for most, weight in _SIZES:
    part = [right_requests.filled_up(size, batch_sizes) for size in range(least, most + 1)]
    drawn, least = drawn + weight * float(np.mean(part)), most + 1
  return (float(np.mean(prepared)) + drawn) / 2


def _size(generator: np.random.Generator, batch_sizes: Sequence[int]) -> int:
  """Draws the size of a batch, 1 to 64."""
  drawn, least = generator.random(), 1
  for most, weight in _SIZES:
    if drawn < weight:
      return right_requests.filled_up(int(generator.integers(least, most + 1)), batch_sizes)
    drawn, least = drawn - weight, most + 1
  return 1
