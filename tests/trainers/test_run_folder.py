"""What a run folder promises: whole files, and no run over another."""

import pathlib
import resource
import subprocess
import sys

import keras
import tensorflow as tf
from run_folder import RunFolder, RunFolderError

# Holds a lock as a training does, until it is killed.
_HOLD = """
import fcntl, sys, time
file = open(sys.argv[1], "w")
fcntl.flock(file, fcntl.LOCK_EX)
print("held", flush=True)
time.sleep(60)
"""


class RunFolderTest(tf.test.TestCase):
  def setUp(self):
    super().setUp()
    self.root = pathlib.Path(self.get_temp_dir()) / self.id().rpartition(".")[2]
    self.root.mkdir()

  def test_refuses_a_folder_that_holds_something(self):
    run = RunFolder(self.root / "run")
    run.check_new()
    run.create(["--units=8"])
    with self.assertRaisesRegex(RunFolderError, r"run_dir=.*holds another run.*--resume"):
      run.check_new()
    (self.root / "other").mkdir()
    (self.root / "other" / "letter.txt").write_text("dear")
    with self.assertRaisesRegex(RunFolderError, "must be empty"):
      RunFolder(self.root / "other").check_new()
    with self.assertRaisesRegex(RunFolderError, "is a file"):
      RunFolder(self.root / "other" / "letter.txt").check_new()

  def test_resumes_the_same_flags_only(self):
    run = RunFolder(self.root / "run")
    with self.assertRaisesRegex(RunFolderError, "holds no run"):
      run.check_resumable(["--units=8"])
    run.create(["--units=8"])
    run.check_resumable(["--units=8"])
    with self.assertRaisesRegex(RunFolderError, r"other flags.*--units=9"):
      run.check_resumable(["--units=9"])

  def test_metrics_come_back_up_to_an_update(self):
    run = RunFolder(self.root / "run")
    run.create([])
    run.write_metrics([{"update": 1.0, "loss": 0.5}, {"update": 2.0, "loss": 0.25}])
    self.assertEqual(run.read_metrics(until_update=1), [{"update": 1.0, "loss": 0.5}])

  def test_a_failed_write_leaves_what_was_there(self):
    run = RunFolder(self.root / "run")
    run.create([])
    run.write_json(run.results, {"error": 1})
    with self.assertRaises(TypeError):
      run.write_json(run.results, {"error": object()})
    self.assertIn("1", run.results.read_text())

  def test_a_disk_that_takes_no_more_is_named_and_keeps_what_was_there(self):
    run = RunFolder(self.root / "run")
    run.create([])
    run.write_text(run.class_names, "zero\n")
    learner = keras.Sequential([keras.Input([100]), keras.layers.Dense(100)])
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    try:
      for path, write in (
        (run.class_names, lambda: run.write_text(run.class_names, "one\n" * 2000)),
        (run.model, lambda: run.save_learner(run.model, learner)),
      ):
        with self.assertRaisesRegex(
          RunFolderError, rf"run_dir=.*: {path.name} cannot be written, File too large; what was"
        ):
          write()
    finally:
      resource.setrlimit(resource.RLIMIT_FSIZE, before)
    self.assertEqual(run.class_names.read_text(), "zero\n")
    self.assertFalse(run.model.exists())
    self.assertEqual(list(run.path.rglob("partial-*")), [])

  def test_rows_of_an_older_version_lack_newer_figures(self):
    run = RunFolder(self.root / "run")
    run.create(["--units=8"])
    self.addCleanup(run.release)
    rows = [{"update": 1, "loss": 0.5}, {"update": 2, "loss": 0.25, "val_loss": 2.0}]
    run.write_metrics(rows)
    self.assertEqual(run.read_metrics(until_update=2), rows)

  def test_two_processes_cannot_share_it_and_a_killed_one_lets_go(self):
    run = RunFolder(self.root / "run")
    run.create(["--units=8"])
    run.release()
    other = subprocess.Popen(
      [sys.executable, "-c", _HOLD, str(run.path / ".lock")], stdout=subprocess.PIPE, text=True
    )
    self.assertEqual(other.stdout.readline(), "held\n")
    with self.assertRaisesRegex(RunFolderError, r"run_dir=.*run: another process is training in"):
      run.create(["--units=8"], resume=True)
    other.kill()
    other.communicate()
    run.create(["--units=8"], resume=True)
    with self.assertRaisesRegex(RunFolderError, "another process"):
      RunFolder(self.root / "run").lock()
    run.release()

  def test_of_two_new_runs_one_gets_it(self):
    first, second = RunFolder(self.root / "run"), RunFolder(self.root / "run")
    first.check_new()
    second.check_new()
    first.create(["--units=8"])
    first.release()
    with self.assertRaisesRegex(RunFolderError, "holds another run"):
      second.create(["--units=8"])

  def test_what_a_kill_leaves_is_cleared_away(self):
    run = RunFolder(self.root / "run")
    run.path.mkdir()
    for name in (".lock", "partial-flags.flags"):  # Killed before the flags were there.
      (run.path / name).write_text("")
    run.check_new()
    run.create(["--units=8"])
    run.release()
    for path in ("partial-model.keras", "checkpoints/partial-x.keras", "checkpoints/tmpab_12cd9"):
      (run.path / path).write_text("")
    (run.path / "tmpfs.txt").write_text("mine")
    run.create(["--units=8"], resume=True)
    left = {path.name for path in run.path.rglob("*")}
    self.assertEqual(left, {".lock", "checkpoints", "flags.flags", "tmpfs.txt"})


if __name__ == "__main__":
  tf.test.main()
