"""Checks that an HDF5 file of weights holds plain arrays, which lie in the file itself."""

from typing import IO

import h5py

__all__ = ["check_weights"]

# Booleans, integers, floats, complex numbers, and bytes that stand for bfloat16 and the like.
_KINDS = "biufcV"
_LAYOUTS = (h5py.h5d.COMPACT, h5py.h5d.CONTIGUOUS)


def check_weights(file: IO[bytes], size: int) -> None:
  """Checks a file of weights without reading them.

  HDF5 can take arrays from other files by links, virtual arrays and external storage, and can store
  huge arrays of one value in a few bytes. Keras writes none of these.

  Args:
    file: the file, open.
    size: of the file, bytes.

  Raises:
    ValueError: if the file is no HDF5 file, or holds anything but groups and arrays that are stored
      in it as they are.
  """
  try:
    with h5py.File(file, "r") as weights:
      _check_group(weights, "", size, set())
  except (OSError, KeyError, RuntimeError, TypeError) as error:  # What HDF5 raises for damage.
    raise ValueError(f"weights: must be a whole HDF5 file: {error}") from error


def _check_group(group: h5py.Group, path: str, left: int, seen: set[int]) -> int:
  """Checks a group and those below it.

  Args:
    group: the group.
    path: its name, for the message.
    left: bytes that arrays may still have.
    seen: addresses of the objects that were checked; a group may lie in itself.

  Returns:
    the bytes left for further arrays.
  """
  for name in group:
    where = f"weights: {path}/{name}"
    link = group.get(name, getlink=True)
    if not isinstance(link, h5py.HardLink):
      raise ValueError(f"{where}: must not be a link to another place or file")
    found = group[name]
    address = h5py.h5o.get_info(found.id).addr
    if address in seen:
      continue
    seen.add(address)
    if isinstance(found, h5py.Group):
      left = _check_group(found, f"{path}/{name}", left, seen)
    elif isinstance(found, h5py.Dataset):
      left -= _stored_bytes(found, where)
      if left < 0:
        raise ValueError(f"{where}: must be stored in the file, which is smaller than its arrays")
    else:
      raise ValueError(f"{where}: must be a group or an array")
  return left


def _stored_bytes(array: h5py.Dataset, where: str) -> int:
  # The layout comes first: the shape of a virtual array is read from other files.
  created = array.id.get_create_plist()
  if created.get_layout() not in _LAYOUTS or created.get_external_count():
    raise ValueError(f"{where}: must be stored in the file as it is, in one piece")
  if array.dtype.kind not in _KINDS:
    raise ValueError(f"{where}: must hold numbers, not {array.dtype}")
  # Zeros that were never written take no place in the file.
  if array.id.get_storage_size() < array.nbytes:
    raise ValueError(f"{where}: must be stored in the file as it is, in one piece")
  return array.nbytes
