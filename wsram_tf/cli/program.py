"""The frame of every program: one-line errors, Ctrl-C, and a quiet start of TensorFlow."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import NoReturn

__all__ = ["load_tensorflow", "quiet_tensorflow", "run", "stop"]

# The exit status that a shell reports for a program ended by Ctrl-C.
INTERRUPTED = 130
# Devices of an NVIDIA GPU, one under WSL, and an AMD GPU.
GPU_DEVICES = ("/dev/nvidiactl", "/dev/dxg", "/dev/kfd")
# Copies its input except lines of severity INFO and the line before the first of them.
FILTER = """
import re, sys
note = re.compile(rb"I[0-9]{4} |WARNING: All log messages before absl::InitializeLog")
for line in sys.stdin.buffer:
  if not note.match(line):
    sys.stderr.buffer.write(line)
    sys.stderr.buffer.flush()
"""


def run(
  name: str,
  main: Callable[[], None],
  *errors: type[Exception],
  when_stopped: Callable[[], str] = lambda: "nothing is half-written",
) -> None:
  """Runs a program; expected errors and Ctrl-C end it with one line.

  Args:
    name: the program's name, for its messages.
    main: does the work.
    *errors: exceptions with a message for the user, besides `ValueError` and `OSError`.
    when_stopped: makes the message after Ctrl-C.
  """
  try:
    main()
  except (ValueError, OSError, *errors) as error:
    sys.exit(f"{name}: {error}")
  except KeyboardInterrupt:
    stop(f"{name}: stopped; {when_stopped()}")


def stop(message: str) -> NoReturn:
  """Ends a program after Ctrl-C."""
  signal.signal(signal.SIGINT, signal.SIG_IGN)  # A second one would interrupt the end.
  print(f"\n{message}", file=sys.stderr, flush=True)
  sys.exit(INTERRUPTED)


def load_tensorflow() -> None:
  """Imports TensorFlow without the notes that it writes at its start."""
  with quiet_tensorflow():
    import tensorflow  # noqa: F401


@contextlib.contextmanager
def quiet_tensorflow() -> Iterator[None]:
  """Removes from the standard error the notes that TensorFlow writes while it is imported.

  TensorFlow writes them before it reads its log level. A log level that the user has set stays, and
  level 0 shows everything. Another process filters the lines, so that no line is lost or late if
  the import fails or aborts.
  """
  os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", _log_level())
  if "tensorflow" in sys.modules or os.environ["TF_CPP_MIN_LOG_LEVEL"] == "0":
    yield
    return
  command = [sys.executable, "-ISc", FILTER]
  # In its own session, Ctrl-C does not reach the filter; it ends with its input.
  with subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True) as process:
    kept = os.dup(2)
    os.dup2(process.stdin.fileno(), 2)
    try:
      yield
    finally:
      sys.stderr.flush()
      os.dup2(kept, 2)
      os.close(kept)


def _log_level() -> str:
  """Returns the least severity that TensorFlow's C++ code logs: 2 for errors, 3 for fatal ones.

  Without a GPU, the only error at the start is that there is none, and Python raises every later
  one. With a GPU, an error of its driver may appear in the log only.
  """
  return "2" if any(map(os.path.exists, GPU_DEVICES)) else "3"
