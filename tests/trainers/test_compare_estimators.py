"""The comparisons as a user runs them: they run, stop, go on; and their table."""

import csv
import pathlib
import subprocess
import sys

import comparison
import file_locks
import tensorflow as tf
from run_folder import RunFolder

from tests import programs, small_runs

_SMALL = (*small_runs.CANVASES, "--num_glimpses=1", "--gradient_draws=2")
_QUICK = (*small_runs.CANVASES, *small_runs.PLAIN)


def compare(out_dir: pathlib.Path, *arguments: str) -> subprocess.CompletedProcess:
  program = programs.ROOT / "trainers" / "compare_estimators.py"
  command = [sys.executable, str(program), *_SMALL, f"--out_dir={out_dir}", *arguments]
  return subprocess.run(command, capture_output=True, text=True, check=False)


class CompareEstimatorsTest(tf.test.TestCase):
  def test_runs_what_is_missing_and_writes_the_table(self):
    out_dir = pathlib.Path(self.get_temp_dir()) / "comparison"
    variant = "--variant=sleep --inference_phase=sleep"
    (out_dir / "sleep").mkdir(parents=True)
    with file_locks.held(out_dir / "sleep" / ".seed_1.lock"):  # As a process that makes that run.
      first = compare(out_dir, "--seeds=1", "--estimators=wake_sleep", variant)
    self.assertEqual(first.returncode, 0, first.stderr[-4000:])
    self.assertIn("sleep, seed 1 is being made by another process", first.stdout)
    self.assertFalse((out_dir / "sleep" / "seed_1").exists())
    finished = out_dir / "wake_sleep" / "seed_1" / "results.json"
    before = finished.stat().st_mtime_ns
    again = compare(out_dir, "--seeds=1", "--estimators=wake_sleep", variant)
    self.assertEqual(again.returncode, 0, again.stderr[-4000:])
    self.assertIn("wake_sleep, seed 1 is finished", again.stdout)
    self.assertEqual(finished.stat().st_mtime_ns, before)
    self.assertIn("--inference_phase=sleep", (out_dir / "sleep/seed_1/flags.flags").read_text())
    with (out_dir / "comparison.csv").open(newline="") as file:
      rows = list(csv.DictReader(file))
    self.assertEqual(
      [(row["label"], row["seed"]) for row in rows], [("wake_sleep", "1"), ("sleep", "1")]
    )
    self.assertGreater(float(rows[0]["prediction_gradient_variance"]), 0.0)
    self.assertGreater((out_dir / "comparison.png").stat().st_size, 0)
    self.assertIn("| wake_sleep | 1 |", (out_dir / "comparison.md").read_text())

  def test_a_run_with_other_flags_is_no_answer(self):
    out_dir = pathlib.Path(self.get_temp_dir()) / "flags"
    (out_dir / "other" / "seed_1").mkdir(parents=True)  # Not in the plan, so none of its business.
    (out_dir / "other" / "seed_1" / "flags.flags").write_text("--units=3\n")
    given = [*_QUICK, f"--out_dir={out_dir}", "--seeds=1", "--estimators=variational"]
    results = out_dir / "variational" / "seed_1" / "results.json"
    first, *endings = programs.endings(
      "compare_estimators",
      given,
      [*given, "--on_nan=skip", "--data_dir=/"],  # Chooses no result.
      [*given, "--units=9", "--learning_rate=0.01"],
      [*given, "--units=9", "--estimators=variational_correctness,variational"],
      [*given, "--variant=variational --units=8", "--estimators="],
    )
    self.assertIn("variational, seed 1 starts", first)
    self.assertIn("variational, seed 1 is finished", endings[0])
    refusal = (
      f"out_dir={out_dir}: variational/seed_1 has other flags than these "
      "(--learning_rate=0.01, not --learning_rate=0.001, --units=9, not --units=8); name another "
      "out_dir, or give the flags it had"
    )
    self.assertIn(refusal, endings[1])
    self.assertIn("has other flags than these (--units=9, not --units=8)", endings[2])
    self.assertFalse((out_dir / "variational_correctness").exists())
    self.assertIn("is finished", endings[3])  # Other words for the same flags.
    results.unlink()
    unfinished, again = programs.endings("compare_estimators", [*given, "--units=9"], given)
    self.assertIn("has other flags than these (--units=9, not --units=8)", unfinished)
    self.assertIn("variational, seed 1 goes on", again)
    self.assertTrue(results.exists())

  def test_what_failed_is_told_with_its_reason(self):
    out_dir = pathlib.Path(self.get_temp_dir()) / "failed"
    given = [*_QUICK, f"--out_dir={out_dir}", "--seeds=1", "--estimators=variational"]
    nan = [*given, "--learning_rate=1e30", "--schedule=constant", "--updates=4"]
    failed, again = programs.endings("compare_estimators", nan, [*nan, "--on_nan=skip"])
    self.assertRegex(
      failed, r"failed: variational, seed 1: train_mnist: update \d: .*; --on_nan=skip goes on"
    )
    self.assertIn("goes on", again)
    self.assertTrue((out_dir / "variational" / "seed_1" / "results.json").exists())

  def test_compares_on_captions(self):
    out_dir = pathlib.Path(self.get_temp_dir()) / "captions"
    arguments = (
      f"--flagfile={programs.ROOT / 'trainers' / 'flagfiles' / 'scenes_long.flags'}",
      *small_runs.SCENES,
      "--most_digits=1",
      "--updates=1",
      "--estimators=",
      "--variant=soft --attention=soft --estimator=variational --num_samples=1",
      "--seeds=1",
      f"--out_dir={out_dir}",
    )
    program = programs.ROOT / "trainers" / "compare_captions.py"
    done = subprocess.run([sys.executable, program, *arguments], capture_output=True, text=True)
    self.assertEqual(done.returncode, 0, done.stderr[-4000:])
    self.assertIn("right in every word %", (out_dir / "comparison.md").read_text())
    self.assertGreater((out_dir / "comparison.png").stat().st_size, 0)

  def test_wrong_flags_are_told_before_anything_runs(self):
    out_dir = pathlib.Path(self.get_temp_dir()) / "wrong"
    cases = {
      "estimators='wake': must be among": ["--estimators=wake"],
      "must be a new label": ["--estimators=vimco", "--variant=vimco --units=9"],
      "vimco: num_samples=1: must be at least 2": ["--estimators=vimco", "--num_samples=1"],
    }
    lines = ([*_SMALL, f"--out_dir={out_dir}", *wrong] for wrong in cases.values())
    endings = programs.endings("compare_estimators", *lines)
    for message, ending in zip(cases, endings, strict=True):
      with self.subTest(message):
        self.assertIn(message, ending)
    self.assertFalse(out_dir.exists())


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
    upside_down = self.layout._replace(lowest_first=False)
    lines = comparison.markdown_table(finished, upside_down).splitlines()
    self.assertEqual([line[:4] for line in lines[2:]], ["| b ", "| a "])

  def test_plots_what_a_run_has(self):
    rows = [{"update": 1.0, "val_error": 3.0}, {"update": 2.0, "val_error": 2.0}]
    figure = comparison.plot({("a", 1): rows, ("b", 1): rows}, self.layout)
    drawn = [axes for axes in figure.axes if axes.axison]
    self.assertEqual([axes.get_ylabel() for axes in drawn], ["error"])
    self.assertLen(drawn[0].lines, 4)

  def test_logarithmic_axes_read_plain_numbers(self):
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

  def test_nothing_is_read_of_runs_that_are_not_finished(self):
    path = pathlib.Path(self.get_temp_dir())
    runs = {("a", 1): RunFolder(str(path / "a"))}
    self.assertEqual(comparison.ComparisonFolder(str(path), runs, self.layout).read(), {})


if __name__ == "__main__":
  tf.test.main()
