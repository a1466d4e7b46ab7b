"""Loads TensorFlow's libraries without the notes that they write to the standard error."""

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator

__all__ = ["quiet_tensorflow"]

# Devices of an NVIDIA GPU, of one under WSL, and of an AMD GPU.
_GPU_DEVICES = ("/dev/nvidiactl", "/dev/dxg", "/dev/kfd")
# Drops lines of severity INFO, and the line before the first of them.
_FILTER = """
import re, sys
note = re.compile(rb"I[0-9]{4} |WARNING: All log messages before absl::InitializeLog")
for line in sys.stdin.buffer:
  if not note.match(line):
    sys.stderr.buffer.write(line)
    sys.stderr.buffer.flush()
"""


@contextlib.contextmanager
def quiet_tensorflow() -> Iterator[None]:
  """Filters the standard error while the block loads TensorFlow, which first logs unconditionally.

  Sets TF_CPP_MIN_LOG_LEVEL unless the user has set it; level 0 shows everything. The filter is
  another process, so no line is lost or late where the loading fails or aborts.
  """
  # Without a GPU the only error at the start is its absence, and TensorFlow also raises all later
  # ones. With a GPU, an error of its driver may appear in the log alone.
  has_gpu = any(map(os.path.exists, _GPU_DEVICES))
  os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2" if has_gpu else "3")
  if "tensorflow" in sys.modules or os.environ["TF_CPP_MIN_LOG_LEVEL"] == "0":
    yield
    return
  command = [sys.executable, "-ISc", _FILTER]
  # In a session of its own, Ctrl-C does not reach it: it ends with its input.
  output, pipe = os.pipe()
  with subprocess.Popen(command, stdin=output, start_new_session=True):
    os.close(output)
    kept = os.dup(2)
    os.dup2(pipe, 2)
    os.close(pipe)
    try:
      yield
    finally:
      sys.stderr.flush()
      os.dup2(kept, 2)
      os.close(kept)
