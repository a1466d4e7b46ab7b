"""The program train_captions on scenes and on photographs, and evaluate on its runs."""

import json
import pathlib
import shutil
import tempfile

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.support import example_photos, programs, small_runs
from tests.support.event_files import events_of
from wsram_tf.captions.data import grid_features, scene_language
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
  "--flagfile=flickr8k",
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
  "--jit_compile=off",
)


class ScenesTest(tf.test.TestCase):
  @pytest.mark.smoke
  def test_the_flagfile_trains_and_is_evaluated_and_compared(self):
    small_runs.run_eagerly(self.addCleanup)
    out_dir = pathlib.Path(self.get_temp_dir()) / "out"
    run_dir = out_dir / "flagfile" / "seed_1"
    arguments = ["--flagfile=scenes", *small_runs.SCENES]
    ending = programs.endings("train_captions", [*arguments, f"--run_dir={run_dir}"])
    self.assertEqual(ending, [programs.TRAINED])
    results = json.loads((run_dir / "results.json").read_text())
    self.assertLessEqual(_RESULTS, set(results))
    for name in ("glimpses.png", "model.keras", "checkpoints/update-00000002.keras", "flags.flags"):
      self.assertGreater((run_dir / name).stat().st_size, 0, name)
    events = events_of(run_dir)
    for tag in ("validation/scenes_correct_percent", "glimpses/validation", "glimpses/row"):
      self.assertEqual(set(events[tag]), {1, 2}, tag)
    vocabulary = Vocabulary.load(run_dir / "vocabulary.txt")
    self.assertEqual(vocabulary.words, scene_language.VOCABULARY.words)
    again, refused = programs.endings(
      "evaluate", [f"--run_dir={run_dir}"], [f"--run_dir={run_dir}", "--importance_samples=3"]
    )
    for name, value in json.loads(again).items():
      self.assertAllClose(value, results[name], rtol=1e-4, msg=name)
    self.assertIn("Unknown command line flag 'importance_samples'", refused)

    # A comparison takes the run as one of its own.
    (compared,) = programs.endings(
      "compare",
      [
        "--program=train_captions",
        *arguments,
        *("--estimators=", "--variant=flagfile --attention=hard", "--seeds=1"),
        f"--out_dir={out_dir}",
      ],
    )
    self.assertIn("run 1 of 1: flagfile, seed 1 is finished", compared)
    self.assertIn("right in every word %", (out_dir / "comparison.md").read_text())
    self.assertGreater((out_dir / "comparison.png").stat().st_size, 0)

  def test_wrong_flags_get_one_clear_error_and_leave_nothing(self):
    run_dir = pathlib.Path(self.get_temp_dir()) / "refused"
    cases = {
      "num_samples=1: must be at least 2 for estimator=wake_sleep": ["--num_samples=1"],
      "height=60: must be a multiple of 8": ["--canvas_side=60"],
      "must be a range of pixels from 1 to half the canvas": ["--largest_large=40"],
      "must begin at least 25% above the end of small": ["--smallest_large=16"],
      "inference_phase=sleep: must be wake for captions": ["--inference_phase=sleep"],
      "dataset=films: value should be one of <scenes": ["--dataset=films"],
      "beam_width=0: must be at least 1": ["--beam_width=0"],
      "consensus=True: must be false for beam_width=2": ["--consensus", "--beam_width=2"],
      "averaged_samples=2: must be 0 for attention=soft": [
        *("--attention=soft", "--estimator=variational", "--num_samples=1"),
        "--averaged_samples=2",
      ],
      "updates=4: must be a multiple of evaluate_every=3": ["--evaluate_every=3", "--updates=4"],
      "'units=3': must be a flag": ["units=3"],
    }
    endings = programs.endings(
      "train_captions",
      *([*small_runs.SCENES, f"--run_dir={run_dir}", *wrong] for wrong in cases.values()),
    )
    for message, ending in zip(cases, endings, strict=True):
      with self.subTest(message):
        self.assertStartsWith(ending, "train_captions: ")
        self.assertIn(message, ending)
    self.assertFalse(run_dir.exists())


class PhotographsTest(tf.test.TestCase):
  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    small_runs.run_eagerly(cls.addClassCleanup)
    cls.folder = pathlib.Path(tempfile.mkdtemp())
    cls.addClassCleanup(shutil.rmtree, cls.folder)
    cls.data, cls.backbone = cls.folder / "flickr8k", cls.folder / "backbone.keras"
    example_photos.write_flickr8k(cls.data)
    photo = cls.data / "Flicker8k_Dataset" / "test_1.jpg"
    photo.write_bytes(photo.read_bytes()[:300])
    example_photos.write_backbone(cls.backbone)
    cls.common = [*_PHOTOS, f"--data_dir={cls.data}", f"--backbone={cls.backbone}"]
    cls.whole = cls.folder / "whole"
    ending = programs.endings(
      "train_captions", [*cls.common, "--updates=4", f"--run_dir={cls.whole}"]
    )
    assert ending == [programs.TRAINED], ending
    cls.results = json.loads((cls.whole / "results.json").read_text())

  def test_writes_scores_captions_and_the_backbone(self):
    self.assertLessEqual(
      {"bleu_1", "bleu_4", "brevity_penalty", "rouge_l", "cider"}, set(self.results)
    )
    # "A red square" and its end make four words; "There is a red square here" is longer.
    self.assertEqual((self.results["training_captions"], self.results["test_images"]), (6, 2))
    self.assertEqual(
      self.results["left_out"],
      {"captions are longer than max_words=4, the end included": 6, "images cannot be read": 1},
    )
    rows = json.loads((self.whole / "captions.json").read_text())
    self.assertEqual([row["image"] for row in rows], ["test_0.jpg", "test_2.jpg"])
    vocabulary = Vocabulary.load(self.whole / "vocabulary.txt")
    self.assertEqual(set(vocabulary.words[4:]), {"a", "square", "red", "green", "blue"})
    # An export needs both: pixels to a grid to words.
    grid = keras.saving.load_model(self.whole / "backbone.keras")(np.zeros([1, 32, 32, 3]))
    answer = keras.saving.load_model(self.whole / "model.keras")(grid)
    self.assertEqual(answer["words"].shape, (1, 4))

  def test_refusals_name_their_cause_and_leave_nothing(self):
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
    coco, begin = "--dataset=coco_captions", f"--begin_with={self.whole}"
    cases = {
      "--data_dir=: must be printable text, and not empty": ["--data_dir="],
      "data_dir='/nowhere': must hold Flickr8k in its own layout": ["--data_dir=/nowhere"],
      "holds no version of it; run once with --download": [coco],
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
      "max_words=2: leaves no caption to learn from": ["--max_words=2"],
      "least_word_count=50: leaves an empty vocabulary": ["--least_word_count=50"],
      "height=4: must be a multiple of 8": ["--grid_filters=2,2,2"],
      "nowhere: holds no finished run": [f"--begin_with={self.folder / 'nowhere'}"],
      "its model must have the same form (units=8 there)": [begin, "--units=9"],
      "its vocabulary.txt must hold the same words": [begin, "--least_word_count=3"],
    }
    run_dir = self.folder / "refused"
    endings = programs.endings(
      "train_captions",
      *([*self.common, "--updates=2", f"--run_dir={run_dir}", *wrong] for wrong in cases.values()),
    )
    for message, ending in zip(cases, endings, strict=True):
      with self.subTest(message):
        self.assertIn(message, ending)
    self.assertFalse(run_dir.exists())

  def test_glimpses_choose_among_the_layers_of_a_backbone(self):
    backbone, run_dir = self.folder / "layered.keras", self.folder / "layers"
    example_photos.write_layered_backbone(backbone)
    arguments = [
      *self.common,
      f"--backbone={backbone}",
      "--backbone_layers=fine,coarse",
      "--cell=relu",
      "--inference_reads=previous_word",
      "--estimator=wake_sleep",
      "--updates=2",
      f"--run_dir={run_dir}",
    ]
    unknown, ending = programs.endings(
      "train_captions", [*arguments, "--backbone_layers=fine,middle"], arguments
    )
    self.assertIn("backbone_layers='middle': must be a layer of the backbone", unknown)
    self.assertEqual(ending, programs.TRAINED)
    rows = json.loads((run_dir / "captions.json").read_text())
    for row in rows:
      self.assertLen(row["layers"], len(row["caption"].split()))
    (again,) = programs.endings("evaluate", [f"--run_dir={run_dir}"])
    results = json.loads((run_dir / "results.json").read_text())
    self.assertEqual(json.loads(again)["bleu_1"], results["bleu_1"])

  def test_a_run_resumes_with_its_own_backbone(self):
    run_dir = small_runs.cut(self.whole, self.folder / "cut", update=2)
    written_at = (run_dir / "features.npy").stat().st_mtime_ns
    # The file that the backbone came from has changed.
    changed = self.folder / "changed.keras"
    example_photos.write_backbone(changed, channels=7)
    flagfile = run_dir / "flags.flags"
    flagfile.write_text(flagfile.read_text().replace(str(self.backbone), str(changed)))
    arguments = ["--resume", f"--run_dir={run_dir}"]
    self.assertEqual(programs.endings("train_captions", arguments), [programs.TRAINED])
    self.assertEqual((run_dir / "features.npy").stat().st_mtime_ns, written_at)
    self.assertEqual(small_runs.figures(run_dir), small_runs.figures(self.whole))

  def test_a_run_begins_with_another_and_trains_its_backbone(self):
    run_dir = self.folder / "tuned"
    # The rate is too low to change the figures of the first run.
    arguments = ["--train_backbone", "--nokeep_features", "--updates=2", "--learning_rate=1e-12"]
    arguments += [f"--backbone={self.whole / 'backbone.keras'}", f"--begin_with={self.whole}"]
    ending = programs.endings("train_captions", [*self.common, *arguments, f"--run_dir={run_dir}"])
    self.assertEqual(ending, [programs.TRAINED])
    learner = keras.saving.load_model(run_dir / "model.keras")
    self.assertTrue(learner.prediction_network.backbone.trainable)
    results = json.loads((run_dir / "results.json").read_text())
    for name in ("bleu_1", "test_log_likelihood_per_word_nats", "prior_entropy_nats"):
      # Features in files are float16.
      self.assertAllClose(results[name], self.results[name], rtol=1e-2, msg=name)
    (again,) = programs.endings(
      "evaluate", [f"--run_dir={run_dir}", "--beam_width=3", "--averaged_samples=2", "--consensus"]
    )
    figures = json.loads(again)
    self.assertEqual((figures["beam_width"], figures["averaged_samples"]), (3, 2))
    self.assertTrue(figures["consensus"])
    name = "test_log_likelihood_per_word_nats"
    self.assertAllClose(figures[name], results[name], rtol=1e-4)

  def test_hard_attention_begins_with_the_weights_of_soft(self):
    runs = [self.folder / name for name in ("soft", "hard")]
    soft = ["--attention=soft", "--estimator=variational", "--num_samples=1"]
    # The rate is too low to change a weight.
    hard = [f"--begin_with={runs[0]}", "--learning_rate=1e-12"]
    endings = programs.endings(
      "train_captions",
      *(
        [*self.common, "--updates=2", *own, f"--run_dir={run}"]
        for own, run in zip((soft, hard), runs, strict=True)
      ),
    )
    self.assertEqual(endings, [programs.TRAINED] * 2)
    networks = [keras.saving.load_model(run / "model.keras").prediction_network for run in runs]
    self.assertEqual([network.config.attention for network in networks], ["soft", "hard"])
    for theirs, mine in zip(*(network.weights for network in networks), strict=True):
      self.assertAllClose(theirs, mine, msg=theirs.path)

  def test_evaluate_computes_the_same_and_writes_nothing(self):
    example_photos.write_coco_captions(self.folder, {"train": 5, "restval": 2, "val": 2, "test": 3})
    before = {path: path.stat().st_mtime_ns for path in self.whole.rglob("*")}
    run_dir = f"--run_dir={self.whole}"
    same, other, elsewhere = programs.endings(
      "evaluate",
      # Features that are computed when they are used equal those in files.
      [run_dir, "--nokeep_features"],
      [run_dir, f"--data_dir={self.folder}", "--dataset=coco_captions"],
      [f"--run_dir={self.folder / 'nowhere'}"],
    )
    figures = json.loads(same)
    self.assertEqual(figures.pop("left_out"), self.results["left_out"])
    self.assertLessEqual({"cider", "test_log_likelihood_per_word_nats"}, set(figures))
    for name, value in figures.items():
      self.assertAllClose(value, self.results[name], rtol=1e-4, msg=name)
    self.assertIn("vocabulary.txt: must hold the words of the captions", other)
    self.assertIn("holds no finished run", elsewhere)
    self.assertEqual({path: path.stat().st_mtime_ns for path in self.whole.rglob("*")}, before)


if __name__ == "__main__":
  tf.test.main()
