"""Tasks on canvases of digits: their data, their settings, and scores of a learner."""

import dataclasses
import functools
import itertools
from typing import Any

import numpy as np
import tensorflow as tf

import wsram_tf
from tests.support import small_runs
from wsram_tf import runs, tasks
from wsram_tf.data.canvases.config import CanvasConfig
from wsram_tf.runs.folder import RunFolder


class DigitTaskTest(tf.test.TestCase):
  def setUp(self):
    super().setUp()
    self.run_folder = RunFolder(self.get_temp_dir())

  def test_batches_depend_on_the_seed_and_the_update(self):
    task = small_runs.digit_task(canvas=CanvasConfig(canvas_side=40, largest_digit=30))
    self.assertEqual(task.model.image_shape, (40, 40, 1))
    task.prepare(self.run_folder)
    whole = list(task.training_data(batch_size=3, seed=1, start_update=0).take(3))
    self.assertEqual(whole[0][0].shape, (3, 40, 40, 1))
    (resumed,) = task.training_data(batch_size=3, seed=1, start_update=2).take(1)
    self.assertAllEqual(resumed[0], whole[2][0])
    self.assertAllEqual(resumed[1], whole[2][1])
    (other,) = task.training_data(batch_size=3, seed=2, start_update=2).take(1)
    self.assertNotAllClose(other[0], whole[2][0])

  def test_evaluations_have_fixed_canvases(self):
    task = small_runs.digit_task()
    task.prepare(self.run_folder)
    for data, count in ((task.validation_data, 3), (task.test_data, 3)):
      first, second = (list(data().unbatch()) for _ in range(2))
      self.assertLen(first, count)
      self.assertAllEqual([image for image, _ in first], [image for image, _ in second])
    validation, test = (next(iter(data()))[0] for data in (task.validation_data, task.test_data))
    self.assertNotAllClose(validation, test)

  def test_settings_hold_what_the_data_do_not_determine(self):
    lines = small_runs.digit_task().settings().lines
    self.assertEqual(lines[0], "# task: digits")
    self.assertContainsSubset(["--canvas_side=100", "--units=8", "--digits=mnist5k"], lines)
    names = {line.partition("=")[0] for line in lines}
    self.assertNoCommonElements({"--height", "--width", "--channels", "--num_classes"}, names)

  def test_convolutions_are_found(self):
    convolutional = wsram_tf.GlimpseConfig(glimpse_filters=(4,))
    keyed = wsram_tf.LocationConfig(location_distribution="keyed_grid")
    self.assertFalse(small_runs.digit_task().avoids_xla_on_cpu)
    for options in ({"glimpse": convolutional}, {"location": keyed}):
      self.assertTrue(
        small_runs.digit_task(model=wsram_tf.ModelConfig(**options)).avoids_xla_on_cpu
      )


class NeedleTaskTest(tf.test.TestCase):
  def test_a_huge_canvas_is_learned_and_drawn_as_visible_pixels(self):
    model = wsram_tf.ModelConfig(
      units=4, num_glimpses=1, context_side=8, observation="visible_pixels"
    )
    make = functools.partial(
      tasks.NeedleTask,
      objective=wsram_tf.ObjectiveConfig(estimator="variational", num_samples=1),
      source=tasks.DigitSourceConfig(validation_digits=20),
      evaluation=tasks.CanvasEvaluationConfig(
        validation_canvases=4, test_canvases=5, evaluation_batch_size=5
      ),
      needle=tasks.NeedleConfig(needle_side=100_000, needle_clutter=2),
    )
    small_runs.run_eagerly(self.addCleanup)
    training = wsram_tf.TrainingConfig(batch_size=4, evaluate_every=1, jit_compile="off")
    run_dir = f"{self.get_temp_dir()}/run"
    run = runs.train(
      make(model=model), run_dir, training=training, optimizer=wsram_tf.OptimizerConfig(updates=1)
    )
    self.assertEqual(run.results["test_canvases"], 5)
    self.assertGreater((run.path / "glimpses.png").stat().st_size, 0)
    with self.assertRaisesRegex(ValueError, "needle_side=100000: must be at most 4096 with"):
      make(model=dataclasses.replace(model, observation="pixels"))

  def test_scores_a_learner_on_large_canvases(self):
    task = tasks.NeedleTask(
      needle=tasks.NeedleConfig(needle_side=64, needle_clutter=2),
      model=wsram_tf.ModelConfig(units=8, num_glimpses=1, context_side=8),
      objective=wsram_tf.ObjectiveConfig(estimator="variational", num_samples=1),
      source=tasks.DigitSourceConfig(validation_digits=20),
      evaluation=tasks.CanvasEvaluationConfig(
        validation_canvases=4, test_canvases=6, evaluation_batch_size=3
      ),
    )
    self.assertEqual(task.model.image_shape, (64, 64, 1))
    lines = task.settings().lines
    self.assertContainsSubset(["# task: needles", "--needle_side=64", "--needle_clutter=2"], lines)
    self.assertNotIn("--canvas_side=64", lines)
    task.prepare(RunFolder(self.get_temp_dir()))
    images, labels = next(iter(task.test_data()))
    self.assertEqual(images.shape, (3, 64, 64, 1))
    self.assertAllInRange(labels, 0, 9)
    # A digit of 28 pixels and little clutter leave most of the canvas black.
    self.assertLess(float(tf.reduce_mean(tf.cast(images > 0, tf.float32))), 0.3)
    learner = task.make_learner(clip_norm=1.0, seed=1)
    learner.compile("adam", run_eagerly=True)
    results = task.score(learner)
    self.assertEqual(results["test_canvases"], 6)
    self.assertBetween(results["test_error_percent"], 0.0, 100.0)
    self.assertTrue(np.isfinite(results["bound_nats"]))


def _megapixel(observation: str = "visible_pixels", **options: Any) -> tasks.MegapixelTask:
  given = {
    "megapixel": wsram_tf.MegapixelConfig(
      megapixel_side=100, megapixel_order="noise_last", megapixel_label="top"
    ),
    "sets": tasks.MegapixelSetConfig(
      megapixel_train=40, megapixel_validation=20, megapixel_test=10, evaluation_batch_size=10
    ),
    "source": tasks.DigitSourceConfig(validation_digits=100),
    "model": wsram_tf.ModelConfig(units=4, num_glimpses=1, observation=observation),
    "objective": wsram_tf.ObjectiveConfig(estimator="variational", num_samples=1),
  }
  return tasks.MegapixelTask(**given | options)


class MegapixelTaskTest(tf.test.TestCase):
  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    cls.task = _megapixel()
    cls.task.prepare(RunFolder("unused"))

  def test_sets_are_fixed_and_share_no_digit(self):
    task = self.task
    sets = (task.train, task.validation, task.test)
    shown = []
    for made, count in zip(sets, (40, 20, 10), strict=True):
      digits = made.pieces.squares[:, :5]  # Painted first.
      self.assertEqual(digits.shape, (count, 5))
      shown.append({made.pieces.bank[digit].tobytes() for digit in digits.ravel()})
    for one, other in itertools.combinations(shown, 2):
      self.assertNoCommonElements(one, other)
    self.assertLen({made.pieces.corners[:10].tobytes() for made in sets}, 3)
    self.assertLen({made.pieces.bank[-50:].tobytes() for made in sets}, 3)
    # The seed of a run changes the order alone.
    batches = [
      next(iter(task.training_data(batch_size=40, seed=k, start_update=0))) for k in (1, 2)
    ]
    one, other = (pixels.numpy() for pixels, _ in batches)
    self.assertNotAllEqual(one, other)
    self.assertCountEqual(*([pixels.tobytes() for pixels in batch] for batch in (one, other)))
    whole = list(task.training_data(batch_size=3, seed=1, start_update=0).take(4))
    (resumed,) = task.training_data(batch_size=3, seed=1, start_update=3).take(1)
    self.assertAllEqual(resumed[0], whole[3][0])

  def test_the_record_and_the_results_say_order_and_label(self):
    task = self.task
    recorded = ["--megapixel_order=noise_last", "--megapixel_label=top", "--megapixel_train=40"]
    self.assertContainsSubset(["# task: megapixel", *recorded], task.settings().lines)
    learner = task.make_learner(clip_norm=1.0, seed=1)
    learner.compile("adam", run_eagerly=True)
    results = task.score(learner)
    self.assertTrue(np.isfinite(results["bound_nats"]))
    for name, value in (
      ("megapixel_order", "noise_last"),
      ("megapixel_label", "top"),
      ("digits", "mnist5k"),
      ("training_canvases", 40),
      ("test_canvases", 10),
    ):
      self.assertEqual(results[name], value)

  def test_classes_and_sides_follow_from_the_settings(self):
    self.assertEqual(_megapixel().class_names, ())
    clothing = tasks.DigitSourceConfig(digits="fashion_mnist")
    for task in (_megapixel(source=clothing), small_runs.digit_task(source=clothing)):
      self.assertEqual(task.class_names[::9], ("T-shirt/top", "Ankle boot"))
    large = wsram_tf.MegapixelConfig(megapixel_side=5_000)
    self.assertEqual(_megapixel(megapixel=large).model.image_shape, (5_000, 5_000, 1))
    with self.assertRaisesRegex(ValueError, "megapixel_side=5000: must be at most 4096 with"):
      _megapixel("pixels", megapixel=large)


if __name__ == "__main__":
  tf.test.main()
