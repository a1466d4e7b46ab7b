"""A finished run that is evaluated anew: its flags are taken up, but for those given."""

import sys

from absl import flags
from run_folder import RunFolder

__all__ = ["define_flags", "take_up"]


def define_flags() -> None:
  """Defines the flag that names the run."""
  flags.DEFINE_string("run_dir", None, "folder of the finished run", required=True)


def take_up() -> RunFolder:
  """Sets the flags as the run of `--run_dir` had them; what the command line says goes first.

  Raises:
    ValueError: if the folder holds no finished run.
  """
  run = RunFolder(flags.FLAGS.run_dir)
  if not run.model.exists():
    raise ValueError(f"run_dir={run.path}: holds no finished run, {run.model.name} is missing")
  lines = [  # Without those of the training alone.
    line
    for line in run.flagfile.read_text().splitlines()
    if line.lstrip("-").split("=")[0] in flags.FLAGS
  ]
  # The command line stands last, so that what it says goes before what the run said.
  flags.FLAGS(sys.argv[:1] + lines + sys.argv[1:])
  return run
