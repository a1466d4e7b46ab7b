"""The program train_mnist: flagfiles, a run that stops and resumes, and wrong flags."""

import dataclasses
import json
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import keras
import numpy as np
import pytest
import tensorflow as tf
from absl.testing import parameterized

from tests.support import programs, small_runs
from wsram_tf.cli.flags import FLAGFILES, ProgramFlags
from wsram_tf.cli.programs.training import define_flags
from wsram_tf.cli.tasks import PROGRAMS
from wsram_tf.config import OptimizerConfig, TrainingConfig
from wsram_tf.runs.folder import RunFolder
from wsram_tf.runs.training import evaluation_interval

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
# Flags that the flagfiles of other programs need beside their own.
_NEEDED = {
  "own_images": ["--image_dir=photos"],
  "regions": ["--image_dir=slides"],
  "flickr8k": ["--data_dir=flickr8k", "--backbone=backbone.keras"],
}
# Few updates, each fast, so that a kill in the middle is likely.
_LONG = (*small_runs.CANVASES, "--updates=80", "--evaluate_every=10", "--seed=7")


def _program_of(flagfile: pathlib.Path) -> str:
  text = flagfile.read_text()
  if re.search(r"--dataset=(needle|megapixel_mnist)|--fit=|--regions", text):
    return "train_classifier"
  return "train_captions" if "--dataset=" in text else "train_mnist"


def _parsed(name: str, *arguments: str) -> ProgramFlags:
  flags = ProgramFlags(name, "")
  define_flags(flags, name)
  flags.check_no_rest(flags.parse(arguments))
  return flags


_FLAGFILES = [
  path for path in sorted(FLAGFILES.glob("*.flags")) if not path.stem.startswith("compare_")
]


def _different_models() -> list[tuple[str, str]]:
  """Returns flagfiles of train_mnist, one for each model that they differ in when cut down."""
  found = {}
  for path in _FLAGFILES:
    if _program_of(path) == "train_mnist":
      flags = _parsed("train_mnist", f"--flagfile={path}", *small_runs.CANVASES)
      task = PROGRAMS["train_mnist"].make_task(flags)
      model = dataclasses.replace(task.model, height=100, width=100)
      found.setdefault((model, task.objective), path.stem)
  return [(stem, stem) for stem in found.values()]


class FlagfilesTest(tf.test.TestCase, parameterized.TestCase):
  @parameterized.named_parameters((path.stem, path) for path in _FLAGFILES)
  def test_flagfile_has_no_contradictions(self, path):
    name = _program_of(path)
    flags = _parsed(name, f"--flagfile={path}", *_NEEDED.get(path.stem, []))
    task = PROGRAMS[name].make_task(flags)
    evaluation_interval(flags.read(TrainingConfig), flags.read(OptimizerConfig))
    if name == "train_mnist":
      # Its canvases fit its model.
      task.source = dataclasses.replace(task.source, digits="mnist5k", validation_digits=20)
      task.prepare(RunFolder(self.get_temp_dir()))
      images, _ = next(iter(task.training_data(batch_size=2, seed=1, start_update=0)))
      self.assertEqual(images.shape, (2, *task.model.image_shape))

  @parameterized.named_parameters(_different_models())
  def test_flagfile_trains(self, name):
    small_runs.run_eagerly(self.addCleanup)
    run_dir = pathlib.Path(self.get_temp_dir()) / name
    # By its name, from any folder.
    flags = [
      f"--flagfile={name}",
      *small_runs.CANVASES,
      "--evaluate_every=2",
      f"--run_dir={run_dir}",
    ]
    self.assertEqual(programs.endings("train_mnist", flags), [programs.TRAINED])
    results = json.loads((run_dir / "results.json").read_text())
    self.assertLessEqual(_RESULTS, set(results))
    self.assertEqual(results["updates"], 2)
    for file in ("glimpses.png", "model.keras", "checkpoints/update-00000002.keras", "flags.flags"):
      self.assertGreater((run_dir / file).stat().st_size, 0, file)
    self.assertTrue(list((run_dir / "tensorboard").iterdir()))
    self.assertEqual(list(run_dir.rglob("*partial*")), [])

  def test_the_name_of_a_flagfile_is_found_unless_a_file_has_it(self):
    with tempfile.TemporaryDirectory() as folder:
      own = pathlib.Path(folder, "quickstart")
      flags = [f"--flagfile={own.name}", "--updates=3", "--evaluate_every=2"]
      (ending,) = programs.endings("train_mnist", flags, folder=folder)
      self.assertIn("updates=3: must be a multiple of evaluate_every=2", ending)
      own.write_text("--units=0\n")
      (ending,) = programs.endings("train_mnist", flags, folder=folder)
      self.assertIn("units=0: must be at least 1", ending)
    (ending,) = programs.endings("train_mnist", ["--flagfile=quickest"])
    self.assertIn("quickest", ending)


class RunTest(tf.test.TestCase):
  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    cls.folder = pathlib.Path(tempfile.mkdtemp())
    cls.addClassCleanup(shutil.rmtree, cls.folder)
    cls.whole = cls.folder / "whole"
    ending = programs.endings("train_mnist", [*_LONG, f"--run_dir={cls.whole}"])
    assert ending == [programs.TRAINED], ending

  def wait_for(self, run_dir: pathlib.Path, update: int, process: subprocess.Popen) -> None:
    """Waits for a checkpoint of an update or a later one."""
    while process.poll() is None and self.newest(run_dir) < update:
      time.sleep(0.02)

  def newest(self, run_dir: pathlib.Path) -> int:
    found = run_dir.glob("checkpoints/update-*.keras")
    return max((int(path.stem.rpartition("-")[2]) for path in found), default=0)

  @pytest.mark.smoke
  def test_a_stopped_and_killed_run_resumes_to_the_same_end(self):
    run_dir = self.folder / "stopped"
    # Another process, and the flagfile of another run: the result depends on neither.
    flags = f"--flagfile={self.whole / 'flags.flags'}"
    process = programs.start("trainers/train_mnist", flags, f"--run_dir={run_dir}")
    self.wait_for(run_dir, 10, process)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=120)
    self.assertEqual(process.returncode, 130, errors)
    self.assertEqual(
      [line for line in errors.splitlines() if line][-1],
      f"train_mnist: stopped; continue with --resume --run_dir={run_dir}",
    )
    self.assertNotIn("Traceback", errors)
    self.assertEqual(list(run_dir.rglob("*partial*")), [])

    again, other_units, other_length = programs.endings(
      "train_mnist",
      [flags, f"--run_dir={run_dir}"],
      [*_LONG, "--units=9", "--resume", f"--run_dir={run_dir}"],
      ["--updates=100", "--resume", f"--run_dir={run_dir}"],
    )
    self.assertIn("holds another run; add --resume", again)
    self.assertIn("other flags than these (--units=9, not --units=8)", other_units)
    self.assertIn("other flags than these (--updates=100, not --updates=80)", other_length)

    stopped_at = self.newest(run_dir)
    command = [sys.executable, "-m", "wsram_tf.cli", "train_mnist", "--resume"]
    command.append(f"--run_dir={run_dir}")
    process = subprocess.Popen(
      command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    self.wait_for(run_dir, stopped_at + 10, process)
    process.terminate()
    _, errors = process.communicate(timeout=120)
    self.assertEqual(process.returncode, 75, errors)
    self.assertRegex(
      errors.splitlines()[-1],
      "train_mnist: stopped by SIGTERM after update [0-9]+; continue with --resume --run_dir=",
    )

    stopped_at = self.newest(run_dir)
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    self.wait_for(run_dir, stopped_at + 10, process)
    process.kill()
    process.wait()
    self.assertGreater(self.newest(run_dir), stopped_at)
    self.assertFalse((run_dir / "results.json").exists(), "the training ended before the kill")

    resumed = programs.endings("train_mnist", ["--resume", f"--run_dir={run_dir}"])
    self.assertEqual(resumed, [programs.TRAINED])
    self.assertEqual(small_runs.figures(run_dir), small_runs.figures(self.whole))
    self.assertEqual(small_runs.figures(run_dir)["seed"], 7)
    mine, theirs = (small_runs.state(run / "model.keras") for run in (run_dir, self.whole))
    for one, other in zip(mine, theirs, strict=True):
      self.assertAllEqual(one, other)  # To the last bit.
    updates = [float(row["update"]) for row in small_runs.rows(run_dir)]
    self.assertEqual(updates, list(range(10, 81, 10)))

  @pytest.mark.smoke
  def test_a_run_is_evaluated_from_its_folder(self):
    small_runs.run_eagerly(self.addCleanup)
    arguments = [f"--run_dir={self.whole}", "--importance_samples=20"]
    (ending,) = programs.endings("evaluate", arguments)
    answer, results = json.loads(ending), small_runs.figures(self.whole)
    shared = answer.keys() & results.keys()
    self.assertGreaterEqual(len(shared), 8)
    for name in shared:
      self.assertAllClose(answer[name], results[name], rtol=1e-5, msg=name)
    self.assertTrue(np.isfinite(answer["test_log_marginal_likelihood_nats"]))

  def test_diagnoses_are_recorded_and_the_best_weights_kept(self):
    small_runs.run_eagerly(self.addCleanup)
    run_dir = self.folder / "diagnoses"
    grid = ("--location_distribution=grid", "--grid_rows=2", "--grid_columns=2")
    # This rate makes the first weights worse.
    rate = ("--learning_rate=0.1", "--schedule=constant", "--updates=3", "--gradient_draws=3")
    arguments = [*small_runs.CANVASES, *grid, *rate, f"--run_dir={run_dir}"]
    self.assertEqual(programs.endings("train_mnist", arguments), [programs.TRAINED])
    rows = small_runs.rows(run_dir)
    likelihoods = [float(row["val_log_likelihood"]) for row in rows]
    chosen = 1 + int(np.argmax(likelihoods))
    self.assertLess(chosen, 3)
    self.assertEqual(small_runs.figures(run_dir)["chosen_update"], chosen)
    paths = (run_dir / "model.keras", run_dir / "checkpoints" / f"best-{chosen:08d}.keras")
    for one, other in zip(*map(small_runs.state, paths), strict=True):
      self.assertAllEqual(one, other)
    for row in rows:
      for name in ("prediction_gradient_variance", "inference_gradient_variance"):
        self.assertGreater(float(row[name]), 0.0)
      self.assertGreater(float(row["posterior_divergence"]), 0.0)
      # A sampled bound is below the exact value, but for the noise of 20 images.
      self.assertLess(float(row["val_bound"]), float(row["exact_log_likelihood"]) + 0.05)


class WrongFlagsTest(tf.test.TestCase):
  def test_each_gets_one_clear_error_and_leaves_nothing(self):
    folder = pathlib.Path(self.get_temp_dir())
    file, full, run_dir = folder / "file", folder / "full", folder / "run"
    file.write_text("")
    full.mkdir()
    (full / "letter.txt").write_text("dear")
    pets = RunFolder(folder / "pets")
    pets.path.mkdir()
    keras.Sequential([keras.Input([1]), keras.layers.Dense(1)]).save(pets.model)
    pets.write_names("class_names.txt", ["cat", "dog"])
    cases = (
      (["--num_samples=1"], "num_samples=1: must be at least 2 for estimator=wake_sleep"),
      (["--glimpse_side=101"], "glimpse_side=101: must be at most the canvas' shorter side"),
      (["--largest_digit=101"], "largest_digit=101: must be at most canvas_side=100"),
      (["--digits=letters"], "digits=letters: value should be one of <mnist5k"),
      (["--digits=mnist", f"--data_dir={full}"], "run once with --download"),
      (["--units=many"], "units=many"),
      (["--updates=0"], "updates=0: must be at least 1"),
      (["--updates=4", "--evaluate_every=3"], "updates=4: must be a multiple of evaluate_every"),
      (["units=3"], "'units=3': must be a flag"),
      (["--unit=3"], "Unknown command line flag 'unit'"),
      (["--resume", "--run_dir="], "flag --run_dir=: must be printable text, and not empty"),
      ([f"--run_dir={file / 'run'}"], "cannot be made"),
      ([f"--run_dir={full}"], "must be empty"),
      ([f"--begin_with={pets.path}"], "pets: its classes must be the same, in the same order"),
    )
    lines = [[*small_runs.CANVASES, f"--run_dir={run_dir}", *wrong] for wrong, _ in cases]
    # The last flag of a name counts, so `--resume` alone lacks its folder.
    endings = programs.endings("train_mnist", *lines, ["--resume"])
    for ending, message in zip(
      endings, [*(message for _, message in cases), "resume=true: needs --run_dir"], strict=True
    ):
      with self.subTest(message):
        self.assertStartsWith(ending, "train_mnist: ")
        self.assertIn(message, ending)
        self.assertNotIn("\n", ending.strip())
    self.assertFalse(run_dir.exists())
    self.assertEqual([path.name for path in full.iterdir()], ["letter.txt"])


if __name__ == "__main__":
  tf.test.main()
