"""Times early answers: an image at a time looks around until its answer is sure enough.

  python -m tests.benchmarks.early_stop --run_dir=RUN --plot=early_stop.png

Exports a run on digits, and asks it through the C++ loader, one thread, by `begin` and `look`,
about canvases as the run was trained on, of embedded test digits. Prints the mean number of
glimpses, the error and the time of an answer, for each threshold of the likeliest class'
probability, and those of one call of `serving_default`.
"""

import dataclasses
import multiprocessing
import tempfile
import time

import numpy as np
from absl import app, flags

from tests.support.plot_flag import PLOT
from wsram_tf.serving import cpp_loader, looking, manifests

_RUN_DIR = flags.DEFINE_string("run_dir", None, "folder of a finished run", required=True)
_IMAGES = flags.DEFINE_integer("images", 500, "test canvases", lower_bound=1)
_THRESHOLDS = flags.DEFINE_list(
  "thresholds", ["0.5", "0.8", "0.9", "0.95", "0.99"], "probabilities"
)


def measure(
  model_dir: str, images: np.ndarray, labels: np.ndarray, thresholds: list[float | None]
) -> dict[str, tuple[float, float, float]]:
  """Measures each way to ask, in turn for each image.

  Args:
    model_dir: of the export.
    images: float32 `[B, H, W, C]`.
    labels: int `[B]`.
    thresholds: of `look_around`.

  Returns:
    mean glimpses, error in % and median milliseconds, by a title.
  """
  facts = manifests.read_manifest(model_dir).facts
  assert isinstance(facts, manifests.ClassifierFacts)
  model = cpp_loader.LoadedModel(model_dir, 1)
  extent = (facts.glimpse_side, facts.glimpse_scales)

  def at_once(image):
    answer = model.run("serving_default", {"images": image})
    return facts.num_glimpses, int(answer["class_id"][0])

  def until(threshold):
    def ask(image):
      looked = looking.look_around(model, looking.PixelSource(image, *extent), threshold)
      return int(looked.glimpses[0]), int(looked.answer["class_id"][0])

    return ask

  ways = {"serving_default": at_once, "all glimpses": until(None)}
  ways |= {f"until {value:g}": until(value) for value in thresholds}
  found = {title: [] for title in ways}
  for ask in ways.values():
    ask(images[:1])  # The first optimises the graph.
  for image, label in zip(images, labels, strict=True):
    for title, ask in ways.items():
      start = time.perf_counter()
      glimpses, answer = ask(image[np.newaxis])
      found[title].append((glimpses, answer != label, time.perf_counter() - start))
  return {
    title: (rows[:, 0].mean(), 100 * rows[:, 1].mean(), 1e3 * np.median(rows[:, 2]))
    for title, rows in ((title, np.array(rows, float)) for title, rows in found.items())
  }


def make_canvases(run_dir: str, count: int) -> tuple[np.ndarray, np.ndarray]:
  """Draws canvases of embedded test digits as in a run, float32 `[B, H, W, 1]`, with labels."""
  from wsram_tf import runs
  from wsram_tf.data import canvases, digits

  lines = runs.RunFolder(run_dir).read_flags()
  given = dict(line.removeprefix("--").split("=", 1) for line in lines if "=" in line)
  names = [field.name for field in dataclasses.fields(canvases.CanvasConfig)]
  canvas = canvases.CanvasConfig(**{name: int(given[name]) for name in names if name in given})
  source = digits.load_digits("mnist5k", num_validation=400).test
  drawn = canvases.evaluation_canvases(source, canvas, num_canvases=count, batch_size=count, seed=3)
  return next(drawn.as_numpy_iterator())


def draw(measured: dict[str, tuple[float, float, float]], path: str) -> None:
  """Plots the error against the glimpses and against the time."""
  from matplotlib.figure import Figure

  rows = [row for title, row in measured.items() if title.startswith("until")]
  rows.append(measured["all glimpses"])
  figure = Figure(figsize=(8, 3.5), layout="constrained")
  for axes, column, label in zip(
    figure.subplots(1, 2, sharey=True), (0, 2), ("mean number of glimpses", "ms"), strict=True
  ):
    axes.plot([row[column] for row in rows], [row[1] for row in rows], "o-")
    axes.set_xlabel(label)
    axes.set_ylabel("test error, %")
  figure.savefig(path, dpi=100)


def main(_) -> None:
  """Prints one row for each way to ask."""
  from wsram_tf.export import export_classifier

  with tempfile.TemporaryDirectory() as folder:
    version = str(export_classifier(_RUN_DIR.value, folder, "digits", verify=False))
    images, labels = make_canvases(_RUN_DIR.value, _IMAGES.value)
    thresholds = [float(value) for value in _THRESHOLDS.value]
    # A process without TensorFlow's Python package, as of a client.
    with multiprocessing.get_context("spawn").Pool(1) as pool:
      measured = pool.apply(measure, (version, images, labels, thresholds))
  print("way               glimpses  error %   p50 ms")
  for title, (glimpses, error, milliseconds) in measured.items():
    print(f"{title:<18s}{glimpses:8.2f} {error:8.2f} {milliseconds:8.2f}")
  if PLOT.value:
    draw(measured, PLOT.value)


if __name__ == "__main__":
  app.run(main)
