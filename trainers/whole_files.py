"""Files that appear whole or not at all, though an error, a kill or a power cut stop the write."""

import contextlib
import os
import pathlib
import re
from collections.abc import Iterator

__all__ = ["PARTIAL", "remove_leftovers", "replacing"]

# Stands before the name of a file that is being written.
PARTIAL = "partial-"
# Keras puts weights that do not fit into memory into such a file beside the one that it writes.
_LEFTOVER = re.compile(rf"{PARTIAL}.*|tmp[a-z0-9_]{{8}}")


@contextlib.contextmanager
def replacing(path: pathlib.Path) -> Iterator[pathlib.Path]:
  """Gives a path to write to; what was written there then takes the place of a file.

  It is on the disk before it is renamed, so that no power cut leaves an empty file under the name.

  Args:
    path: of the file; what it holds is kept until all is written, and after any error.

  Yields:
    the path to write to, in the same folder and with the same ending.

  Raises:
    OSError: if the file cannot be written.
  """
  aside = path.with_name(f"{PARTIAL}{path.name}")
  try:
    yield aside
    _flush(aside)
    aside.replace(path)
  except BaseException:
    aside.unlink(missing_ok=True)  # On a full disk it would stand in the way of everything else.
    raise
  with contextlib.suppress(OSError):  # The file is in its place; not all systems flush folders.
    _flush(path.parent)


def remove_leftovers(folder: pathlib.Path) -> None:
  """Removes what a killed process was writing into a folder; nobody else may be writing there."""
  for path in folder.glob("*"):
    if _LEFTOVER.fullmatch(path.name) and path.is_file():
      path.unlink()


def _flush(path: pathlib.Path) -> None:
  descriptor = os.open(path, os.O_RDONLY)
  try:
    os.fsync(descriptor)
  finally:
    os.close(descriptor)
