"""Verifies an export through TensorFlow's C++ loader alone.

The checks run in a process without TensorFlow's Python package, so that an export that only Python
can read fails.
"""

import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from wsram_tf.serving import cpp_loader, manifests
from wsram_tf.serving.verification import opened, steps, stored
from wsram_tf.serving.verification.agreement import Failure

__all__ = ["Check", "check_imports", "verify", "verify_here"]

LAST_CHECK = "imports"

# Modules of this package that need no TensorFlow.
ALLOWED_MODULES = (
  "wsram_tf.data.fitting",
  "wsram_tf.files",
  "wsram_tf.lazy_names",
  "wsram_tf.serving",
  "wsram_tf.settings",
)


class Check(NamedTuple):
  """The outcome of one check, a line of the table.

  Attributes:
    name: of the check.
    passed: whether the export passes it.
    detail: the findings, in one line.
  """

  name: str
  passed: bool
  detail: str


def verify(model_dir: str | os.PathLike) -> Iterator[Check]:
  """Checks an export as a model server meets it.

  Where this process has imported TensorFlow or Keras, the checks run in another process, as
  `python -m wsram_tf.serving.verification` runs them.

  Args:
    model_dir: folder of the version.

  Yields:
    the checks as they are done, in a fixed order.

  Example:

  >>> from wsram_tf.serving import verification
  >>> version = "served/digits/1"  # See the example of `export_classifier`.
  >>> checks = list(verification.verify(version))
  >>> all(check.passed for check in checks), checks[-1].name
  (True, 'imports')
  """
  if {"tensorflow", "keras"} & sys.modules.keys():
    return _verify_elsewhere(model_dir)
  return verify_here(model_dir)


def _verify_elsewhere(model_dir: str | os.PathLike) -> Iterator[Check]:
  command = [sys.executable, "-m", "wsram_tf.serving.verification", "--json"]
  command.append(f"--model_dir={os.fspath(model_dir)}")
  ended = False
  # A file, because a full pipe of errors would block the process while this one reads checks.
  with (
    tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as errors,
    subprocess.Popen(
      command, stdout=subprocess.PIPE, stderr=errors, text=True, encoding="utf-8"
    ) as process,
  ):
    for line in process.stdout or ():
      check = Check(**json.loads(line))
      ended |= check.name == LAST_CHECK
      yield check
    process.wait()
    if not ended:  # A fault of the C++ runtime can end the process.
      errors.seek(0)
      text = opened.one_line(Exception(errors.read()[-500:]))
      yield Check("process", False, f"ended early, status {process.returncode}: {text}")


def verify_here(model_dir: str | os.PathLike) -> Iterator[Check]:
  """Runs the checks in this process, in which TensorFlow must not have been imported.

  Args:
    model_dir: folder of the version.
  """
  model_dir = pathlib.Path(model_dir).resolve()
  manifest: manifests.Manifest | None = None
  export: opened.OpenedExport | None = None

  def files() -> str:
    nonlocal manifest
    manifest = manifests.read_manifest(model_dir)
    return stored.check_files(model_dir, manifest)

  def load(manifest: manifests.Manifest) -> str:
    nonlocal export
    start = time.perf_counter()
    export = opened.open_export(model_dir, manifest)
    return f"{time.perf_counter() - start:.1f} s, XLA disabled"

  yield _outcome("files", files)
  for name, check in (("contract", stored.check_contract), ("size", stored.check_size)):
    yield _outcome(name, check, model_dir, manifest) if manifest else _not_done(name, "manifest")
  yield _outcome("load", load, manifest) if manifest else _not_done("load", "manifest")
  for name, check in (
    ("large image", opened.check_large_image),
    ("warm-up", opened.check_warmup),
    ("golden answers", opened.check_golden),
    ("steps", steps.check_steps),
    ("rows", opened.check_rows),
    ("seeds", opened.check_seeds),
    ("refusals", opened.check_refusals),
  ):
    yield _outcome(name, check, export) if export else _not_done(name, "loaded model")
  if export:
    export.model.close()
  yield _outcome(LAST_CHECK, check_imports)


def check_imports() -> str:
  """Checks that this process has imported neither TensorFlow nor a module that needs it."""
  imported = sorted({"tensorflow", "keras"} & sys.modules.keys())
  imported += sorted(name for name in sys.modules if not _is_allowed(name))
  if imported:
    more = f" and {len(imported) - 5} more" if len(imported) > 5 else ""
    raise Failure(f"this process imported {', '.join(imported[:5])}{more}")
  return "no tensorflow, no keras, and no module of wsram_tf that needs them"


def _is_allowed(module: str) -> bool:
  if module.partition(".")[0] != "wsram_tf":
    return True
  return any(
    f"{allowed}.".startswith(f"{module}.") or f"{module}.".startswith(f"{allowed}.")
    for allowed in ALLOWED_MODULES
  )


def _outcome(name: str, check: Callable[..., str], *arguments: Any) -> Check:
  try:
    return Check(name, True, check(*arguments))
  except Failure as failure:
    return Check(name, False, str(failure))
  except (OSError, ValueError, KeyError, zipfile.BadZipFile, cpp_loader.ServingError) as error:
    return Check(name, False, f"{type(error).__name__}: {opened.one_line(error)}")


def _not_done(name: str, needed: str) -> Check:
  return Check(name, False, f"not done: it needs the {needed}, and an earlier check failed there")
