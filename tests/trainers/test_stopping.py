"""How programs start and stop: quietly, and on Ctrl-C with one line that says how to go on."""

import os
import pathlib
import signal
import subprocess
import sys
import time

import file_locks
import tensorflow as tf

from tests import programs, small_runs

_LONG = (*small_runs.CANVASES, "--num_glimpses=1", "--updates=20000", "--evaluate_every=20")


class StoppingTest(tf.test.TestCase):
  def setUp(self):
    super().setUp()
    self.folder = pathlib.Path(self.get_temp_dir()) / self.id().rpartition(".")[2]
    self.folder.mkdir()

  def stop(self, run_dir: pathlib.Path, program: str, *arguments: str) -> tuple[int, list[str]]:
    """Starts a program, sends it alone a SIGINT after a checkpoint; its status and its errors."""
    environment = {**os.environ, "TF_NUM_INTRAOP_THREADS": "1", "PYTHONPATH": str(programs.ROOT)}
    process = subprocess.Popen(
      [sys.executable, "-m", f"trainers.{program}", *_LONG, *arguments],
      stdout=subprocess.DEVNULL,
      stderr=subprocess.PIPE,
      text=True,
      cwd=programs.ROOT,
      env=environment,
    )
    while not list(run_dir.glob("checkpoints/update-*.keras")) and process.poll() is None:
      time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=120)
    self.assertNotIn("Traceback", errors)
    self.assertEqual(list(run_dir.rglob("*partial*")), [])
    return process.returncode, [line for line in errors.splitlines() if line]

  def test_a_training_says_how_to_go_on(self):
    run_dir = self.folder / "run"
    status, errors = self.stop(run_dir, "train_mnist", f"--run_dir={run_dir}")
    self.assertEqual(status, 130)
    self.assertEqual(errors[-1], f"train_mnist: stopped; go on with --resume --run_dir={run_dir}")
    # With these flags alone, it does: one that differs is refused by the value that the run has.
    (ending,) = programs.endings(
      "train_mnist", ["--resume", f"--run_dir={run_dir}", "--updates=100"]
    )
    self.assertIn("other flags than these (--updates=100, not --updates=20000)", ending)

  def test_a_comparison_ends_the_run_that_it_is_at(self):
    out_dir = self.folder / "out"
    run_dir = out_dir / "vimco" / "seed_1"
    flags = ("--estimators=vimco", "--seeds=1", f"--out_dir={out_dir}")
    status, errors = self.stop(run_dir, "compare_estimators", *flags)
    self.assertEqual(status, 130)
    self.assertEqual(
      errors[-1], "compare_estimators: stopped; start again with the same flags to go on"
    )
    with file_locks.held(run_dir / ".lock"):  # Nobody trains there any more.
      pass


class StartingTest(tf.test.TestCase):
  def test_tensorflow_writes_nothing_unless_it_is_asked_to(self):
    level = "TF_CPP_MIN_LOG_LEVEL"
    environment = {name: value for name, value in os.environ.items() if name != level}
    command = [sys.executable, "-m", "trainers.train_mnist", "units=3"]
    for given, expected in (({}, False), ({level: "0"}, True)):
      done = subprocess.run(
        command, capture_output=True, text=True, cwd=programs.ROOT, env={**environment, **given}
      )
      *notes, last = [line for line in done.stderr.splitlines() if line]
      self.assertEqual(last, "train_mnist: 'units=3': not a flag; write --NAME=VALUE")
      self.assertEqual(bool(notes), expected, done.stderr)


if __name__ == "__main__":
  tf.test.main()
