"""The caption training program as a user runs it: flags, run folder, what it refuses."""

import json
import pathlib
import shutil

import digit_scenes
import keras
import numpy as np
import pytest
import tensorflow as tf

from tests import example_photos, programs, small_runs
from wsram_tf.captions.data import grid_features, scene_language, scenes
from wsram_tf.captions.vocabulary import Vocabulary

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
  f"--flagfile={programs.ROOT / 'trainers' / 'flagfiles' / 'flickr8k.flags'}",
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


class TrainCaptionsTest(tf.test.TestCase):
  def setUp(self):
    super().setUp()
    self.folder = pathlib.Path(self.get_temp_dir()) / self.id().rpartition(".")[2]
    self.folder.mkdir()

  @pytest.mark.smoke
  def test_the_flagfile_trains_and_is_evaluated_anew(self):
    # The one of the longer training is tried with compare_captions.
    flagfile = programs.ROOT / "trainers" / "flagfiles" / "scenes.flags"
    run_dir = self.folder / "run"
    endings = programs.endings(
      "train_captions", [f"--flagfile={flagfile}", *small_runs.SCENES, f"--run_dir={run_dir}"]
    )
    self.assertEqual(endings, [programs.TRAINED])
    self.assertLessEqual(_RESULTS, set(json.loads((run_dir / "results.json").read_text())))
    for name in ("glimpses.png", "model.keras", "checkpoints/update-00000002.keras", "flags.flags"):
      self.assertGreater((run_dir / name).stat().st_size, 0, name)
    self.assertTrue(list((run_dir / "tensorboard").iterdir()))
    vocabulary = Vocabulary.load(run_dir / "vocabulary.txt")
    self.assertEqual(vocabulary.words, scene_language.VOCABULARY.words)
    again = programs.endings("evaluate_captions", [f"--run_dir={run_dir}"])[0]
    results = json.loads((run_dir / "results.json").read_text())
    for name, value in json.loads(again).items():
      self.assertAllClose(value, results[name], rtol=1e-4, msg=name)

  def test_wrong_flags_get_one_clear_error_and_leave_nothing(self):
    run_dir = self.folder / "run"
    cases = {
      "num_samples=1: must be at least 2 for estimator=wake_sleep": ["--num_samples=1"],
      "height=60: must be a multiple of 8": ["--canvas_side=60"],
      "must be a range of pixels from 1 to half the canvas": ["--largest_large=40"],
      "must begin at least 25% above the end of small": ["--smallest_large=16"],
      "inference_phase=sleep: must be wake for captions": ["--inference_phase=sleep"],
      "dataset=films: value should be one of <scenes": ["--dataset=films"],
      "beam_width=0: must be at least 1": ["--beam_width=0"],
      "updates=4: must be a multiple of evaluate_every=3": ["--evaluate_every=3", "--updates=4"],
      "'units=3': not a flag": ["units=3"],
    }
    endings = programs.endings(
      "train_captions",
      *([*small_runs.SCENES, f"--run_dir={run_dir}", *wrong] for wrong in cases.values()),
    )
    for message, ending in zip(cases, endings, strict=True):
      with self.subTest(message):
        self.assertIn(message, ending)
    self.assertFalse(run_dir.exists())


class PhotographsTest(tf.test.TestCase):
  def test_training_resuming_and_evaluating(self):
    # In one test, since every program and every training takes seconds to start.
    self.folder = pathlib.Path(self.get_temp_dir())
    self.data, self.backbone = self.folder / "flickr8k", self.folder / "backbone.keras"
    example_photos.write_flickr8k(self.data)
    photo = self.data / "Flicker8k_Dataset" / "test_1.jpg"
    photo.write_bytes(photo.read_bytes()[:300])
    example_photos.write_coco_captions(self.folder, {"train": 5, "restval": 2, "val": 2, "test": 3})
    example_photos.write_backbone(self.backbone)
    self.common = [*_PHOTOS, f"--data_dir={self.data}", f"--backbone={self.backbone}"]
    wrong = self.wrong_lines()
    endings = programs.endings(
      "train_captions",
      [*self.common, "--updates=4", f"--run_dir={self.folder / 'whole'}"],
      [
        *self.common,
        "--dataset=coco_captions",
        f"--data_dir={self.folder}",
        "--updates=2",
        f"--run_dir={self.folder / 'coco'}",
      ],
      *(
        [*self.common, "--updates=2", f"--run_dir={self.folder / 'refused'}", *flags]
        for flags in wrong.values()
      ),
    )
    self.assertEqual(endings[:2], [programs.TRAINED] * 2)
    for message, ending in zip(wrong, endings[2:], strict=True):
      with self.subTest(message):
        self.assertIn(message, ending)
    self.assertFalse((self.folder / "refused").exists())
    for check in (
      self.check_flickr8k,
      self.check_records,
      self.check_resuming_with_the_runs_own_backbone,
      self.check_beginning_with_a_run_and_training_its_backbone,
      self.check_evaluating_anew,
    ):
      with self.subTest(check.__name__):
        check()

  def wrong_lines(self):
    """Flags that are refused, by what the program says of them."""
    other, features = self.folder / "other.keras", self.folder / "features"
    example_photos.write_backbone(other, channels=7)
    grid_features.write_features(
      features,
      ["dev_0.jpg"],
      [self.data / "Flicker8k_Dataset" / "dev_0.jpg"],
      lambda images: np.zeros([len(images), 4, 4, 5], np.float32),
      image_side=32,
      grid_shape=(4, 4, 5),
      backbone="of another",
    )
    coco = "--dataset=coco_captions"
    return {
      "--data_dir=: must be printable text, and not empty": ["--data_dir="],
      "data_dir='/nowhere': must hold Flickr8k in its own layout": ["--data_dir=/nowhere"],
      "holds no prepared version of it: run once with --download": [coco],
      "backbone: must be given": ["--backbone="],
      "backbone='/nowhere.keras': must be an existing file": ["--backbone=/nowhere.keras"],
      "its grid's shape must be [4, 4, 7], and is [4, 4, 5]": [
        f"--backbone={other}",
        f"--features={features}",
      ],
      "its digest of the backbone must be": [f"--features={features}"],
      "features: must not be given with keep_features=false": [
        "--nokeep_features",
        f"--features={features}",
      ],
      "keep_features=false: must be true for dataset=coco_captions": [coco, "--nokeep_features"],
      "keep_features=true: must be false with train_backbone=true": ["--train_backbone"],
      "max_words=2: must leave a caption to learn from": ["--max_words=2"],
      "least_word_count=50: must leave some word": ["--least_word_count=50"],
      "height=4: must be a multiple of 8": ["--grid_filters=2,2,2"],
    }

  def results(self, run):
    return json.loads((self.folder / run / "results.json").read_text())

  def check_flickr8k(self):
    whole, results = self.folder / "whole", self.results("whole")
    self.assertLessEqual({"bleu_1", "bleu_4", "rouge_l", "cider"}, set(results))
    # "A red square" and its end make four words; "There is a red square here" is longer.
    self.assertEqual((results["training_captions"], results["test_images"]), (6, 2))
    self.assertEqual(
      results["left_out"],
      {"captions are longer than max_words=4, the end included": 6, "images cannot be read": 1},
    )
    said = json.loads((whole / "captions.json").read_text())
    self.assertEqual([row["image"] for row in said], ["test_0.jpg", "test_2.jpg"])
    vocabulary = Vocabulary.load(whole / "vocabulary.txt")
    self.assertEqual(set(vocabulary.words[4:]), {"a", "square", "red", "green", "blue"})
    # What an export needs to answer for images: pixels to a grid to words.
    grid = keras.saving.load_model(whole / "backbone.keras")(np.zeros([1, 32, 32, 3]))
    answer = keras.saving.load_model(whole / "model.keras")(grid)
    self.assertEqual(answer["words"].shape, (1, 4))

  def check_records(self):
    results = self.results("coco")
    self.assertEqual((results["training_images"], results["training_captions"]), (7, 7))
    self.assertEqual((results["validation_images"], results["test_images"]), (2, 3))
    self.assertGreater((self.folder / "coco" / "glimpses.png").stat().st_size, 0)

  def check_resuming_with_the_runs_own_backbone(self):
    # What the run would have left, had it been cut off after two updates.
    cut = self.folder / "cut"
    shutil.copytree(self.folder / "whole", cut)
    for name in ("results.json", "model.keras"):
      (cut / name).unlink()
    for path in (cut / "checkpoints").glob("*-00000004.keras"):
      path.unlink()
    made = (cut / "features.npy").stat().st_mtime_ns
    # Where the backbone came from is not needed again; here it has become another.
    example_photos.write_backbone(self.backbone, channels=7)
    endings = programs.endings(
      "train_captions", [*self.common, "--updates=4", "--resume", f"--run_dir={cut}"]
    )
    self.assertEqual(endings, [programs.TRAINED])
    self.assertEqual((cut / "features.npy").stat().st_mtime_ns, made)
    results, resumed = self.results("whole"), self.results("cut")
    for name in results.keys() - {"images_per_second", "train_seconds"}:
      self.assertEqual(resumed[name], results[name], name)

  def check_beginning_with_a_run_and_training_its_backbone(self):
    whole, tuned = self.folder / "whole", self.folder / "tuned"
    # So low a rate that what is evaluated is what it began with.
    flags = ["--train_backbone", "--nokeep_features", "--updates=2", "--learning_rate=1e-12"]
    flags.append(f"--backbone={whole / 'backbone.keras'}")
    refused = {
      "nowhere: holds no finished run": [f"--begin_with={self.folder / 'nowhere'}"],
      "its model must be of the same form (units=8 there)": [
        f"--begin_with={whole}",
        "--units=9",
      ],
      "its vocabulary.txt must hold the same words": [
        f"--begin_with={whole}",
        "--least_word_count=3",
      ],
    }
    endings = programs.endings(
      "train_captions",
      [*self.common, *flags, f"--begin_with={whole}", f"--run_dir={tuned}"],
      *(
        [*self.common, *flags, f"--run_dir={self.folder / 'refused'}", *wrong]
        for wrong in refused.values()
      ),
    )
    self.assertEqual(endings[0], programs.TRAINED)
    for message, ending in zip(refused, endings[1:], strict=True):
      self.assertIn(message, ending)
    self.assertFalse((self.folder / "refused").exists())
    self.assertTrue(
      keras.saving.load_model(tuned / "model.keras").prediction_network.backbone.trainable
    )
    results, began = self.results("tuned"), self.results("whole")
    for name in ("bleu_1", "test_log_likelihood_per_word_nats", "prior_entropy_nats"):
      # Features that are kept are of float16.
      self.assertAllClose(results[name], began[name], rtol=1e-2, msg=name)

  def check_evaluating_anew(self):
    whole = [f"--run_dir={self.folder / 'whole'}", f"--data_dir={self.data}"]
    coco = [f"--run_dir={self.folder / 'coco'}", f"--data_dir={self.folder}"]
    before = {path: path.stat().st_mtime_ns for path in self.folder.rglob("*")}
    same, wider, tuned, other, elsewhere = programs.endings(
      "evaluate_captions",
      # Features that are computed as they are needed are those that are kept.
      [*whole, "--nokeep_features"],
      [*coco, "--beam_width=1"],
      [f"--run_dir={self.folder / 'tuned'}", f"--data_dir={self.data}"],
      [*coco, f"--data_dir={self.data}", "--dataset=flickr8k"],
      [f"--run_dir={self.folder / 'nowhere'}"],
    )
    figures, results = json.loads(same), self.results("whole")
    self.assertEqual(figures.pop("left_out"), results["left_out"])
    self.assertLessEqual({"cider", "test_log_likelihood_per_word_nats"}, set(figures))
    for name, value in figures.items():
      self.assertAllClose(value, results[name], rtol=1e-4, msg=name)
    self.assertEqual(json.loads(wider)["beam_width"], 1)
    name = "test_log_likelihood_per_word_nats"
    self.assertAllClose(json.loads(tuned)[name], self.results("tuned")[name], rtol=1e-4)
    self.assertIn("vocabulary.txt: must hold the words of the captions", other)
    self.assertIn("holds no finished run", elsewhere)
    self.assertEqual({path: path.stat().st_mtime_ns for path in self.folder.rglob("*")}, before)


class JudgeTest(tf.test.TestCase):
  def test_counts_right_scenes_and_glimpses_on_digits(self):
    scene = scene_language.Scene(
      np.array([3, 7]), np.array([True, False]), np.array([[0, 0, 24], [40, 48, 12]])
    )
    text = "a large three left of a small seven"
    lie = "a large three left of a small nine"
    encode = scene_language.VOCABULARY.encode
    length = scene_language.longest_caption()
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
