"""The caption training program as a user runs it: flags, run folder, what it refuses."""

import json
import os
import pathlib
import subprocess
import sys
import tempfile

import digit_scenes
import keras
import numpy as np
import tensorflow as tf

from tests import example_photos
from wsram_tf.data import grid_features, scene_captions, scenes
from wsram_tf.data.vocabulary import Vocabulary

_ROOT = pathlib.Path(__file__).resolve().parents[2]
_FLAGFILES = sorted(
  path
  for path in (_ROOT / "trainers" / "flagfiles").glob("*.flags")
  if "--dataset=scenes" in path.read_text()
)
# Cuts any flagfile down to two updates of a small model on the embedded digits.
_SMALL = (
  "--digits=mnist5k",
  "--validation_digits=20",
  "--validation_scenes=10",
  "--test_scenes=12",
  "--evaluation_batch_size=6",
  "--batch_size=4",
  "--units=8",
  "--word_units=4",
  "--cell=gru",
  "--grid_filters=2,2,2",
  "--num_samples=2",
  "--updates=2",
  "--evaluate_every=1",
)
_RESULTS = {
  "scenes_correct_percent",
  "glimpse_on_digit_percent",
  "test_word_error_percent",
  "test_log_likelihood_per_word_nats",
  "bound_nats",
  "effective_sample_size",
  "updates",
  "images_per_second",
  "train_seconds",
  "seed",
  "parameters",
}


# Cuts the flagfile of photographs down to updates of a small model on made-up ones.
_PHOTOS = (
  f"--flagfile={_ROOT / 'trainers' / 'flagfiles' / 'flickr8k.flags'}",
  "--least_word_count=1",
  "--max_words=4",
  "--cell=gru",
  "--batch_size=4",
  "--units=8",
  "--word_units=4",
  "--location_units=4",
  "--num_samples=2",
  "--evaluate_every=2",
  "--schedule=constant",
)


# Several command lines in a process of their own, since programs define the same flags. Prints how
# each one ends.
_PROGRAM = """
import json, sys
import train_captions
from absl import flags
from absl.testing import flagsaver
endings = []
for arguments in json.loads(sys.argv[1]):
  with flagsaver.flagsaver():
    flags.FLAGS.unparse_flags()
    try:
      train_captions.main(flags.FLAGS(["train_captions.py", *arguments]))
      endings.append("trained")
    except (SystemExit, flags.Error) as error:
      endings.append(str(error))
print(json.dumps(endings))
"""


def run_program(*command_lines: list[str]) -> list[str]:
  """How each command line ends."""
  done = subprocess.run(
    [sys.executable, "-c", _PROGRAM, json.dumps(command_lines)],
    capture_output=True,
    text=True,
    cwd=tempfile.gettempdir(),
    env={
      **os.environ,
      "PYTHONPATH": os.pathsep.join([str(_ROOT / "trainers"), str(_ROOT)]),
      "TF_NUM_INTRAOP_THREADS": "1",  # The tests run side by side.
    },
    check=False,
  )
  if done.returncode:
    raise RuntimeError(done.stderr)
  return json.loads(done.stdout.splitlines()[-1])


class TrainCaptionsTest(tf.test.TestCase):
  def setUp(self):
    super().setUp()
    self.folder = pathlib.Path(self.get_temp_dir()) / self.id().rpartition(".")[2]
    self.folder.mkdir()

  def test_each_flagfile_trains(self):
    self.assertEqual([path.stem for path in _FLAGFILES], ["scenes", "scenes_long"])
    runs = [self.folder / path.stem for path in _FLAGFILES]
    endings = run_program(
      *(
        [f"--flagfile={path}", *_SMALL, f"--run_dir={run}"]
        for path, run in zip(_FLAGFILES, runs, strict=True)
      )
    )
    self.assertEqual(endings, ["trained"] * 2)
    run_dir = runs[0]
    self.assertLessEqual(_RESULTS, set(json.loads((run_dir / "results.json").read_text())))
    for name in ("glimpses.png", "model.keras", "checkpoints/update-00000002.keras", "flags.flags"):
      self.assertGreater((run_dir / name).stat().st_size, 0, name)
    self.assertTrue(list((run_dir / "tensorboard").iterdir()))
    vocabulary = Vocabulary.load(run_dir / "vocabulary.txt")
    self.assertEqual(vocabulary.words, scene_captions.VOCABULARY.words)

  def test_wrong_flags_get_one_clear_error_and_leave_nothing(self):
    run_dir = self.folder / "run"
    cases = {
      "num_samples=1: must be at least 2 for estimator=wake_sleep": ["--num_samples=1"],
      "height=60: must be a multiple of 8": ["--canvas_side=60"],
      "must be a range of pixels from 1 to half the canvas": ["--largest_large=40"],
      "must begin at a quarter above the end of small": ["--smallest_large=16"],
      "inference_phase=sleep: must be wake for captions": ["--inference_phase=sleep"],
      "dataset=films: value should be one of <scenes": ["--dataset=films"],
      "beam_width=0: must be at least 1": ["--beam_width=0"],
      "updates=4: must be a multiple of evaluate_every=3": ["--evaluate_every=3", "--updates=4"],
      "'units=3': not a flag": ["units=3"],
    }
    endings = run_program(*([*_SMALL, f"--run_dir={run_dir}", *wrong] for wrong in cases.values()))
    for message, ending in zip(cases, endings, strict=True):
      with self.subTest(message):
        self.assertIn(message, ending)
    self.assertFalse(run_dir.exists())


class PhotographsTest(tf.test.TestCase):
  def setUp(self):
    super().setUp()
    self.folder = pathlib.Path(self.get_temp_dir()) / self.id().rpartition(".")[2]
    self.data, self.backbone = self.folder / "flickr8k", self.folder / "backbone.keras"
    example_photos.write_flickr8k(self.data)
    example_photos.write_backbone(self.backbone)
    self.common = [*_PHOTOS, f"--data_dir={self.data}", f"--backbone={self.backbone}"]

  def test_the_flagfile_trains_and_resumes_to_the_same_end(self):
    photo = self.data / "Flicker8k_Dataset" / "test_1.jpg"
    photo.write_bytes(photo.read_bytes()[:300])
    whole, cut = self.folder / "whole", self.folder / "cut"
    self.assertEqual(run_program([*self.common, "--updates=2", f"--run_dir={cut}"]), ["trained"])
    # What a run of four updates leaves that is cut off after two.
    (cut / "results.json").unlink()
    lines = (cut / "flags.flags").read_text().replace("--updates=2\n", "--updates=4\n")
    (cut / "flags.flags").write_text(lines)
    made = (cut / "features.npy").stat().st_mtime_ns
    endings = run_program(
      [*self.common, "--updates=4", "--resume", f"--run_dir={cut}"],
      [*self.common, "--updates=4", f"--run_dir={whole}"],
    )
    self.assertEqual(endings, ["trained"] * 2)
    self.assertEqual((cut / "features.npy").stat().st_mtime_ns, made)
    results = json.loads((whole / "results.json").read_text())
    self.assertLessEqual({f"bleu_{n}" for n in range(1, 5)}, set(results))
    # "A red square" and its end make four words; "There is a red square here" is longer.
    self.assertEqual((results["training_captions"], results["test_images"]), (6, 2))
    self.assertEqual(
      results["left_out"],
      {"captions are longer than max_words=4, the end included": 6, "images cannot be read": 1},
    )
    timed = ("images_per_second", "train_seconds")
    resumed = json.loads((cut / "results.json").read_text())
    for name in results.keys() - set(timed):
      self.assertEqual(resumed[name], results[name], name)
    said = json.loads((whole / "captions.json").read_text())
    self.assertEqual([row["image"] for row in said], ["test_0.jpg", "test_2.jpg"])
    vocabulary = Vocabulary.load(whole / "vocabulary.txt")
    self.assertEqual(set(vocabulary.words[4:]), {"a", "square", "red", "green", "blue"})
    # What an export needs to answer for images: pixels to a grid to words.
    grid = keras.saving.load_model(whole / "backbone.keras")(np.zeros([1, 32, 32, 3]))
    answer = keras.saving.load_model(whole / "model.keras")(grid)
    self.assertEqual(answer["words"].shape, (1, 4))

  def test_wrong_flags_get_one_clear_error_and_leave_nothing(self):
    run_dir, other = self.folder / "run", self.folder / "other.keras"
    example_photos.write_backbone(other, channels=7)
    grid_features.write_features(
      self.folder / "features",
      [self.data / "Flicker8k_Dataset" / "dev_0.jpg"],
      lambda images: np.zeros([len(images), 4, 4, 5], np.float32),
      image_side=32,
      grid_shape=(4, 4, 5),
      backbone="of another",
    )
    cases = {
      "--data_dir=: must be printable text, and not empty": ["--data_dir="],
      "data_dir='/nowhere': must hold Flickr8k in its own layout": ["--data_dir=/nowhere"],
      "backbone: must be given": ["--backbone="],
      "backbone='/nowhere.keras': there is no such file": ["--backbone=/nowhere.keras"],
      "its grid's shape must be [4, 4, 7], and is [4, 4, 5]": [
        f"--backbone={other}",
        f"--features={self.folder / 'features'}",
      ],
      "its digest of the backbone must be": [f"--features={self.folder / 'features'}"],
      "max_words=2: must leave a caption to learn from": ["--max_words=2"],
      "least_word_count=50: must leave some word": ["--least_word_count=50"],
      "height=4: must be a multiple of 8": ["--grid_filters=2,2,2"],
    }
    lines = (
      [*self.common, "--updates=2", f"--run_dir={run_dir}", *wrong] for wrong in cases.values()
    )
    for message, ending in zip(cases, run_program(*lines), strict=True):
      with self.subTest(message):
        self.assertIn(message, ending)
    self.assertFalse(run_dir.exists())


class JudgeTest(tf.test.TestCase):
  def test_counts_right_scenes_and_glimpses_on_digits(self):
    scene = scene_captions.Scene(
      np.array([3, 7]), np.array([True, False]), np.array([[0, 0, 24], [40, 48, 12]])
    )
    text = "a large three left of a small seven"
    lie = "a large three left of a small nine"
    encode = scene_captions.VOCABULARY.encode
    length = scene_captions.MAX_WORDS
    locations = np.full([2, length, 2], 1.0, np.float32)
    locations[0, 2] = [-0.7, -0.7]  # Pixel (9.6, 9.6): on the three.
    locations[0, 7] = [0.4, 0.7]  # Pixel (44.8, 54.4): on the seven.
    locations[1, 2] = [0.4, 0.7]  # On the seven where the three is named.
    scene_set = scenes.SceneSet(np.zeros([2, 64, 64, 1]), np.zeros([2, 5, length]), [scene] * 2)
    answers = {
      "words": np.stack([encode(text, length), encode(lie, length)]),
      "locations": locations,
    }
    right, on_digit = digit_scenes.judge(scene_set, answers)
    self.assertAllEqual(right, [True, False])
    self.assertAllEqual(on_digit, [True, True, False, False])


if __name__ == "__main__":
  tf.test.main()
