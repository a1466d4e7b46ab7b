"""The record of a run: settings as lines, their differences, and paths; no TensorFlow."""

import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

import wsram_tf
from wsram_tf.runs import record
from wsram_tf.runs.record import Settings

# Runs of `python trainers/PROGRAM.py` before runs recorded their program.
_OLD_RUNS = {
  "train_mnist": ["--canvas_side=100", "--units=8"],
  "train_classifier": ["--image_height=32", "--units=8"],
  "train_captions": ["--beam_width=3", "--canvas_side=64"],
}


def _is_keras_file(value: str) -> bool:
  return value.endswith(".keras")


class DifferencesTest(unittest.TestCase):
  def test_lists_what_differs_and_nothing_that_is_free(self):
    written = ["# program: train_mnist", "--units=32", "--on_nan=stop", "--data_dir=/a"]
    asked = Settings(["--units=64", "--on_nan=skip", "--extension=/b/loss.py"])
    self.assertEqual(record.differences(written, Settings(written)), [])
    self.assertEqual(record.differences(written, asked), ["--units=64, not --units=32"])
    self.assertEqual(record.differences([], Settings(["--units=64"])), ["--units=64"])
    self.assertEqual(record.differences(["--cell=gru"], Settings([])), ["not --cell=gru"])

  def test_a_default_need_not_be_recorded(self):
    asked = Settings(["--units=64", "--cell=gru"], frozenset({"--cell=gru"}))
    self.assertEqual(record.differences(["--units=64"], asked), [])
    self.assertEqual(
      record.differences(["--cell=lstm"], asked),
      [
        "--cell=gru, not --cell=lstm",
        "--units=64",
      ],
    )

  def test_a_task_from_python_ignores_the_other_flags_of_a_program(self):
    written = ["--units=64", "--needle_side=1024"]
    self.assertEqual(record.differences(written, Settings(["--units=64"], is_complete=False)), [])
    asked = Settings(["--units=9"], is_complete=False)
    self.assertEqual(record.differences(written, asked), ["--units=9, not --units=64"])

  def test_a_task_from_python_must_repeat_what_the_run_began_with(self):
    asked = record.Settings(["# task: digits", "--units=8"], is_complete=False)
    for line in ("--begin_with=/runs/a", "--arrays_sha256=0f", "--glimpse_network=mine>Summed"):
      with self.subTest(line):
        self.assertEqual(record.differences(["--units=8", line], asked), [f"not {line}"])

  def test_only_a_path_that_is_gone_may_move(self):
    with tempfile.TemporaryDirectory() as folder:
      asked = Settings([f"--image_dir={folder}"], paths={"image_dir": bool})
      gone, here = ["--image_dir=/no/such"], ["--image_dir=/"]
      self.assertEqual(record.differences(gone, asked, may_move=True), [])
      self.assertEqual(len(record.differences(gone, asked)), 1)
      self.assertEqual(len(record.differences(here, asked, may_move=True)), 1)

  def test_relative_paths_and_absolute_ones_are_equal(self):
    asked = Settings([f"--image_dir={os.getcwd()}/a"], paths={"image_dir": bool})
    self.assertEqual(record.differences(["--image_dir=a"], asked), [])
    asked = Settings(["--image_dir=a"])  # Text, and no path.
    self.assertEqual(len(record.differences([f"--image_dir={os.getcwd()}/a"], asked)), 1)


class TaskOfTest(unittest.TestCase):
  def test_runs_of_every_version_are_recognized(self):
    for program, lines in _OLD_RUNS.items():
      self.assertEqual(record.task_of(lines), program)
      self.assertEqual(record.task_of([f"# program: {program}", "--units=8"]), program)
    self.assertEqual(record.task_of([record.task_line("scenes"), "--units=8"]), "scenes")


class CollectTest(unittest.TestCase):
  def test_holds_every_setting_as_a_line_once(self):
    model = wsram_tf.ModelConfig(units=7, glimpse=wsram_tf.GlimpseConfig(glimpse_filters=(4, 8)))
    exploration = wsram_tf.ExplorationConfig()
    found = record.collect(
      "digits", [model, exploration, model], leave_out=["height"], extra=["--more=1"]
    )
    self.assertEqual(found.lines[0], "# task: digits")
    self.assertEqual(found.lines[1:], sorted(set(found.lines[1:])))
    for line in ("--units=7", "--glimpse_filters=4,8", "--more=1", "--entropy_bonus=0.0"):
      self.assertIn(line, found.lines)
    self.assertFalse([line for line in found.lines if line.startswith("--height=")])
    self.assertIn("--cell=lstm", found.defaults)
    self.assertNotIn("--units=7", found.defaults)
    self.assertFalse(found.is_complete)


class PathsTest(unittest.TestCase):
  def test_home_is_expanded_and_stored_paths_are_absolute(self):
    home = os.path.expanduser("~")
    self.assertEqual(record.expanded_path("~/runs"), f"{home}/runs")
    self.assertEqual(record.expanded_path("runs/a"), "runs/a")
    self.assertEqual(record.stored_path("~/runs"), f"{home}/runs")
    self.assertEqual(record.stored_path("a.keras", _is_keras_file), os.path.abspath("a.keras"))
    self.assertEqual(record.stored_path("MobileNetV2", _is_keras_file), "MobileNetV2")
    self.assertEqual(record.stored_path(""), "")

  def test_files_may_lack_their_suffix(self):
    with tempfile.TemporaryDirectory() as folder:
      pathlib.Path(folder, "grids.npy").touch()
      lines = [f"--features={folder}/grids", f"--data_dir={folder}/gone", f"--name={folder}/no"]
      paths = {"features": bool, "data_dir": bool}
      self.assertEqual(record.missing_paths(lines, paths), ["data_dir"])


class SoftwareTest(unittest.TestCase):
  def test_names_versions_and_the_commit_of_a_checkout(self):
    found = record.software()
    self.assertIn("tensorflow", found["versions"])
    root = pathlib.Path(record.__file__).parents[2]
    git = ["git", "-C", str(root), "rev-parse", "HEAD"]
    done = subprocess.run(git, capture_output=True, text=True, check=False)
    if (root / ".git").exists() and not done.returncode:
      self.assertTrue(found["git_commit"].startswith(done.stdout.strip()))
    self.assertIsNone(record.git_commit(pathlib.Path(tempfile.gettempdir())))

  def test_the_record_loads_no_tensorflow(self):
    code = "import sys, wsram_tf.runs.folder; print('tensorflow' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    self.assertEqual(done.stdout, "False\n")


if __name__ == "__main__":
  unittest.main()
