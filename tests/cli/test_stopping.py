"""The programs start quietly and without TensorFlow, and end at Ctrl-C with one line."""

import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time
import unittest

from tests.support import programs, small_runs
from wsram_tf import files

# Prints the loaded modules after the help text.
_HELP = """
import sys
from wsram_tf.cli.programs import comparison, evaluation, training
for main in (training.train_mnist, training.train_classifier, training.train_captions,
             comparison.compare, evaluation.evaluate):
  try:
    main(["--help"])
  except SystemExit as end:
    assert not end.code, end.code
print("loaded:", *sorted({"tensorflow", "keras", "matplotlib"} & sys.modules.keys()))
"""
# Prints which of two modules are loaded after a program's error.
_WRONG_UPDATES = """
import sys
from wsram_tf.cli.programs.training import train_mnist
try:
  train_mnist(["--updates=3", "--evaluate_every=2"])
finally:
  print(*sorted({"keras", "sklearn"} & sys.modules.keys()))
"""
# Writes a line to the standard error, as TensorFlow does where it is loaded.
_NOTE = """
import os, sys
from wsram_tf.serving.quiet import quiet_tensorflow
with quiet_tensorflow():
  os.write(2, sys.argv[1].encode())
"""


def newest_update(run_dir: pathlib.Path) -> int:
  """Returns the update of the newest evaluation; 0 where there is none."""
  found = run_dir.glob("checkpoints/update-*.keras")
  return max((int(path.stem.removeprefix("update-")) for path in found), default=0)


class StoppingTest(unittest.TestCase):
  def test_a_comparison_ends_its_current_run_and_its_hours_hold_for_all_runs(self):
    folder = tempfile.TemporaryDirectory()
    self.addCleanup(folder.cleanup)
    out_dir = pathlib.Path(folder.name)
    run_dir = out_dir / "variational" / "seed_1"
    command = [
      *(*small_runs.CANVASES, *small_runs.PLAIN, "--updates=20000", "--evaluate_every=20"),
      *("--estimators=variational", "--seeds=1", f"--out_dir={out_dir}"),
    ]
    process = programs.start("trainers/compare", *command)
    while not newest_update(run_dir) and process.poll() is None:
      time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=120)
    self.assertEqual(process.returncode, 130, errors)
    self.assertNotIn("Traceback", errors)
    self.assertEqual(
      [line for line in errors.splitlines() if line][-1],
      "compare: stopped; start again with the same flags to continue",
    )
    self.assertEqual(list(run_dir.rglob("*partial*")), [])
    with files.lock(run_dir / ".lock"):  # No process trains there any more.
      pass
    # With SIGTERM, which only the comparison receives.
    before = newest_update(run_dir)
    process = programs.start("trainers/compare", *command)
    while newest_update(run_dir) <= before and process.poll() is None:
      time.sleep(0.1)
    process.terminate()
    _, errors = process.communicate(timeout=120)
    self.assertEqual(process.returncode, 75, errors)
    self.assertIn("train_mnist: stopped by SIGTERM after update ", errors)
    self.assertEqual(
      errors.splitlines()[-1],
      "compare: stopped by SIGTERM; start again with the same flags to continue",
    )
    with files.lock(run_dir / ".lock"):
      pass
    # No hour is left for a run.
    before = signal.getsignal(signal.SIGINT)
    (ending,) = programs.endings("compare", [*command, "--max_hours=1e-9"])
    self.assertEqual(ending, "75")
    self.assertEqual(signal.getsignal(signal.SIGINT), before)


class StartingTest(unittest.TestCase):
  def test_tensorflow_writes_nothing_unless_its_log_level_is_set(self):
    level = "TF_CPP_MIN_LOG_LEVEL"
    environment = {name: value for name, value in os.environ.items() if name != level}
    last = "train_mnist: updates=3: must be a multiple of evaluate_every=2\n"
    note = "I0000 00:00:1 1 a note of TensorFlow\n"
    for command, given, expected in (
      # Beyond the flags, so that TensorFlow is loaded.
      (["-c", _WRONG_UPDATES], {}, last),
      # Without TensorFlow, which takes seconds to load.
      (["-c", _NOTE, note], {}, ""),
      (["-c", _NOTE, note], {level: "0"}, note),
    ):
      done = subprocess.run(
        [sys.executable, *command],
        capture_output=True,
        text=True,
        check=False,
        env={**environment, **given},
      )
      self.assertEqual(done.stderr, expected)
      self.assertEqual(done.stdout, "keras\n" if expected == last else "")  # No scikit-learn.

  def test_help_and_wrong_flags_load_no_tensorflow(self):
    done = subprocess.run(
      [sys.executable, "-c", _HELP], capture_output=True, text=True, check=False
    )
    self.assertEqual(done.returncode, 0, done.stderr[-4000:])
    self.assertIn("--glimpse_side: ", done.stdout)
    self.assertEqual(done.stdout.splitlines()[-1], "loaded:")

  def test_a_program_must_be_known(self):
    command = [sys.executable, "-m", "wsram_tf.cli", "train_all"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    self.assertEqual(done.returncode, 1)
    self.assertIn("program='train_all': must be one of train_mnist, ", done.stderr)


if __name__ == "__main__":
  unittest.main()
