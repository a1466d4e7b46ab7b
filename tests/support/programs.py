"""Runs programs: several command lines in this process, or one in a process of its own."""

import contextlib
import importlib
import io
import os
import pathlib
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator

from wsram_tf.cli.__main__ import PROGRAMS

__all__ = ["ROOT", "TRAINED", "endings", "small_files", "start"]

ROOT = pathlib.Path(__file__).resolve().parents[2]
# The ending of a command line that trains to its end.
TRAINED = "trained"


def endings(
  program: str, *command_lines: list[str], folder: str | os.PathLike | None = None
) -> list[str]:
  """Runs a program with each command line, one after another, in this process.

  Args:
    program: its name.
    command_lines: flags, as a user gives them.
    folder: the working directory; None for the folder of temporary files, because nothing may
      depend on it.

  Returns:
    for each command line the error that ended it; otherwise TRAINED for a program that trains, and
    the printed text for others.
  """
  module = importlib.import_module(f"wsram_tf.cli.programs.{PROGRAMS[program]}")
  before = os.getcwd()
  os.chdir(folder or tempfile.gettempdir())
  try:
    return [_ending(program, getattr(module, program), line) for line in command_lines]
  finally:
    os.chdir(before)


def _ending(program: str, main: Callable[[list[str]], None], line: list[str]) -> str:
  printed = io.StringIO()
  try:
    with contextlib.redirect_stdout(printed):
      main([str(argument) for argument in line])
  except SystemExit as end:
    return str(end.code) if end.code else printed.getvalue()
  return TRAINED if program.startswith("train_") else printed.getvalue()


@contextlib.contextmanager
def small_files(size: int) -> Iterator[None]:
  """Limits the size of files, in bytes, that this process writes, as a full disk does."""
  before = resource.getrlimit(resource.RLIMIT_FSIZE)
  resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
  try:
    yield
  finally:
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def start(program: str, *arguments: str, **environment: str) -> subprocess.Popen:
  """Starts a program of trainers/ or export/ in the folder of temporary files.

  Args:
    program: its path without `.py`, relative to the checkout.
    *arguments: flags.
    **environment: variables that differ from this process'.
  """
  return subprocess.Popen(
    [sys.executable, str(ROOT / f"{program}.py"), *map(str, arguments)],
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
    text=True,
    cwd=tempfile.gettempdir(),
    env={**os.environ, **environment},
  )
