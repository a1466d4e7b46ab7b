"""Loads `.keras` files after a check of their parts, so that no file of others can do harm."""

import json
import os
import pathlib
import zipfile
from typing import Any

import keras

from wsram_tf.model_files.classes import check_classes
from wsram_tf.model_files.weights import check_weights
from wsram_tf.settings import check_path

__all__ = ["load_model", "load_weights"]

_CONFIG, _WEIGHTS = "config.json", "model.weights.h5"
PARTS = (_CONFIG, "metadata.json", _WEIGHTS)


def load_model(
  path: str | os.PathLike,
  *,
  custom_objects: dict[str, Any] | None = None,
  safe_mode: bool = True,
  **kwargs: Any,
) -> keras.Model:
  """Loads a model from a `.keras` file that holds what Keras writes, and nothing else.

  A file holds a configuration and weights. The configuration may name classes of Keras that only
  compute, and registered ones; the weights must lie in the file itself, as plain arrays.

  Args:
    path: the file.
    custom_objects: further classes and functions by name.
    safe_mode: whether to refuse classes that run code or read files of their own. False trusts the
      file with this account's rights.
    **kwargs: more arguments of `keras.saving.load_model`.

  Returns:
    the model.

  Raises:
    ValueError: if there is no such file, or it breaks one of these rules.
  """
  check_path("path", path)
  file = pathlib.Path(path)
  if file.suffix != ".keras" or not os.path.isfile(file):  # pathlib's raises for malformed paths.
    raise ValueError(f"path={os.fspath(path)!r}: must be an existing .keras file")
  try:
    with zipfile.ZipFile(file) as archive:
      _check_parts(archive, os.path.getsize(file))
      if safe_mode:
        check_classes(json.loads(archive.read(_CONFIG)), custom_objects)
      with archive.open(_WEIGHTS) as weights:
        check_weights(weights, archive.getinfo(_WEIGHTS).file_size)
  except (
    *(ValueError, KeyError, OSError, EOFError),
    *(RuntimeError, zipfile.BadZipFile),  # Of damaged, deeply nested or encrypted archives.
  ) as error:
    raise ValueError(f"path={os.fspath(path)!r}: cannot be loaded: {error}") from error
  try:
    return keras.saving.load_model(
      file, custom_objects=custom_objects, safe_mode=safe_mode, **kwargs
    )
  except (
    *(ValueError, TypeError, KeyError, IndexError, AttributeError),
    *(OSError, RecursionError),
  ) as error:  # What a configuration with wrong values meets in Keras and in the layers.
    reason = " ".join(str(error).split())
    raise ValueError(f"path={os.fspath(path)!r}: cannot be loaded: {reason}") from error


def load_weights(model: keras.Model, path: str | os.PathLike) -> None:
  """Loads the weights of a model from a `.weights.h5` file; see `load_model`.

  Args:
    model: a built model.
    path: the file.

  Raises:
    ValueError: if the file breaks a rule, or does not fit the model.
    OSError: if the file cannot be read.
  """
  with open(path, "rb") as file:
    check_weights(file, os.fstat(file.fileno()).st_size)
  model.load_weights(path)


def _check_parts(archive: zipfile.ZipFile, size: int) -> None:
  """Checks that an archive of a size, bytes, holds the parts of a model, each once and as it is.

  Raises:
    ValueError: otherwise.
  """
  names = [info.filename for info in archive.infolist()]
  if sorted(names) != sorted(PARTS):
    other = next((name for name in names if name not in PARTS or names.count(name) > 1), None)
    found = "misses a part" if other is None else f"holds {other!r}"
    raise ValueError(f"the archive {found}: must hold {', '.join(PARTS)}, and nothing else")
  for info in archive.infolist():
    # Keras compresses nothing.
    if info.compress_type != zipfile.ZIP_STORED or info.file_size != info.compress_size:
      raise ValueError(f"part {info.filename!r}: must be stored without compression")
    size -= info.file_size
    if size < 0:
      raise ValueError(f"part {info.filename!r}: must not be larger than the file")
