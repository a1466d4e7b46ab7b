"""Counts of confused classes, in the files of a run."""

import csv
import pathlib

import numpy as np
import PIL.Image
import tensorflow as tf

from tests.support import small_runs
from wsram_tf import runs
from wsram_tf.classification.reports import confusion
from wsram_tf.config import OptimizerConfig


class ConfusionTest(tf.test.TestCase):
  def test_a_run_writes_what_its_learner_answers(self):
    small_runs.run_eagerly(self.addCleanup)
    task = small_runs.array_task()
    run_dir = pathlib.Path(self.get_temp_dir()) / "run"
    run = runs.train(task, run_dir, small_runs.TRAINING, OptimizerConfig(updates=2))
    images, labels = next(iter(task.test_data().unbatch().batch(100)))
    found = run.learner.predict(images, verbose=0)["class_id"]
    expected = np.zeros([2, 2], int)
    for label, answer in zip(labels.numpy(), found, strict=True):
      expected[label, answer] += 1
    with (run_dir / "confusion.csv").open(newline="") as file:
      header, *rows = csv.reader(file)
    self.assertEqual(header, ["class", "0", "1"])
    self.assertAllEqual(np.array(rows)[:, 1:].astype(int), expected)
    with (run_dir / "classes.csv").open(newline="") as file:
      classes = list(csv.DictReader(file))
    self.assertEqual([int(row["images"]) for row in classes], expected.sum(axis=1).tolist())
    right = sum(float(row["accuracy_percent"]) * int(row["images"]) for row in classes)
    self.assertAllClose(right / 6, 100 - run.results["test_error_percent"], atol=0.01)
    self.assertGreater(min(PIL.Image.open(run_dir / "confusion.png").size), 200)

  def test_a_class_without_images_and_names_with_commas(self):
    text = confusion.classes_csv(np.array([[0, 0], [2, 1]]), ["a, b", 'say "c"'])
    rows = list(csv.reader(text.splitlines()))
    self.assertEqual(rows[1], ["a, b", "0", "", "", ""])
    self.assertEqual(rows[2], ['say "c"', "3", "33.33", "a, b", "66.67"])

  def test_many_classes_are_drawn(self):
    counts = np.eye(200, dtype=int)
    figure = confusion.draw_confusion(counts, [f"class {label}" for label in range(200)])
    (axes,) = figure.axes
    self.assertEmpty(axes.get_xticks())
    self.assertEmpty(axes.texts)


if __name__ == "__main__":
  tf.test.main()
