"""Runs Python files of a user's own that register estimators."""

import importlib.util
import os
import pathlib
import re
import sys
import traceback

__all__ = ["load_extension"]

# The error that a file ended with is known: it is not run again in the same process.
_LOADED: dict[pathlib.Path, str] = {}


def load_extension(path: str | os.PathLike) -> None:
  """Executes a Python file, once in a process, for what it registers.

  Args:
    path: of the file; see `register_estimator` for what it may hold.

  Raises:
    ValueError: if there is no such file or it fails, naming the file, the line and the error.
  """
  file = pathlib.Path(os.path.expanduser(path)).absolute()
  if file not in _LOADED:
    _LOADED[file] = _failure(file)
  if _LOADED[file]:
    raise ValueError(f"extension={file}: {_LOADED[file]}")


def _failure(file: pathlib.Path) -> str:
  """Executes a file; returns in one line why it failed, or an empty text."""
  if file.suffix != ".py":
    return "must be a Python file, with the ending .py"
  if not os.path.isfile(file):  # pathlib's raises at a path that no system takes.
    return "there is no such file"
  name = f"wsram_tf_extension_{len(_LOADED)}_{re.sub(r'[^A-Za-z0-9_]', '_', file.stem)}"
  spec = importlib.util.spec_from_file_location(name, file)
  module = importlib.util.module_from_spec(spec)
  sys.modules[name] = module  # Dataclasses look up their module by its name.
  try:
    spec.loader.exec_module(module)
  except (Exception, SystemExit) as error:  # It is the user's code: it may raise anything.
    del sys.modules[name]
    lines = [
      frame.lineno
      for frame in traceback.extract_tb(error.__traceback__)
      if frame.filename == os.fspath(file)
    ]
    if isinstance(error, SyntaxError) and error.filename == os.fspath(file):
      lines.append(error.lineno)
    place = f" in line {lines[-1]}" if lines else ""
    reason = " ".join(str(getattr(error, "msg", None) or error).split())
    return f"{type(error).__name__}{place}: {reason}".removesuffix(": ")
  return ""
