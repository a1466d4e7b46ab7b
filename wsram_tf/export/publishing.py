"""Publishes a version of a model: writes it, verifies it in another process, and updates the page.

TensorFlow loads when a version is written, not with this module.
"""

import os
import pathlib
import subprocess
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from wsram_tf.export import server_files
from wsram_tf.serving import manifests

if TYPE_CHECKING:
  import tensorflow as tf

  from wsram_tf.export import saved_model

__all__ = ["BATCH_SIZES", "Report", "VerificationError", "publish"]

# Images a batch, unless the caller names others.
BATCH_SIZES = (1, 4, 16, 64)

# Receives the lines that an export prints, without line ends.
Report = Callable[[str], None]


class VerificationError(RuntimeError):
  """The exported version failed its verification; nothing was published."""


def publish(
  export_dir: str | os.PathLike,
  module: "tf.Module",
  signatures: "saved_model.Signatures",
  facts: manifests.Facts,
  *,
  verify: bool = True,
  report: Report | None = None,
) -> pathlib.Path:
  """Writes the next version of a model, and the files beside the models.

  Args:
    export_dir: the folder of all models; created if it does not exist.
    module: holds the variables that the signatures read.
    signatures: by name.
    facts: about the model.
    verify: whether to verify the version before its publication.
    report: takes the table of the verification and other notes, line by line.

  Returns:
    the version's folder, EXPORT_DIR/NAME/VERSION.

  Raises:
    ValueError: if the contract differs from the latest version's.
    OSError: if a file cannot be written; no incomplete version remains.
    VerificationError: if the version fails its verification.
  """
  import tensorflow as tf

  from wsram_tf.export import saved_model

  report = report or (lambda line: None)
  export_dir = pathlib.Path(export_dir)
  check = (lambda folder: _verify_in_another_process(folder, report)) if verify else None
  try:
    model_dir = saved_model.write_version(export_dir, module, signatures, facts, check)
  except (OSError, tf.errors.OpError) as error:
    raise OSError(
      f"export_dir={export_dir}: the version cannot be written, {_reason(error)}; nothing was "
      "published"
    ) from error
  try:
    kept = server_files.write_server_files(export_dir, facts.name)
  except OSError as error:
    raise OSError(
      f"export_dir={export_dir}: {model_dir} is published, and the files beside it cannot be "
      f"written, {_reason(error)}"
    ) from error
  for file in kept:
    report(f"{file} was changed by hand and is left as it is; compare it with the README.md there")
  report(f"Exported {model_dir}")
  report(f"How to serve it: {export_dir / 'README.md'}")
  return model_dir


def _reason(error: Exception) -> str:
  """Shortens the system's message about a file that cannot be written to one line."""
  text = getattr(error, "strerror", None) or getattr(error, "message", None) or str(error)
  return text.splitlines()[0].rpartition("; ")[2]  # TensorFlow puts the path first.


def _verify_in_another_process(model_dir: pathlib.Path, report: Report) -> None:
  """Verifies a version in a process of its own, because this one has imported TensorFlow."""
  command = [sys.executable, "-m", "wsram_tf.serving.verification", f"--model_dir={model_dir}"]
  done = subprocess.run(command, capture_output=True, text=True, check=False)
  table = done.stdout.splitlines()
  for line in table:
    report(line)
  if done.returncode:
    # The C++ runtime's log is of interest only with a failure.
    print(done.stderr, file=sys.stderr, end="")
    failed = [line for line in table if line[17:24].strip() == "FAILED"]
    raise VerificationError(
      "\n  ".join(["the version failed its verification, so nothing was published", *failed])
    )
