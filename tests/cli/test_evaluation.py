"""The program evaluate, and runs of other folders, versions and extensions that it takes up."""

import json
import pathlib
import shutil
import tempfile

import tensorflow as tf

import wsram_tf
from tests.support import example_images, programs, small_runs
from wsram_tf import objectives, runs

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


class EvaluationTest(tf.test.TestCase):
  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    small_runs.run_eagerly(cls.addClassCleanup)
    cls.shared = pathlib.Path(tempfile.mkdtemp())
    cls.addClassCleanup(shutil.rmtree, cls.shared)
    # From Python; `fit` prints.
    cls.whole = cls.shared / "whole"
    cls.optimizer = wsram_tf.OptimizerConfig(updates=4)
    runs.train(small_runs.digit_task(), cls.whole, small_runs.TRAINING, cls.optimizer)

  def setUp(self):
    super().setUp()
    self.folder = pathlib.Path(tempfile.mkdtemp(dir=self.shared))

  def check_figures(self, printed: str) -> None:
    answer, results = json.loads(printed), small_runs.figures(self.whole)
    shared = answer.keys() & results.keys()
    self.assertGreaterEqual(len(shared), 8)
    for name in shared:
      self.assertAllClose(answer[name], results[name], rtol=1e-5, msg=name)

  def test_a_run_from_python_is_evaluated(self):
    run_dir = f"--run_dir={self.whole}"
    (found,) = programs.endings("evaluate", [run_dir, "--thresholds=0.5,1"])
    self.check_figures(found)
    stops = json.loads(found)["early_stop"]
    self.assertEqual([stop["threshold"] for stop in stops], [0.5, 1.0])
    self.assertEqual([stop["mean_glimpses"] for stop in stops], [1.0, 1.0])  # It takes one.

  def test_a_run_from_python_is_resumed_by_the_program_with_its_flags(self):
    run_dir = small_runs.cut(self.whole, self.folder / "cut", update=2)
    resume = ["--resume", f"--run_dir={run_dir}"]
    other, same = programs.endings(
      "train_mnist", [*resume, "--units=9"], [*resume, "--units=8", "--updates=4"]
    )
    self.assertIn("other flags than these (--units=9, not --units=8)", other)
    self.assertEqual(same, programs.TRAINED)
    self.assertEqual(small_runs.figures(run_dir), small_runs.figures(self.whole))
    mine, theirs = (small_runs.state(run / "model.keras") for run in (run_dir, self.whole))
    for one, theirs_one in zip(mine, theirs, strict=True):
      self.assertAllEqual(one, theirs_one)

  def test_a_run_of_version_0_2_is_evaluated_and_resumed(self):
    run_dir = self.folder / "old"
    shutil.copytree(self.whole, run_dir)
    # That version recorded the program, and lacked settings that are newer.
    flagfile = run_dir / "flags.flags"
    lines = [
      line
      for line in flagfile.read_text().splitlines()
      if not line.startswith(("# task", "--clip_norm", "--precision", "--gradient_images"))
    ]
    flagfile.write_text("\n".join(["# program: train_mnist", *lines]) + "\n")
    (found,) = programs.endings("evaluate", [f"--run_dir={run_dir}"])
    self.check_figures(found)
    other, same = programs.endings(
      "train_mnist",
      ["--resume", f"--run_dir={run_dir}", "--precision=bfloat16"],
      ["--resume", f"--run_dir={run_dir}"],
    )
    self.assertIn("other flags than these (--precision=bfloat16)", other)
    self.assertEqual(same, programs.TRAINED)
    # From Python too.
    runs.train(small_runs.digit_task(), run_dir, small_runs.TRAINING, self.optimizer, resume=True)
    self.assertEqual(small_runs.figures(run_dir), small_runs.figures(self.whole))

  def test_each_refusal_names_its_cause(self):
    arrays, unfinished, captions = (self.folder / name for name in ("arrays", "new", "captions"))
    for folder, task in ((arrays, "task: arrays"), (captions, "program: train_captions")):
      shutil.copytree(self.whole, folder)
      lines = (folder / "flags.flags").read_text().splitlines()
      (folder / "flags.flags").write_text("\n".join([f"# {task}", *lines[1:]]) + "\n")
    unfinished.mkdir()
    (unfinished / "flags.flags").write_text("# task: digits\n")
    endings = programs.endings(
      "evaluate",
      [f"--run_dir={arrays}"],
      [f"--run_dir={unfinished}"],
      [],
      [f"--run_dir={self.whole}", "--beam_width=3"],
      [f"--run_dir={self.whole}", "--importance_samples=-1"],
      [f"--run_dir={self.whole}", "--thresholds=0.5,1.5"],
      [f"--run_dir={self.whole}", "--thresholds=often"],
      [f"--run_dir={self.whole}", "more"],
    )
    for ending, message in zip(
      endings,
      (
        "task='arrays': must be a task of a training program; resume and evaluate it from Python",
        f"run_dir={unfinished}: holds no finished run",
        "run_dir: must be given",
        "Unknown command line flag 'beam_width'",
        "importance_samples=-1: ",
        "thresholds=['0.5', '1.5']: must be numbers from 0 to 1, separated by commas",
        "thresholds=['often']: must be numbers from 0 to 1",
        "'more': must be a flag",
      ),
      strict=True,
    ):
      self.assertStartsWith(ending, "evaluate: ")
      self.assertIn(message, ending)
    for run_dir, made_by in ((captions, "train_captions"), (self.whole, "train_mnist")):
      (ending,) = programs.endings("train_classifier", ["--resume", f"--run_dir={run_dir}"])
      self.assertIn(
        f"must be a run of train_classifier, and is one of {made_by}; use {made_by}", ending
      )

  def test_help_lists_the_flags_of_the_run(self):
    plain, of_run = programs.endings("evaluate", ["--help"], [f"--run_dir={self.whole}", "--help"])
    self.assertNotIn("--canvas_side", plain)
    self.assertIn("--canvas_side", of_run)
    self.assertIn("--importance_samples", of_run)


class MovedFilesTest(tf.test.TestCase):
  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    small_runs.run_eagerly(cls.addClassCleanup)

  def setUp(self):
    super().setUp()
    self.folder = pathlib.Path(tempfile.mkdtemp())
    self.addCleanup(shutil.rmtree, self.folder)

  def test_a_run_with_an_extension_records_it(self):
    self.addCleanup(objectives.ESTIMATORS.pop, "likelihood_only", None)
    extension, moved = self.folder / "loss.py", self.folder / "moved.py"
    broken, run_dir = self.folder / "broken.py", self.folder / "run"
    extension.write_text(_EXTENSION)
    broken.write_text("import os\nimport no_such_package\n")
    small = [*small_runs.CANVASES, "--updates=1", f"--run_dir={run_dir}"]
    endings = programs.endings(
      "train_mnist",
      [*small, f"--extension={broken}"],
      [*small, "--extension=nowhere.py"],
      [*small, "--estimator=likelihood_only"],
      [*small, f"--extension={extension}", "--estimator=likelihood_only"],
      ["--resume", f"--run_dir={run_dir}"],
      ["--resume", f"--run_dir={run_dir}", "--units=9"],
    )
    self.assertIn("line 2: No module named 'no_such_package'", endings[0])
    self.assertIn("extension=nowhere.py: there is no such file", endings[1])
    self.assertIn("estimator=likelihood_only: must be one of wake_sleep, ", endings[2])
    self.assertEqual(endings[3:5], [programs.TRAINED] * 2)
    self.assertIn("other flags than these (--units=9, not --units=8)", endings[5])
    self.assertIn(f"--extension={extension}", (run_dir / "flags.flags").read_text())
    results = small_runs.figures(run_dir)
    self.assertEqual(results["estimator"], "likelihood_only")
    self.assertEqual(results["num_samples"], 5)
    self.assertEqual(results["versions"]["tensorflow"], tf.__version__)

    # The run as another process finds it: the file, which this one has executed, is elsewhere.
    flagfile = run_dir / "flags.flags"
    flagfile.write_text(flagfile.read_text().replace("/loss.py", "/gone/loss.py"))
    objectives.ESTIMATORS.pop("likelihood_only")
    extension.rename(moved)
    lost, found = programs.endings(
      "evaluate", [f"--run_dir={run_dir}"], [f"--run_dir={run_dir}", f"--extension={moved}"]
    )
    self.assertRegex(lost, r"run_dir=.*loss\.py: there is no such file.*give --extension=PATH")
    self.assertEqual(json.loads(found)["bound_nats"], results["bound_nats"])

  def test_a_run_is_evaluated_and_resumed_from_anywhere(self):
    example_images.write_images(self.folder / "images", 8, ("one", "two"))
    run_dir = self.folder / "run"
    small = (*small_runs.PLAIN, "--units=8", "--num_glimpses=1", "--batch_size=4")
    sizes = ("--image_height=16", "--image_width=16", "--updates=2", "--jit_compile=off")
    arguments = [*small, *sizes, f"--run_dir={run_dir}", f"--data_dir={self.folder}"]
    endings = programs.endings(
      "train_classifier", [*arguments, "--image_dir=images"], folder=self.folder
    )
    self.assertEqual(endings, [programs.TRAINED])
    written = (run_dir / "flags.flags").read_text()
    self.assertIn(f"--image_dir={self.folder / 'images'}\n", written)
    self.assertIn(f"--data_dir={self.folder}\n", written)

    (self.folder / "images").rename(self.folder / "moved")
    moved = [f"--run_dir={run_dir}", f"--image_dir={self.folder / 'moved'}"]
    lost, found, elsewhere = programs.endings(
      "evaluate", [f"--run_dir={run_dir}"], moved, [*moved, "--data_dir=/"], folder="/"
    )
    self.assertRegex(lost, "image_dir=.*does not exist; .* has moved: give --image_dir=PATH")
    results = small_runs.figures(run_dir)
    self.assertEqual(json.loads(found)["test_error_percent"], results["test_error_percent"])
    self.assertEqual(found, elsewhere)
    # A resumed run takes the images from their new place.
    resumed = programs.endings("train_classifier", ["--resume", *moved])
    self.assertEqual(resumed, [programs.TRAINED])

    # Older runs hold paths as they were given, relative to the folder of the training.
    flagfile = run_dir / "flags.flags"
    written = flagfile.read_text()
    written = written.replace("# task: images", "# program: train_classifier")
    flagfile.write_text(written.replace(f"={self.folder / 'images'}", "=moved"))
    (relative,) = programs.endings("evaluate", [f"--run_dir={run_dir}"], folder=self.folder)
    self.assertEqual(relative, found)


if __name__ == "__main__":
  tf.test.main()
