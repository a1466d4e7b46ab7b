"""Moving pictures of a classifier that looks: one frame for each glimpse."""

import os
import pathlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import PIL.Image
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from wsram_tf import files
from wsram_tf.drawing import draw_glimpse_squares, glimpse_colour, show_image
from wsram_tf.settings import check_path

__all__ = ["SUFFIXES", "Looks", "animate_glimpses", "checked_path", "glimpse_frames", "save_frames"]

# Of the files that an animation may be written to.
SUFFIXES = (".gif", ".webp")
# The largest number of classes with a bar; of more classes, the likeliest have one.
MOST_BARS = 10
# How long a frame is shown, and the last one.
SECONDS, LAST_SECONDS = 1.0, 2.5
DOTS_PER_INCH = 100


class Looks(NamedTuple):
  """The glimpses of one image, and the answer after each.

  Attributes:
    image: float `[H, W, C]` in 0..1, or a reduced copy.
    locations: float `[N, 2]`, (row, column) in [-1, 1].
    patches: float `[N, S, G, G, C]`; of a chosen scale `[N, 1, G, G, C]`.
    probabilities: float `[N, K]`, of the classes after each glimpse.
    glimpse_side: side of the finest patch, pixels.
    glimpse_scales: number of scales.
    chosen_scales: int `[N]`, the scale of each glimpse; None where a glimpse has all scales.
    size: (H, W) that the model saw, pixels, where the image is a reduced copy; None: its own.
    class_names: K names, by label; empty to show numbers.
  """

  image: np.ndarray
  locations: np.ndarray
  patches: np.ndarray
  probabilities: np.ndarray
  glimpse_side: int
  glimpse_scales: int
  chosen_scales: np.ndarray | None = None
  size: tuple[int, int] | None = None
  class_names: Sequence[str] = ()


def animate_glimpses(
  model: Any,
  image: np.ndarray,
  path: str | os.PathLike,
  *,
  class_names: Sequence[str] = (),
) -> None:
  """Writes a moving picture of a model that looks at an image.

  Each frame shows the glimpses so far on the image, the patches of the newest, and the
  probabilities of the classes after it. Answers before the last glimpse are good only if training
  had a `stepwise_weight`.

  Args:
    model: a `WakeSleepLearner` or a `PredictionNetwork`.
    image: as the model takes it, without the batch axis: float `[H, W, C]` in 0..1.
    path: the file to write, `.gif` or `.webp`.
    class_names: K names, by label; empty to show numbers.

  Raises:
    ValueError: if the model is not a classifier, the image breaks a rule, or the path has another
      suffix.
    OSError: if the file cannot be written.

  Example:

  >>> import tempfile
  >>> import numpy as np
  >>> import wsram_tf
  >>> network = wsram_tf.load_pretrained("quickstart")
  >>> image = np.zeros([100, 100, 1], np.float32)
  >>> with tempfile.TemporaryDirectory() as folder:
  ...   wsram_tf.animate_glimpses(network, image, f"{folder}/looks.gif")
  ...   PIL.Image.open(f"{folder}/looks.gif").n_frames
  4
  """
  network = getattr(model, "prediction_network", model)
  if not hasattr(network, "classify_stepwise"):
    raise ValueError(
      f"model of {type(model).__name__}: must be a WakeSleepLearner or a PredictionNetwork"
    )
  path = checked_path(path)
  if not isinstance(class_names, list | tuple) or len(class_names) not in (0, _classes(network)):
    raise ValueError(
      f"class_names={class_names!r:.200}: must be a list of {_classes(network)} names, or empty"
    )
  images = np.asarray(image)[np.newaxis]
  network.predict_on_batch(images)  # Checks the image.
  answer = {name: np.asarray(value) for name, value in network.classify_stepwise(images).items()}
  scales = answer.get("scales")
  pictures, sizes = network.pictures(images)
  looks = Looks(
    image=pictures[0],
    locations=answer["locations"][0],
    patches=network.patches(images, answer["locations"], scales).numpy()[0],
    probabilities=answer["probabilities"][0],
    glimpse_side=network.config.glimpse.glimpse_side,
    glimpse_scales=network.config.glimpse.glimpse_scales,
    chosen_scales=None if scales is None else scales[0],
    size=tuple(sizes[0].tolist()),
    class_names=class_names,
  )
  save_frames(glimpse_frames(looks), path)


def _classes(network: Any) -> int:
  return network.config.num_classes


def checked_path(path: str | os.PathLike) -> pathlib.Path:
  """Returns the path of an animation.

  Raises:
    ValueError: if it has another suffix than `SUFFIXES`.
  """
  check_path("path", path)
  path = pathlib.Path(path)
  if path.suffix.lower() not in SUFFIXES:
    raise ValueError(f"path={path}: must end in {' or '.join(SUFFIXES)}")
  return path


def glimpse_frames(looks: Looks) -> list[PIL.Image.Image]:
  """Draws one frame for each glimpse, RGB images of one size."""
  best = np.argsort(-looks.probabilities.max(axis=0), kind="stable")[:MOST_BARS]
  classes = np.sort(best)
  return [_frame(looks, n, classes) for n in range(len(looks.locations))]


def save_frames(frames: Sequence[PIL.Image.Image], path: pathlib.Path) -> None:
  """Writes frames as an endless animation.

  Args:
    frames: at least one, of one size.
    path: the file, with a suffix of `SUFFIXES`; its folder is created if it does not exist.

  Raises:
    OSError: if it cannot be written; an old file is unchanged then.
  """
  times = [1000 * SECONDS] * (len(frames) - 1) + [1000 * LAST_SECONDS]
  path.parent.mkdir(parents=True, exist_ok=True)
  with files.replacing(path) as partial:
    frames[0].save(
      partial,
      save_all=True,
      append_images=frames[1:],
      duration=[int(time) for time in times],
      loop=0,
    )


def _frame(looks: Looks, n: int, classes: np.ndarray) -> PIL.Image.Image:
  """Draws the frame after glimpse n, counted from 0."""
  figure = Figure(figsize=(6.4, 3.6), dpi=DOTS_PER_INCH)
  colour = glimpse_colour(n, len(looks.locations))
  left = figure.add_axes((0.02, 0.03, 0.5, 0.94))
  draw_glimpse_squares(
    left,
    looks.image,
    looks.locations,
    looks.glimpse_side,
    looks.glimpse_scales,
    looks.chosen_scales,
    looks.size,
    shown=n + 1,
  )
  _show_patches(figure.add_axes((0.56, 0.6, 0.42, 0.28)), looks.patches[n], colour)
  figure.text(0.56, 0.92, f"glimpse {n + 1} of {len(looks.locations)}", size=9)
  _show_bars(figure.add_axes((0.66, 0.06, 0.32, 0.48)), looks, n, classes)
  canvas = FigureCanvasAgg(figure)
  canvas.draw()
  return PIL.Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")


def _show_patches(axes: Axes, patches: np.ndarray, colour: Any) -> None:
  """Shows patches `[S, G, G, C]` side by side, the finest first."""
  spacing = 1.1
  for scale, patch in enumerate(patches):
    show_image(axes, patch, (1, 1), (0, scale * spacing), colour)
  axes.set_xlim(-0.55, (len(patches) - 1) * spacing + 0.55)
  axes.set_ylim(0.55, -0.55)
  axes.set_anchor("W")
  axes.set_axis_off()


def _show_bars(axes: Axes, looks: Looks, n: int, classes: np.ndarray) -> None:
  """Shows the probabilities of some classes after glimpse n."""
  likeliest = looks.probabilities[n].argmax()
  colours = ["black" if label == likeliest else "silver" for label in classes]
  places = np.arange(len(classes))
  axes.barh(places, looks.probabilities[n, classes], color=colours)
  names = looks.class_names or range(looks.probabilities.shape[1])
  axes.set_yticks(places, [str(names[label]) for label in classes], size=7)
  axes.set_xlim(0, 1)
  axes.set_xticks([0, 0.5, 1], ["0", "50", "100%"], size=7)
  axes.invert_yaxis()
  for side in ("top", "right"):
    axes.spines[side].set_visible(False)
