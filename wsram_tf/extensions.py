"""Runs Python files of the user that register estimators or location families."""

import importlib.machinery
import importlib.util
import os
import pathlib
import re
import sys
import traceback

__all__ = ["load_extension"]

# The error of each file that has run, or an empty text: a file runs once in a process.
_LOADED: dict[pathlib.Path, str] = {}


def load_extension(path: str | os.PathLike) -> None:
  """Executes a Python file once in a process, so that it can register estimators.

  Args:
    path: of the file, which calls `register_estimator` or `register_location_family`.

  Raises:
    ValueError: if the file does not exist or fails; the message holds the line and the error.

  Example:

  >>> load_extension("no_such_file.py")
  Traceback (most recent call last):
  ValueError: extension=...no_such_file.py: there is no such file
  """
  file = pathlib.Path(os.path.expanduser(path)).absolute()
  if file not in _LOADED:
    _LOADED[file] = _failure(file)
  if _LOADED[file]:
    raise ValueError(f"extension={file}: {_LOADED[file]}")


def _failure(file: pathlib.Path) -> str:
  """Executes a file; returns its error in one line, or an empty text."""
  if file.suffix != ".py":
    return "must be a Python file, with the ending .py"
  if not os.path.isfile(file):  # pathlib's version raises for malformed paths.
    return "there is no such file"
  name = f"wsram_tf_extension_{len(_LOADED)}_{re.sub(r'[^A-Za-z0-9_]', '_', file.stem)}"
  loader = importlib.machinery.SourceFileLoader(name, os.fspath(file))
  spec = importlib.util.spec_from_loader(name, loader)
  if spec is None:
    return "must be a Python file that can be loaded"
  module = importlib.util.module_from_spec(spec)
  sys.modules[name] = module  # Dataclasses look up their module by its name.
  try:
    loader.exec_module(module)
  except (Exception, SystemExit) as error:  # The user's code may raise any error.
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
