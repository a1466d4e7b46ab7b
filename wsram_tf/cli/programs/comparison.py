"""The program compare: one run for each estimator and seed, one table, plots."""

import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from wsram_tf import objectives
from wsram_tf.cli import program
from wsram_tf.cli.flags import ProgramFlags
from wsram_tf.cli.programs.training import define_flags
from wsram_tf.cli.tasks import PROGRAMS
from wsram_tf.config import OptimizerConfig, TrainingConfig
from wsram_tf.runs import record
from wsram_tf.runs.folder import RunFolder
from wsram_tf.runs.loop.stop_requests import (
  STOPPED_STATUS,
  RunStoppedError,
  StopRequests,
  Terminated,
)
from wsram_tf.settings import LARGEST_INTEGER

if TYPE_CHECKING:
  from wsram_tf.runs.task import Task

__all__ = ["Key", "are_seeds", "compare", "make_comparison", "parse"]

# Flags of this program that its runs do not have.
OWN = ("program", "out_dir", "estimators", "variant", "seeds")
# Differing runs that a message lists.
NAMED_AT_MOST = 3

Key = tuple[str, int]


def compare(arguments: Sequence[str] | None = None) -> None:
  """Trains with several estimators and seeds, and writes one table and the plots of all runs.

  compare --flagfile=compare_small --out_dir=DIR
  compare --program=train_captions --flagfile=scenes --out_dir=DIR --seeds=1,2

  All flags of the training program hold for all runs. Each run is a process, in
  DIR/LABEL/seed_SEED. When it is started again, the comparison skips finished runs and resumes the
  others; it writes the table and the plots after each run. Soft attention is a variant:
  --variant='soft --attention=soft --estimator=variational --num_samples=1'.
  """
  with StopRequests() as requests:
    program.run(
      "compare",
      lambda: _compare(arguments, requests),
      when_stopped=lambda: "start again with the same flags to continue",
    )


def parse(arguments: Sequence[str] | None) -> ProgramFlags:
  """Defines the flags of this program and of the training program, and parses a command line."""
  first = ProgramFlags("compare", "")
  flags = ProgramFlags("compare", compare.__doc__)
  for one in (first, flags):
    one.define_choice("program", "train_mnist", list(PROGRAMS), "the training program")
  first.parse(arguments, known_only=True)
  flags.define_path("out_dir", "folder of all runs, the table and the plots", required=True)
  flags.define_list(
    "estimators",
    PROGRAMS[first.program].estimators,
    "estimators to compare, separated by commas",
  )
  flags.define_texts(
    "variant",
    "another thing to compare, as 'LABEL --FLAG=VALUE --FLAG=VALUE'; may be given several times",
  )
  flags.define_list(
    "seeds",
    ["1", "2", "3"],
    "seeds, integers from 0 on, separated by commas, each once",
    are_seeds,
    f"must be integers from 0 to {LARGEST_INTEGER}, separated by commas, each once",
  )
  define_flags(flags, first.program)
  flags.check_no_rest(flags.parse(arguments))
  return flags


def are_seeds(seeds: list[str]) -> bool:
  """Whether texts are seeds, each once."""
  # Ten digits at most; a number beyond the largest seed may have as many.
  return (
    all(re.fullmatch("[0-9]{1,10}", seed) and int(seed) <= LARGEST_INTEGER for seed in seeds)
    and len(set(map(int, seeds))) == len(seeds) > 0
  )


def _compare(arguments: Sequence[str] | None, requests: StopRequests) -> None:
  flags = parse(arguments)
  requests.limit_hours(flags.max_hours)
  labels = _variants(flags)
  shared = flags.settings("", leave_out=(*OWN, "seed")).lines[1:]
  lines = {
    (label, int(seed)): [*shared, *own, f"--seed={int(seed)}"]
    for seed in flags.seeds
    for label, own in labels.items()
  }
  make_comparison(flags.program, flags.out_dir, lines, requests)


def make_comparison(
  name: str,
  out_dir: str,
  lines: Mapping[Key, Sequence[str]],
  requests: StopRequests,
  after_each: Callable[[], None] = lambda: None,
) -> None:
  """Makes the missing runs of a comparison, each as a process, and writes the table and the plots.

  Args:
    name: the training program.
    out_dir: the folder of all runs.
    lines: the flags of each run, by label and seed.
    requests: entered before the call; its limit of hours holds for all runs together.
    after_each: called after each run.

  Raises:
    ValueError: before any run, if flags are wrong or a folder holds a run with other flags; at the
      end, with the runs that failed.
  """
  program.load_tensorflow()
  from wsram_tf.runs import comparison

  last = {label: lines[label, seed] for label, seed in sorted(lines, key=lambda key: key[1])}
  tasks = [_checked_task(name, label, last[label]) for label in last]
  out = comparison.ComparisonFolder(out_dir, lines, tasks[0].layout)
  _check_folders(name, out_dir, out.runs, lines)

  def make(label: str, seed: int, run: RunFolder, resume: bool) -> str:
    command = [sys.executable, "-m", "wsram_tf.cli", name, *lines[label, seed]]
    command += [f"--run_dir={run.path}", *(["--resume"] if resume else [])]
    if requests.reason:
      raise RunStoppedError(f"stopped by {requests.reason}")
    if requests.hours_left:
      command.append(f"--max_hours={requests.hours_left}")
    return _run(command, requests)

  failed = comparison.make_runs(out, make, after_each)
  if failed:
    raise ValueError(
      f"failed: {'; '.join(failed)}. Remove the cause and start again: finished runs stay, and "
      "these are resumed"
    )


def _variants(flags: ProgramFlags) -> dict[str, list[str]]:
  """Returns the flags of each thing that is compared, by its label.

  Raises:
    ValueError: if an estimator is unknown, a variant is malformed, or a label occurs twice.
  """
  found: dict[str, list[str]] = {}
  for name in flags.estimators:
    if name not in objectives.ESTIMATORS:
      raise ValueError(f"estimators={name!r}: must be among {', '.join(objectives.ESTIMATORS)}")
    found[name] = [f"--estimator={name}"]
  for text in flags.variant:
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
    raise ValueError("estimators='': must hold at least one name, or --variant be given")
  return found


def _run_flags(name: str, lines: Sequence[str]) -> ProgramFlags:
  flags = ProgramFlags(name, "")
  define_flags(flags, name)
  flags.check_no_rest(flags.parse_lines(lines))
  return flags


def _checked_task(name: str, label: str, lines: Sequence[str]) -> "Task":
  """Makes the task of a run, and checks everything that can be checked before a run starts.

  Raises:
    ValueError: with the label, if the training program would refuse the flags.
  """
  from wsram_tf.runs.training import evaluation_interval

  try:
    flags = _run_flags(name, lines)
    evaluation_interval(flags.read(TrainingConfig), flags.read(OptimizerConfig))
    task = PROGRAMS[name].make_task(flags)
    task.open(None)
  except (ValueError, OSError) as error:
    raise ValueError(f"{label}: {error}") from error
  return task


def _check_folders(
  name: str, out_dir: str, folders: Mapping[Key, RunFolder], lines: Mapping[Key, Sequence[str]]
) -> None:
  """Checks that no folder holds a run with other settings, finished or not.

  Raises:
    ValueError: otherwise, with the runs and the settings that differ.
  """
  differing = []
  for (label, seed), run in folders.items():
    if not run.flagfile.exists():
      continue
    asked = _run_flags(name, lines[label, seed]).settings("")
    found = record.differences(run.read_flags(), asked)
    if found:
      differing.append(f"{label}/seed_{seed} has other flags than these ({', '.join(found)})")
  if differing:
    more = len(differing) - NAMED_AT_MOST
    named = ", ".join(differing[:NAMED_AT_MOST]) + (f" and {more} more" if more > 0 else "")
    raise ValueError(f"out_dir={out_dir}: {named}; name another out_dir, or give the run's flags")


def _run(command: list[str], requests: StopRequests) -> str:
  """Runs a training program and copies its output.

  Returns:
    why it failed, in one line; empty if it did not.

  Raises:
    KeyboardInterrupt, Terminated: after the program has ended too.
    RunStoppedError: if the program stopped on request.
  """
  last = ""
  with subprocess.Popen(
    command, stderr=subprocess.PIPE, text=True, encoding="utf-8", errors="replace"
  ) as child:
    try:
      for line in child.stderr or ():
        sys.stderr.write(line)
        sys.stderr.flush()
        last = line.strip() or last
      status = child.wait()
    except KeyboardInterrupt:
      # A terminal sends the signal to the child too. `kill -INT` does not.
      _end(child, signal.SIGINT, first=3, then=60)
      raise
    except Terminated:
      requests.forgo_grace()
      _end(child, signal.SIGTERM, first=0, then=60)
      raise
  if status == STOPPED_STATUS:
    raise RunStoppedError("a run stopped early")
  if status < 0:
    return f"ended by {signal.Signals(-status).name}"
  return (last or f"ended with status {status}") if status else ""


def _end(child: subprocess.Popen, request: signal.Signals, *, first: float, then: float) -> None:
  """Ends a program by a signal, waits for it, and copies the rest of its output.

  Args:
    child: the program.
    request: the signal that it gets if it has not ended after the first wait.
    first, then: seconds to wait before the signal, and before a SIGKILL.
  """
  for seconds, act in ((first, lambda: child.send_signal(request)), (then, child.kill)):
    try:
      sys.stderr.write(child.communicate(timeout=seconds)[1])
      return
    except subprocess.TimeoutExpired:
      act()
