"""Strange flags and flagfiles for the programs that train and evaluate, until training begins."""

import contextlib
import importlib
import io
import pathlib
import re
from collections.abc import Iterator
from unittest import mock

from absl import flags
from hypothesis import strategies as st

from tests.fuzzing import strange_bytes
from tests.fuzzing.trials import Kind, Tally, listing, place
from wsram_tf.cli.__main__ import PROGRAMS as MODULES
from wsram_tf.cli.flags import FLAGFILES, ProgramFlags
from wsram_tf.cli.programs import comparison, evaluation, training

__all__ = ["PROGRAMS", "Program", "refuse_wrong_values"]

_COMPARISON = ["--out_dir=out", "--estimators=vimco,variational", "--seeds=1"]
# By kind of command line: the program, and the flags that it needs.
PROGRAMS = {
  "train_mnist": ("train_mnist", []),
  "train_classifier": ("train_classifier", ["--dataset=needle"]),
  "train_captions": ("train_captions", []),
  "compare": ("compare", _COMPARISON),
  "compare_captions": ("compare", ["--program=train_captions", *_COMPARISON]),
  "evaluate": ("evaluate", ["--run_dir=finished"]),
}
# Values that the rules of these flags refuse, besides those that are wrong for their type.
_WRONG = {
  "estimators": ["", "nonesuch", "vimco,"],
  "seeds": ["", "x", "-1", "1.5", "1,1", "1,01", "2147483648", "9" * 5_000],
  "variant": ["", "label", "'", "a/b --units=3", "vimco --units=3"],
  "dataset": ["", "a b", "no/such/set", "/", "mnist:x"],
  "gradient_draws": ["1"],
}
# These use the network, or other machines.
_NOT_TRIED = ("download", "strategy")


class Refused(Exception):
  """The program ended before the training; holds its message."""


class Program:
  """A program until its training or evaluation begins.

  Args:
    kind: one of `PROGRAMS`.

  Attributes:
    kind: as given.
    flags: its flags, by name.
  """

  def __init__(self, kind: str):
    self.kind = kind
    self.name, self._needed = PROGRAMS[kind]
    module = importlib.import_module(f"wsram_tf.cli.programs.{MODULES[self.name]}")
    self._main = getattr(module, self.name)
    own = self._define().values
    self.flags = {flag: own[flag] for flag in sorted(own) if flag not in _NOT_TRIED}

  def _define(self) -> ProgramFlags:
    if self.name == "compare":
      return comparison.parse(self._needed)
    flags = ProgramFlags(self.name, "")
    define = evaluation.define_flags if self.name == "evaluate" else training.define_flags
    define(flags, "train_mnist" if self.name == "evaluate" else self.name)
    return flags

  def prepare(self, folder: pathlib.Path) -> None:
    """Makes the finished run that `evaluate` needs, in the working directory."""
    if self.name == "evaluate":
      run = folder / "finished"
      run.mkdir(exist_ok=True)
      (run / "flags.flags").write_text("# task: digits\n--units=8\n")
      (run / "model.keras").touch()

  def start(self, *arguments: str) -> None:
    """Runs it with the flags that it needs and these.

    Raises:
      Refused: if it ends before the training; with its message.
    """
    printed = io.StringIO()
    with (
      mock.patch("wsram_tf.runs.training._train"),
      mock.patch("wsram_tf.runs.evaluate", return_value={}),
      mock.patch("wsram_tf.runs.comparison.make_runs", return_value=[]),
      contextlib.redirect_stderr(printed),
      contextlib.redirect_stdout(printed),
    ):
      try:
        self._main([*self._needed, *arguments])
      except SystemExit as end:
        if end.code:
          message = end.code if isinstance(end.code, str) else ""
          raise Refused(printed.getvalue() + message) from end
        self._printed = printed.getvalue()

  def help(self) -> str:
    """Returns the text of `--help`."""
    self._printed = ""
    self.start("--help")
    return self._printed

  def trials(self) -> Kind:
    """Returns flagfiles, for `trials`."""
    shipped = [path.read_bytes() for path in sorted(FLAGFILES.glob("*.flags"))]
    lines = st.sampled_from(list(self.flags)).flatmap(self._lines)
    odd = strange_bytes.odd_texts | st.sampled_from(
      ["# a note", "--units", "--nounits", "--flagfile=flags.flags", "--flagfile=.", "--flagfile"]
    )
    files = st.lists(lines | odd, max_size=5).map(strange_bytes.as_bytes)
    return Kind(
      self.kind,
      files
      | lines.map(lambda line: line.encode("utf-8", "surrogateescape"))
      | strange_bytes.damaged(shipped),
      lambda folder, given: (folder / "flags.flags").write_bytes(given),
      lambda folder, given: self.start("--flagfile=flags.flags"),
      (Refused,),
      # A flag with its rule, an unknown flag, or a flagfile.
      r"(flag --\w+=|[a-z_]+=|[Uu]nknown command line flag|flagfile|must be a flag|Missing value)",
    )

  def _lines(self, name: str) -> st.SearchStrategy[str]:
    values = strange_bytes.odd_texts
    enum = getattr(self.flags[name].parser, "enum_values", None)
    if enum:
      values = values | st.sampled_from(sorted(enum))
    return values.map(lambda value: f"--{name}={value}")


def wrong_values(flag: flags.Flag) -> list[str]:
  """Returns values that a flag must refuse, by its type and by the rule in its help."""
  kind, more = flag.flag_type(), _WRONG.get(flag.name, [])
  if kind == "bool":
    return ["", "maybe", "2"]
  if kind == "string enum":
    return ["", "nonesuch", "0"]
  if kind in ("int", "float"):
    wrong = ["", "x", "nan", "inf", "-inf", "1e39", "1e400", "9" * 40, "1,2", *_below(flag, kind)]
    return [*wrong, *more, "1.5"] if kind == "int" else wrong
  if "numbers separated by commas" in flag.help:
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


def _defined_alike(program: Program) -> set[str]:
  """The flags that a program before this one in `PROGRAMS` defines with the same type and rule."""
  kinds = list(PROGRAMS)
  before = [Program(kind).flags for kind in kinds[: kinds.index(program.kind)]]

  def definition(flag: flags.Flag) -> tuple:
    return type(flag), type(flag.parser), flag.help, wrong_values(flag)

  return {
    name
    for name, flag in program.flags.items()
    if any(name in others and definition(others[name]) == definition(flag) for others in before)
  }


def refuse_wrong_values(program: Program, folder: pathlib.Path, every: bool = True) -> Tally:
  """Tries every wrong value of every flag; a refusal must name the flag.

  Also checks that `--help` lists each flag.

  Args:
    program: prepared in the folder.
    folder: the working directory, in which nothing may be written.
    every: false tries only three wrong values of a flag that an earlier program defines alike,
      others in each program.
  """
  alike = set() if every else _defined_alike(program)
  turn = list(PROGRAMS).index(program.kind)
  tally, shown_flags = Tally(), program.help()
  before = listing(folder)
  for name, flag in program.flags.items():
    if not re.search(rf"^ +--(\[no\])?{name}: \S", shown_flags, re.MULTILINE):
      tally.tried += 1
      tally.add_crash(f"{program.kind}: --help does not show --{name}", "")
    values = wrong_values(flag)
    if name in alike:
      values = (values[turn:] + values[:turn])[:3]
    for value in values:
      tally.tried += 1
      shown = f"--{name}={value!r:.60}"
      try:
        program.start(f"--{name}={value}")
      except Refused as refusal:
        if re.search(rf"\b{name}=|flag --{name}\b", str(refusal)):
          tally.refused += 1
        else:
          tally.add_crash(f"{program.kind}: {shown} is not named", str(refusal)[-300:])
      except Exception as error:
        tally.add_crash(f"{program.kind}: {shown}: {place(error)}", f"{error!r:.200}")
      else:
        tally.add_crash(f"{program.kind}: {shown} is accepted", "")
      if listing(folder) != before:
        before = listing(folder)
        tally.add_crash(f"{program.kind}: {shown}: something was written", "")
  return tally
