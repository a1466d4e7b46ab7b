"""Measures how much of a training step on region files is reading, on a CPU.

  python -m tests.benchmarks.region_training --folder=DIR

Writes pyramids of textured images of 4,096 pixels a side into DIR unless they are there, and trains
on them with the model of regions.flags. Reading is the time for which a step waits for the sizes,
copies and patches of files. Each row is a process of its own: with and without the cache of decoded
tiles, of tiles that deflate or JPEG compressed. The copies are kept in all of them, and the files
are in the page cache of the operating system.
"""

import functools
import os
import pathlib
import statistics
import time
from collections.abc import Callable
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
import tensorflow as tf
from absl import app, flags

import wsram_tf
from tests.benchmarks.timing import in_own_process
from wsram_tf.data.regions import pyramids, reader

_FOLDER = flags.DEFINE_string("folder", None, "folder of the pyramids", required=True)
_FILES = flags.DEFINE_integer("files", 64, "files to train on", lower_bound=16)
_STEPS = flags.DEFINE_integer("steps", 40, "steps that are timed", lower_bound=2)

SIDE, BATCH_SIZE, NUM_SAMPLES = 4_096, 16, 4


def write_files(folder: pathlib.Path, count: int, compression: str) -> list[str]:
  """Writes pyramids of a texture that differs between files; returns their paths."""
  paths = [folder / compression / f"{number}.tif" for number in range(count)]
  for number, path in enumerate(paths):
    if not path.exists():
      coarse = np.random.default_rng(number).integers(0, 256, [SIDE // 8, SIDE // 8, 3], np.uint8)
      pyramids.write_array(path, coarse.repeat(8, 0).repeat(8, 1), compression=compression)
  return [str(path) for path in paths]


def make_learner() -> wsram_tf.WakeSleepLearner:
  """A learner with the model of regions.flags."""
  location = wsram_tf.LocationConfig(
    location_distribution="keyed_grid",
    location_saliency=1.0,
    no_return=True,
    location_filters=(8,),
    location_units=16,
  )
  config = wsram_tf.ModelConfig(
    height=256,
    width=256,
    channels=3,
    num_classes=2,
    num_glimpses=3,
    units=128,
    context_side=64,
    context_pool=8,
    observation="regions",
    glimpse=wsram_tf.GlimpseConfig(32, 4, glimpse_filters=(8, 16)),
    location=location,
  )
  objective = wsram_tf.ObjectiveConfig("wake_sleep_prior_equal_likelihood", num_samples=NUM_SAMPLES)
  learner = wsram_tf.WakeSleepLearner(config, objective, seed=1)
  learner.compile("adam")
  return learner


def measure(paths: list[str], steps: int, tile_bytes: int) -> tuple[float, float]:
  """Returns medians in milliseconds: of a step, and of its reading; the first pass is not timed."""
  reader.TILE_BYTES = tile_bytes
  waited = [0.0]

  def timed(function: Callable) -> Callable:
    @functools.wraps(function)
    def call(*arguments: Any) -> Any:
      start = time.perf_counter()
      try:
        return function(*arguments)
      finally:
        waited[0] += time.perf_counter() - start

    return call

  shared = reader.shared_reader()
  for name in ("sizes", "low_resolution", "patches"):
    setattr(shared, name, timed(getattr(shared, name)))
  labels = np.arange(len(paths)) % 2
  data = tf.data.Dataset.from_tensor_slices((paths, labels)).shuffle(len(paths), seed=1)
  data = data.repeat().batch(BATCH_SIZE, drop_remainder=True)
  first = len(paths) // BATCH_SIZE + 1
  step_times, reading_times = [], []

  class Timer(keras.callbacks.Callback):
    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
      waited[0], self.start = 0.0, time.perf_counter()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
      if batch >= first:
        step_times.append(1e3 * (time.perf_counter() - self.start))
        reading_times.append(1e3 * waited[0])

  make_learner().fit(data, steps_per_epoch=first + steps, epochs=1, verbose=0, callbacks=[Timer()])
  return statistics.median(step_times), statistics.median(reading_times)


def main(_) -> None:
  """Prints the table."""
  folder = pathlib.Path(_FOLDER.value)
  print(f"TensorFlow {tf.__version__}, {len(os.sched_getaffinity(0))} CPU cores")
  print("| tiles of the files | decoded tiles kept | step ms | reading ms | share |")
  print("|---|---|---|---|---|")
  for compression in ("deflate", "jpeg"):
    paths = write_files(folder, _FILES.value, compression)
    for label, tile_bytes in (("no", 0), ("128 MB", 2**27), ("2 GB", 2**31)):
      step, reading = in_own_process(measure, paths, _STEPS.value, tile_bytes)
      print(
        f"| {compression} | {label} | {step:.0f} | {reading:.0f} | {reading / step:.2f} |",
        flush=True,
      )


if __name__ == "__main__":
  app.run(main)
