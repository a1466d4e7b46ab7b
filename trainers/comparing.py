"""What the programs share that compare: a run for each estimator and seed, one table, plots."""

import contextlib
import copy
import os
import pathlib
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import comparison
import flag_groups
import run_flags
import startup
import training
from absl import flags
from run_folder import RunFolder

from wsram_tf import objectives
from wsram_tf.settings import LARGEST_INTEGER

__all__ = ["define_flags", "run_comparison"]

# Flags that are each run's own, or the comparing program's.
OWN = (*run_flags.COMPARING_PROGRAM, "estimator", "seed", "run_dir", "resume")
# Differing runs that a message describes.
NAMED_AT_MOST = 3


class PlannedRun(NamedTuple):
  """One run of a comparison.

  Attributes:
    folder: where it is made.
    lines: the flags that it is started with.
    stored: the flags that its folder records.
  """

  folder: RunFolder
  lines: list[str]
  stored: list[str]


Plan = dict[tuple[str, int], PlannedRun]


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
  except KeyboardInterrupt:
    startup.stop(f"{name}: stopped; start again with the same flags to go on")
  if failed:
    sys.exit(
      f"{name}: failed: {'; '.join(failed)}. Remove the cause and start again: finished runs are "
      "kept, and these go on"
    )


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


def plan_runs(read_settings: Callable[[], Any]) -> Plan:
  """The runs by label and seed, in the order that they are made.

  Raises:
    ValueError: if the flags of a run contradict each other, or its folder holds a run with other
      flags; nothing has been started then.
  """
  shared = flag_groups.flag_lines(leave_out=OWN)
  seeds = list(map(int, flags.FLAGS.seeds))
  labels = variants()
  for label, lines in labels.items():
    check_flags(label, [*shared, *lines, f"--seed={max(seeds)}"], read_settings)
  plan = {}
  for seed in seeds:
    for label, own in labels.items():
      path = pathlib.Path(flags.FLAGS.out_dir) / label / f"seed_{seed}"
      lines = [*shared, *own, f"--seed={seed}"]
      with parsed(lines):
        stored = flag_groups.flag_lines(
          leave_out=(*run_flags.COMPARING_PROGRAM, *run_flags.NOT_PART_OF_A_RUN)
        )
      plan[label, seed] = PlannedRun(RunFolder(str(path)), lines, stored)
  check_folders(plan)
  return plan


@contextlib.contextmanager
def parsed(lines: list[str]) -> Iterator[list[str]]:
  """Sets flags for a while; gives what is no flag."""
  # Copied, since a flag that may be given several times adds to its list.
  before = {name: copy.copy(flags.FLAGS[name].value) for name in flags.FLAGS}
  try:
    yield flags.FLAGS([sys.argv[0], *lines])[1:]
  finally:
    for name, value in before.items():
      flags.FLAGS[name].value = value


def check_flags(label: str, lines: list[str], read_settings: Callable[[], Any]) -> None:
  """Refuses flags that the training program would refuse.

  Raises:
    ValueError: naming the label and what is wrong.
  """
  try:
    with parsed(lines) as rest:
      if rest:
        raise ValueError(f"{rest[0]!r}: not a flag; write --NAME=VALUE")
      training.evaluation_interval(read_settings().optimizer.updates)
  except (ValueError, flags.Error) as error:
    raise ValueError(f"{label}: {error}") from error


def check_folders(plan: Plan) -> None:
  """Refuses folders that hold a run with other flags, finished or not: it is no answer to these.

  Raises:
    ValueError: naming the runs and the flags that differ.
  """
  differing = []
  for (label, seed), run in plan.items():
    if not run.folder.flagfile.exists():
      continue
    found = run_flags.differences(run.folder.read_flags(), run.stored)
    if found:
      differing.append(f"{label}/seed_{seed} has other flags than these ({', '.join(found)})")
  if differing:
    more = len(differing) - NAMED_AT_MOST
    named = ", ".join(differing[:NAMED_AT_MOST]) + (
      f" and {more} more likewise" if more > 0 else ""
    )
    raise ValueError(
      f"out_dir={flags.FLAGS.out_dir}: {named}; name another out_dir, or give the flags it had"
    )


def compare(plan: Plan, program: str, layout: comparison.Layout) -> list[str]:
  """Makes the runs that are missing, one after the other, and writes what they tell.

  Several processes may do so at once: each passes over a run that another is making.

  Returns:
    which runs failed, and why.

  Raises:
    OSError: if the folder of the comparison cannot be written.
  """
  folders = {key: run.folder for key, run in plan.items()}
  out = comparison.ComparisonFolder(flags.FLAGS.out_dir, folders, layout)
  out.create()
  failed = []
  for number, ((label, seed), (run, lines, _)) in enumerate(plan.items(), 1):
    print(f"run {number} of {len(plan)}: {label}, seed {seed}", end=" ", flush=True)
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
      reason = train([*program_command(program), *lines, f"--run_dir={run.path}", *resume])
      if reason:
        if (run.path / "nan" / "report.json").exists():
          reason = f"{reason}; --on_nan=skip goes on without such updates"
        failed.append(f"{label}, seed {seed}: {reason}")
        continue
    out.write()
  if any(run.results.exists() for run in folders.values()):
    out.write()
    print(f"table: {out.markdown}\nplots: {out.plots}")
  return failed


def program_command(program: str) -> list[str]:
  """What starts a program beside this file as this one was started."""
  path = pathlib.Path(__file__).with_name(program)
  started_as = sys.modules["__main__"].__spec__
  if started_as is not None and started_as.parent == path.parent.name:
    # By `python -m`, which looks for wsram_tf in the working directory first.
    return [sys.executable, "-m", f"{path.parent.name}.{path.stem}"]
  return [sys.executable, os.fspath(path)]


def train(command: list[str]) -> str:
  """Runs a training program and passes on what it prints.

  Returns:
    why it failed, in one line; empty if it did not.

  Raises:
    KeyboardInterrupt: once the program has ended too.
  """
  last = ""
  with subprocess.Popen(
    command, stderr=subprocess.PIPE, text=True, encoding="utf-8", errors="replace"
  ) as child:
    try:
      for line in child.stderr:
        sys.stderr.write(line)
        sys.stderr.flush()
        last = line.strip() or last
      status = child.wait()
    except KeyboardInterrupt:
      end(child)
      raise
  if status < 0:
    return f"ended by {signal.Signals(-status).name}"
  return (last or f"ended with status {status}") if status else ""


def end(child: subprocess.Popen) -> None:
  """Ends a program as Ctrl-C does, and waits for it."""
  # A terminal has sent it the same signal. `kill -INT` has not, so it gets one after a while.
  for seconds, act in ((3, lambda: child.send_signal(signal.SIGINT)), (60, child.kill)):
    try:
      child.communicate(timeout=seconds)
      return
    except subprocess.TimeoutExpired:
      act()
