"""The flags that a run was made with: how they are compared and taken up again."""

import pathlib
from collections.abc import Iterable

import flag_groups
from absl import flags

__all__ = [
  "COMPARING_PROGRAM",
  "NOT_PART_OF_A_RUN",
  "check_program",
  "differences",
  "missing_paths",
  "program_line",
  "take_up",
  "what_moved",
]

# Flags that a run's flagfile leaves out.
NOT_PART_OF_A_RUN = ("run_dir", "resume", "download")
# Flags of the program that starts several runs.
COMPARING_PROGRAM = ("out_dir", "estimators", "variant", "seeds")
# Flags that may change: they choose no result, or say where files lie now.
FREE_TO_CHANGE = ("on_nan", "strategy", "data_dir", "extension")
# The first line of a run's flagfile, before the program's name.
_PROGRAM = "# program: "
# What evaluates the runs of a training program.
_EVALUATED_BY = {
  "train_mnist": "evaluate_mnist",
  "train_classifier": "evaluate_classifier",
  "train_captions": "evaluate_captions",
}


def program_line(program: str) -> str:
  """The line of a flagfile that names the program it is of; absl takes it for a comment."""
  return f"{_PROGRAM}{program}"


def differences(
  written: Iterable[str], asked: Iterable[str], *, may_move: bool = False
) -> list[str]:
  """Says in which flags a run differs from what is asked for.

  Args:
    written: lines of the run's flagfile.
    asked: lines that `flag_groups.flag_lines` gave.
    may_move: whether a path may be another one where nothing is at the run's own any more.

  Returns:
    for each flag that differs, `--NAME=ASKED, not --NAME=WRITTEN`, or what is there of both.
  """
  there, here = _by_name(written), _by_name(asked)
  found = []
  for name in sorted(there.keys() | here.keys()):
    run_has, wanted = there.get(name, []), here.get(name, [])
    if set(run_has) == set(wanted) or name in FREE_TO_CHANGE:
      continue
    if may_move and wanted and name in missing_paths(run_has):
      continue
    new = [line for line in wanted if line not in run_has]
    found.append(", ".join([*new, *(f"not {line}" for line in run_has if line not in wanted)]))
  return found


def check_program(path: pathlib.Path, lines: list[str], program: str) -> None:
  """Refuses the run of another training program.

  Args:
    path: of the run's folder, for the message.
    lines: of its flagfile.
    program: what trains such a run, or evaluates it.

  Raises:
    ValueError: saying which program is right.
  """
  trained_by = _program_of(lines)
  right = trained_by if program in _EVALUATED_BY else _EVALUATED_BY.get(trained_by, trained_by)
  if right != program:
    raise ValueError(
      f"run_dir={path}: must be a run for {program}.py, and is one of {trained_by}.py; use "
      f"{right}.py"
    )


def take_up(path: pathlib.Path, lines: list[str], program: str) -> list[str]:
  """Sets the flags as a run had them, but for those that were given.

  What this program has no flag for is passed over.

  Args:
    path: of the run's folder, for messages.
    lines: of its flagfile.
    program: what takes them up.

  Returns:
    the lines taken up.

  Raises:
    ValueError: if the run is of another program, or one of its flags cannot be set any more.
  """
  check_program(path, lines, program)
  own = [
    line
    for name, values in _by_name(lines).items()
    if name in flags.FLAGS and not flags.FLAGS[name].present
    for line in values
  ]
  try:
    flags.FLAGS(["", *own])
  except flags.Error as error:
    raise ValueError(f"run_dir={path}: its {error}{what_moved(own)}") from error
  return own


def what_moved(lines: Iterable[str]) -> str:
  """What to add to an error where paths of a run lead nowhere; empty where all lead somewhere."""
  return "".join(
    f"; what the run had at --{name} has moved: give --{name}=PATH" for name in missing_paths(lines)
  )


def missing_paths(lines: Iterable[str]) -> list[str]:
  """The names of the flags in these lines whose paths lead nowhere."""
  found = []
  for name, values in _by_name(lines).items():
    parser = flags.FLAGS[name].parser if name in flags.FLAGS else None
    if isinstance(parser, flag_groups.PathParser) and any(
      parser.leads_nowhere(line.partition("=")[2]) for line in values
    ):
      found.append(name)
  return found


def _by_name(lines: Iterable[str]) -> dict[str, list[str]]:
  """The lines of each flag, paths as `flag_groups.flag_lines` writes them; comments left out."""
  found: dict[str, list[str]] = {}
  for line in lines:
    if line.startswith("--"):
      name = line.lstrip("-").partition("=")[0]
      found.setdefault(name, []).append(flag_groups.stored_line(line))
    elif line.strip() and not line.startswith("#"):
      found.setdefault(line, []).append(line)
  return found


def _program_of(lines: list[str]) -> str:
  """The program that a run is of; of a run made before it was recorded, by the flags it had."""
  for line in lines:
    if line.startswith(_PROGRAM):
      return line.removeprefix(_PROGRAM).strip()
  names = _by_name(lines).keys()
  if "beam_width" in names:
    return "train_captions"
  return "train_classifier" if "image_height" in names else "train_mnist"
