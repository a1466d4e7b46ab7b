"""A run folder: complete files, its lock, and refusals of folders that do not fit."""

import pathlib
import resource
import subprocess
import sys

import keras
import tensorflow as tf

from wsram_tf.runs.folder import CLASS_NAMES, RunFolder, RunFolderError
from wsram_tf.runs.record import Settings

SETTINGS = Settings(["--units=8"])

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
    run.create(SETTINGS)
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
      run.check_resumable(SETTINGS)
    run.create(SETTINGS)
    run.check_resumable(SETTINGS)
    with self.assertRaisesRegex(RunFolderError, r"other flags.*--units=9"):
      run.check_resumable(Settings(["--units=9"]))

  def test_metrics_come_back_up_to_an_update(self):
    run = RunFolder(self.root / "run")
    run.create(SETTINGS)
    run.write_metrics([{"update": 1.0, "loss": 0.5}, {"update": 2.0, "loss": 0.25}])
    self.assertEqual(run.read_metrics(until_update=1), [{"update": 1.0, "loss": 0.5}])

  def test_a_failed_write_leaves_the_old_content(self):
    run = RunFolder(self.root / "run")
    run.create(SETTINGS)
    run.write_json(run.results, {"error": 1})
    with self.assertRaises(TypeError):
      run.write_json(run.results, {"error": object()})
    self.assertIn("1", run.results.read_text())

  def test_a_full_disk_is_named_and_old_content_stays(self):
    run = RunFolder(self.root / "run")
    run.create(SETTINGS)
    names = run.path / CLASS_NAMES
    run.write_names(CLASS_NAMES, ["zero"])
    learner = keras.Sequential([keras.Input([100]), keras.layers.Dense(100)])
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    try:
      for path, write in (
        (names, lambda: run.write_names(CLASS_NAMES, ["one"] * 2000)),
        (run.model, lambda: run.save_learner(run.model, learner)),
      ):
        with self.assertRaisesRegex(
          RunFolderError, rf"run_dir=.*: {path.name} cannot be written, File too large; its old"
        ):
          write()
    finally:
      resource.setrlimit(resource.RLIMIT_FSIZE, before)
    self.assertEqual(run.read_names(CLASS_NAMES), ("zero",))
    self.assertFalse(run.model.exists())
    self.assertEqual(list(run.path.rglob("partial-*")), [])

  def test_rows_of_an_older_version_lack_newer_figures(self):
    run = RunFolder(self.root / "run")
    run.create(SETTINGS)
    self.addCleanup(run.release)
    rows = [{"update": 1, "loss": 0.5}, {"update": 2, "loss": 0.25, "val_loss": 2.0}]
    run.write_metrics(rows)
    self.assertEqual(run.read_metrics(until_update=2), rows)

  def test_two_processes_cannot_share_it_and_a_kill_frees_it(self):
    run = RunFolder(self.root / "run")
    run.create(SETTINGS)
    run.release()
    other = subprocess.Popen(
      [sys.executable, "-c", _HOLD, str(run.path / ".lock")], stdout=subprocess.PIPE, text=True
    )
    self.assertEqual(other.stdout.readline(), "held\n")
    with self.assertRaisesRegex(RunFolderError, r"run_dir=.*run: another process is training in"):
      run.create(SETTINGS, resume=True)
    other.kill()
    other.communicate()
    run.create(SETTINGS, resume=True)
    with self.assertRaisesRegex(RunFolderError, "another process"):
      RunFolder(self.root / "run").lock()
    run.release()

  def test_of_two_new_runs_one_gets_it(self):
    first, second = RunFolder(self.root / "run"), RunFolder(self.root / "run")
    first.check_new()
    second.check_new()
    first.create(SETTINGS)
    first.release()
    with self.assertRaisesRegex(RunFolderError, "holds another run"):
      second.create(SETTINGS)

  def test_only_a_finished_run_is_finished(self):
    run = RunFolder(self.root / "run")
    with self.assertRaisesRegex(RunFolderError, r"begin_with=.*run: holds no finished run, model"):
      run.check_finished("begin_with")
    run.create(SETTINGS)
    self.addCleanup(run.release)
    with self.assertRaisesRegex(RunFolderError, "run_dir=.*run: holds no finished run"):
      run.check_finished()
    run.model.touch()
    run.check_finished()

  def test_a_reader_writes_nothing(self):
    run = RunFolder(self.root / "run", is_writer=False)
    run.create(SETTINGS)
    run.lock()
    self.assertFalse(run.path.exists())

  def test_leftovers_of_a_kill_are_removed(self):
    run = RunFolder(self.root / "run")
    run.path.mkdir()
    for name in (".lock", "partial-flags.flags"):  # Killed before the flags were there.
      (run.path / name).write_text("")
    run.check_new()
    run.create(SETTINGS)
    run.release()
    for path in ("partial-model.keras", "checkpoints/partial-x.keras", "checkpoints/tmpab_12cd9"):
      (run.path / path).write_text("")
    (run.path / "tmpfs.txt").write_text("mine")
    run.create(SETTINGS, resume=True)
    left = {path.name for path in run.path.rglob("*")}
    self.assertEqual(left, {".lock", "checkpoints", "flags.flags", "tmpfs.txt"})


if __name__ == "__main__":
  tf.test.main()
