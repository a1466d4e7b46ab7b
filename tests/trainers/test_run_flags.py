"""A run's flags, recorded, compared and taken up again, as a user meets them."""

import json
import os
import pathlib
import shutil
import subprocess

import flag_groups
import run_flags
import tensorflow as tf

from tests import example_images, programs, small_runs

_EXTENSION = """
import tensorflow as tf
import wsram_tf

def likelihood_only_loss(scored):
  return -tf.reduce_mean(tf.reduce_sum(scored.log_likelihood, axis=-1), axis=0)

wsram_tf.register_estimator(
  "likelihood_only",
  wsram_tf.Estimator("the likelihood alone", "prior", likelihood_only_loss, least_samples=1),
)
"""
# Of `python trainers/train_mnist.py`, made before runs recorded their program.
_OLD_RUNS = {
  "train_mnist": ["--canvas_side=100", "--units=8"],
  "train_classifier": ["--image_height=32", "--units=8"],
  "train_captions": ["--beam_width=3", "--canvas_side=64"],
}


class DifferencesTest(tf.test.TestCase):
  def test_names_what_differs_and_nothing_that_is_free(self):
    written = ["# program: train_mnist", "--units=32", "--on_nan=stop", "--data_dir=/a"]
    asked = ["--units=64", "--on_nan=skip", "--extension=/b/loss.py"]
    self.assertEqual(run_flags.differences(written, written), [])
    self.assertEqual(run_flags.differences(written, asked), ["--units=64, not --units=32"])
    self.assertEqual(run_flags.differences([], ["--units=64"]), ["--units=64"])
    self.assertEqual(run_flags.differences(["--cell=gru"], []), ["not --cell=gru"])

  def test_runs_made_before_programs_were_recorded_are_known_by_their_flags(self):
    for program, lines in _OLD_RUNS.items():
      for recorded in (lines, [run_flags.program_line(program)]):
        run_flags.check_program(pathlib.Path("r"), recorded, program)
        right = program.replace("train", "evaluate")
        run_flags.check_program(pathlib.Path("r"), recorded, right)
        for other in _OLD_RUNS.keys() - {program}:
          with self.assertRaisesRegex(ValueError, rf"run_dir=r: .* use {program}\.py"):
            run_flags.check_program(pathlib.Path("r"), recorded, other)
          with self.assertRaisesRegex(ValueError, rf"use {right}\.py"):
            run_flags.check_program(pathlib.Path("r"), recorded, other.replace("train", "evaluate"))


class PathsTest(tf.test.TestCase):
  def test_home_is_expanded_and_what_is_stored_is_absolute(self):
    home = os.path.expanduser("~")
    parser = flag_groups.PathParser(is_name=lambda value: not value.endswith(".keras"))
    self.assertEqual(parser.parse("~/runs"), f"{home}/runs")
    self.assertEqual(parser.parse("runs/a"), "runs/a")
    self.assertEqual(parser.stored("a.keras"), os.path.abspath("a.keras"))
    self.assertEqual(parser.stored("MobileNetV2"), "MobileNetV2")
    self.assertEqual(parser.stored(""), "")

  def test_files_may_lack_their_ending(self):
    folder = pathlib.Path(self.get_temp_dir())
    (folder / "grids.npy").touch()
    parser = flag_groups.PathParser()
    self.assertFalse(parser.leads_nowhere(str(folder / "grids")))
    self.assertTrue(parser.leads_nowhere(str(folder / "grid")))


class ProgramsTest(tf.test.TestCase):
  def setUp(self):
    super().setUp()
    self.folder = pathlib.Path(self.get_temp_dir()) / self.id().rpartition(".")[2]
    shutil.rmtree(self.folder, ignore_errors=True)
    self.folder.mkdir()

  def test_a_run_with_an_extension_needs_it_named_once(self):
    extension, moved = self.folder / "loss.py", self.folder / "moved.py"
    broken, run_dir = self.folder / "broken.py", self.folder / "run"
    extension.write_text(_EXTENSION)
    broken.write_text("import os\nimport no_such_package\n")
    small = [*small_runs.CANVASES, "--num_glimpses=1", f"--run_dir={run_dir}"]
    lines = [
      [*small, f"--extension={broken}"],
      [*small, "--extension=nowhere.py"],
      [*small, "--estimator=likelihood_only"],
      [*small, f"--extension={extension}", "--estimator=likelihood_only"],
      ["--resume", f"--run_dir={run_dir}"],
      ["--resume", f"--run_dir={run_dir}", "--units=9"],
    ]
    endings = programs.endings("train_mnist", *lines)
    self.assertIn("line 2: No module named 'no_such_package'", endings[0])
    self.assertIn("extension=nowhere.py: there is no such file", endings[1])
    self.assertIn("estimator=likelihood_only: must be one of wake_sleep, ", endings[2])
    self.assertEqual(endings[3:5], [programs.TRAINED] * 2)
    self.assertIn("other flags than these (--units=9, not --units=8)", endings[5])
    self.assertIn(f"--extension={extension}", (run_dir / "flags.flags").read_text())
    results = json.loads((run_dir / "results.json").read_text())
    self.assertEqual(results["estimator"], "likelihood_only")
    self.assertEqual(results["num_samples"], 5)
    self.assertEqual(results["versions"]["tensorflow"], tf.__version__)
    commit = ["git", "-C", str(programs.ROOT), "rev-parse", "HEAD"]
    done = subprocess.run(commit, capture_output=True, text=True, check=False)
    self.assertStartsWith(results.get("git_commit", ""), done.stdout.strip())
    extension.rename(moved)
    found, lost = programs.endings(
      "evaluate_mnist",
      [f"--run_dir={run_dir}", f"--extension={moved}"],
      [f"--run_dir={run_dir}"],
    )
    self.assertEqual(json.loads(found)["bound_nats"], results["bound_nats"])
    self.assertRegex(lost, r"run_dir=.*loss\.py: there is no such file.*give --extension=PATH")

  def test_a_run_is_evaluated_from_anywhere_and_by_the_right_program(self):
    example_images.write_images(self.folder / "images", 8, ("one", "two"))
    run_dir = self.folder / "run"
    small = (*small_runs.PLAIN, "--units=8", "--image_height=16", "--image_width=16")
    training = ("--updates=2", "--evaluate_every=2", "--batch_size=4", "--jit_compile=off")
    arguments = [*small, *training, f"--run_dir={run_dir}", f"--data_dir={self.folder}"]
    endings = programs.endings(
      "train_classifier", [*arguments, "--image_dir=images"], folder=str(self.folder)
    )
    self.assertEqual(endings, [programs.TRAINED])
    written = (run_dir / "flags.flags").read_text().splitlines()
    self.assertIn(f"--image_dir={self.folder / 'images'}", written)
    self.assertIn(f"--data_dir={self.folder}", written)
    other = self.folder / "other"
    other.mkdir()
    (other / "flags.flags").write_text(f"{run_flags.program_line('train_mnist')}\n")
    (other / "model.keras").touch()
    (self.folder / "images").rename(self.folder / "moved")
    moved = [f"--run_dir={run_dir}", f"--image_dir={self.folder / 'moved'}"]
    wrong, lost, found, elsewhere = programs.endings(
      "evaluate_classifier",
      [f"--run_dir={other}"],
      [f"--run_dir={run_dir}"],
      moved,
      [*moved, "--data_dir=/"],
      folder="/",
    )
    self.assertIn("is one of train_mnist.py; use evaluate_mnist.py", wrong)
    self.assertRegex(lost, "image_dir=.*no such folder; .* has moved: give --image_dir=PATH")
    results = json.loads((run_dir / "results.json").read_text())
    self.assertEqual(json.loads(found)["test_error_percent"], results["test_error_percent"])
    self.assertEqual(found, elsewhere)
    # To go on, the run takes the images from where they are now.
    (ending,) = programs.endings(
      "train_classifier",
      ["--resume", f"--run_dir={run_dir}", f"--image_dir={self.folder / 'moved'}"],
    )
    self.assertEqual(ending, programs.TRAINED)


if __name__ == "__main__":
  tf.test.main()
