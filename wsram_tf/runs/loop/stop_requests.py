"""Requests to stop a run early: SIGTERM, as clusters send before they take a machine, or a limit.

Loads no TensorFlow, so that a program can wait for SIGTERM before it imports TensorFlow.
"""

import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable

__all__ = ["STOPPED_STATUS", "RunStoppedError", "StopRequests", "Terminated"]

# EX_TEMPFAIL of sysexits.h: what failed may succeed at the next try.
STOPPED_STATUS = 75
# Seconds after SIGTERM in which the updates that run at that moment must end. Clusters send SIGKILL
# after ten seconds or more.
GRACE_SECONDS = 8.0


class RunStoppedError(RuntimeError):
  """A run stopped early on request; it resumes where it stopped."""


class Terminated(BaseException):
  """SIGTERM, raised where it arrives; no `Exception`, like `KeyboardInterrupt`."""


class StopRequests:
  """Notes SIGTERM, and Ctrl-C, while a `with` block runs.

  Outside of the training loop, SIGTERM raises `Terminated` at once. In the loop, `is_deferred` is
  true, and the loop itself asks for `reason` between its executions. An execution that outlasts the
  grace period is abandoned: the process ends with `STOPPED_STATUS`.

  Ctrl-C raises `KeyboardInterrupt` as ever, and once more in the loop, because Keras discards one
  that arrives while it opens the file of a checkpoint.

  Only the main thread of a process can receive signals. Elsewhere, and where the process handles
  SIGTERM already, signals stay as they are.

  Args:
    farewell: makes the message of an abandoned execution, for the standard error.

  Attributes:
    is_deferred: whether SIGTERM waits for the training loop.

  Example:

  >>> with StopRequests() as requests:
  ...   requests.limit_hours(2.0)
  ...   print(requests.reason)
  None
  """

  def __init__(self, farewell: Callable[[], str] = lambda: "stopped by SIGTERM"):
    self.farewell = farewell
    self.is_deferred = False
    self._began = time.monotonic()  # The clock of the day may jump.
    self._hours = 0.0
    self._signalled = self._interrupted = False
    self._ended = threading.Event()
    self._restore: Callable[[], None] | None = None

  def limit_hours(self, hours: float) -> None:
    """Limits the hours since this object was made; 0 for no limit."""
    self._hours = hours

  @property
  def reason(self) -> str | None:
    """Why to stop; None while there is no reason."""
    if self._signalled:
      return "SIGTERM"
    if self.hours_left == 0:
      return f"max_hours={self._hours:g}"
    return None

  @property
  def hours_left(self) -> float | None:
    """Hours until the limit; None without a limit."""
    return max(self._hours - (time.monotonic() - self._began) / 3600, 0.0) if self._hours else None

  def raise_now(self) -> None:
    """Lets SIGTERM raise `Terminated` at once, also one that arrived before."""
    self.is_deferred = False
    if self._signalled:
      raise Terminated

  def raise_interrupt(self) -> None:
    """Raises `KeyboardInterrupt` after a Ctrl-C that other code discarded."""
    if self._interrupted:
      raise KeyboardInterrupt

  def renew(self) -> None:
    """Takes SIGTERM again, which TensorFlow takes for itself where a process joins a cluster."""
    if self._restore:
      signal.signal(signal.SIGTERM, self._note)

  def forgo_grace(self) -> None:
    """Lets the process live on after the grace period, because it is saving."""
    self._ended.set()

  def __enter__(self) -> "StopRequests":
    is_main = threading.current_thread() is threading.main_thread()
    if is_main and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
      self._install()
    return self

  def __exit__(self, *_: object) -> None:
    self._ended.set()
    if self._restore:
      self._restore()
      self._restore = None

  def _install(self) -> None:
    # Python calls a handler between two of its own instructions, which an execution of many updates
    # delays. The byte that the signal writes into a socket reaches the other thread at once.
    receiver, sender = socket.socketpair()
    sender.setblocking(False)
    previous = signal.set_wakeup_fd(sender.fileno(), warn_on_full_buffer=False)
    if previous != -1:  # An event loop's.
      signal.set_wakeup_fd(previous)
    signal.signal(signal.SIGTERM, self._note)
    interrupts = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if interrupts:
      signal.signal(signal.SIGINT, self._note_interrupt)
    threading.Thread(target=self._watch, args=(receiver,), daemon=True).start()

    def restore() -> None:
      signal.signal(signal.SIGTERM, signal.SIG_DFL)
      if interrupts and signal.getsignal(signal.SIGINT) == self._note_interrupt:
        signal.signal(signal.SIGINT, signal.default_int_handler)
      if previous == -1:
        signal.set_wakeup_fd(-1)
      sender.close()  # Ends the thread.

    self._restore = restore

  def _note(self, *_: object) -> None:
    first, self._signalled = not self._signalled, True
    if first and not self.is_deferred:
      raise Terminated

  def _note_interrupt(self, *_: object) -> None:
    self._interrupted = True
    raise KeyboardInterrupt

  def _watch(self, receiver: socket.socket) -> None:
    with receiver:
      while received := receiver.recv(64):
        if signal.SIGTERM in received and not self._ended.wait(GRACE_SECONDS):
          print(f"\n{self.farewell()}", file=sys.stderr, flush=True)
          os._exit(STOPPED_STATUS)
