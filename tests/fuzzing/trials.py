"""Tries many inputs of one kind, as a user might hand them in, and counts what became of them.

An input is well met where it is accepted, or refused by a documented error whose message says what
is wrong with what; and where nothing is written either way. All else is a crash.
"""

import contextlib
import dataclasses
import os
import pathlib
import re
import signal
import traceback
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import hypothesis
from hypothesis import strategies as st

# Seconds by the clock, since a reader may also wait; a busy machine needs some.
LONGEST = 30
# How a message states a rule.
RULE = r"(must|cannot|no file|is damaged|No such file)"
# Hypothesis remembers what it tried, so many inputs at once slow it down.
_BATCH = 1_000


class Kind(NamedTuple):
  """One kind of input and who reads it.

  Attributes:
    name: for people.
    inputs: what is tried.
    lay: writes an input into a folder, in place of the one before.
    read: reads it as the package does.
    refusals: the errors that are documented.
    named: a regular expression that their messages must match: which argument or file, which rule.
  """

  name: str
  inputs: st.SearchStrategy
  lay: Callable[[pathlib.Path, Any], None]
  read: Callable[[pathlib.Path, Any], Any]
  refusals: tuple[type[Exception], ...]
  named: str


@dataclasses.dataclass
class Tally:
  """What became of inputs.

  Attributes:
    tried: all inputs.
    refused: those that a documented error refused.
    crashed: those that were not well met.
    crashes: what went wrong, one example a place.
  """

  tried: int = 0
  refused: int = 0
  crashed: int = 0
  crashes: dict[str, str] = dataclasses.field(default_factory=dict)

  @property
  def accepted(self) -> int:
    """Inputs that were read."""
    return self.tried - self.refused - self.crashed

  def add_crash(self, place: str, example: str) -> None:
    """Counts a crash, and keeps its place's first example."""
    self.crashed += 1
    self.crashes.setdefault(place, example)


class TooLong(Exception):
  """A reader took longer than `LONGEST`."""


def try_inputs(kind: Kind, count: int, seed: int, folder: pathlib.Path) -> Tally:
  """Tries so many inputs.

  Args:
    kind: what is tried.
    count: inputs.
    seed: of the inputs.
    folder: empty; the inputs are laid there.
  """
  tally = Tally()
  for start in range(0, count, _BATCH):

    @hypothesis.seed(seed + start)
    @hypothesis.settings(
      max_examples=min(_BATCH, count - start),
      phases=[hypothesis.Phase.generate],
      database=None,
      deadline=None,
      suppress_health_check=list(hypothesis.HealthCheck),
    )
    @hypothesis.given(kind.inputs)
    def trial(given: Any) -> None:
      meet(kind, given, folder, tally)

    trial()
  return tally


def meet(kind: Kind, given: Any, folder: pathlib.Path, tally: Tally) -> None:
  """Lays one input, has it read, and counts what became of it."""
  kind.lay(folder, given)
  before, crashed = listing(folder), tally.crashed
  tally.tried += 1
  shown = f"{given!r:.1000}"
  try:
    with time_limit(LONGEST):
      kind.read(folder, given)
  except kind.refusals as error:
    if re.search(kind.named, str(error), re.DOTALL):
      tally.refused += 1
    else:
      tally.add_crash(f"{kind.name}: names nothing: {place(error)}", f"{error!s:.200}\n  {shown}")
  except Exception as error:
    tally.add_crash(
      f"{kind.name}: {type(error).__name__}: {place(error)}", f"{error!r:.200}\n  {shown}"
    )
  if listing(folder) != before and tally.crashed == crashed:
    tally.add_crash(f"{kind.name}: something was written", shown)


def place(error: BaseException) -> str:
  """The lines that an error came through: the last of the project, and the very last."""
  root = os.fspath(pathlib.Path(__file__).parents[2])
  frames = traceback.extract_tb(error.__traceback__)
  own = [frame for frame in frames if frame.filename.startswith(root)]
  lines = [f"{pathlib.Path(f.filename).name}:{f.lineno}" for f in (*own[-1:], *frames[-1:])]
  return " > ".join(dict.fromkeys(lines))


def listing(folder: pathlib.Path) -> dict[str, tuple[int, int]]:
  """The size and the time of the last change of everything in a folder, by path."""
  found = {}
  with os.scandir(folder) as entries:
    for entry in entries:
      status = entry.stat(follow_symlinks=False)
      found[entry.path] = (status.st_size, status.st_mtime_ns)
      if entry.is_dir(follow_symlinks=False):
        found.update(listing(pathlib.Path(entry.path)))
  return found


@contextlib.contextmanager
def time_limit(seconds: int) -> Iterator[None]:
  """Raises `TooLong` in what takes longer; for the main thread."""

  def stop(number: int, frame: Any) -> None:
    raise TooLong(f"takes more than {seconds} s")

  before = signal.signal(signal.SIGALRM, stop)
  signal.setitimer(signal.ITIMER_REAL, seconds)
  try:
    yield
  finally:
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)
