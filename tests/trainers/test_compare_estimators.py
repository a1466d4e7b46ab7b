"""The comparison as a user runs it: runs, stops, goes on; and its table."""

import csv
import pathlib
import subprocess
import sys

import comparison
import tensorflow as tf
from run_folder import RunFolder

_ROOT = pathlib.Path(__file__).resolve().parents[2]
_SMALL = (
  "--digits=mnist5k",
  "--validation_digits=20",
  "--validation_canvases=20",
  "--test_canvases=30",
  "--evaluation_batch_size=10",
  "--batch_size=4",
  "--units=8",
  "--num_glimpses=1",
  "--updates=2",
  "--evaluate_every=1",
  "--jit_compile=off",
  "--gradient_draws=2",
)


def compare(out_dir: pathlib.Path, *arguments: str) -> subprocess.CompletedProcess:
  program = _ROOT / "trainers" / "compare_estimators.py"
  command = [sys.executable, str(program), *_SMALL, f"--out_dir={out_dir}", *arguments]
  return subprocess.run(command, capture_output=True, text=True, check=False)


class CompareEstimatorsTest(tf.test.TestCase):
  def test_runs_what_is_missing_and_writes_the_table(self):
    out_dir = pathlib.Path(self.get_temp_dir()) / "comparison"
    first = compare(out_dir, "--seeds=1", "--estimators=wake_sleep")
    self.assertEqual(first.returncode, 0, first.stderr[-4000:])
    finished = out_dir / "wake_sleep" / "seed_1" / "results.json"
    before = finished.stat().st_mtime_ns
    variant = "--variant=sleep --inference_phase=sleep"
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

  def test_wrong_flags_are_told_before_anything_runs(self):
    out_dir = pathlib.Path(self.get_temp_dir()) / "wrong"
    for arguments, message in (
      (["--estimators=wake"], "estimators='wake': must be among"),
      (["--estimators=vimco", "--variant=vimco --units=9"], "must be a new label"),
      (["--estimators=vimco", "--num_samples=1"], "vimco: num_samples=1: must be at least 2"),
    ):
      with self.subTest(message):
        done = compare(out_dir, *arguments)
        self.assertEqual(done.returncode, 1)
        self.assertIn(message, done.stderr)
        self.assertFalse(out_dir.exists())


class MarkdownTableTest(tf.test.TestCase):
  def test_means_and_deviations_over_seeds_best_first(self):
    def figures(error: float, variance: float | None) -> dict:
      return dict.fromkeys(comparison.COLUMNS) | {
        "test_error_percent": error,
        "prediction_gradient_variance": variance,
      }

    finished = {
      ("b", 1): figures(4.0, None),
      ("a", 1): figures(1.0, 2.0),
      ("a", 2): figures(3.0, 2.5),
    }
    lines = comparison.markdown_table(finished).splitlines()
    self.assertEqual(lines[0], "| | seeds | error % | gradient variance |")
    self.assertEqual(lines[2], "| a | 2 | 2.00 ± 1.41 | 2.250 ± 0.354 |")
    self.assertEqual(lines[3], "| b | 1 | 4.00 |  |")

  def test_nothing_is_read_of_runs_that_are_not_finished(self):
    path = pathlib.Path(self.get_temp_dir())
    runs = {("a", 1): (RunFolder(str(path / "a")), [])}
    self.assertEqual(comparison.ComparisonFolder(str(path), runs).read(), {})


if __name__ == "__main__":
  tf.test.main()
