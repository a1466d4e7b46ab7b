"""Strange flags and flagfiles for one training program, as it meets them before any training.

A process can hold only one of the programs, since they define the same flags.
"""

import contextlib
import importlib
import io
import pathlib
import re
import sys
from collections.abc import Iterator

import flag_groups
from absl import app, flags
from absl.testing import flagsaver
from hypothesis import strategies as st

from tests import strange_bytes
from tests.trials import Kind, Tally, listing, place

__all__ = ["PROGRAMS", "Program", "refuse_wrong_values"]

_COMPARISON = ["--out_dir=out", "--estimators=vimco,variational", "--seeds=1"]
# What each needs to be given, and what begins the training.
PROGRAMS = {
  "train_mnist": ([], "train_mnist.train"),
  "train_classifier": (["--dataset=needle"], "train_classifier.train"),
  "train_captions": ([], "train_captions.train"),
  "compare_estimators": (_COMPARISON, "comparing.compare"),
  "compare_captions": (_COMPARISON, "comparing.compare"),
}
_FLAGFILES = pathlib.Path(__file__).parents[1] / "trainers" / "flagfiles"
# What the rules of these flags refuse beside what is wrong for all of their types.
_WRONG = {
  "estimators": ["", "nonesuch", "vimco,"],
  "seeds": ["", "x", "-1", "1.5", "1,1", "1,01", "2147483648", "9" * 5_000],
  "variant": ["", "label", "'", "a/b --units=3", "vimco --units=3"],
  "dataset": ["", "a b", "no/such/set", "/", "mnist:x"],
  "gradient_draws": ["1"],
}
# These ask the network, or other machines.
_NOT_TRIED = ("download", "strategy")


class Refused(Exception):
  """The program ended before the training; holds what it said."""


class Program:
  """A training program up to where the training would begin.

  Args:
    name: of the file in trainers/.

  Attributes:
    name: as given.
    flags: its own flags, by name.
  """

  def __init__(self, name: str):
    self.name = name
    self._needed, training = PROGRAMS[name]
    sys.argv = [f"{name}.py"]
    self._module = importlib.import_module(name)
    owner, _, function = training.partition(".")
    setattr(sys.modules[owner], function, lambda *_: None)
    own = {flag.name: flag for flag in flag_groups.own_flags()}
    self.flags = {flag: own[flag] for flag in sorted(own) if flag not in _NOT_TRIED}

  def start(self, *arguments: str) -> None:
    """Starts it with the flags that it needs and these.

    Raises:
      Refused: if it ends before the training; with what it said.
    """
    said = io.StringIO()
    argv = [sys.argv[0], *self._needed, *arguments]
    with flagsaver.flagsaver(), contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
      try:
        self._module.main(flag_groups.parse(argv))
      except SystemExit as end:
        if end.code:
          told = end.code if isinstance(end.code, str) else ""
          raise Refused(said.getvalue() + told) from end

  def help(self) -> str:
    """What `--help` says."""
    app.define_help_flags()
    try:
      self.start("--help")
    except Refused as ended:
      return str(ended)
    raise AssertionError("--help went on to the training")

  def kind(self) -> Kind:
    """Flagfiles, in trials."""
    shipped = [path.read_bytes() for path in sorted(_FLAGFILES.glob("*.flags"))]
    lines = st.sampled_from(list(self.flags)).flatmap(self._lines)
    odd = strange_bytes.odd_texts | st.sampled_from(
      ["# a note", "--units", "--nounits", "--flagfile=flags.flags", "--flagfile=.", "--flagfile"]
    )
    files = st.lists(lines | odd, max_size=5).map(strange_bytes.as_bytes)
    return Kind(
      self.name,
      files
      | lines.map(lambda line: line.encode("utf-8", "surrogateescape"))
      | strange_bytes.damaged(shipped),
      self._lay,
      lambda folder, given: self.start("--flagfile=flags.flags"),
      (Refused,),
      # A flag with its rule, an unknown flag, or a flagfile.
      r"(flag --\w+=|[a-z_]+=|[Uu]nknown command line flag|flagfile|not a flag|Missing value)",
    )

  def _lay(self, folder: pathlib.Path, given: bytes) -> None:
    (folder / "flags.flags").write_bytes(given)

  def _lines(self, name: str) -> st.SearchStrategy[str]:
    values = strange_bytes.odd_texts
    enum = getattr(self.flags[name].parser, "enum_values", None)
    if enum:
      values = values | st.sampled_from(sorted(enum))
    return values.map(lambda value: f"--{name}={value}")


def wrong_values(flag: flags.Flag) -> list[str]:
  """Values that a flag must refuse, by its type and by the rule that its help states."""
  kind, more = flag.flag_type(), _WRONG.get(flag.name, [])
  if kind == "bool":
    return ["", "maybe", "2"]
  if kind == "string enum":
    return ["", "nonesuch", "0"]
  if kind in ("int", "float"):
    wrong = ["", "x", "nan", "inf", "-inf", "1e39", "1e400", "9" * 40, "1,2", *_below(flag, kind)]
    return [*wrong, *more, "1.5"] if kind == "int" else wrong
  if "numbers parted by commas" in flag.help:
    return ["x", "1.5", "1,x", "nan", "9" * 40, *_below(flag, "int")]
  if kind == "string":
    more = [*more, "a\nb", "a\0b", "\udcff", *(["", " "] if "folder" in flag.help else [])]
  return more


def _below(flag: flags.Flag, kind: str) -> Iterator[str]:
  least = re.search(r"at least (-?[\d.]+)", flag.help)
  above = re.search(r"; above (-?[\d.]+)(?:,|$)", flag.help)
  most = re.search(r"at most ([\d.]+)", flag.help)
  step = 1 if kind == "int" else 0.5
  if least:
    yield str(float(least[1]) - step) if kind == "float" else str(int(least[1]) - step)
  if above:
    yield above[1]
  if most:
    yield str(float(most[1]) + step) if kind == "float" else str(int(most[1]) + step)
  for bound, change in (("lower_bound", -step), ("upper_bound", step)):
    value = getattr(flag.parser, bound, None)
    if value is not None:
      yield str(value + change)


def refuse_wrong_values(program: Program, folder: pathlib.Path) -> Tally:
  """Tries every wrong value of every flag; each must be refused, its flag named.

  That `--help` shows a flag is tried too.
  """
  tally, shown_flags = Tally(), program.help()
  before = listing(folder)
  for name, flag in program.flags.items():
    if not re.search(rf"^ +--(\[no\])?{name}: \S", shown_flags, re.MULTILINE):
      tally.tried += 1
      tally.add_crash(f"{program.name}: --help does not show --{name}", "")
    for value in wrong_values(flag):
      tally.tried += 1
      shown = f"--{name}={value!r:.60}"
      try:
        program.start(f"--{name}={value}")
      except Refused as refusal:
        if re.search(rf"\b{name}=|flag --{name}\b", str(refusal)):
          tally.refused += 1
        else:
          tally.add_crash(f"{program.name}: {shown} is not named", str(refusal)[-300:])
      except Exception as error:
        tally.add_crash(f"{program.name}: {shown}: {place(error)}", f"{error!r:.200}")
      else:
        tally.add_crash(f"{program.name}: {shown} is accepted", "")
      if listing(folder) != before:
        before = listing(folder)
        tally.add_crash(f"{program.name}: {shown}: something was written", "")
  return tally
