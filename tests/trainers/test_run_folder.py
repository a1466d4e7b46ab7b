"""What a run folder promises: whole files, and no run over another."""

import pathlib

import tensorflow as tf
from run_folder import RunFolder, RunFolderError


class RunFolderTest(tf.test.TestCase):
  def setUp(self):
    super().setUp()
    self.root = pathlib.Path(self.get_temp_dir())

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


if __name__ == "__main__":
  tf.test.main()
