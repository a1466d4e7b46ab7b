"""A run resumes to the same end after any stop, any damage to its newest file, and any error."""

import contextlib
import io
import pathlib
import random
import re
import shutil
import time
from unittest import mock

import keras
import numpy as np
import tensorflow as tf

from wsram_tf.runs.checkpoints import Checkpoints
from wsram_tf.runs.folder import RunFolder, RunFolderError
from wsram_tf.runs.loop.intervals import Interval
from wsram_tf.runs.loop.recorder import RunRecorder
from wsram_tf.runs.record import Settings

EVERY, UPDATES = 2, 8
# The figure that chooses the weights, by update: twice the best so far, then worse.
SCORES = {2: 1.0, 4: 2.0, 6: 0.0, 8: 1.5}


class Stopped(BaseException):
  """Ends the code that it meets as a kill does."""


class Score(keras.callbacks.Callback):
  """Adds the figure that chooses the weights."""

  def on_epoch_end(self, epoch, logs=None):
    logs["score"] = SCORES[int(self.model.optimizer.iterations)]


def batches(start: int) -> tf.data.Dataset:
  """Endless batches, each a function of its number."""

  def draw(step):
    images = tf.random.stateless_normal([4, 3], tf.stack([step, 1]))
    return images, tf.reduce_sum(images**2, axis=1, keepdims=True)

  return tf.data.Dataset.counter(start).map(draw)


def make_learner() -> keras.Model:
  """A small real model with a real optimizer."""
  keras.utils.set_random_seed(1)
  return keras.Sequential([keras.Input([3]), keras.layers.Dense(2, "tanh"), keras.layers.Dense(1)])


def train(folder: pathlib.Path, *, resume: bool = False, updates: int = UPDATES) -> RunFolder:
  """Trains to the end as `runs.train` does, with its folder, checkpoints and recorder."""
  run = RunFolder(folder)
  try:
    run.create(Settings(["--units=2"]), resume=resume)
    learner = Checkpoints(run).load_last()
    if learner is None:
      learner = make_learner()
      learner.compile(keras.optimizers.Adam(0.05), "mse", run_eagerly=True)  # Starts fast.
    start = int(learner.optimizer.iterations)
    recorder = RunRecorder(run, 4, start, "score")
    if start < updates:
      learner.fit(
        batches(start),
        initial_epoch=start // EVERY,
        epochs=updates // EVERY,
        steps_per_epoch=EVERY,
        validation_data=batches(1000).take(1),
        callbacks=[Score(), recorder],
        verbose=0,
        shuffle=False,
      )
  finally:
    run.release()
  return run


def ending(run: RunFolder) -> dict[str, bytes]:
  """All weights and optimizer variables of the last and the best learner, and all figures."""
  checkpoints, found = Checkpoints(run), {}
  with contextlib.redirect_stdout(io.StringIO()):
    learners = {"last": checkpoints.load_last(), "best": checkpoints.load_best()}
  for name, learner in learners.items():
    for i, variable in enumerate([*learner.weights, *learner.optimizer.variables]):
      found[f"{name} {i}"] = np.asarray(variable).tobytes()
  for row in run.read_metrics(until_update=UPDATES):
    for name, value in row.items():
      if "second" not in name:
        found[f"{row['update']} {name}"] = repr(value)
  return found


def names(run: RunFolder) -> list[str]:
  """Of the files in the folder of checkpoints."""
  return sorted(path.name for path in run.checkpoints.iterdir())


class CheckpointsTest(tf.test.TestCase):
  def setUp(self):
    super().setUp()
    self.folder = pathlib.Path(self.get_temp_dir()) / self.id().rpartition(".")[2]
    self.folder.mkdir()

  def load(self, run: RunFolder) -> tuple[keras.Model | None, str]:
    """Loads the learner to resume from, and the printed text."""
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
      learner = Checkpoints(run).load_last()
    return learner, output.getvalue()

  def save(self, run: RunFolder, best: dict[int, bool]) -> None:
    """Saves a learner as of each update; whether it was the best so far."""
    learner = make_learner()
    learner.compile(keras.optimizers.Adam(), "mse", jit_compile=False)
    learner.optimizer.build(learner.trainable_variables)
    for update, is_best in best.items():
      learner.optimizer.iterations.assign(update)
      Checkpoints(run).save(learner, is_best=is_best)

  def new_run(self, name: str = "run") -> RunFolder:
    run = RunFolder(self.folder / name)
    run.create(Settings([]))
    self.addCleanup(run.release)
    return run

  def test_stopped_before_any_rename_it_ends_the_same(self):
    updates, rename = 2 * EVERY, pathlib.Path.replace
    whole = ending(train(self.folder / "whole", updates=updates))
    for number in range(100):
      run_dir, left = self.folder / f"stopped_{number}", iter(range(number))

      def stop(path, target, left=left):
        if next(left, None) is None:
          shutil.copy(path, path.with_name(f"{path.name}.half"))
          raise Stopped
        return rename(path, target)

      try:
        with mock.patch.object(pathlib.Path, "replace", stop):
          train(run_dir, updates=updates)
        break  # There are not so many renames.
      except Stopped:
        pass
      for half in run_dir.rglob("*.half"):  # A kill leaves them, and an exception does not.
        half.write_bytes(half.read_bytes()[: half.stat().st_size // 2])
        half.replace(half.with_suffix(""))
      self.assertLen(list(run_dir.rglob("partial-*")), 1)
      with contextlib.redirect_stdout(io.StringIO()):
        run = train(run_dir, resume=(run_dir / "flags.flags").exists(), updates=updates)
      self.assertEqual(ending(run), whole, number)
      self.assertEqual(list(run_dir.rglob("partial-*")), [])
    # The flags, then metrics, the best and the last learner for each evaluation.
    self.assertEqual(number, 1 + 3 * updates // EVERY)

  def test_after_a_cut_at_any_byte_the_checkpoint_before_is_used_and_named(self):
    stopped = train(self.folder / "stopped")
    whole, generator = ending(stopped), random.Random(1)
    size = (stopped.checkpoints / "update-00000008.keras").stat().st_size
    for length in (0, size - 1, generator.randrange(size), generator.randrange(size)):
      shutil.copytree(stopped.path, self.folder / f"cut_{length}")
      run = RunFolder(self.folder / f"cut_{length}")
      for path in run.checkpoints.glob("*-00000008.keras"):
        with path.open("r+b") as file:
          file.truncate(length)
      output = io.StringIO()
      with contextlib.redirect_stdout(output):
        train(run.path, resume=True)
      self.assertIn("update-00000008.keras (", output.getvalue())
      self.assertIn("resumes from", output.getvalue())
      self.assertIn("update-00000006.keras\n", output.getvalue())
      self.assertEqual(ending(run), whole)

  def test_a_wrong_byte_is_found(self):
    run = self.new_run()
    self.save(run, {2: True, 4: False})
    path = run.checkpoints / "update-00000004.keras"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    learner, output = self.load(run)
    self.assertEqual(int(learner.optimizer.iterations), 2)
    self.assertIn("update-00000004.keras (the checksum of", output)

  def test_a_stopped_learner_is_loaded_unless_it_is_damaged_or_evaluated(self):
    run, interval = self.new_run(), Interval(2, 1, [(0.25, 1)], {"loss": [0.1, float("inf")]})
    self.save(run, {2: True})
    learner = make_learner()
    learner.compile(keras.optimizers.Adam(), "mse", jit_compile=False)
    learner.optimizer.build(learner.trainable_variables)
    for update in (3, 4):
      learner.optimizer.iterations.assign(update)
      Checkpoints(run).save_stopped(learner, interval)
    self.assertEqual([name for name in names(run) if "3" in name], [])
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
      loaded, read = Checkpoints(run).load_stopped()
    self.assertEqual((int(loaded.optimizer.iterations), read), (4, interval))
    whole = {path: path.read_bytes() for path in run.checkpoints.iterdir()}
    for name, content, reason in (
      ("stopped-00000004.keras", lambda old: old[:-30], "File is not a zip file"),
      ("stopped-00000004.json", lambda old: old[:-30], "stopped-00000004.json: must describe"),
      ("stopped-00000004.json", lambda old: b"{}", "stopped-00000004.json: must describe"),
      ("stopped-00000004.json", lambda old: old.replace(b": 2", b": 3"), "continues update 3"),
      ("best-00000002.keras", lambda old: old[:-30], "the best checkpoint before it is damaged"),
    ):
      path = run.checkpoints / name
      path.write_bytes(content(whole[path]))
      with self.subTest(reason), contextlib.redirect_stdout(io.StringIO()) as output:
        self.assertIsNone(Checkpoints(run).load_stopped())
      self.assertIn(f"damaged and skipped: stopped-00000004.keras ({reason}", output.getvalue())
      path.write_bytes(whole[path])
    shutil.copy(
      run.checkpoints / "update-00000002.keras", run.checkpoints / "update-00000004.keras"
    )
    self.assertIsNone(Checkpoints(run).load_stopped())
    self.save(run, {6: False})
    self.assertEqual([name for name in names(run) if name.startswith("stopped")], [])

  def test_keeps_the_last_two_and_the_best_up_to_each(self):
    run = self.new_run()
    self.save(run, {2: True, 4: True, 6: False, 8: False})
    self.assertEqual(
      names(run), ["best-00000004.keras", "update-00000006.keras", "update-00000008.keras"]
    )
    self.save(run, {10: True})
    self.assertEqual(
      names(run),
      [
        "best-00000004.keras",
        "best-00000010.keras",
        "update-00000008.keras",
        "update-00000010.keras",
      ],
    )
    # After a return to update 8, the best up to update 8 is still there.
    for path in run.checkpoints.glob("*-00000010.keras"):
      path.write_bytes(b"PK")
    self.load(run)
    self.assertEqual(int(Checkpoints(run).load_best().optimizer.iterations), 4)

  def test_returns_to_an_earlier_update_to_recreate_lost_best_weights(self):
    run = self.new_run()
    self.save(run, {2: True, 4: False, 6: True})
    (run.checkpoints / "best-00000006.keras").write_bytes(b"PK")
    learner, output = self.load(run)
    self.assertEqual(int(learner.optimizer.iterations), 4)
    self.assertIn("best-00000006.keras (", output)
    self.assertEqual(names(run), ["best-00000002.keras", "update-00000004.keras"])
    (run.checkpoints / "best-00000002.keras").unlink()
    learner, output = self.load(run)
    self.assertIn("the best weights are lost; update-00000004.keras replaces them", output)
    self.assertEqual(int(Checkpoints(run).load_best().optimizer.iterations), 4)

  def test_refuses_where_all_are_damaged_and_removes_nothing(self):
    run = self.new_run()
    self.assertEqual(self.load(run), (None, ""))
    for name in ("update-00000002.keras", "best-00000002.keras"):
      (run.checkpoints / name).write_bytes(b"no zip file")
    with self.assertRaisesRegex(
      RunFolderError, r"run_dir=.*all checkpoints are damaged: update-00000002.*best-00000002"
    ):
      Checkpoints(run).load_last()
    with self.assertRaisesRegex(RunFolderError, r"best checkpoint cannot be read: best-00000002"):
      Checkpoints(run).load_best()
    self.assertLen(names(run), 2)

  def test_a_finished_run_is_left_as_it_is(self):
    run = train(self.folder / "run")
    before = {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()}
    with contextlib.redirect_stdout(io.StringIO()):
      train(run.path, resume=True)
    after = {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()}
    self.assertEqual(after, before)

  def test_figures_must_reach_the_checkpoint(self):
    run = train(self.folder / "run")
    run.write_metrics(run.read_metrics(until_update=6))
    message = re.escape("metrics.csv must have a row for update 8")
    with contextlib.redirect_stdout(io.StringIO()):
      self.assertRaisesRegex(RunFolderError, message, train, run.path, resume=True)
    run.metrics.write_text("update,loss\n2,0.5\n4\n")
    with contextlib.redirect_stdout(io.StringIO()):
      self.assertRaisesRegex(RunFolderError, "is damaged", train, run.path, resume=True)

  def test_tensorboard_drops_what_is_written_again(self):
    run_dir = self.folder / "run"
    run = train(run_dir)
    for path in run.checkpoints.glob("*-00000008.keras"):
      path.write_bytes(b"PK")
    # The clock was a day ahead and has been set right since.
    (written,) = run.tensorboard.iterdir()
    seconds = written.name.split(".")[3]
    written.rename(str(written).replace(seconds, str(int(seconds) + 24 * 3600)))
    with contextlib.redirect_stdout(io.StringIO()):
      train(run_dir, resume=True)
    newest = max(int(path.name.split(".")[3]) for path in run.tensorboard.iterdir())
    self.assertLessEqual(newest, time.time())
    starts, steps = [], []
    for path in sorted(run.tensorboard.iterdir()):
      for event in tf.compat.v1.train.summary_iterator(str(path)):
        if event.HasField("session_log"):
          starts.append(event.step)
          # TensorBoard drops this step and later ones too.
          steps = [step for step in steps if step < event.step]
        elif any(value.tag == "training/loss" for value in event.summary.value):
          steps.append(event.step)
    self.assertEqual(starts, [7])
    self.assertEqual(steps, [2, 4, 6, 8])


if __name__ == "__main__":
  tf.test.main()
