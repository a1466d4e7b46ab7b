"""Measures what an image's size costs this model and two convolutional rivals, on a CPU.

  python -m tests.benchmarks.image_size --plot=docs/images/image_size.png

Prints a table: time for one image, images a second in batches, memory beyond image and weights,
multiply-adds. All classify the same RGB images, which are in memory already, with random weights,
by TensorFlow's own kernels. Of this model, a second row leaves out its one look at the whole image,
the low-resolution copy. Memory is the most that TensorFlow's allocator hands out during one answer,
each counted in a process of its own.
"""

import concurrent.futures
import math
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from typing import NamedTuple

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
import tensorflow as tf
from absl import app, flags
from matplotlib.figure import Figure

import wsram_tf
from tests.benchmarks.timing import in_own_process
from tests.support.plot_flag import PLOT
from wsram_tf.classification.views import View
from wsram_tf.data import canvases, digits
from wsram_tf.observations import PixelObservation, area_means

OURS, AFTER_COPY = "this model", "this model after the coarse copy"
RIVALS = ("MobileNetV3Small", "ResNet50")
SERIES = (OURS, AFTER_COPY, *RIVALS)
CHANNELS = 3
# Batches for the throughput hold at most so many pixels, and at most so many images.
LARGEST_BATCH_PIXELS, LARGEST_BATCH = 2**20, 16

_SIDES = flags.DEFINE_multi_integer(
  "side", [100, 200, 400, 800, 1600, 3200], "side of the images, in pixels; repeatable"
)
_SECONDS = flags.DEFINE_float(
  "seconds", 2.0, "time spent on each timing, in seconds; at least 3 answers are timed"
)
_LONGEST = flags.DEFINE_float(
  "longest", 60.0, "a side is left out where one answer would take longer, in seconds"
)


class Row(NamedTuple):
  """One line of the table.

  Attributes:
    series: the model.
    side: of the images, pixels.
    milliseconds: for one image, median.
    images_per_second: in batches, from the median.
    batch: images a batch.
    megabytes: the most memory during one answer, beyond image and weights.
    multiply_adds: for one image.
    note: why a figure is missing.
  """

  series: str
  side: int
  milliseconds: float = math.nan
  images_per_second: float = math.nan
  batch: int = 0
  megabytes: float = math.nan
  multiply_adds: float = math.nan
  note: str = ""


def batch_size(side: int) -> int:
  """Images in a batch for the throughput."""
  return max(1, min(LARGEST_BATCH, LARGEST_BATCH_PIXELS // side**2))


def make_images(side: int) -> np.ndarray:
  """Canvases of digits, 28 pixels each, among clutter, uint8 `[batch, side, side, 3]`."""
  data = canvases.evaluation_canvases(
    digits.load_digits("mnist5k", num_validation=400).test,
    wsram_tf.CanvasConfig(side, 28, 28, num_clutter=max(8, side * side // 10_000)),
    num_canvases=batch_size(side),
    batch_size=batch_size(side),
    seed=1,
  )
  images, _ = next(iter(data))
  return np.repeat((images.numpy() * 255).astype(np.uint8), CHANNELS, axis=-1)


def make_function(series: str, side: int) -> tuple[Callable, Callable]:
  """What is measured, and what makes its arguments from images outside the measurement."""
  keras.utils.set_random_seed(1)
  shape = (side, side, CHANNELS)
  if series in RIVALS:
    settings = {"include_preprocessing": False} if series.startswith("MobileNetV3") else {}
    model = getattr(keras.applications, series)(
      weights=None, input_shape=shape, classes=10, **settings
    )
    return lambda images: model(images, training=False), lambda images: (images,)
  config = wsram_tf.ModelConfig(height=side, width=side, channels=CHANNELS)
  network = wsram_tf.PredictionNetwork(config)
  if series == OURS:
    return lambda images: network.attend(network.look(images)).log_probs, lambda images: (images,)

  def after_copy(images: tf.Tensor, low_resolution: tf.Tensor) -> tf.Tensor:
    observation = PixelObservation(images, network.glimpse_sensor)
    context = network.context_network(low_resolution)
    return network.attend(View(observation, context, None, None)).log_probs

  return (
    after_copy,
    lambda images: (images, area_means(images, config.context_side)),
  )


def multiply_adds(graph: tf.Graph) -> int:
  """Multiplications, each with its addition, of a graph's products and convolutions."""
  total = 0
  for operation in graph.get_operations():
    if operation.type in ("MatMul", "BatchMatMulV2"):
      flag = "transpose_a" if operation.type == "MatMul" else "adj_x"
      inner = operation.inputs[0].shape[-2 if operation.get_attr(flag) else -1]
      total += operation.outputs[0].shape.num_elements() * inner
    elif operation.type == "Conv2D":
      height, width, channels, _ = operation.inputs[1].shape
      total += operation.outputs[0].shape.num_elements() * height * width * channels
    elif operation.type == "DepthwiseConv2dNative":
      height, width, _, _ = operation.inputs[1].shape
      total += operation.outputs[0].shape.num_elements() * height * width
    elif operation.type == "Einsum":
      terms = operation.get_attr("equation").decode().split("->")[0].split(",")
      sizes = {
        letter: size
        for term, tensor in zip(terms, operation.inputs, strict=True)
        for letter, size in zip(term, tensor.shape, strict=True)
      }
      total += math.prod(sizes.values())
  return total


def concrete(series: str, side: int, images: np.ndarray) -> tuple[Callable, tf.Graph]:
  """A function of no arguments that answers about images, and its graph."""
  function, prepare = make_function(series, side)
  arguments = prepare(tf.constant(images, tf.float32) / 255.0)
  traced = tf.function(function, autograph=False).get_concrete_function(*arguments)
  return lambda: traced(*arguments).numpy(), traced.graph


def median_seconds(answer: Callable, seconds: float) -> float:
  """Median time of an answer, over about `seconds` and at least 3 answers."""
  answer()
  times = []
  while len(times) < 3 or sum(times) < seconds:
    start = time.perf_counter()
    answer()
    times.append(time.perf_counter() - start)
  return statistics.median(times)


def measure_speed(
  series: str, images_of: dict[int, str], seconds: float, longest: float
) -> list[Row]:
  """Times one model at each side; runs in a process of its own."""
  tf.config.set_visible_devices([], "GPU")
  rows: list[Row] = []
  for side, path in images_of.items():
    # Time grows at most with the area.
    if rows and rows[-1].milliseconds * (side / rows[-1].side) ** 2 > longest * 1e3:
      rows.append(Row(series, side, note=f"one answer would take more than {longest:.0f} s"))
      continue
    images = np.load(path)
    one, graph = concrete(series, side, images[:1])
    latency = median_seconds(one, seconds)
    many = latency
    if len(images) > 1:
      many = median_seconds(concrete(series, side, images)[0], seconds)
    rows.append(
      Row(
        series,
        side,
        milliseconds=latency * 1e3,
        images_per_second=len(images) / many,
        batch=len(images),
        multiply_adds=multiply_adds(graph),
      )
    )
    keras.backend.clear_session()
  return rows


def measure_memory(series: str, side: int, path: str) -> float:
  """The most memory that one answer takes beyond what is held before it, MB.

  Raises:
    tf.errors.ResourceExhaustedError: if there is not enough.
  """
  tf.config.set_visible_devices([], "GPU")
  answer, _ = concrete(series, side, np.load(path)[:1])
  answer()  # What is made once, and kept, is no part of an answer.
  before = tf.config.experimental.get_memory_info("CPU:0")["current"]
  tf.config.experimental.reset_memory_stats("CPU:0")
  answer()
  return (tf.config.experimental.get_memory_info("CPU:0")["peak"] - before) / 1e6


def measure(sides: list[int], seconds: float, longest: float) -> list[Row]:
  """All rows of the table."""
  rows = []
  with tempfile.TemporaryDirectory() as folder:
    images_of = {side: os.path.join(folder, f"{side}.npy") for side in sides}
    for side, path in images_of.items():
      np.save(path, make_images(side))
    for series in SERIES:
      for row in in_own_process(measure_speed, series, images_of, seconds, longest):
        if not row.note:
          row = with_memory(row, images_of[row.side])
        print_row(row)
        rows.append(row)
  return rows


def with_memory(row: Row, path: str) -> Row:
  """A row with its memory, or a note where there was not enough."""
  free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
  # Only this one of TensorFlow's allocators for CPUs counts what it hands out.
  settings = {
    "TF_CPU_ALLOCATOR_USE_BFC": "true",
    "TF_CPU_BFC_MEM_LIMIT_IN_MB": str(int(0.8 * free / 2**20)),
  }
  os.environ.update(settings)
  try:
    return row._replace(megabytes=in_own_process(measure_memory, row.series, row.side, path))
  except (tf.errors.ResourceExhaustedError, concurrent.futures.process.BrokenProcessPool):
    return row._replace(note=f"one answer takes more than the {0.8 * free / 1e9:.0f} GB at hand")
  finally:
    for name in settings:
      del os.environ[name]


def print_row(row: Row) -> None:
  """Prints a line of the table, with a dash where there is no figure."""
  figures = (
    f"{row.milliseconds:,.1f}",
    f"{row.images_per_second:,.1f}",
    f"{row.batch or math.nan}",
    f"{row.megabytes:,.2f}",
    f"{row.multiply_adds / 1e6:,.1f}",
  )
  shown = " | ".join("-" if figure == "nan" else figure for figure in figures)
  print(f"| {row.series} | {row.side:,} | {shown} | {row.note} |", flush=True)


def crossing(sides: list[int], ours: list[float], rival: list[float]) -> str:
  """Says from which side on our cost is the lower one; between sides both are powers of them."""
  gaps = [math.log(a / b) if a > 0 < b else math.nan for a, b in zip(ours, rival, strict=True)]
  known = [(side, gap) for side, gap in zip(sides, gaps, strict=True) if not math.isnan(gap)]
  if not known:
    return "not known"
  higher = [i for i, (_, gap) in enumerate(known) if gap >= 0]
  if not higher:
    return f"lower at every side from {known[0][0]}"
  if higher[-1] == len(known) - 1:
    return f"not lower up to side {known[-1][0]}"
  (first, above), (second, below) = known[higher[-1]], known[higher[-1] + 1]
  fraction = above / (above - below)
  return f"lower from side {first * (second / first) ** fraction:.0f} on"


def print_findings(rows: list[Row]) -> None:
  """Prints what the table says: how flat this model is, and where it crosses its rivals."""
  by_series = {name: [row for row in rows if row.series == name] for name in SERIES}
  for series in (AFTER_COPY, OURS):
    first = by_series[series][0]
    for row in by_series[series][1:]:
      ratio, more = row.milliseconds / first.milliseconds, row.megabytes - first.megabytes
      print(
        f"{series}, side {row.side} against {first.side}: {ratio:.2f} times the time, "
        f"{more:+.2f} MB"
      )
  for rival in RIVALS:
    for name, field, sign in (
      ("time for one image", "milliseconds", 1),
      ("time for an image in batches", "images_per_second", -1),
      ("memory", "megabytes", 1),
      ("multiply-adds", "multiply_adds", 1),
    ):
      values = [[getattr(row, field) ** sign for row in by_series[s]] for s in (OURS, rival)]
      sides = [row.side for row in by_series[rival]]
      print(f"{OURS} against {rival}, {name}: {crossing(sides, *values)}")


def draw(rows: list[Row]) -> Figure:
  """The table as four panels."""
  figure = Figure(figsize=(10, 7), layout="constrained")
  panels = (
    ("milliseconds", "time for one image, ms"),
    ("images_per_second", "images a second, in batches"),
    ("megabytes", "memory beyond the image, MB"),
    ("multiply_adds", "multiply-adds for one image"),
  )
  styles = dict(zip(SERIES, ("o-", "o--", "s-", "^-"), strict=True))
  sides = sorted({row.side for row in rows})
  for axes, (field, title) in zip(figure.subplots(2, 2).ravel(), panels, strict=True):
    for series in SERIES:
      points = [(row.side, getattr(row, field)) for row in rows if row.series == series]
      axes.plot(*zip(*points, strict=True), styles[series], label=series, ms=4)
    axes.set(xscale="log", yscale="log", title=title, xlabel="image side, pixels")
    axes.set_xticks(sides, [str(side) for side in sides])
    axes.minorticks_off()
    axes.grid(alpha=0.3)
  figure.axes[0].legend(fontsize=8)
  return figure


def main(_) -> None:
  """Prints the table and its findings, and draws the plot."""
  sides = sorted(set(_SIDES.value))
  print(f"TensorFlow {tf.__version__}, {len(os.sched_getaffinity(0))} CPU cores")
  print("| model | side | ms an image | images/s | batch | MB | million multiply-adds | note |")
  print("|---|---|---|---|---|---|---|---|")
  rows = measure(sides, _SECONDS.value, _LONGEST.value)
  print_findings(rows)
  if PLOT.value:
    draw(rows).savefig(PLOT.value, dpi=110)


if __name__ == "__main__":
  app.run(main)
