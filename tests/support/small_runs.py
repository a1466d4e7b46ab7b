"""Small, fast runs: flags that cut any flagfile down to two updates, and tasks from Python."""

import csv
import json
import pathlib
import shutil
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

import wsram_tf
from wsram_tf import tasks

__all__ = [
  "CANVASES",
  "PLAIN",
  "SCENES",
  "TRAINING",
  "array_task",
  "cut",
  "digit_task",
  "figures",
  "rows",
  "run_eagerly",
  "state",
]

_SHARED = (
  "--digits=mnist5k",
  "--validation_digits=20",
  "--batch_size=4",
  "--units=8",
  "--updates=2",
  "--evaluate_every=1",
  "--jit_compile=off",
)
# One glimpse, since tracing many takes long, and batches of one size, which are traced once.
# Few test canvases, since some are drawn.
CANVASES = (
  *_SHARED,
  "--validation_canvases=3",
  "--test_canvases=3",
  "--evaluation_batch_size=3",
  "--num_glimpses=1",
)
# For tests in which the model does not matter: the estimator and the cells that trace fastest.
PLAIN = ("--estimator=variational", "--num_samples=1", "--cell=relu")
# One digit, because each word of the longest caption is traced.
SCENES = (
  *_SHARED,
  "--validation_scenes=3",
  "--test_scenes=3",
  "--evaluation_batch_size=3",
  "--word_units=4",
  "--cell=gru",
  "--grid_filters=2,2,2",
  "--most_digits=1",
  "--num_samples=2",
)
# The same from Python.
TRAINING = wsram_tf.TrainingConfig(batch_size=4, evaluate_every=2, jit_compile="off")
_PLAIN = wsram_tf.ObjectiveConfig(estimator="variational", num_samples=1)


def digit_task(**options: Any) -> tasks.DigitTask:
  """Makes the task of `CANVASES` and `PLAIN`."""
  given = {
    "model": wsram_tf.ModelConfig(units=8, num_glimpses=1, cell="relu"),
    "objective": _PLAIN,
    "source": tasks.DigitSourceConfig(validation_digits=20),
    "evaluation": tasks.CanvasEvaluationConfig(
      validation_canvases=3, test_canvases=3, evaluation_batch_size=3
    ),
  }
  return tasks.DigitTask(**given | options)


def array_task(**options: Any) -> tasks.ArrayTask:
  """Makes a task on 24 images of 10 x 8 pixels in two classes."""
  generator = np.random.default_rng(1)
  labels = np.arange(24) % 2
  images = generator.integers(0, 100, [24, 10, 8], np.uint8) + 100 * labels[:, None, None]
  images = images.astype(np.uint8)
  given = {
    "train": (images[:12], labels[:12]),
    "validation": (images[12:18], labels[12:18]),
    "test": (images[18:], labels[18:]),
    "model": wsram_tf.ModelConfig(
      units=8, num_glimpses=1, glimpse=wsram_tf.GlimpseConfig(glimpse_side=4)
    ),
    "objective": _PLAIN,
  }
  return tasks.ArrayTask(**given | options)


def figures(run_dir: pathlib.Path) -> dict[str, Any]:
  """Reads the results of a run without its times and the commit."""
  results = json.loads((run_dir / "results.json").read_text())
  return {k: v for k, v in results.items() if "second" not in k and k != "git_commit"}


def rows(run_dir: pathlib.Path) -> list[dict[str, str]]:
  """Reads the rows of a run's metrics.csv."""
  with (run_dir / "metrics.csv").open(newline="") as file:
    return list(csv.DictReader(file))


def run_eagerly(add_cleanup: Callable[..., None]) -> None:
  """Runs functions without tracing until a test or class ends: tracing takes longer than updates.

  Args:
    add_cleanup: `addCleanup` of a test case, or its `addClassCleanup`.
  """
  tf.config.run_functions_eagerly(True)
  add_cleanup(tf.config.run_functions_eagerly, False)


def state(path: pathlib.Path) -> list[np.ndarray]:
  """Reads all weights and optimizer variables of a saved learner."""
  learner = keras.saving.load_model(path)
  return [np.asarray(one) for one in (*learner.weights, *learner.optimizer.variables)]


def cut(run_dir: pathlib.Path, to: pathlib.Path, update: int) -> pathlib.Path:
  """Copies a finished run as a kill after an earlier update would have left it."""
  shutil.copytree(run_dir, to)
  for name in ("results.json", "model.keras"):
    (to / name).unlink()
  for path in (to / "checkpoints").iterdir():
    if int(path.stem.rpartition("-")[2]) > update:
      path.unlink()
  return to
