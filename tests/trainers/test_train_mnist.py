"""The training program as a user runs it: from flags to a run folder, and what it refuses."""

import csv
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

import keras
import mnist
import numpy as np
import pytest
import tensorflow as tf
import train_mnist
from absl import flags
from absl.testing import flagsaver, parameterized
from run_folder import RunFolder

from tests import small_runs

_ROOT = pathlib.Path(__file__).resolve().parents[2]
_FLAGFILES = [
  path
  for path in sorted((_ROOT / "trainers" / "flagfiles").glob("*.flags"))
  # The others are of compare_estimators, train_captions and train_classifier.
  if not path.stem.startswith("compare_")
  and not any(flag in path.read_text() for flag in ("--dataset=", "--fit="))
]
_RESULTS = {
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
}


def start(program: str, *arguments: str) -> subprocess.Popen:
  """Starts a program of trainers/, in another folder, as nothing may depend on that."""
  return subprocess.Popen(
    [sys.executable, str(_ROOT / "trainers" / program), *arguments],
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
    text=True,
    cwd=tempfile.gettempdir(),
    env={**os.environ, "TF_NUM_INTRAOP_THREADS": "1"},  # The tests run side by side.
  )


def figures(run_dir: pathlib.Path) -> dict:
  """The results of a run but for its times."""
  results = json.loads((run_dir / "results.json").read_text())
  return {name: value for name, value in results.items() if "second" not in name}


def rows(run_dir: pathlib.Path) -> list[dict]:
  """The rows of a run's metrics.csv."""
  with (run_dir / "metrics.csv").open(newline="") as file:
    return list(csv.DictReader(file))


def newest_update(run_dir: pathlib.Path) -> int:
  """The updates that a run's newest checkpoint is of; 0 where there is none."""
  found = run_dir.glob("checkpoints/update-*.keras")
  return max((int(path.stem.rpartition("-")[2]) for path in found), default=0)


def train(*arguments: str) -> None:
  """Runs train_mnist in this process, as a process of its own would; TensorFlow is loaded once.

  Raises:
    flags.Error, SystemExit: where it ends with an error.
  """
  with flagsaver.flagsaver():
    flags.FLAGS.unparse_flags()
    train_mnist.main(flags.FLAGS(["train_mnist.py", *map(str, arguments)]))


class TrainMnistTest(tf.test.TestCase, parameterized.TestCase):
  def setUp(self):
    super().setUp()
    self.folder = pathlib.Path(self.get_temp_dir()) / self.id().rpartition(".")[2]
    self.folder.mkdir()

  @parameterized.named_parameters((path.stem, path) for path in _FLAGFILES)
  def test_flagfile_trains(self, path):
    with flagsaver.flagsaver():  # As it stands, it must be free of contradictions.
      flags.FLAGS.unparse_flags()
      flags.FLAGS(["train_mnist.py", f"--flagfile={path}"])
      settings = mnist.read_settings()
      self.assertEqual(settings.optimizer.updates % flags.FLAGS.evaluate_every, 0)
    run_dir = self.folder / path.stem
    train(f"--flagfile={path}", *small_runs.CANVASES, f"--run_dir={run_dir}")
    results = json.loads((run_dir / "results.json").read_text())
    self.assertLessEqual(_RESULTS, set(results))
    self.assertEqual(results["updates"], 2)
    for name in ("glimpses.png", "model.keras", "checkpoints/update-00000002.keras", "flags.flags"):
      self.assertGreater((run_dir / name).stat().st_size, 0, name)
    self.assertTrue(list((run_dir / "tensorboard").iterdir()))
    self.assertEqual(list(run_dir.rglob("*partial*")), [])

  def test_diagnoses_are_written_down_and_the_best_weights_kept(self):
    run_dir = self.folder / "run"
    grid = ("--location_distribution=grid", "--grid_rows=2", "--grid_columns=2")
    # Such a rate makes what was learnt first worse.
    rate = ("--learning_rate=0.1", "--schedule=constant", "--updates=3")
    train(*small_runs.CANVASES, *grid, *rate, "--gradient_draws=3", f"--run_dir={run_dir}")
    likelihoods = [float(row["val_log_likelihood"]) for row in rows(run_dir)]
    chosen = 1 + int(np.argmax(likelihoods))
    self.assertLess(chosen, 3)
    self.assertEqual(figures(run_dir)["chosen_update"], chosen)
    paths = (run_dir / "model.keras", run_dir / "checkpoints" / f"best-{chosen:08d}.keras")
    kept, best = (
      [*learner.weights, *learner.optimizer.variables]
      for learner in map(keras.saving.load_model, paths)
    )
    for one, other in zip(kept, best, strict=True):
      self.assertAllEqual(np.asarray(one), np.asarray(other))
    for row in rows(run_dir):
      for name in ("prediction_gradient_variance", "inference_gradient_variance"):
        self.assertGreater(float(row[name]), 0.0)
      self.assertGreater(float(row["posterior_divergence"]), 0.0)
      # A sampled bound is below the exact value, but for the noise of 20 images.
      self.assertLess(float(row["val_bound"]), float(row["exact_log_likelihood"]) + 0.05)

  @pytest.mark.smoke
  def test_a_run_is_reproduced_and_evaluated_from_its_folder(self):
    first, again = self.folder / "first", self.folder / "again"
    train(*small_runs.CANVASES, "--seed=7", f"--run_dir={first}")
    process = start("train_mnist.py", f"--flagfile={first / 'flags.flags'}", f"--run_dir={again}")
    _, errors = process.communicate()
    self.assertEqual(process.returncode, 0, errors[-4000:])
    # The same machine, the same seed: to the last digit, in another process too.
    self.assertEqual(figures(again), figures(first))
    self.assertEqual(figures(first)["seed"], 7)
    process = start("evaluate_mnist.py", f"--run_dir={first}", "--importance_samples=20")
    output, errors = process.communicate()
    self.assertEqual(process.returncode, 0, errors[-4000:])
    answer = json.loads(output)
    shared = answer.keys() & figures(first).keys()
    self.assertGreaterEqual(len(shared), 8)
    for name in shared:
      self.assertAllClose(answer[name], figures(first)[name], rtol=1e-5, msg=name)
    self.assertTrue(np.isfinite(answer["test_log_marginal_likelihood_nats"]))

  @pytest.mark.smoke
  def test_a_killed_run_resumes_to_the_same_end(self):
    whole, killed = self.folder / "whole", self.folder / "killed"
    settings = (*small_runs.CANVASES, "--updates=120", "--evaluate_every=20")
    train(*settings, f"--run_dir={whole}")
    for evaluation, resume in ((20, []), (60, ["--resume"])):
      process = start("train_mnist.py", *settings, f"--run_dir={killed}", *resume)
      while newest_update(killed) < evaluation and process.poll() is None:
        time.sleep(0.02)
      process.kill()
      _, errors = process.communicate()
      self.assertFalse((killed / "results.json").exists(), f"it ended before the kill: {errors}")
    with self.assertRaisesRegex(SystemExit, "holds another run; add --resume"):
      train(*settings, f"--run_dir={killed}")
    with self.assertRaisesRegex(SystemExit, r"other flags than these \(--units=9"):
      train(*settings, "--units=9", "--resume", f"--run_dir={killed}")
    train(*settings, "--resume", f"--run_dir={killed}")
    self.assertEqual(figures(killed), figures(whole))
    learners = [keras.saving.load_model(folder / "model.keras") for folder in (killed, whole)]
    for learner in learners:
      self.assertNotEmpty(learner.optimizer.variables)
    for one, other in zip(*([*x.weights, *x.optimizer.variables] for x in learners), strict=True):
      self.assertAllEqual(np.asarray(one), np.asarray(other))  # To the last bit.
    updates = [float(row["update"]) for row in rows(killed)]
    self.assertEqual(updates, list(range(20, 121, 20)))

  def test_an_update_that_is_not_finite_is_told_and_saved(self):
    run_dir = self.folder / "run"
    # The first update makes weights so large that the second overflows.
    settings = (*small_runs.CANVASES, "--updates=4", "--evaluate_every=4", "--learning_rate=1e30")
    settings = (*settings, "--schedule=constant", f"--run_dir={run_dir}")
    with self.assertRaisesRegex(SystemExit, r"update 1: prediction_loss is nan.*run/nan$"):
      train(*settings)
    report = json.loads((run_dir / "nan" / "report.json").read_text())
    learner = keras.saving.load_model(run_dir / "nan" / "learner.keras")
    batch = np.load(run_dir / "nan" / "batch.npz")
    losses = learner.differentiate(batch["images"], batch["targets"]).losses
    self.assertEqual(report["step"], 1)
    self.assertIn("prediction_loss", report["bad_terms"])
    self.assertEqual(str(float(losses["prediction"])), report["terms"]["prediction_loss"])
    train(*settings, "--resume", "--on_nan=skip", "--strategy=mirrored")
    self.assertEqual([float(row["skipped_updates"]) for row in rows(run_dir)], [3.0])
    self.assertEqual(figures(run_dir)["skipped_updates"], 3)

  def test_wrong_flags_get_one_clear_error_and_leave_nothing(self):
    file, full = self.folder / "file", self.folder / "full"
    file.write_text("")
    full.mkdir()
    (full / "letter.txt").write_text("dear")
    pets = RunFolder(str(self.folder / "pets"))
    pets.path.mkdir()
    pets.model.touch()
    pets.class_names.write_text("cat\ndog\n")
    run_dir = self.folder / "run"
    for arguments, message in (
      (["--num_samples=1"], "num_samples=1: must be at least 2 for estimator=wake_sleep"),
      (["--glimpse_side=101"], "glimpse_side=101: must be at most the canvas' shorter side"),
      (["--largest_digit=101"], "largest_digit=101: must be at most canvas_side=100"),
      (["--digits=letters"], "digits=letters: value should be one of <mnist5k"),
      (["--digits=mnist", f"--data_dir={full}"], "run once with --download"),
      (["--units=many"], "units=many"),
      (["--updates=0"], "updates=0: must be at least 1"),
      (["--updates=4", "--evaluate_every=3"], "updates=4: must be a multiple of evaluate_every"),
      (["units=3"], "'units=3': not a flag"),
      (["--unit=3"], "Unknown command line flag 'unit'"),
      (["--resume", "--run_dir="], "flag --run_dir=: must be printable text, and not empty"),
      ([f"--run_dir={file / 'run'}"], "cannot be made"),
      ([f"--run_dir={full}"], "must be empty"),
      ([f"--begin_with={pets.path}"], "pets: its classes must be the same, and in the same order"),
    ):
      with self.subTest(message):
        with self.assertRaises((flags.Error, SystemExit)) as caught:
          train(*small_runs.CANVASES, f"--run_dir={run_dir}", *arguments)
        self.assertIn(message, str(caught.exception))
        self.assertNotIn("\n", str(caught.exception).strip())
        self.assertFalse(run_dir.exists())
    self.assertEqual([path.name for path in full.iterdir()], ["letter.txt"])


if __name__ == "__main__":
  tf.test.main()
