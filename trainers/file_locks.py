"""Locks between processes; they end with the process that holds them, however it ends."""

import contextlib
import fcntl
import os
import pathlib
from collections.abc import Iterator

__all__ = ["held", "take"]


def take(path: pathlib.Path, *, wait: bool = False) -> int:
  """Locks a file, which is made where it is not there and stays, empty, when the lock ends.

  Args:
    path: of the file, in a folder that exists.
    wait: whether to wait for whoever holds it.

  Returns:
    the descriptor that holds the lock, until it is closed; child programs do not inherit it.

  Raises:
    BlockingIOError: if another holds it, unless told to wait.
    OSError: if the file cannot be made or locked.
  """
  lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
  try:
    fcntl.flock(lock, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
  except BaseException:
    os.close(lock)
    raise
  return lock


@contextlib.contextmanager
def held(path: pathlib.Path, *, wait: bool = False) -> Iterator[None]:
  """Holds `take`'s lock for a while."""
  lock = take(path, wait=wait)
  try:
    yield
  finally:
    os.close(lock)
