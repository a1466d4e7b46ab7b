"""The caption training program as a user runs it: flags, run folder, what it refuses."""

import json
import os
import pathlib
import subprocess
import sys
import tempfile

import digit_scenes
import numpy as np
import tensorflow as tf

from wsram_tf.data import scene_captions, scenes
from wsram_tf.data.vocabulary import Vocabulary

_ROOT = pathlib.Path(__file__).resolve().parents[2]
_FLAGFILES = sorted(
  path
  for path in (_ROOT / "trainers" / "flagfiles").glob("*.flags")
  if "--dataset=scenes" in path.read_text()
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

  def test_the_flagfile_trains(self):
    self.assertEqual([path.stem for path in _FLAGFILES], ["scenes"])
    run_dir = self.folder / "run"
    endings = run_program([f"--flagfile={_FLAGFILES[0]}", *_SMALL, f"--run_dir={run_dir}"])
    self.assertEqual(endings, ["trained"])
    self.assertLessEqual(_RESULTS, set(json.loads((run_dir / "results.json").read_text())))
    for name in ("glimpses.png", "model.keras", "checkpoints/last.keras", "flags.flags"):
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
