"""What the programs share that compare: a run for each estimator and seed, one table, plots."""

import contextlib
import os
import pathlib
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import comparison
import flag_groups
import training
from absl import flags
from run_folder import RunFolder

from wsram_tf import objectives
from wsram_tf.config import LARGEST_INTEGER

__all__ = ["define_flags", "run_comparison"]

# Flags that are each run's own, or the comparing program's.
OWN = ("out_dir", "estimators", "variant", "seeds", "estimator", "seed", "run_dir", "resume")


def define_flags(estimators: list[str]) -> None:
  """Defines the flags of a comparison, with the default of `estimators`."""
  flag_groups.define_path("out_dir", "folder of all runs, the table and the plots; must be given")
  flags.DEFINE_list("estimators", estimators, "estimators to compare, parted by commas")
  flags.DEFINE_multi_string(
    "variant",
    [],
    "one more thing to compare, as 'LABEL --FLAG=VALUE --FLAG=VALUE'; may be given several times",
  )
  flags.DEFINE_list(
    "seeds", ["1", "2", "3"], "seeds, whole numbers from 0 up, parted by commas, each once"
  )
  flags.mark_flag_as_required("out_dir")
  flags.register_validator(
    "seeds",
    lambda seeds: (
      # Ten digits at most, which a number beyond the largest seed may have too.
      all(re.fullmatch("[0-9]{1,10}", seed) and int(seed) <= LARGEST_INTEGER for seed in seeds)
      and len(set(map(int, seeds))) == len(seeds) > 0
    ),
    f"must be whole numbers from 0 to {LARGEST_INTEGER}, parted by commas, each once",
  )


def run_comparison(
  name: str,
  argv: list[str],
  program: str,
  read_settings: Callable[[], Any],
  layout: comparison.Layout,
) -> None:
  """Checks all flags, then compares; ends with one clear line on bad input.

  Args:
    name: of the comparing program, for its messages.
    argv: what the flags left of the command line.
    program: the training program, a file beside this one.
    read_settings: reads a run's flags as that program does.
    layout: what is shown.
  """
  try:
    if len(argv) > 1:
      raise ValueError(f"{argv[1]!r}: not a flag; write --NAME=VALUE")
    failed = compare(plan_runs(read_settings), program, layout)
  except (ValueError, OSError) as error:
    sys.exit(f"{name}: {error}")
  if failed:
    sys.exit(f"{name}: failed: {'; '.join(failed)}; start again to go on with them")


def variants() -> dict[str, list[str]]:
  """The flags of each thing that is compared, by its label.

  Raises:
    ValueError: if an estimator is unknown, a variant is no label and flags, or a label comes twice.
  """
  found: dict[str, list[str]] = {}
  for name in flags.FLAGS.estimators:
    if name not in objectives.ESTIMATORS:
      raise ValueError(f"estimators={name!r}: must be among {', '.join(objectives.ESTIMATORS)}")
    found[name] = [f"--estimator={name}"]
  for text in flags.FLAGS.variant:
    try:
      label, *lines = shlex.split(text) or [""]
    except ValueError as error:
      raise ValueError(f"variant={text!r}: must be a label and flags: {error}") from error
    if not re.fullmatch(r"\w{1,100}", label) or not lines or label in found:
      raise ValueError(
        f"variant={text!r}: must be a new label of letters, digits and _, then flags"
      )
    found[label] = lines
  if not found:
    raise ValueError("estimators='': must name one at least, or --variant be given")
  return found


def plan_runs(
  read_settings: Callable[[], Any],
) -> dict[tuple[str, int], tuple[RunFolder, list[str]]]:
  """The folder and the flags of each run, by label and seed, in the order that they are made.

  Raises:
    ValueError: if the flags of a run contradict each other; nothing has been started then.
  """
  shared = flag_groups.flag_lines(leave_out=OWN)
  runs = {}
  seeds = list(map(int, flags.FLAGS.seeds))
  for label, lines in variants().items():
    check_flags(label, [*shared, *lines, f"--seed={max(seeds)}"], read_settings)
  for seed in seeds:
    for label, lines in variants().items():
      path = pathlib.Path(flags.FLAGS.out_dir) / label / f"seed_{seed}"
      runs[label, seed] = RunFolder(str(path)), [*shared, *lines, f"--seed={seed}"]
  return runs


def check_flags(label: str, lines: list[str], read_settings: Callable[[], Any]) -> None:
  """Refuses flags that the training program would refuse.

  Raises:
    ValueError: naming the label and what is wrong.
  """
  before = {name: flags.FLAGS[name].value for name in flags.FLAGS}
  try:
    rest = flags.FLAGS([sys.argv[0], *lines])
    if len(rest) > 1:
      raise ValueError(f"{rest[1]!r}: not a flag; write --NAME=VALUE")
    training.evaluation_interval(read_settings().optimizer.updates)
  except (ValueError, flags.Error) as error:
    raise ValueError(f"{label}: {error}") from error
  finally:
    for name, value in before.items():
      flags.FLAGS[name].value = value


def compare(
  runs: dict[tuple[str, int], tuple[RunFolder, list[str]]],
  program: str,
  layout: comparison.Layout,
) -> list[str]:
  """Makes the runs that are missing, one after the other, and writes what they tell.

  Several processes may do so at once: each passes over a run that another is making.

  Returns:
    which runs failed.

  Raises:
    OSError: if the folder of the comparison cannot be written.
  """
  out = comparison.ComparisonFolder(flags.FLAGS.out_dir, runs, layout)
  out.create()
  path = pathlib.Path(__file__).with_name(program)
  failed = []
  for number, ((label, seed), (run, lines)) in enumerate(runs.items(), 1):
    print(f"run {number} of {len(runs)}: {label}, seed {seed}", end=" ", flush=True)
    with contextlib.ExitStack() as claims:
      try:
        claims.enter_context(out.claim(label, seed))
      except BlockingIOError:
        print("is being made by another process", flush=True)
        continue
      if run.results.exists():
        print("is finished", flush=True)
        continue
      resume = ["--resume"] if run.flagfile.exists() else []
      print("goes on" if resume else "starts", flush=True)
      command = [sys.executable, os.fspath(path), *lines, f"--run_dir={run.path}", *resume]
      if subprocess.run(command, check=False).returncode:
        failed.append(f"{label}, seed {seed}")
        continue
    out.write()
  if any(run.results.exists() for run, _ in runs.values()):
    out.write()
    print(f"table: {out.markdown}\nplots: {out.plots}")
  return failed
