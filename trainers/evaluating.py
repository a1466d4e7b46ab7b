"""A finished run that is evaluated anew: its flags are taken up, but for those given."""

import json
import sys
from collections.abc import Callable
from typing import Any

import extending
import flag_groups
import run_flags
from absl import flags
from run_folder import RunFolder

__all__ = ["define_flags", "run_evaluation"]


def define_flags() -> None:
  """Defines the flags that name the run, and what it was extended with."""
  flag_groups.define_path("run_dir", "folder of the finished run", required=True)
  extending.define_flags()


def run_evaluation(
  name: str, argv: list[str], evaluate: Callable[[RunFolder], dict[str, Any]]
) -> None:
  """Prints the figures of a finished run as JSON; ends with one clear line on bad input.

  The flags are those of the run; what the command line says goes first.

  Args:
    name: of the program, for its messages.
    argv: what the flags left of the command line.
    evaluate: gives the figures of the run.
  """
  taken: list[str] = []
  try:
    if len(argv) > 1:
      raise ValueError(f"{argv[1]!r}: not a flag; write --NAME=VALUE")
    run = RunFolder(flags.FLAGS.run_dir)
    if not run.model.exists():
      raise ValueError(f"run_dir={run.path}: holds no finished run, {run.model.name} is missing")
    taken = run_flags.take_up(run.path, run.read_flags(), name)
    print(json.dumps(evaluate(run), indent=2))
  except (ValueError, OSError) as error:
    sys.exit(f"{name}: {error}{run_flags.what_moved(taken)}")
