"""Trains with several estimators and seeds, and writes one table and the plots of all runs.

  python trainers/compare_estimators.py --flagfile=trainers/flagfiles/compare_small.flags \\
    --out_dir=DIR

Every other flag is train_mnist.py's and holds for all runs. Each run is a process of its own, in
DIR/LABEL/seed_SEED. Stopped and started again, the comparison passes by what is finished and goes
on with what is not; the table and the plots are written anew after each run.
"""

import os
import pathlib
import re
import shlex
import subprocess
import sys

# Before TensorFlow is imported: its start-up notes would bury the first lines.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import comparison
import flag_groups
import mnist
import train_mnist  # noqa: F401, defines the flags that hold for all runs
import training
from absl import app, flags
from run_folder import RunFolder

from wsram_tf import objectives
from wsram_tf.config import LARGEST_INTEGER

__all__ = ["main", "plan_runs"]

flag_groups.define_path("out_dir", "folder of all runs, the table and the plots; must be given")
_ESTIMATORS = flags.DEFINE_list(
  "estimators", list(objectives.ESTIMATORS), "estimators to compare, parted by commas"
)
_VARIANTS = flags.DEFINE_multi_string(
  "variant",
  [],
  "one more thing to compare, as 'LABEL --FLAG=VALUE --FLAG=VALUE'; may be given several times",
)
_SEEDS = flags.DEFINE_list(
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

# Flags that are each run's own, or this program's.
OWN = ("out_dir", "estimators", "variant", "seeds", "estimator", "seed", "run_dir", "resume")


def variants() -> dict[str, list[str]]:
  """The flags of each thing that is compared, by its label.

  Raises:
    ValueError: if an estimator is unknown, a variant is no label and flags, or a label comes twice.
  """
  found: dict[str, list[str]] = {}
  for name in _ESTIMATORS.value:
    if name not in objectives.ESTIMATORS:
      raise ValueError(f"estimators={name!r}: must be among {', '.join(objectives.ESTIMATORS)}")
    found[name] = [f"--estimator={name}"]
  for text in _VARIANTS.value:
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


def plan_runs() -> dict[tuple[str, int], tuple[RunFolder, list[str]]]:
  """The folder and the flags of each run, by label and seed, in the order that they are made.

  Raises:
    ValueError: if the flags of a run contradict each other; nothing has been started then.
  """
  shared = flag_groups.flag_lines(leave_out=OWN)
  runs = {}
  for seed in map(int, _SEEDS.value):
    for label, lines in variants().items():
      check_flags(label, [*shared, *lines, f"--seed={seed}"])
      path = pathlib.Path(flags.FLAGS.out_dir) / label / f"seed_{seed}"
      runs[label, seed] = RunFolder(str(path)), [*shared, *lines, f"--seed={seed}"]
  return runs


def check_flags(label: str, lines: list[str]) -> None:
  """Refuses flags that train_mnist.py would refuse.

  Raises:
    ValueError: naming the label and what is wrong.
  """
  before = {name: flags.FLAGS[name].value for name in flags.FLAGS}
  try:
    rest = flags.FLAGS([sys.argv[0], *lines])
    if len(rest) > 1:
      raise ValueError(f"{rest[1]!r}: not a flag; write --NAME=VALUE")
    training.evaluation_interval(mnist.read_settings().optimizer.updates)
  except (ValueError, flags.Error) as error:
    raise ValueError(f"{label}: {error}") from error
  finally:
    for name, value in before.items():
      flags.FLAGS[name].value = value


def main(argv: list[str]) -> None:
  """Checks all flags, then compares; ends with one clear line on bad input."""
  try:
    if len(argv) > 1:
      raise ValueError(f"{argv[1]!r}: not a flag; write --NAME=VALUE")
    compare(plan_runs())
  except (ValueError, OSError) as error:
    sys.exit(f"compare_estimators: {error}")


def compare(runs: dict[tuple[str, int], tuple[RunFolder, list[str]]]) -> None:
  """Makes the runs that are missing, one after the other, and writes what they tell.

  Raises:
    OSError: if the folder of the comparison cannot be written.
  """
  out = comparison.ComparisonFolder(flags.FLAGS.out_dir, runs)
  out.create()
  program = pathlib.Path(__file__).with_name("train_mnist.py")
  failed = []
  for number, ((label, seed), (run, lines)) in enumerate(runs.items(), 1):
    print(f"run {number} of {len(runs)}: {label}, seed {seed}", end=" ", flush=True)
    if run.results.exists():
      print("is finished", flush=True)
      continue
    resume = ["--resume"] if run.flagfile.exists() else []
    print("goes on" if resume else "starts", flush=True)
    command = [sys.executable, os.fspath(program), *lines, f"--run_dir={run.path}", *resume]
    if subprocess.run(command, check=False).returncode:
      failed.append(f"{label}, seed {seed}")
      continue
    out.write()
  if any(run.results.exists() for run, _ in runs.values()):
    out.write()
    print(f"table: {out.markdown}\nplots: {out.plots}")
  if failed:
    sys.exit(f"compare_estimators: failed: {'; '.join(failed)}; start again to go on with them")


if __name__ == "__main__":
  app.run(main, flags_parser=flag_groups.parse)
