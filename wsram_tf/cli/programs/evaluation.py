"""The program evaluate: computes the figures of a finished run again."""

import json
from collections.abc import Sequence
from typing import Any

from wsram_tf.cli import program, run_flags
from wsram_tf.cli.flags import ProgramFlags
from wsram_tf.cli.tasks import PROGRAMS, define_extension, program_of
from wsram_tf.runs import record
from wsram_tf.runs.folder import RunFolder

__all__ = ["define_flags", "evaluate"]


def evaluate(arguments: Sequence[str] | None = None) -> None:
  """Evaluates a finished run of any training program, and prints the figures as JSON.

  evaluate --run_dir=DIR                                the run's own settings
  evaluate --run_dir=DIR --importance_samples=1000      also estimates log p(y | image)
  evaluate --run_dir=DIR --thresholds=0.8,0.9           also stops images early
  evaluate --run_dir=DIR --data_dir=DIR --beam_width=5  captions, with another search

  All flags of the run's task may be given; give --run_dir with --help to list them.
  """
  program.run("evaluate", lambda: _evaluate(arguments))


def _flags() -> ProgramFlags:
  flags = ProgramFlags("evaluate", evaluate.__doc__)
  flags.define_path("run_dir", "folder of the finished run")
  define_extension(flags)
  return flags


def define_flags(flags: ProgramFlags, name: str) -> None:
  """Defines the flags for the runs of a training program.

  Args:
    flags: receives the flags.
    name: one of `tasks.PROGRAMS`.
  """
  PROGRAMS[name].define(flags)
  if PROGRAMS[name].is_classifier:
    flags.define_count(
      "importance_samples",
      0,
      "glimpse sequences an image from the proposal, for log p(y | image); 0: no estimate",
      minimum=0,
    )
    flags.define_list(
      "thresholds",
      [],
      "probabilities separated by commas: adds the error after each glimpse, the mean number of "
      "glimpses and the error, where an image stops once a class has this probability",
      _are_probabilities,
      "must be numbers from 0 to 1, separated by commas",
    )


def _are_probabilities(texts: Sequence[str]) -> bool:
  try:
    return all(0 <= float(text) <= 1 for text in texts)
  except ValueError:
    return False


def _evaluate(arguments: Sequence[str] | None) -> None:
  first, flags = _flags(), _flags()
  first.parse(arguments, known_only=True)
  if not first.run_dir:
    flags.parse(arguments)
    raise ValueError("run_dir: must be given, the folder of a finished run")
  run = RunFolder(first.run_dir)
  run.check_finished()
  name = program_of(record.task_of(run.read_flags()))
  define_flags(flags, name)
  flags.check_no_rest(flags.parse(arguments))
  taken = run_flags.take_up(flags, name)
  program.load_tensorflow()
  from wsram_tf import runs

  options: dict[str, Any] = {}
  if PROGRAMS[name].is_classifier:
    options["importance_samples"] = flags.importance_samples
    options["thresholds"] = [float(text) for text in flags.thresholds]
  try:
    figures = runs.evaluate(PROGRAMS[name].make_task(flags), run.path, **options)
  except (ValueError, OSError) as error:
    raise ValueError(f"{error}{run_flags.moved_paths(flags, taken)}") from error
  print(json.dumps(figures, indent=2))
