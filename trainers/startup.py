"""What a program does before all else: it keeps TensorFlow quiet, and ends on Ctrl-C in one line.

Programs import it first: TensorFlow reads its log level while it is imported.
"""

import os
import pathlib
import signal
import sys
from types import TracebackType
from typing import NoReturn

__all__ = ["stop"]

# What a shell reports of a program that Ctrl-C ended.
INTERRUPTED = 130
# Of an NVIDIA GPU, one under WSL, and one of AMD.
GPU_DEVICES = ("/dev/nvidiactl", "/dev/dxg", "/dev/kfd")


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


os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", log_level())
sys.excepthook = report
