"""Runs programs of trainers/ with several command lines, TensorFlow being loaded once."""

import json
import os
import pathlib
import subprocess
import sys
import tempfile

__all__ = ["ROOT", "TRAINED", "endings"]

ROOT = pathlib.Path(__file__).resolve().parents[1]
# How a command line ends that prints nothing worth returning.
TRAINED = "trained"

# In a process of its own, since programs define the same flags.
_PROGRAM = """
import contextlib, importlib, io, json, sys
from absl import flags
from absl.testing import flagsaver
name, lines = sys.argv[1], json.loads(sys.argv[2])
program, endings = importlib.import_module(name), []
for arguments in lines:
  sys.argv[:] = [name + ".py", *arguments]
  with flagsaver.flagsaver(), contextlib.redirect_stdout(io.StringIO()) as said:
    flags.FLAGS.unparse_flags()
    try:
      program.main(flags.FLAGS(sys.argv))
      endings.append("trained" if name.startswith("train") else said.getvalue())
    except (SystemExit, flags.Error) as error:
      endings.append(str(error))
print(json.dumps(endings))
"""


def endings(program: str, *command_lines: list[str], folder: str | None = None) -> list[str]:
  """How each command line of a program ends.

  Args:
    program: its name, without `.py`.
    command_lines: flags, as a user gives them.
    folder: the working directory; None for that of temporary files.

  Returns:
    for each, the error that ended it; else TRAINED, or what a program that does not train printed.

  Raises:
    RuntimeError: if one ends otherwise, with what it said.
  """
  done = subprocess.run(
    [sys.executable, "-c", _PROGRAM, program, json.dumps(command_lines)],
    capture_output=True,
    text=True,
    cwd=folder or tempfile.gettempdir(),
    env={
      **os.environ,
      "PYTHONPATH": os.pathsep.join([str(ROOT / "trainers"), str(ROOT)]),
      "TF_NUM_INTRAOP_THREADS": "1",  # The tests run side by side.
    },
    check=False,
  )
  if done.returncode:
    raise RuntimeError(done.stderr)
  return json.loads(done.stdout.splitlines()[-1])
