"""The programs start quietly and without TensorFlow, and stop before a run without an hour left."""

import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import unittest

from tests.support import programs, small_runs

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
# Prints the modules of a few that are loaded after an error, and how the garbage collector is set.
_WRONG_UPDATES = """
import gc, sys
from wsram_tf.cli.programs.training import train_mnist
try:
  train_mnist(["--updates=3", "--evaluate_every=2"])
finally:
  print(*sorted({"keras", "matplotlib.pyplot", "pandas", "sklearn"} & sys.modules.keys()))
  print(gc.isenabled(), gc.get_freeze_count() > 100_000)
"""
# Writes a line to the standard error, as TensorFlow does where it is loaded.
_NOTE = """
import os, sys
from wsram_tf.serving.quiet import quiet_tensorflow
with quiet_tensorflow():
  os.write(2, sys.argv[1].encode())
"""


class StoppingTest(unittest.TestCase):
  def test_the_hours_of_a_comparison_hold_for_all_runs(self):
    before = signal.getsignal(signal.SIGINT)
    with tempfile.TemporaryDirectory() as folder:
      # No hour is left for a run.
      command = [*small_runs.CANVASES, *small_runs.PLAIN, "--estimators=variational", "--seeds=1"]
      (ending,) = programs.endings("compare", [*command, f"--out_dir={folder}", "--max_hours=1e-9"])
      self.assertEqual(ending, "75")
      self.assertFalse(pathlib.Path(folder, "variational", "seed_1").exists())
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
      # Keras alone of what it would import; the collector works, but not on the modules' objects.
      self.assertEqual(done.stdout, "keras\nTrue True\n" if expected == last else "")

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
