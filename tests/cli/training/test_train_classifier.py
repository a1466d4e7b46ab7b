"""The program train_classifier: from image files to answers, needles, and wrong flags."""

import contextlib
import io
import json
import pathlib
import re
import tempfile

import tensorflow as tf

from tests.support import example_images, programs, small_runs

_NAMES = ("zero", "one", "two")
# A small model, two updates.
_SMALL = (
  "--units=8",
  "--glimpse_side=8",
  "--num_glimpses=1",
  "--updates=2",
  "--evaluate_every=1",
  "--batch_size=4",
  "--jit_compile=off",
)


class TrainClassifierTest(tf.test.TestCase):
  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    folder = tempfile.TemporaryDirectory()
    cls.addClassCleanup(folder.cleanup)
    cls.folder = pathlib.Path(folder.name)
    cls.images = cls.folder / "images"
    example_images.write_images(cls.images, 8, _NAMES)

  def test_four_programs_lead_from_files_to_answers(self):
    broken = self.images / "one" / "broken.png"
    broken.write_text("no image")
    self.addCleanup(broken.unlink)
    run_dir, export_dir = self.folder / "run", self.folder / "models"
    settings = ("--image_height=32", "--image_width=24", "--fit=pad", "--augment_crop=2")
    small_runs.run_eagerly(self.addCleanup)
    with contextlib.redirect_stderr(io.StringIO()) as errors:
      ending = programs.endings(
        "train_classifier",
        [
          f"--image_dir={self.images}",
          *settings,
          *_SMALL,
          *small_runs.PLAIN,
          f"--run_dir={run_dir}",
        ],
      )
    self.assertEqual(ending, [programs.TRAINED])
    self.assertIn("1 of 25 files cannot be read", errors.getvalue())
    self.assertIn("one/broken.png", errors.getvalue())
    self.assertEqual((run_dir / "class_names.txt").read_text(), "one\ntwo\nzero\n")
    results = small_runs.figures(run_dir)
    counts = [results[f"{split}_images"] for split in ("training", "validation", "test")]
    self.assertEqual(counts, [17, 2, 5])
    self.assertGreater((run_dir / "glimpses.png").stat().st_size, 0)
    self.assertNotIn("--download", (run_dir / "flags.flags").read_text())

    (answer,) = programs.endings("evaluate", [f"--run_dir={run_dir}"])
    self.assertEqual(json.loads(answer)["test_error_percent"], results["test_error_percent"])
    self.assertAllClose(json.loads(answer)["bound_nats"], results["bound_nats"], rtol=1e-5)

    tf.config.run_functions_eagerly(False)  # An export holds functions.
    arguments = [f"--run_dir={run_dir}", f"--export_dir={export_dir}", "--name=own", "--noverify"]
    programs.endings("export_classifier", arguments)
    self.assertTrue((export_dir / "own" / "1").is_dir())
    image = self.images / "two" / "0000.jpg"
    # In a process without TensorFlow's Python package, as the C++ loader needs it.
    process = programs.start("export/predict", f"--model_dir={export_dir / 'own/1'}", image)
    printed, errors = process.communicate()
    self.assertEqual(process.returncode, 0, errors[-4000:])
    self.assertRegex(printed, r"padded and resized from \d+ x \d+ to 32 x 24 pixels")
    named = re.search(r"0000.jpg: (\w+) \(\d+\.\d%\), (\w+) \(\d", printed)
    self.assertTrue(named, printed)
    self.assertLessEqual(set(named.groups()), {"one", "two", "zero"})

  def test_needles_are_made_during_the_training(self):
    small_runs.run_eagerly(self.addCleanup)
    run_dir = self.folder / "needles"
    ending = programs.endings(
      "train_classifier",
      [
        "--flagfile=needle_small",
        *_SMALL,
        "--updates=1",
        "--num_samples=2",
        "--needle_side=40",
        "--needle_clutter=2",
        "--context_side=10",
        "--validation_canvases=4",
        "--test_canvases=4",
        f"--run_dir={run_dir}",
      ],
    )
    self.assertEqual(ending, [programs.TRAINED])
    self.assertEqual(small_runs.figures(run_dir)["test_canvases"], 4)
    self.assertFalse((run_dir / "class_names.txt").exists())
    self.assertStartsWith((run_dir / "flags.flags").read_text(), "# task: needles\n")

  def test_wrong_flags_get_one_clear_error_and_leave_nothing(self):
    images, few = f"--image_dir={self.images}", self.folder / "few"
    example_images.write_images(few, 1, ("a", "b", "c", "d", "e"))
    cases = (
      ([], "image_dir=None, dataset=None: exactly one of them must be given"),
      ([images, "--dataset=needle"], "dataset='needle': exactly one of them must be given"),
      (
        [f"--image_dir={self.images / 'one'}"],
        "must be a folder that holds a folder of image files",
      ),
      ([images, "--test_percent=0"], "test_percent=0: must be at least 1"),
      (
        [images, "--validation_percent=0"],
        "validation_percent=0: must be at least 1, because images held out for it choose the "
        "weights",
      ),
      (
        [f"--image_dir={few}"],
        "must leave at least one training example of every class; these classes (with their "
        "number of examples) keep none: c (1); add images, remove these classes, or hold out less",
      ),
      ([images, "--test_percent=1"], "test_percent=1: must hold out at least one of the 24 images"),
      ([images, "--image_height=6"], "glimpse_side=8: must be at most the canvas' shorter side, 6"),
      ([images, "--augment_crop=100"], "augment_crop=100: must be below the image's shorter side"),
      ([images, "--fit=crop"], "fit=crop: value should be one of <resize|pad>"),
      ([images, "--color=red"], "color=red: value should be one of <rgb|grey>"),
      (["--dataset=none", f"--data_dir={self.folder}"], "dataset='none': "),
      (["--dataset=needle", "--needle_side=5000"], "needle_side=5000: must be at most 4096"),
      (["--dataset=needle", "--needle_side=27"], "needle_side=27: must be at least 28"),
      (
        ["--flagfile=megapixel_mnist", "--megapixel_side=99"],
        "megapixel_side=99: must be at least",
      ),
      (
        ["--flagfile=megapixel_mnist", "--observation=pixels", "--megapixel_side=5000"],
        "megapixel_side=5000: must be at most 4096",
      ),
    )
    run_dir = self.folder / "refused"
    lines = [[*_SMALL, f"--run_dir={run_dir}", *arguments] for arguments, _ in cases]
    endings = programs.endings("train_classifier", *lines)
    for ending, (_, message) in zip(endings, cases, strict=True):
      with self.subTest(message):
        self.assertIn(message, ending)
        self.assertNotIn("\n", ending.strip())
    self.assertFalse(run_dir.exists())


if __name__ == "__main__":
  tf.test.main()
