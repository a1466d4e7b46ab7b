"""What all exports have in common: flags, verification, publishing, files beside the models.

Imported by the programs, which it gives their flags; TensorFlow is imported only when a version is
written, so that a wrong flag is told at once.
"""

import itertools
import os
import pathlib
import subprocess
import sys
from typing import TYPE_CHECKING

import manifests
import server_files
import starting
from absl import flags

if TYPE_CHECKING:
  import saved_model
  import tensorflow as tf

__all__ = ["EXTENSION", "NAME", "batch_sizes", "publish"]

_EXPORT_DIR = starting.define_path(
  "export_dir", "folder of all models; the version becomes EXPORT_DIR/NAME/VERSION"
)
EXTENSION = flags.DEFINE_multi(
  starting.PathParser(),
  flags.ArgumentSerializer(),
  "extension",
  None,
  "Python file that registers the run's estimator, where it is not where the run recorded it",
)
NAME = flags.DEFINE_string("name", None, "name that clients call the model by")
_BATCH_SIZES = flags.DEFINE_list(
  "allowed_batch_sizes",
  ["1", "4", "16", "64"],
  "images a batch, rising: what a batching server fills a batch up to, and warms up; the last is "
  "the largest batch",
)
_VERIFY = flags.DEFINE_bool("verify", True, "verify the version before it is published")
# Of a model; each is warmed up at each batch size.
_MOST_SIGNATURES = 4

flags.mark_flags_as_required(["export_dir", "name"])


def _valid_name(name: str | None) -> bool:
  try:
    manifests.check_name(name or "x")
  except ValueError as error:
    raise flags.ValidationError(str(error)) from error
  return True


def _valid_batch_sizes(values: list[str]) -> bool:
  if not all(value.strip().isdecimal() for value in values):
    return False
  sizes = [int(value) for value in values]
  rising = all(small < large for small, large in itertools.pairwise(sizes))
  few = len(sizes) * _MOST_SIGNATURES <= manifests.LARGEST_WARMUP_COUNT
  return bool(sizes) and sizes[0] >= 1 and rising and few


flags.register_validator("name", _valid_name)
flags.register_validator(
  "allowed_batch_sizes",
  _valid_batch_sizes,
  message="must be whole numbers from 1, rising, and at most "
  f"{manifests.LARGEST_WARMUP_COUNT // _MOST_SIGNATURES} of them, which is what a server warms up",
)


def batch_sizes() -> list[int]:
  """Images a batch, as the flag says."""
  return [int(value) for value in _BATCH_SIZES.value]


def publish(
  module: "tf.Module", functions: "saved_model.Signatures", draft: manifests.Manifest
) -> None:
  """Writes the next version, verified unless the flags say not to, and the files beside the models.

  Args:
    module: holds the variables that the signatures read.
    functions: the signatures by name.
    draft: what is known of the version beforehand; see `saved_model.write_version`.

  Raises:
    ValueError: if the contract differs from the latest version's.
    OSError: if something cannot be written; there is no half version then.
    RuntimeError: if the version fails its verification.
  """
  import saved_model
  import tensorflow as tf

  verify = _verify_in_another_process if _VERIFY.value else None
  export_dir = pathlib.Path(_EXPORT_DIR.value)
  try:
    model_dir = saved_model.write_version(export_dir, module, functions, draft, verify)
  except (OSError, tf.errors.OpError) as error:
    raise OSError(
      f"export_dir={export_dir}: the version cannot be written, {_reason(error)}; nothing was "
      "published"
    ) from error
  try:
    kept = server_files.write_server_files(export_dir, draft.name)
  except OSError as error:
    raise OSError(
      f"export_dir={export_dir}: {model_dir} is published, and the files beside it cannot be "
      f"written, {_reason(error)}"
    ) from error
  for file in kept:
    print(f"{file} was changed by hand and is left as it is; compare it with the README.md there")
  print(f"Exported {model_dir}\nHow to serve it: {export_dir / 'README.md'}")


def _reason(error: Exception) -> str:
  """What the system says of a file that cannot be written, in one line."""
  text = getattr(error, "strerror", None) or getattr(error, "message", None) or str(error)
  return text.splitlines()[0].rpartition("; ")[2]  # TensorFlow puts the path first.


def _verify_in_another_process(model_dir: pathlib.Path) -> None:
  """Runs verify.py, in a process of its own: this one has TensorFlow's Python package in it."""
  program = pathlib.Path(__file__).with_name("verify.py")
  command = [sys.executable, os.fspath(program), f"--model_dir={model_dir}"]
  # The table goes to the standard output; what the C++ runtime logs is shown only with a failure.
  done = subprocess.run(command, capture_output=True, text=True)
  print(done.stdout, end="", flush=True)
  if done.returncode:
    print(done.stderr, file=sys.stderr, end="")
    raise RuntimeError("the version failed its verification, so nothing was published")
