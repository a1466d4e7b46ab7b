"""What a program does around its work: TensorFlow loads quietly, and errors end it in one line."""

import contextlib
import os
import pathlib
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator

from absl import app, flags

__all__ = ["PathParser", "define_path", "quiet_tensorflow", "run"]

# What a shell reports of a program that Ctrl-C ended.
_INTERRUPTED = 130
# Of an NVIDIA GPU, one under WSL, and one of AMD.
_GPU_DEVICES = ("/dev/nvidiactl", "/dev/dxg", "/dev/kfd")
# Passes on its input but for lines of severity INFO, and the line before the first of them.
_FILTER = """
import re, sys
note = re.compile(rb"I[0-9]{4} |WARNING: All log messages before absl::InitializeLog")
for line in sys.stdin.buffer:
  if not note.match(line):
    sys.stderr.buffer.write(line)
    sys.stderr.buffer.flush()
"""


flags.disclaim_key_flags()  # A flag that `define_path` defines is the caller's, in --help too.


class PathParser(flags.ArgumentParser):
  """Takes a path; `~` is expanded, since the shell does not expand it behind a flag's `=`."""

  def parse(self, argument: str) -> str:
    """The path as it is used."""
    return os.path.expanduser(argument)


def define_path(name: str, help: str, **options: bool) -> flags.FlagHolder:
  """Defines a flag, absent by default, that names a file or a folder."""
  serializer = flags.ArgumentSerializer()
  return flags.DEFINE(PathParser(), name, None, help, serializer=serializer, **options)


def run(main: Callable[[list[str]], None], *errors: type[Exception]) -> None:
  """Runs a program; Ctrl-C and the errors that it documents end it with one line.

  Args:
    main: takes what the flags left of the command line.
    *errors: that carry a message to the user, beside `ValueError` and `OSError`.
  """
  name = pathlib.Path(sys.argv[0]).name
  try:
    app.run(main)
  except (ValueError, OSError, *errors) as error:
    sys.exit(f"{name}: {error}")
  except KeyboardInterrupt:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # A second one would interrupt the ending.
    print(f"\n{name}: stopped; nothing is half-written", file=sys.stderr, flush=True)
    sys.exit(_INTERRUPTED)


@contextlib.contextmanager
def quiet_tensorflow() -> Iterator[None]:
  """Leaves out the notes that TensorFlow writes while it is loaded, before it reads its log level.

  A log level that the user has set is left alone, and with level 0 everything is shown. Another
  process filters the lines, so that nothing is lost, or late, where the loading fails or aborts.
  """
  # Without a GPU the only error at the start is that there is none, and every later one is also
  # raised. With a GPU, an error of its driver may be logged and nothing else.
  has_gpu = any(map(os.path.exists, _GPU_DEVICES))
  os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2" if has_gpu else "3")
  if "tensorflow" in sys.modules or os.environ["TF_CPP_MIN_LOG_LEVEL"] == "0":
    yield
    return
  command = [sys.executable, "-ISc", _FILTER]
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
