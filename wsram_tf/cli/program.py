"""The frame of every program: one-line errors, Ctrl-C, and a quiet start of TensorFlow."""

import atexit
import contextlib
import gc
import signal
import sys
from collections.abc import Callable, Iterator
from typing import NoReturn

from wsram_tf.lazy_names import pause_collection
from wsram_tf.runs.loop.stop_requests import STOPPED_STATUS, RunStoppedError, Terminated
from wsram_tf.serving.quiet import quiet_tensorflow

__all__ = ["load_tensorflow", "quiet_tensorflow", "run", "stop"]

# The exit status that a shell reports for a program ended by Ctrl-C.
INTERRUPTED = 130


def run(
  name: str,
  main: Callable[[], None],
  *errors: type[Exception],
  when_stopped: Callable[[], str] = lambda: "nothing is half-written",
) -> None:
  """Runs a program; expected errors, Ctrl-C and a stop on request end it with one line.

  Args:
    name: the program's name, for its messages.
    main: does the work.
    *errors: exceptions with a message for the user, besides `ValueError` and `OSError`.
    when_stopped: makes the message after Ctrl-C or a stop on request.
  """
  try:
    main()
  except (RunStoppedError, Terminated) as stopped:
    message = str(stopped) or "stopped by SIGTERM"
    print(f"\n{name}: {message}; {when_stopped()}", file=sys.stderr, flush=True)
    sys.exit(STOPPED_STATUS)
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
  """Imports TensorFlow, Keras and TensorFlow Probability as fast as a program can.

  Leaves out the notes that TensorFlow writes at its start. Hides the packages that Keras would
  import for plots, data frames and wrappers that no program uses. Python's garbage collector
  pauses during the import, and then leaves the objects of the modules alone; at the program's end
  it leaves all objects to the system.
  """
  if "tensorflow_probability" in sys.modules:
    return
  with pause_collection(), quiet_tensorflow(), _hidden("matplotlib", "pandas", "sklearn"):
    import keras  # noqa: F401
    import tensorflow_probability  # noqa: F401
  gc.freeze()
  atexit.register(gc.freeze)


@contextlib.contextmanager
def _hidden(*modules: str) -> Iterator[None]:
  """Lets imports of modules fail while the block runs, but for those that are imported already."""
  hidden = [module for module in modules if module not in sys.modules]
  sys.modules.update(dict.fromkeys(hidden))  # pyright: ignore[reportArgumentType, reportCallIssue]
  try:
    yield
  finally:
    for module in hidden:
      del sys.modules[module]
