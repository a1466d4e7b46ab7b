"""The program train_mnist: flagfiles, a run that stops and resumes, and wrong flags."""

import contextlib
import dataclasses
import io
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable
from unittest import mock

import keras
import numpy as np
import pytest
import tensorflow as tf
from absl.testing import parameterized

from tests.support import programs, small_runs
from wsram_tf import files
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
_LONG = (
  *(*small_runs.CANVASES, *small_runs.PLAIN),
  *("--updates=60", "--evaluate_every=10", "--seed=7"),
)


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
      own.mkdir()  # As flickr8k may be, the folder of the photographs.
      (ending,) = programs.endings("train_mnist", flags, folder=folder)
      self.assertIn("updates=3: must be a multiple of evaluate_every=2", ending)
      own.rmdir()
      own.write_text("--units=0\n")
      (ending,) = programs.endings("train_mnist", flags, folder=folder)
      self.assertIn("units=0: must be at least 1", ending)
    (ending,) = programs.endings("train_mnist", ["--flagfile=quickest"])
    self.assertIn("quickest", ending)


class StoppedRunTest(tf.test.TestCase):
  """A comparison in this process makes the run; its training is a process that signals stop."""

  def setUp(self):
    super().setUp()
    self.folder = pathlib.Path(tempfile.mkdtemp())
    self.addCleanup(shutil.rmtree, self.folder)
    self.run_dir = self.folder / "variational" / "seed_7"
    # As in a process of its own; after Ctrl-C, a program ignores a second one.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    self.addCleanup(signal.signal, signal.SIGINT, before)

  def newest(self) -> int:
    found = self.run_dir.glob("checkpoints/update-*.keras")
    return max((int(path.stem.rpartition("-")[2]) for path in found), default=0)

  def compare(
    self, act: Callable[[subprocess.Popen], None], *arguments: str
  ) -> tuple[str, list[str], int]:
    """Makes the run until its next checkpoint.

    Args:
      act: stops it there; called with the process that trains.
      *arguments: flags of the comparison.

    Returns:
      how the comparison ended, the lines on stderr, and the status of the process.
    """
    children, over, popen, before = [], threading.Event(), subprocess.Popen, self.newest()

    def start(command: list[str], **options) -> subprocess.Popen:
      process = popen(command, **options)
      if "wsram_tf.cli" in command:
        children.append(process)
      return process

    def wait_and_act() -> None:
      while self.newest() <= before and not over.wait(0.05):
        pass
      if not over.is_set():
        act(children[0])

    thread = threading.Thread(target=wait_and_act)
    thread.start()
    try:
      with (
        mock.patch.object(subprocess, "Popen", start),
        contextlib.redirect_stderr(io.StringIO()) as errors,
      ):
        (ending,) = programs.endings("compare", [*arguments, f"--out_dir={self.folder}"])
    finally:
      over.set()
      thread.join()
    with files.lock(self.run_dir / ".lock"):  # No process trains there any more.
      pass
    self.assertNotIn("Traceback", errors.getvalue())
    (child,) = children
    return ending, [line for line in errors.getvalue().splitlines() if line], child.returncode

  @pytest.mark.smoke
  def test_a_stopped_and_killed_run_resumes_to_the_same_end(self):
    whole, run_dir, this = self.folder / "whole", self.run_dir, os.getpid()
    ending = programs.endings("train_mnist", [*_LONG, f"--run_dir={whole}"])
    self.assertEqual(ending, [programs.TRAINED])
    # Another process, and the flagfile of another run: the result depends on neither.
    flags = f"--flagfile={whole / 'flags.flags'}"
    compared = (flags, "--estimators=variational", "--seeds=7")
    next_time = "start again with the same flags to continue"

    def interrupt(child: subprocess.Popen) -> None:
      # The comparison alone, as `kill -INT` does, while the training does not go on by itself.
      child.send_signal(signal.SIGSTOP)
      os.kill(this, signal.SIGINT)
      time.sleep(4.0)
      child.send_signal(signal.SIGCONT)

    ending, errors, status = self.compare(interrupt, *compared)
    self.assertEqual((ending, status), ("130", 130), errors)
    stopped = f"train_mnist: stopped; continue with --resume --run_dir={run_dir}"
    self.assertEqual(errors[-2:], [stopped, f"compare: stopped; {next_time}"])
    self.assertEqual(list(run_dir.rglob("*partial*")), [])
    signal.signal(signal.SIGINT, signal.default_int_handler)

    again, other_units, other_length = programs.endings(
      "train_mnist",
      [flags, f"--run_dir={run_dir}"],
      [*_LONG, "--units=9", "--resume", f"--run_dir={run_dir}"],
      ["--updates=100", "--resume", f"--run_dir={run_dir}"],
    )
    self.assertIn("holds another run; add --resume", again)
    self.assertIn("other flags than these (--units=9, not --units=8)", other_units)
    self.assertIn("other flags than these (--updates=100, not --updates=60)", other_length)

    # With SIGTERM, which only the comparison receives.
    ending, errors, status = self.compare(lambda _: os.kill(this, signal.SIGTERM), *compared)
    self.assertEqual((ending, status), ("75", 75), errors)
    self.assertRegex(
      errors[-2],
      "train_mnist: stopped by SIGTERM after update [0-9]+; continue with --resume --run_dir=",
    )
    self.assertEqual(errors[-1], f"compare: stopped by SIGTERM; {next_time}")
    self.assertEqual(signal.getsignal(signal.SIGTERM), signal.SIG_DFL)

    stopped_at = self.newest()
    ending, _, status = self.compare(lambda child: child.kill(), *compared)
    self.assertEqual(status, -signal.SIGKILL)
    self.assertIn("compare: failed: variational, seed 7: ended by SIGKILL", ending)
    self.assertGreater(self.newest(), stopped_at)
    self.assertFalse((run_dir / "results.json").exists(), "the training ended before the kill")

    resumed = programs.endings("train_mnist", ["--resume", f"--run_dir={run_dir}"])
    self.assertEqual(resumed, [programs.TRAINED])
    self.assertEqual(small_runs.figures(run_dir), small_runs.figures(whole))
    self.assertEqual(small_runs.figures(run_dir)["seed"], 7)
    mine, theirs = (small_runs.state(run / "model.keras") for run in (run_dir, whole))
    for one, other in zip(mine, theirs, strict=True):
      self.assertAllEqual(one, other)  # To the last bit.
    updates = [float(row["update"]) for row in small_runs.rows(run_dir)]
    self.assertEqual(updates, list(range(10, 61, 10)))


class DiagnosesTest(tf.test.TestCase):
  @pytest.mark.smoke
  def test_diagnoses_are_recorded_and_the_best_weights_kept_and_evaluated(self):
    small_runs.run_eagerly(self.addCleanup)
    run_dir = pathlib.Path(self.get_temp_dir()) / "diagnoses"
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

    # From its folder, all figures are computed again.
    arguments = [f"--run_dir={run_dir}", "--importance_samples=20"]
    (ending,) = programs.endings("evaluate", arguments)
    answer, results = json.loads(ending), small_runs.figures(run_dir)
    shared = answer.keys() & results.keys()
    self.assertGreaterEqual(len(shared), 8)
    for name in shared:
      self.assertAllClose(answer[name], results[name], rtol=1e-5, msg=name)
    self.assertTrue(np.isfinite(answer["test_log_marginal_likelihood_nats"]))


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
