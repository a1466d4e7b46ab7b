"""Flags of an existing run, for programs that resume or evaluate it."""

from collections.abc import Iterable

from wsram_tf.cli.flags import ProgramFlags
from wsram_tf.cli.tasks import program_of
from wsram_tf.runs import record
from wsram_tf.runs.folder import RunFolder

__all__ = ["moved_paths", "take_up"]


def take_up(flags: ProgramFlags, program: str) -> list[str]:
  """Sets the flags as the run in `run_dir` had them, except those that were given.

  Args:
    flags: the flags of the program.
    program: the training program that must have made the run.

  Returns:
    the lines of the run's flagfile that were used.

  Raises:
    ValueError: if another program made the run, one of its flags can no longer be set, or its
      extension came with it.
  """
  run = RunFolder(flags.run_dir)
  lines = run.read_flags()
  made_by = program_of(record.task_of(lines))
  if made_by != program:
    raise ValueError(
      f"run_dir={run.path}: must be a run of {program}, and is one of {made_by}; use {made_by}"
    )
  if "extension" in flags and not flags.values["extension"].present:
    recorded = record.lines_by_name(lines).get("extension", [])
    run.check_extensions(line.partition("=")[2] for line in recorded)
  try:
    return flags.take(lines)
  except ValueError as error:
    raise ValueError(f"run_dir={run.path}: its {error}{moved_paths(flags, lines)}") from error


def moved_paths(flags: ProgramFlags, lines: Iterable[str]) -> str:
  """Returns an addition to an error for each path of a run that no longer exists."""
  return "".join(
    f"; the run's --{name} has moved: give --{name}=PATH"
    for name in record.missing_paths(lines, flags.paths())
  )
