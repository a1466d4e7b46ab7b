"""A run that SIGTERM or the limit of hours stops at any moment resumes to the same end."""

import contextlib
import dataclasses
import io
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from unittest import mock

import keras
import tensorflow as tf

import wsram_tf
from tests.support import small_runs
from wsram_tf import runs
from wsram_tf.runs import training
from wsram_tf.runs.loop import stop_requests
from wsram_tf.runs.loop.stop_requests import StopRequests, Terminated
from wsram_tf.runs.loop.stopper import Stopper

# Enters the block and spends a minute in an execution that nothing interrupts.
_LONG_EXECUTION = """
import sys, time
from wsram_tf.runs.loop import stop_requests
stop_requests.GRACE_SECONDS = 0.1
with stop_requests.StopRequests(lambda: "a farewell") as requests:
  requests.is_deferred = True
  print("entered", flush=True)
  time.sleep(60)
"""


class Terminate(keras.callbacks.Callback):
  """Sends SIGTERM to this process, at one moment of the training."""

  def __init__(self, moment: str):
    super().__init__()
    self.moment = moment
    self.began = False

  def reach(self, moment: str) -> None:
    if moment == self.moment:
      os.kill(os.getpid(), signal.SIGTERM)

  def on_train_begin(self, logs=None):
    self.began = True
    self.reach("begin")

  def on_epoch_begin(self, epoch, logs=None):
    self.reach(f"epoch {epoch}")

  def on_train_batch_end(self, batch, logs=None):
    self.reach(f"update {int(self.model.optimizer.iterations)}")

  def on_test_begin(self, logs=None):
    self.reach(f"evaluation of {int(self.model.optimizer.iterations)}")

  def on_test_batch_end(self, batch, logs=None):
    self.reach(f"evaluation of {int(self.model.optimizer.iterations)}, batch {batch}")

  def on_epoch_end(self, epoch, logs=None):
    logs["began"] = float(self.began)  # As a callback adds figures that it has prepared.
    self.reach(f"end of epoch {epoch}")


# What is left behind: the update of the checkpoint to resume from, and whether it is evaluated.
_MOMENTS = {
  "begin": (0, True),
  "limit 1": (1, False),
  "limit 2": (2, False),
  "evaluation of 3": (3, False),
  "evaluation of 3, batch 0": (3, False),
  "end of epoch 0": (3, False),
  "epoch 1": (4, False),
  "update 5": (5, False),
  "evaluation of 6": (6, False),
}
_OPTIMIZER = wsram_tf.OptimizerConfig(updates=6)
_TRAINING = dataclasses.replace(small_runs.TRAINING, evaluate_every=3)
# Stops after each update.
_LIMITED = dataclasses.replace(_TRAINING, max_hours=1e-9)


def train(run_dir: pathlib.Path, moment: str = "", **options) -> runs.TrainedRun:
  """Trains, one update an execution."""
  task = small_runs.array_task()
  task.callbacks = lambda: [Terminate(moment)]
  options = {"training": _TRAINING, "optimizer": _OPTIMIZER} | options
  with contextlib.redirect_stdout(io.StringIO()):
    return runs.train(task, run_dir, **options)


def figures(run_dir: pathlib.Path) -> tuple:
  """Returns everything but times: results, rows, the last and the chosen learner."""
  rows = [
    {name: value for name, value in row.items() if "second" not in name}
    for row in small_runs.rows(run_dir)
  ]
  states = [
    [one.tobytes() for one in small_runs.state(path)]
    for path in (run_dir / "model.keras", run_dir / "checkpoints" / "update-00000006.keras")
  ]
  return small_runs.figures(run_dir), rows, states


class StoppedRunTest(tf.test.TestCase):
  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    small_runs.run_eagerly(cls.addClassCleanup)
    cls.enter_context(mock.patch.object(training, "MOST_STEPS_PER_EXECUTION", 1))
    cls.folder = pathlib.Path(tempfile.mkdtemp())
    cls.addClassCleanup(shutil.rmtree, cls.folder)
    cls.whole = figures(train(cls.folder / "whole").path)

  def left(self, run_dir: pathlib.Path) -> tuple[int, bool]:
    """Returns the update that a stopped run resumes from, and whether it is evaluated."""
    stopped = [path.name for path in run_dir.glob("checkpoints/stopped-*")]
    if stopped:
      self.assertLen(stopped, 2)
      return int(stopped[0].split("-")[1].split(".")[0]), False
    evaluated = [int(path.stem[7:]) for path in run_dir.glob("checkpoints/update-*.keras")]
    return max(evaluated, default=0), True

  def test_a_run_that_sigterm_or_its_limit_stops_at_every_moment_ends_the_same(self):
    run_dir = self.folder / "stopped"
    for moment, left in _MOMENTS.items():
      with self.subTest(moment):
        # The limit may change from one start to the next.
        limited = moment.startswith("limit")
        options = {"training": _LIMITED} if limited else {}
        reason = f"by max_hours=1e-09 after.* {left[0]}$" if limited else "stopped by SIGTERM"
        # With a signal in an evaluation, nothing is trained after it.
        with self.assertRaisesRegex(runs.RunStoppedError, reason):
          train(run_dir, moment, resume=run_dir.exists(), **options)
        self.assertEqual(self.left(run_dir), left)
        self.assertEqual(signal.getsignal(signal.SIGTERM), signal.SIG_DFL)
    train(run_dir, resume=True)
    self.assertEqual(figures(run_dir), self.whole)
    self.assertEqual(list(run_dir.rglob("stopped-*")), [])

  def test_counts_the_updates_that_it_skipped_before_the_stop(self):
    options = {
      "training": dataclasses.replace(_TRAINING, on_nan="skip"),
      "optimizer": wsram_tf.OptimizerConfig(updates=6, learning_rate=1e38, schedule="constant"),
    }
    run_dir = self.folder / "skipping"
    for moment in ("update 2", "evaluation of 3"):
      with self.assertRaises(runs.RunStoppedError):
        train(run_dir, moment, resume=run_dir.exists(), **options)
    train(run_dir, resume=True, **options)
    skipped = [float(row["skipped_updates"]) for row in small_runs.rows(run_dir)]
    self.assertEqual(skipped, [2.0, 3.0])


class StopRequestsTest(tf.test.TestCase):
  def test_sigterm_raises_at_once_unless_the_loop_defers_it(self):
    with self.assertRaises(Terminated), StopRequests():
      os.kill(os.getpid(), signal.SIGTERM)
    with StopRequests() as requests:
      requests.is_deferred = True
      self.assertIsNone(requests.reason)
      os.kill(os.getpid(), signal.SIGTERM)
      self.assertEqual(requests.reason, "SIGTERM")
      os.kill(os.getpid(), signal.SIGTERM)  # A second one changes nothing.
      with self.assertRaises(Terminated):
        requests.raise_now()

  def test_a_ctrl_c_that_other_code_discards_is_raised_again(self):
    before = signal.getsignal(signal.SIGINT)
    self.addCleanup(signal.signal, signal.SIGINT, before)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with StopRequests() as requests:
      stopper = Stopper(requests)
      stopper.on_train_batch_end(0)
      with contextlib.suppress(KeyboardInterrupt):  # As Keras does.
        os.kill(os.getpid(), signal.SIGINT)
      with self.assertRaises(KeyboardInterrupt):
        stopper.on_train_batch_end(1)
    self.assertEqual(signal.getsignal(signal.SIGINT), signal.default_int_handler)

  def test_the_limit_counts_from_the_start_by_a_clock_that_never_jumps(self):
    with mock.patch.object(stop_requests.time, "monotonic") as clock:
      clock.return_value = 100.0
      requests = StopRequests()
      self.assertIsNone(requests.hours_left)
      requests.limit_hours(2.0)
      for seconds, left in ((100.0, 2.0), (3700.0, 1.0), (7299.9, None), (7300.0, 0.0)):
        clock.return_value = seconds
        self.assertEqual(requests.reason, "max_hours=2" if left == 0 else None)
        if left is not None:
          self.assertAlmostEqual(requests.hours_left, left)

  def test_an_execution_that_outlasts_the_grace_period_is_abandoned(self):
    process = subprocess.Popen(
      [sys.executable, "-c", _LONG_EXECUTION], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    process.stdout.readline()
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=30)
    self.assertEqual(process.returncode, stop_requests.STOPPED_STATUS)
    self.assertEqual(errors, b"\na farewell\n")

  def test_leaves_the_signals_of_others_alone(self):
    own = mock.Mock()
    self.addCleanup(signal.signal, signal.SIGTERM, signal.signal(signal.SIGTERM, own))
    with StopRequests() as requests:
      os.kill(os.getpid(), signal.SIGTERM)
      self.assertIsNone(requests.reason)
    own.assert_called_once()
    entered = []
    with mock.patch.object(signal, "signal", side_effect=AssertionError):
      thread = threading.Thread(target=lambda: entered.append(StopRequests().__enter__()))
      thread.start()
      thread.join()
    self.assertLen(entered, 1)


if __name__ == "__main__":
  tf.test.main()
