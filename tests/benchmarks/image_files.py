"""Measures what an answer about an image file costs, for files of any side, on a CPU.

  python -m tests.benchmarks.image_files --folder=DIR

Writes pyramids of textured images into DIR (JPEG tiles; 2.3 GB at side 100,000) unless they are
there. A network with random weights takes six glimpses of each, at random places of a coarse grid,
so that no two answers look at the same tiles. Prints the time and the bytes read of the first
answer, which opens the file, and of later ones, the share of the file, and the most memory of the
process. Beside it: reading all pixels, and MobileNetV3Small on all tiles of 224 pixels, which is
extrapolated from one batch. The files are in the page cache: reading from a cold disk takes longer.
"""

import os
import pathlib
import resource
import statistics
import time
from typing import NamedTuple

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
import pyvips
import tensorflow as tf
from absl import app, flags

import wsram_tf
from tests.benchmarks.timing import in_own_process
from wsram_tf.data.regions import pyramids

_FOLDER = flags.DEFINE_string("folder", None, "folder of the pyramids", required=True)
_SIDES = flags.DEFINE_multi_integer(
  "side", [1_000, 10_000, 50_000, 100_000], "side of the images, in pixels; repeatable"
)
_ANSWERS = flags.DEFINE_integer("answers", 100, "later answers that are timed")

TEXTURE_SIDE, TILE_OF_RIVAL, TILES_TIMED = 1_000, 224, 16


class Row(NamedTuple):
  """One line of the table.

  Attributes:
    side: of the image, pixels.
    file_megabytes: size of the file.
    first_ms: the first answer, with opening the file and the low-resolution copy.
    later_ms: a later answer, median.
    first_kilobytes: read for the first answer.
    later_kilobytes: read for a later answer, mean.
    megabytes: most memory of the process.
    megabytes_before: memory of the process before the first answer.
  """

  side: int
  file_megabytes: float
  first_ms: float
  later_ms: float
  first_kilobytes: float
  later_kilobytes: float
  megabytes: float
  megabytes_before: float


def write_file(path: pathlib.Path, side: int) -> None:
  """Writes the pyramid of a texture that is repeated."""
  noise = np.random.default_rng(1).integers(0, 256, [TEXTURE_SIDE, TEXTURE_SIDE, 1], np.uint8)
  texture = pyvips.Image.new_from_array(noise).gaussblur(2).cast("uchar")
  repeats = -(-side // TEXTURE_SIDE)
  image = texture.replicate(repeats, repeats).crop(0, 0, side, side)
  pyramids.write_image(path, image, "jpeg")


def make_network() -> wsram_tf.PredictionNetwork:
  """A network with random weights, whose prior is close to uniform over 32 x 32 cells."""
  keras.utils.set_random_seed(1)
  glimpse = wsram_tf.GlimpseConfig(glimpse_side=28, glimpse_scales=3)
  location = wsram_tf.LocationConfig(location_distribution="grid", grid_rows=32, grid_columns=32)
  config = wsram_tf.ModelConfig(
    height=1_000,
    width=1_000,
    num_glimpses=6,
    context_side=64,
    observation="regions",
    glimpse=glimpse,
    location=location,
  )
  return wsram_tf.PredictionNetwork(config)


def measure(path: str, side: int, answers: int) -> Row:
  """Measures one file; runs in a process of its own."""
  network = make_network()

  @tf.function(autograph=False)
  def answer(paths: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    uniforms = tf.random.stateless_uniform([1, 1, 6, 2], seed, 1e-6, 1 - 1e-6)
    return network.attend(network.look(paths), uniforms).log_probs

  small = str(pathlib.Path(path).with_name("warm.tif"))
  answer(tf.constant([small]), tf.constant([0, 0]))  # Traces the function.
  before = resident_megabytes()
  times, kilobytes = [], []
  for number in range(answers + 1):
    read, start = bytes_read(), time.perf_counter()
    answer(tf.constant([path]), tf.constant([side, number])).numpy()
    times.append(1e3 * (time.perf_counter() - start))
    kilobytes.append((bytes_read() - read) / 1e3)
  return Row(
    side,
    os.path.getsize(path) / 1e6,
    times[0],
    statistics.median(times[1:]),
    kilobytes[0],
    statistics.mean(kilobytes[1:]),
    resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3,
    before,
  )


def measure_whole(path: str) -> float:
  """Seconds to decode all pixels of level 0, strip by strip, in a process of its own."""
  start = time.perf_counter()
  pyvips.Image.tiffload(path, access="sequential").avg()
  return time.perf_counter() - start


def measure_rival() -> float:
  """Milliseconds for a tile of MobileNetV3Small, without reading it."""
  model = keras.applications.MobileNetV3Small(
    weights=None, input_shape=(TILE_OF_RIVAL, TILE_OF_RIVAL, 3), include_preprocessing=False
  )
  tiles = tf.zeros([TILES_TIMED, TILE_OF_RIVAL, TILE_OF_RIVAL, 3])
  run = tf.function(lambda images: model(images, training=False))
  times = []
  for _ in range(6):
    start = time.perf_counter()
    run(tiles).numpy()
    times.append(1e3 * (time.perf_counter() - start) / TILES_TIMED)
  return statistics.median(times[1:])


def bytes_read() -> int:
  """Bytes that this process has read from files and pipes."""
  fields = dict(line.split(": ") for line in pathlib.Path("/proc/self/io").read_text().splitlines())
  return int(fields["rchar"])


def resident_megabytes() -> float:
  """Memory that this process holds."""
  pages = int(pathlib.Path("/proc/self/statm").read_text().split()[1])
  return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def main(_) -> None:
  """Prints the table."""
  folder = pathlib.Path(_FOLDER.value)
  paths = {side: folder / f"{side}.tif" for side in _SIDES.value}
  for side, path in {500: folder / "warm.tif", **paths}.items():
    if not path.exists():
      in_own_process(write_file, path, side)
  print(f"TensorFlow {tf.__version__}, {len(os.sched_getaffinity(0))} CPU cores")
  print(
    "| side | file MB | first ms | later ms | first kB | later kB | % of the file | "
    "peak MB, before | all pixels s | CNN on all tiles s |"
  )
  print("|---|---|---|---|---|---|---|---|---|---|")
  per_tile = in_own_process(measure_rival)
  for side, path in paths.items():
    row = in_own_process(measure, str(path), side, _ANSWERS.value)
    whole = in_own_process(measure_whole, str(path))
    tiles = (side / TILE_OF_RIVAL) ** 2
    share = row.later_kilobytes / row.file_megabytes / 10
    print(
      f"| {side:,} | {row.file_megabytes:,.1f} | {row.first_ms:.1f} | {row.later_ms:.1f} | "
      f"{row.first_kilobytes:,.0f} | {row.later_kilobytes:,.0f} | {share:.3f} | "
      f"{row.megabytes:,.0f}, {row.megabytes_before:,.0f} | {whole:,.2f} | "
      f"{whole + tiles * per_tile / 1e3:,.1f} |",
      flush=True,
    )


if __name__ == "__main__":
  app.run(main)
