"""The caption training program as a user runs it: flags, run folder, what it refuses."""

import json
import pathlib
from unittest import mock

import captions
import numpy as np
import tensorflow as tf
import train_captions
from absl import flags
from absl.testing import flagsaver

from wsram_tf.data import scene_captions, scenes
from wsram_tf.data.vocabulary import Vocabulary

_ROOT = pathlib.Path(__file__).resolve().parents[2]
_FLAGFILES = sorted(
  path
  for path in (_ROOT / "trainers" / "flagfiles").glob("*.flags")
  if "--dataset=" in path.read_text()
)
# Cuts any flagfile down to two updates of a small model.
_SMALL = (
  "--validation_digits=20",
  "--validation_scenes=10",
  "--test_scenes=12",
  "--evaluation_batch_size=6",
  "--batch_size=4",
  "--units=8",
  "--word_units=4",
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


def figures(run_dir: pathlib.Path) -> dict:
  """The results of a run but for its times."""
  results = json.loads((run_dir / "results.json").read_text())
  return {name: value for name, value in results.items() if "second" not in name}


def train(*arguments: str) -> None:
  """Runs train_captions in this process, as a process of its own would."""
  with flagsaver.flagsaver():
    flags.FLAGS.unparse_flags()
    train_captions.main(flags.FLAGS(["train_captions.py", *map(str, arguments)]))


class TrainCaptionsTest(tf.test.TestCase):
  def setUp(self):
    super().setUp()
    self.folder = pathlib.Path(self.get_temp_dir()) / self.id().rpartition(".")[2]
    self.folder.mkdir()

  def test_each_flagfile_trains_and_an_interrupted_run_resumes_to_the_same_end(self):
    self.assertIn("scenes", [path.stem for path in _FLAGFILES])
    for path in _FLAGFILES:
      with self.subTest(path.stem):
        run_dir = self.folder / path.stem
        train(f"--flagfile={path}", *_SMALL, f"--run_dir={run_dir}")
        self.assertLessEqual(_RESULTS, set(json.loads((run_dir / "results.json").read_text())))
        for name in ("glimpses.png", "model.keras", "checkpoints/last.keras", "flags.flags"):
          self.assertGreater((run_dir / name).stat().st_size, 0, name)
        self.assertTrue(list((run_dir / "tensorboard").iterdir()))
        vocabulary = Vocabulary.load(run_dir / "vocabulary.txt")
        self.assertEqual(vocabulary.words, scene_captions.VOCABULARY.words)
    path, run_dir = _FLAGFILES[0], self.folder / "interrupted"
    arguments = (f"--flagfile={path}", *_SMALL, f"--run_dir={run_dir}")
    original = captions.SceneJudge.on_epoch_end

    def interrupt(self, epoch, logs=None):
      if epoch == 1:
        raise KeyboardInterrupt
      original(self, epoch, logs)

    with (
      mock.patch.object(captions.SceneJudge, "on_epoch_end", interrupt),
      self.assertRaises(KeyboardInterrupt),
    ):
      train(*arguments)
    self.assertFalse((run_dir / "results.json").exists())
    train(*arguments, "--resume")
    self.assertEqual(figures(run_dir), figures(self.folder / path.stem))

  def test_wrong_flags_get_one_clear_error_and_leave_nothing(self):
    run_dir = self.folder / "run"
    for arguments, message in (
      (["--num_samples=1"], "num_samples=1: must be at least 2 for estimator=wake_sleep"),
      (["--canvas_side=60"], "height=60: must be a multiple of 8"),
      (["--largest_large=40"], "must be a range of pixels from 1 to half the canvas"),
      (["--smallest_large=16"], "must begin at a quarter above the end of small"),
      (["--inference_phase=sleep"], "inference_phase=sleep: must be wake for captions"),
      (["--dataset=films"], "dataset=films: value should be one of <scenes"),
      (["--beam_width=0"], "beam_width=0: must be at least 1"),
      (["--evaluate_every=3", "--updates=4"], "updates=4: must be a multiple of evaluate_every=3"),
      (["units=3"], "'units=3': not a flag"),
    ):
      with self.subTest(message):
        with self.assertRaises((flags.Error, SystemExit)) as caught:
          train(*_SMALL, f"--run_dir={run_dir}", *arguments)
        self.assertIn(message, str(caught.exception))
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
    right, on_digit = captions.judge(scene_set, answers)
    self.assertAllEqual(right, [True, False])
    self.assertAllEqual(on_digit, [True, True, False, False])


if __name__ == "__main__":
  tf.test.main()
