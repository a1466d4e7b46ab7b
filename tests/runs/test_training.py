"""`runs.train` and `runs.evaluate` from Python: results, resuming, refusals, non-finite updates."""

import contextlib
import dataclasses
import io
import json
import pathlib
import shutil
import tempfile

import keras
import numpy as np
import tensorflow as tf

import wsram_tf
from tests.support import small_runs
from wsram_tf import runs
from wsram_tf.runs.training import evaluation_interval, steps_per_execution

_OPTIMIZER = wsram_tf.OptimizerConfig(updates=4)


def train(task: runs.Task, run_dir: pathlib.Path, **options) -> runs.TrainedRun:
  """Trains four updates without output."""
  options = {"training": small_runs.TRAINING, "optimizer": _OPTIMIZER} | options
  with contextlib.redirect_stdout(io.StringIO()):
    return runs.train(task, run_dir, **options)


def contents(folder: pathlib.Path) -> dict[pathlib.Path, bytes]:
  """Reads all files of a folder."""
  return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


class TrainTest(tf.test.TestCase):
  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    small_runs.run_eagerly(cls.addClassCleanup)
    cls.shared = pathlib.Path(tempfile.mkdtemp())
    cls.addClassCleanup(shutil.rmtree, cls.shared)
    cls.whole = train(small_runs.array_task(), cls.shared / "whole")

  def setUp(self):
    super().setUp()
    self.run_dir = pathlib.Path(tempfile.mkdtemp(dir=self.shared)) / "run"

  def test_returns_the_run_that_it_writes(self):
    path, learner, results = self.whole
    self.assertEqual(json.loads((path / "results.json").read_text()), results)
    self.assertEqual(results["updates"], 4)
    self.assertEqual([row["update"] for row in small_runs.rows(path)], ["2", "4"])
    for one, other in zip(
      small_runs.state(path / "model.keras"),
      (*learner.weights, *learner.optimizer.variables),
      strict=True,
    ):
      self.assertAllEqual(one, np.asarray(other))
    lines = (path / "flags.flags").read_text().splitlines()
    self.assertEqual(lines[0], "# task: arrays")
    self.assertContainsSubset(["--units=8", "--updates=4", "--seed=1", "--batch_size=4"], lines)

  def test_a_stopped_run_resumes_to_the_same_end(self):
    small_runs.cut(self.whole.path, self.run_dir, update=2)
    # Whether bad updates are skipped does not change the others.
    training = dataclasses.replace(small_runs.TRAINING, on_nan="skip")
    resumed = train(small_runs.array_task(), self.run_dir, training=training, resume=True)
    self.assertEqual(small_runs.figures(self.run_dir), small_runs.figures(self.whole.path))
    self.assertEqual(resumed.results["chosen_update"], self.whole.results["chosen_update"])
    for one, other in zip(
      small_runs.state(self.run_dir / "model.keras"),
      small_runs.state(self.whole.path / "model.keras"),
      strict=True,
    ):
      self.assertAllEqual(one, other)  # To the last bit.

  def test_a_run_resumes_with_its_own_settings_alone(self):
    before = contents(self.whole.path)
    brighter = small_runs.array_task()
    images, labels = brighter.splits["train"]
    part = np.asarray(images) + np.uint8(1), np.asarray(labels)
    smaller = wsram_tf.ModelConfig(
      units=7, num_glimpses=1, glimpse=wsram_tf.GlimpseConfig(glimpse_side=4)
    )
    for task, options, message in (
      (small_runs.array_task(model=smaller), {}, r"other flags.*\(--units=7, not --units=8\)"),
      (small_runs.array_task(train=part), {}, r"--arrays_sha256=\w+, not --arrays_sha256="),
      (
        small_runs.array_task(),
        {"training": dataclasses.replace(small_runs.TRAINING, seed=2)},
        r"\(--seed=2, not --seed=1\)",
      ),
      (
        small_runs.array_task(),
        {"optimizer": wsram_tf.OptimizerConfig(updates=6)},
        r"\(--updates=6, not --updates=4\)",
      ),
    ):
      with self.subTest(message), self.assertRaisesRegex(runs.RunFolderError, message):
        train(task, self.whole.path, resume=True, **options)
    with self.assertRaisesRegex(runs.RunFolderError, "holds another run; .*resume=True from"):
      train(small_runs.array_task(), self.whole.path)
    with self.assertRaisesRegex(runs.RunFolderError, "holds no run to resume"):
      train(small_runs.array_task(), self.run_dir, resume=True)
    self.assertEqual(contents(self.whole.path), before)
    self.assertFalse(self.run_dir.exists())

  def test_refusals_write_nothing(self):
    larger = wsram_tf.ModelConfig(
      units=9, num_glimpses=1, glimpse=wsram_tf.GlimpseConfig(glimpse_side=4)
    )
    named = small_runs.array_task(class_names=["cat", "dog"])
    for task, options, message in (
      (
        small_runs.array_task(),
        {"optimizer": wsram_tf.OptimizerConfig(updates=5)},
        "updates=5: must be a multiple of evaluate_every=2",
      ),
      (small_runs.array_task(), {"begin_with": "/no"}, "begin_with=/no: holds no finished run"),
      (small_runs.array_task(), {"resume": [0, 1]}, r"resume=\[0, 1\]: must be of the class bool"),
      (named, {"begin_with": self.whole.path}, "its classes must be the same, in the same order"),
      (
        small_runs.array_task(model=larger),
        {"begin_with": self.whole.path},
        r"its model must have the same form \(units=8 there\)",
      ),
    ):
      with self.subTest(message), self.assertRaisesRegex(ValueError, message):
        train(task, self.run_dir, **options)
      self.assertFalse(self.run_dir.exists())

  def test_evaluate_computes_the_results_again_and_writes_nothing(self):
    before = contents(self.whole.path)
    figures = runs.evaluate(small_runs.array_task(), self.whole.path, importance_samples=3)
    for name in ("test_error_percent", "bound_nats", "test_images", "parameters"):
      self.assertAllClose(figures[name], self.whole.results[name], rtol=1e-5, msg=name)
    self.assertEqual(figures["importance_samples"], 3)
    self.assertTrue(np.isfinite(figures["test_log_marginal_likelihood_nats"]))
    self.assertEqual(contents(self.whole.path), before)
    with self.assertRaisesRegex(runs.RunFolderError, "run_dir=.*: holds no finished run"):
      runs.evaluate(small_runs.array_task(), self.run_dir)

  def test_a_non_finite_update_is_reported_and_saved(self):
    # The first update makes weights so large that the second overflows.
    optimizer = wsram_tf.OptimizerConfig(updates=4, learning_rate=1e38, schedule="constant")
    task = small_runs.array_task()
    with self.assertRaisesRegex(wsram_tf.NonFiniteUpdateError, "update 1: prediction_loss is nan"):
      train(task, self.run_dir, optimizer=optimizer)
    report = json.loads((self.run_dir / "nan" / "report.json").read_text())
    learner = keras.saving.load_model(self.run_dir / "nan" / "learner.keras")
    batch = np.load(self.run_dir / "nan" / "batch.npz")
    losses = learner.differentiate(batch["images"], batch["targets"]).losses
    self.assertEqual(report["step"], 1)
    self.assertIn("prediction_loss", report["bad_terms"])
    self.assertEqual(str(float(losses["prediction"])), report["terms"]["prediction_loss"])
    training = dataclasses.replace(small_runs.TRAINING, on_nan="skip", strategy="mirrored")
    train(task, self.run_dir, training=training, optimizer=optimizer, resume=True)
    skipped = [float(row["skipped_updates"]) for row in small_runs.rows(self.run_dir)]
    self.assertEqual(skipped, [1.0, 2.0])
    self.assertEqual(small_runs.figures(self.run_dir)["skipped_updates"], 3)


class ScheduleTest(tf.test.TestCase):
  def test_evaluations_divide_the_training(self):
    training = wsram_tf.TrainingConfig(evaluate_every=100)
    self.assertEqual(evaluation_interval(training, wsram_tf.OptimizerConfig(updates=400)), 100)
    self.assertEqual(evaluation_interval(training, wsram_tf.OptimizerConfig(updates=40)), 40)
    with self.assertRaisesRegex(ValueError, "updates=150: must be a multiple of evaluate_every"):
      evaluation_interval(training, wsram_tf.OptimizerConfig(updates=150))

  def test_executions_divide_the_interval(self):
    self.assertEqual([steps_per_execution(n) for n in (1, 7, 100, 53)], [1, 7, 50, 1])


if __name__ == "__main__":
  tf.test.main()
