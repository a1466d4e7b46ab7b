"""Runs are loaded with their figures and extensions; damaged ones are refused by name."""

import shutil

import tensorflow as tf

from tests.support.serving import exports
from wsram_tf import objectives
from wsram_tf.export import finished_run

DAMAGED = [
  ("model.keras", lambda contents: contents[: len(contents) // 2], "model.keras must be whole"),
  ("model.keras", lambda contents: b"", "model.keras must be whole"),
  ("results.json", lambda contents: contents[:-2], "results.json must be as training wrote it"),
  ("results.json", lambda contents: b"[1]", "results.json must be as training wrote it"),
]


class FinishedRunTest(tf.test.TestCase):
  def setUp(self):
    super().setUp()
    self.folder = exports.temporary_folder(self)
    self.run_dir = shutil.copytree(exports.run_dir(), self.folder / "run")

  def test_a_run_with_an_extension_loads(self):
    # Removed again when the test ends.
    self.addCleanup(objectives.ESTIMATORS.pop, "mine", None)
    extension, flagfile = self.folder / "loss.py", self.run_dir / "flags.flags"
    extension.write_text(
      "import wsram_tf\n"
      "wsram_tf.register_estimator('mine', wsram_tf.Estimator('mine', 'prior', lambda scored: 0))\n"
    )
    flagfile.write_text(f"--extension={self.folder / 'moved.py'}\n")
    with self.assertRaisesRegex(ValueError, r"extension=.*moved\.py: there is no such file"):
      finished_run.load_run(self.run_dir)
    finished_run.load_run(self.run_dir, [extension])
    self.assertEqual(objectives.ESTIMATORS["mine"].help, "mine")
    flagfile.write_text(f"--units=8\n--extension={extension}\n")
    finished_run.load_run(self.run_dir)

  def test_damaged_runs_are_refused(self):
    for file, damage, words in DAMAGED:
      whole = (self.run_dir / file).read_bytes()
      (self.run_dir / file).write_bytes(damage(whole))
      with self.subTest(words), self.assertRaisesRegex(ValueError, words) as caught:
        finished_run.load_run(self.run_dir)
      self.assertIn(str(self.run_dir), str(caught.exception))
      (self.run_dir / file).write_bytes(whole)
    finished_run.load_run(self.run_dir)

  def test_a_folder_without_model_is_refused(self):
    with self.assertRaisesRegex(ValueError, "holds no finished run, model.keras is missing"):
      finished_run.load_run(self.folder)

  def test_a_model_that_is_no_learner_is_refused(self):
    exports.network().save(self.run_dir / "model.keras")
    with self.assertRaisesRegex(ValueError, "must hold a WakeSleepLearner; got PredictionNetwork"):
      finished_run.load_run(self.run_dir)

  def test_a_run_without_results_has_no_error(self):
    self.assertEqual(finished_run.load_run(self.run_dir).test_error_percent, 12.5)
    (self.run_dir / "results.json").unlink()
    run = finished_run.load_run(self.run_dir)
    self.assertIsNone(run.test_error_percent)
    self.assertEqual((run.source, run.class_names, run.fit), ("run run", (), "resize"))


if __name__ == "__main__":
  tf.test.main()
