"""Reads the IDX files that MNIST and Fashion-MNIST are published in. Loads no TensorFlow."""

import gzip
import math
import os
import pathlib
import zlib

import numpy as np

__all__ = ["IDX_FILES", "find_idx_files", "read_idx"]

# Training images and labels, test images and labels.
IDX_FILES = (
  "train-images-idx3-ubyte",
  "train-labels-idx1-ubyte",
  "t10k-images-idx3-ubyte",
  "t10k-labels-idx1-ubyte",
)
_BYTES = 0x08  # The type of unsigned bytes.


def find_idx_files(folder: str | os.PathLike) -> list[pathlib.Path]:
  """Finds the files of `IDX_FILES` in a folder, each with or without the ending .gz.

  Args:
    folder: the folder.

  Returns:
    the four paths, in the order of `IDX_FILES`; none if the folder holds none of them.

  Raises:
    FileNotFoundError: if the folder holds only some of them.

  Example:

  >>> find_idx_files("wsram_tf")
  []
  """
  root = pathlib.Path(folder)
  choices = {name: (root / name, root / f"{name}.gz") for name in IDX_FILES}
  found = {name: [path for path in paths if path.is_file()] for name, paths in choices.items()}
  missing = [name for name, paths in found.items() if not paths]
  if len(missing) == len(IDX_FILES):
    return []
  if missing:
    raise FileNotFoundError(
      f"data_dir={os.fspath(folder)!r}: must hold four IDX files; these are missing (as they are "
      f"or with .gz): {', '.join(missing)}"
    )
  return [paths[0] for paths in found.values()]


def read_idx(path: str | os.PathLike, num_axes: int) -> np.ndarray:
  """Reads an IDX file of unsigned bytes.

  Args:
    path: the file; with the ending .gz, compressed.
    num_axes: axes that its array must have.

  Returns:
    uint8 array.

  Raises:
    ValueError: if it is not a whole file of this kind.

  Source: Y. LeCun, C. Cortes, C. J. C. Burges, "The MNIST database of handwritten digits", section
    on file formats.
  """
  path = pathlib.Path(path)
  try:
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
      header = file.read(4 + 4 * num_axes)
      # Two zeros, the type, the number of axes, then 32 bits for each axis.
      shape = tuple(int(size) for size in np.frombuffer(header[4:], ">u4"))
      is_known = header[:4] == bytes([0, 0, _BYTES, num_axes]) and len(shape) == num_axes
      content = file.read(math.prod(shape) + 1) if is_known else b""
  except (EOFError, gzip.BadGzipFile, zlib.error) as error:
    raise ValueError(f"{path}: must be a whole gzip file: {error}") from error
  if not is_known:
    raise ValueError(f"{path}: must be an IDX file of unsigned bytes with {num_axes} axes")
  if len(content) != math.prod(shape):
    raise ValueError(f"{path}: must hold {math.prod(shape)} bytes after its header")
  return np.frombuffer(content, np.uint8).reshape(shape)
