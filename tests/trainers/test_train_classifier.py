"""Own images, from files to answers by four commands, and what is refused on the way."""

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

import tensorflow as tf

from tests import example_images, programs

_NAMES = ("zero", "one", "two")
# A small model, two updates.
_SMALL = (
  "--units=8",
  "--glimpse_side=8",
  "--updates=2",
  "--evaluate_every=1",
  "--batch_size=4",
  "--jit_compile=off",
)


def run(*command: str) -> subprocess.CompletedProcess:
  """Runs a Python program in another folder, as nothing may depend on that.

  Raises:
    AssertionError: if it fails, with what it said.
  """
  done = subprocess.run(
    [sys.executable, *map(str, command)],
    capture_output=True,
    text=True,
    cwd=tempfile.gettempdir(),
    env={
      **os.environ,
      "PYTHONPATH": os.pathsep.join([str(programs.ROOT), str(programs.ROOT / "trainers")]),
    },
  )
  if done.returncode:
    raise AssertionError(done.stderr[-4000:])
  return done


class TrainClassifierTest(tf.test.TestCase):
  def setUp(self):
    super().setUp()
    self.folder = pathlib.Path(self.get_temp_dir()) / self.id().rpartition(".")[2]
    shutil.rmtree(self.folder, ignore_errors=True)
    self.images = self.folder / "images"
    example_images.write_images(self.images, 8, _NAMES)

  def test_four_commands_lead_from_files_to_answers(self):
    (self.images / "one" / "broken.png").write_text("no image")
    run_dir, export_dir = self.folder / "run", self.folder / "models"
    settings = ("--image_height=32", "--image_width=24", "--fit=pad", "--augment_crop=2")
    done = run(
      programs.ROOT / "trainers/train_classifier.py",
      f"--image_dir={self.images}",
      *settings,
      *_SMALL,
      f"--run_dir={run_dir}",
    )
    self.assertIn("1 of 25 files cannot be read and are left out: one/broken.png", done.stderr)
    self.assertEqual((run_dir / "class_names.txt").read_text(), "one\ntwo\nzero\n")
    results = json.loads((run_dir / "results.json").read_text())
    counts = [results[f"{split}_images"] for split in ("training", "validation", "test")]
    self.assertEqual(counts, [17, 2, 5])
    self.assertGreater((run_dir / "glimpses.png").stat().st_size, 0)
    self.assertNotIn("--download", (run_dir / "flags.flags").read_text())

    done = run(programs.ROOT / "trainers/evaluate_classifier.py", f"--run_dir={run_dir}")
    answer = json.loads(done.stdout)
    self.assertEqual(answer["test_error_percent"], results["test_error_percent"])
    self.assertAllClose(answer["bound_nats"], results["bound_nats"], rtol=1e-5)

    arguments = (f"--run_dir={run_dir}", f"--export_dir={export_dir}", "--name=own", "--noverify")
    run(programs.ROOT / "export/export_classifier.py", *arguments)
    image = self.images / "two" / "0000.jpg"
    done = run(programs.ROOT / "export/predict.py", f"--model_dir={export_dir / 'own/1'}", image)
    self.assertRegex(done.stdout, r"padded and resized from \d+ x \d+ to 32 x 24 pixels")
    self.assertTrue(re.search(r"0000.jpg: (one|two|zero) \(\d+\.\d%\), \d \(", done.stdout))

  def test_needles_are_made_on_the_fly(self):
    run_dir = self.folder / "run"
    run(
      programs.ROOT / "trainers/train_classifier.py",
      f"--flagfile={programs.ROOT / 'trainers/flagfiles/needle_small.flags'}",
      *_SMALL,
      "--needle_side=40",
      "--needle_clutter=2",
      "--context_side=10",
      "--validation_canvases=4",
      "--test_canvases=6",
      f"--run_dir={run_dir}",
    )
    self.assertEqual(json.loads((run_dir / "results.json").read_text())["test_canvases"], 6)
    self.assertFalse((run_dir / "class_names.txt").exists())

  def test_wrong_flags_get_one_clear_error_and_leave_nothing(self):
    images = f"--image_dir={self.images}"
    cases = (
      ([], "image_dir=None, dataset=None: one of them must be given"),
      ([images, "--dataset=needle"], "one of them must be given, and not both"),
      ([f"--image_dir={self.folder}"], "must be a folder that holds a folder of JPEG or PNG"),
      ([images, "--test_percent=0"], "test_percent=0: must be at least 1"),
      (
        [images, "--validation_percent=0"],
        "validation_percent=0: must be at least 1, because the weights are chosen by images held "
        "out for it",
      ),
      (
        [f"--image_dir={self.folder / 'few'}"],
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
    )
    example_images.write_images(self.folder / "few", 1, ("a", "b", "c", "d", "e"))
    run_dir = self.folder / "run"
    lines = [[*_SMALL, f"--run_dir={run_dir}", *arguments] for arguments, _ in cases]
    endings = programs.endings("train_classifier", *lines)
    for ending, (_, message) in zip(endings, cases, strict=True):
      self.assertIn(message, ending)
      self.assertNotIn("\n", ending.strip())
    self.assertFalse(run_dir.exists())


if __name__ == "__main__":
  tf.test.main()
