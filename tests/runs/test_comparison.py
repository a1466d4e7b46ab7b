"""Comparisons: their runs from Python, their table and their plots."""

import csv
import dataclasses
import pathlib
import tempfile

import tensorflow as tf

import wsram_tf
from tests.support import small_runs
from wsram_tf import files, runs, tasks
from wsram_tf.runs import comparison
from wsram_tf.runs.folder import RunFolder

_OPTIMIZER = wsram_tf.OptimizerConfig(updates=2)


class CompareTest(tf.test.TestCase):
  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    small_runs.run_eagerly(cls.addClassCleanup)

  def test_makes_missing_runs_and_writes_the_table(self):
    out_dir = pathlib.Path(self.get_temp_dir()) / "comparison"
    objective = wsram_tf.ObjectiveConfig(estimator="variational_leave_one_out", num_samples=2)
    compared = {
      "plain": small_runs.array_task(
        diagnosis=tasks.DiagnosisConfig(gradient_draws=2, gradient_images=4)
      ),
      "leave_one_out": small_runs.array_task(objective=objective),
    }

    def compare(**options) -> str:
      given = {"training": small_runs.TRAINING, "optimizer": _OPTIMIZER, "seeds": [1]} | options
      return runs.compare(compared, out_dir, **given)

    other = out_dir / "leave_one_out" / "seed_1"
    other.parent.mkdir(parents=True)
    with files.lock(other.with_name(".seed_1.lock")):  # As a process that makes that run.
      table = compare()
    self.assertFalse(other.exists())
    self.assertIn("| plain | 1 |", table)
    self.assertNotIn("leave_one_out", table)

    finished = out_dir / "plain" / "seed_1" / "results.json"
    before = finished.stat().st_mtime_ns
    self.assertIn("| leave_one_out | 1 |", compare())
    self.assertEqual(finished.stat().st_mtime_ns, before)
    flags = (other / "flags.flags").read_text()
    self.assertIn("--estimator=variational_leave_one_out\n", flags)
    with (out_dir / "comparison.csv").open(newline="") as file:
      rows = list(csv.DictReader(file))
    self.assertEqual(
      [(row["label"], row["seed"]) for row in rows], [("plain", "1"), ("leave_one_out", "1")]
    )
    self.assertGreater(float(rows[0]["prediction_gradient_variance"]), 0.0)
    self.assertEqual(rows[1]["prediction_gradient_variance"], "")
    self.assertGreater((out_dir / "comparison.png").stat().st_size, 0)
    table = (out_dir / "comparison.md").read_text()

    # An unfinished run resumes, with its own settings alone.
    finished.unlink()
    with self.assertRaisesRegex(runs.RunFolderError, "--batch_size=3, not --batch_size=4"):
      compare(training=dataclasses.replace(small_runs.TRAINING, batch_size=3))
    self.assertEqual(compare(), table)
    self.assertTrue(finished.exists())

  def test_refuses_an_empty_comparison(self):
    for compared, seeds in (({}, [1]), ({"a": small_runs.array_task()}, [])):
      with self.assertRaisesRegex(ValueError, "must each hold at least one item"):
        runs.compare(compared, "/no/such/folder", seeds=seeds)


class ComparisonTest(tf.test.TestCase):
  layout = comparison.Layout(
    {"error": ("error %", 2), "averaged": ("averaged %", 2), "variance": ("variance", 3)},
    (("update", "val_error", "error"), ("update", "val_absent", "absent")),
    lowest_first=True,
  )

  def test_means_and_deviations_over_seeds_best_first(self):
    def figures(error: float, variance: float | None) -> dict:
      return {"error": error, "averaged": None, "variance": variance}

    finished = {
      ("b", 1): figures(4.0, None),
      ("a", 1): figures(1.0, 2.0),
      ("a", 2): figures(3.0, 2.5),
    }
    lines = comparison.markdown_table(finished, self.layout).splitlines()
    self.assertEqual(lines[0], "| | seeds | error % | variance |")
    self.assertEqual(lines[2], "| a | 2 | 2.00 ± 1.41 | 2.250 ± 0.354 |")
    self.assertEqual(lines[3], "| b | 1 | 4.00 |  |")
    highest_first = self.layout._replace(lowest_first=False)
    lines = comparison.markdown_table(finished, highest_first).splitlines()
    self.assertEqual([line[:4] for line in lines[2:]], ["| b ", "| a "])

  def test_plots_the_figures_of_the_runs(self):
    rows = [{"update": 1.0, "val_error": 3.0}, {"update": 2.0, "val_error": 2.0}]
    figure = comparison.plot({("a", 1): rows, ("b", 1): rows}, self.layout)
    drawn = [axes for axes in figure.axes if axes.axison]
    self.assertEqual([axes.get_ylabel() for axes in drawn], ["error"])
    self.assertLen(drawn[0].lines, 4)

  def test_logarithmic_axes_have_plain_numbers(self):
    for values in ([8.85, 9.4], [0.5, 20.0], [1.0, 4000.0]):
      rows = [{"update": float(n), "val_error": value} for n, value in enumerate(values, 1)]
      figure = comparison.plot({("a", 1): rows}, self.layout)
      figure.canvas.draw()
      (axes,) = (axes for axes in figure.axes if axes.axison)
      labels = [
        label.get_text()
        for minor in (False, True)
        for label in axes.get_yticklabels(minor=minor)
        if label.get_text()
      ]
      self.assertGreater(len(labels), 1, values)
      for label in labels:
        self.assertRegex(label, r"^[0-9]+(\.[0-9]+)?$")

  def test_unfinished_runs_are_not_read(self):
    folder = tempfile.mkdtemp(dir=self.get_temp_dir())
    compared = comparison.ComparisonFolder(folder, [("a", 1)], self.layout)
    self.assertEqual(compared.read(), {})
    run: RunFolder = compared.runs["a", 1]
    run.path.mkdir(parents=True)
    run.write_metrics([{"update": 1, "error": 1.0}])
    self.assertEqual(compared.read(), {})


if __name__ == "__main__":
  tf.test.main()
