"""The trainer as a user runs it: in a process of its own, from flags to a run folder."""

import csv
import json
import os
import pathlib
import subprocess
import sys

import tensorflow as tf

ROOT = pathlib.Path(__file__).parents[2]
SMALL = (
  "--units=8",
  "--canvas_side=40",
  "--largest_digit=30",
  "--context_side=6",
  "--glimpse_side=8",
  "--num_glimpses=2",
  "--num_samples=2",
  "--batch_size=8",
  "--validation_canvases=40",
  "--test_canvases=40",
  "--evaluation_batch_size=40",
)


def run(program: str, *arguments: str) -> subprocess.CompletedProcess:
  return subprocess.run(
    [sys.executable, str(ROOT / "trainers" / program), *arguments],
    capture_output=True,
    text=True,
    timeout=300,
    env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
  )


def rows(path: pathlib.Path) -> list[dict[str, str]]:
  with path.open(newline="") as file:
    kept = list(csv.DictReader(file))
  for row in kept:
    row.pop("train_seconds"), row.pop("images_per_second")
  return kept


class TrainMnistTest(tf.test.TestCase):
  def test_a_run_is_whole_reproducible_resumable_and_can_be_evaluated(self):
    root = pathlib.Path(self.get_temp_dir())
    first = run(
      "train_mnist.py", *SMALL, "--updates=4", "--evaluate_every=2", f"--run_dir={root}/a"
    )
    self.assertEqual(first.returncode, 0, first.stderr[-2000:])
    for name in (
      "flags.flags",
      "results.json",
      "metrics.csv",
      "model.keras",
      "glimpses.png",
      "checkpoints/last.keras",
      "checkpoints/best.keras",
    ):
      self.assertGreater((root / "a" / name).stat().st_size, 0, name)
    self.assertNotEmpty(list((root / "a" / "tensorboard").iterdir()))
    self.assertEmpty(list((root / "a").rglob("*partial*")))
    results = json.loads((root / "a" / "results.json").read_text())
    for name in (
      "test_error_percent",
      "test_error_percent_averaged",
      "test_log_likelihood_nats",
      "bound_nats",
      "effective_sample_size",
      "updates",
      "images_per_second",
      "train_seconds",
      "seed",
      "parameters",
    ):
      self.assertIn(name, results)

    again = run("train_mnist.py", f"--flagfile={root}/a/flags.flags", f"--run_dir={root}/b")
    self.assertEqual(again.returncode, 0, again.stderr[-2000:])
    self.assertEqual(rows(root / "a" / "metrics.csv"), rows(root / "b" / "metrics.csv"))

    refused = run("train_mnist.py", f"--flagfile={root}/a/flags.flags", f"--run_dir={root}/b")
    self.assertNotEqual(refused.returncode, 0)
    self.assertIn("holds another run", refused.stderr)

    resumed = run(
      "train_mnist.py", f"--flagfile={root}/b/flags.flags", f"--run_dir={root}/b", "--resume"
    )
    self.assertEqual(resumed.returncode, 0, resumed.stderr[-2000:])
    self.assertEqual(rows(root / "a" / "metrics.csv"), rows(root / "b" / "metrics.csv"))

    evaluated = run("evaluate_mnist.py", f"--run_dir={root}/a", "--importance_samples=12")
    self.assertEqual(evaluated.returncode, 0, evaluated.stderr[-2000:])
    figures = json.loads(evaluated.stdout)
    for name in ("test_error_percent", "test_error_percent_averaged", "bound_nats"):
      self.assertAllClose(figures[name], results[name], rtol=1e-5)
    self.assertLess(figures["test_log_marginal_likelihood_nats"], 0.0)

  def test_wrong_flags_are_refused_by_name_and_leave_nothing(self):
    root = pathlib.Path(self.get_temp_dir())
    (root / "file").write_text("")
    for arguments, words in (
      (["--num_samples=1"], ["num_samples=1", "at least 2"]),
      (["--glimpse_side=101"], ["glimpse_side=101", "at most"]),
      (["--largest_digit=101"], ["largest_digit=101", "canvas_side=100"]),
      (["--digits=letters"], ["digits", "letters"]),
      (["--digits=mnist", f"--data_dir={root}/nowhere"], ["data_dir", "nowhere"]),
      (["--updates=3", "--evaluate_every=2"], ["updates=3", "evaluate_every=2"]),
      ([f"--run_dir={root}/file/run"], ["run_dir=", "not writable"]),
    ):
      # A later --run_dir goes before an earlier one.
      done = run("train_mnist.py", f"--run_dir={root}/run", *arguments)
      with self.subTest(arguments[0]):
        self.assertNotEqual(done.returncode, 0)
        self.assertNotIn("Traceback", done.stderr)
        for word in words:
          self.assertIn(word, done.stderr)
        self.assertFalse((root / "run").exists())


if __name__ == "__main__":
  tf.test.main()
