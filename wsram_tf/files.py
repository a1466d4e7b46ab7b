"""Atomic file writes, and locks between processes. Loads no TensorFlow."""

import contextlib
import os
import pathlib
import re
from collections.abc import Iterator, Sequence

import filelock

__all__ = ["PARTIAL", "check_links", "found_in", "lock", "remove_leftovers", "replacing"]

# Prefix of a file that is being written.
PARTIAL = "partial-"
# Keras writes weights that do not fit into memory into a temporary file of the second form.
_LEFTOVER = re.compile(rf"{PARTIAL}.*|tmp[a-z0-9_]{{8}}")


def found_in(folder: pathlib.Path, suffixes: Sequence[str]) -> list[pathlib.Path]:
  """Lists the files in a folder and in its folders, in order, but those that a dot hides.

  Args:
    folder: the folder.
    suffixes: of the files to list, lower case.

  Example:

  >>> import tempfile
  >>> with tempfile.TemporaryDirectory() as name:
  ...   for file in ("b.PNG", "a.png", "notes.txt", ".hidden.png"):
  ...     pathlib.Path(name, file).touch()
  ...   [path.name for path in found_in(pathlib.Path(name), [".png"])]
  ['a.png', 'b.PNG']
  """
  return sorted(
    path
    for path in folder.rglob("*")
    if path.suffix.lower() in suffixes
    and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    and path.is_file()
  )


def check_links(folder: pathlib.Path, name: str) -> None:
  """Checks that no link in a folder leads out of it, where another would be read or written.

  Args:
    folder: the folder, which may itself be a link.
    name: the argument that named it and its value, for the message.

  Raises:
    ValueError: if a link leads to another place, or nowhere.
    OSError: if the folder cannot be read.

  Example:

  >>> import tempfile
  >>> with tempfile.TemporaryDirectory() as name:
  ...   pathlib.Path(name, "results.json").symlink_to("/etc/passwd")
  ...   check_links(pathlib.Path(name), "run_dir='runs/theirs'")
  Traceback (most recent call last):
  ValueError: run_dir='runs/theirs': results.json: must not be a link out of the folder; copy the...
  """
  root = os.path.realpath(folder)
  for parent, folders, names in os.walk(root):
    for path in (os.path.join(parent, one) for one in (*folders, *names)):
      if not os.path.islink(path):
        continue
      target = os.path.realpath(path)
      if not os.path.exists(target) or os.path.commonpath([root, target]) != root:
        raise ValueError(
          f"{name}: {os.path.relpath(path, root)}: must not be a link out of the folder; copy the "
          "file that it leads to"
        )


@contextlib.contextmanager
def replacing(path: pathlib.Path) -> Iterator[pathlib.Path]:
  """Replaces a file atomically: readers see the old content or all of the new.

  The new content reaches the disk before the rename, so a power cut leaves no empty file. After an
  error the old file is unchanged.

  Args:
    path: the file to write or replace.

  Yields:
    a path in the same folder, with the same suffix, to write the new content to.

  Raises:
    OSError: if the file cannot be written.

  Example:

  >>> import pathlib, tempfile
  >>> with tempfile.TemporaryDirectory() as folder:
  ...   path = pathlib.Path(folder, "results.json")
  ...   with replacing(path) as partial:
  ...     _ = partial.write_text("{}")
  ...   path.read_text()
  '{}'
  """
  partial = path.with_name(f"{PARTIAL}{path.name}")
  partial.unlink(missing_ok=True)  # A link there would have another file written.
  try:
    yield partial
    _flush(partial)
    partial.replace(path)
  except BaseException:
    partial.unlink(missing_ok=True)  # On a full disk it would block every later write.
    raise
  with contextlib.suppress(OSError):  # The file is complete; not all systems can flush a folder.
    _flush(path.parent)


@contextlib.contextmanager
def lock(path: pathlib.Path, *, wait: bool = False) -> Iterator[None]:
  """Holds a lock between processes. The lock ends with the process, however the process ends.

  Args:
    path: the lock file, in an existing folder.
    wait: whether to wait for the process that holds the lock.

  Raises:
    BlockingIOError: if another process holds the lock and `wait` is false.
    OSError: if the lock file cannot be made.
  """
  file_lock = filelock.FileLock(path)
  try:
    file_lock.acquire(timeout=-1 if wait else 0)
  except filelock.Timeout as error:
    raise BlockingIOError(f"{path}: another process holds this lock") from error
  try:
    yield
  finally:
    file_lock.release()


def remove_leftovers(folder: pathlib.Path) -> None:
  """Removes the partial files of killed processes; no other process may be writing there."""
  for path in folder.glob("*"):
    if _LEFTOVER.fullmatch(path.name) and path.is_file():
      path.unlink()


def _flush(path: pathlib.Path) -> None:
  descriptor = os.open(path, os.O_RDONLY)
  try:
    os.fsync(descriptor)
  finally:
    os.close(descriptor)
