"""Times starts: imports, the help of a program, and a training up to its first update.

  python -m tests.benchmarks.start

Each is a fresh process, several times in turns; the first round, which fills the caches of the
disk, is left out. The training runs on a terminal, whose progress bar shows the first update.
"""

import os
import pathlib
import pty
import re
import statistics
import subprocess
import sys
import tempfile
import time

from absl import app, flags

_ROUNDS = flags.DEFINE_integer("rounds", 5, "timed rounds; the median is printed", lower_bound=1)
_FLAGFILE = flags.DEFINE_string("trained", "quickstart", "flagfile of the training")

_TRAINER = str(pathlib.Path(__file__).resolve().parents[2] / "trainers" / "train_mnist.py")


def time_import(module: str) -> float:
  """Seconds of an import, without the start of Python."""
  code = (
    f"import time; start = time.perf_counter(); import {module}; print(time.perf_counter() - start)"
  )
  done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
  return float(done.stdout)


def time_help() -> float:
  """Seconds of `train_mnist.py --help`."""
  start = time.perf_counter()
  subprocess.run([sys.executable, _TRAINER, "--help"], stdout=subprocess.DEVNULL, check=False)
  return time.perf_counter() - start


def time_training(run_dir: str) -> tuple[float, float]:
  """Seconds until the data and the networks are made, and until the first update is done."""
  start = time.perf_counter()
  ours, theirs = pty.openpty()
  command = [sys.executable, _TRAINER, f"--flagfile={_FLAGFILE.value}", "--evaluate_every=1"]
  process = subprocess.Popen([*command, f"--run_dir={run_dir}"], stdout=theirs, stderr=theirs)
  os.close(theirs)
  text, made = b"", 0.0
  try:
    while not re.search(rb"compiling.*\b1/\d+", text, re.DOTALL):  # The bar: 1 of so many updates.
      text += os.read(ours, 4096)
      if b"compiling" in text and not made:
        made = time.perf_counter() - start
    return made, time.perf_counter() - start
  except OSError as error:  # The program has ended.
    raise RuntimeError(text.decode(errors="replace")) from error
  finally:
    process.kill()
    process.wait()
    os.close(ours)


def main(_) -> None:
  """Prints the median of each."""
  rounds = []
  for _ in range(_ROUNDS.value + 1):
    with tempfile.TemporaryDirectory() as folder:
      made, updated = time_training(f"{folder}/run")
    rounds.append(
      {
        "import wsram_tf.serving": time_import("wsram_tf.serving"),
        "import wsram_tf": time_import("wsram_tf"),
        "wsram_tf.PredictionNetwork": time_import("wsram_tf; wsram_tf.PredictionNetwork"),
        "train_mnist.py --help": time_help(),
        "train_mnist.py to the compilation": made,
        "train_mnist.py to the first update": updated,
      }
    )
  for title in rounds[0]:
    print(f"{title:<36s} {statistics.median(one[title] for one in rounds[1:]):6.2f} s")


if __name__ == "__main__":
  app.run(main)
