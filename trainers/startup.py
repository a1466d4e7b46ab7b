"""What a program does before all else: it loads TensorFlow quietly, and ends on Ctrl-C in one line.

Programs import it first. What it sets does not depend on who imports TensorFlow later.
"""

import contextlib
import os
import pathlib
import signal
import subprocess
import sys
from collections.abc import Iterator
from types import TracebackType
from typing import NoReturn

__all__ = ["stop"]

# What a shell reports of a program that Ctrl-C ended.
INTERRUPTED = 130
# Of an NVIDIA GPU, one under WSL, and one of AMD.
GPU_DEVICES = ("/dev/nvidiactl", "/dev/dxg", "/dev/kfd")
# Passes on its input but for lines of severity INFO, and the line before the first of them.
FILTER = """
import re, sys
note = re.compile(rb"I[0-9]{4} |WARNING: All log messages before absl::InitializeLog")
for line in sys.stdin.buffer:
  if not note.match(line):
    sys.stderr.buffer.write(line)
    sys.stderr.buffer.flush()
"""


def log_level() -> str:
  """The least severity that TensorFlow's C++ code logs: 2 for errors, 3 for fatal ones alone.

  Without a GPU the only error at the start is that there is none, and every later one is also
  raised in Python. With a GPU, an error of its driver may be logged and nothing else.
  """
  return "2" if any(map(os.path.exists, GPU_DEVICES)) else "3"


def stop(message: str) -> NoReturn:
  """Ends a program that Ctrl-C has stopped."""
  signal.signal(signal.SIGINT, signal.SIG_IGN)  # A second one would interrupt the ending.
  print(f"\n{message}", file=sys.stderr, flush=True)
  sys.exit(INTERRUPTED)


def report(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
  """Says in one line that Ctrl-C has ended the program; Python then ends it by that signal."""
  if issubclass(kind, KeyboardInterrupt):
    print(f"\n{pathlib.Path(sys.argv[0]).stem}: stopped", file=sys.stderr)
  else:
    sys.__excepthook__(kind, error, trace)


@contextlib.contextmanager
def without_notes() -> Iterator[None]:
  """Leaves out of the standard error the notes that TensorFlow writes while it is imported.

  TensorFlow writes them before it reads its log level. Another process filters the lines, so that
  nothing is lost, or late, where the import itself fails or aborts.
  """
  command = [sys.executable, "-ISc", FILTER]
  # In a session of its own, Ctrl-C does not reach it: it ends with its input.
  with subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True) as process:
    kept = os.dup(2)
    os.dup2(process.stdin.fileno(), 2)
    try:
      yield
    finally:
      sys.stderr.flush()
      os.dup2(kept, 2)
      os.close(kept)


sys.excepthook = report
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", log_level())
# Whoever asks for level 0 wants the notes.
if "tensorflow" not in sys.modules and os.environ["TF_CPP_MIN_LOG_LEVEL"] != "0":
  with without_notes():
    import tensorflow  # noqa: F401
