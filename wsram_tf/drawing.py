"""Pictures of glimpses: where a model looked, what it saw there, and what it said."""

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from wsram_tf.locations import locations_to_pixels

__all__ = [
  "draw_answers",
  "draw_captions",
  "draw_glimpse_squares",
  "draw_glimpses",
  "show_glimpses",
]

# The most images of one picture.
MOST_SHOWN = 64


class Picture(Figure):
  """A figure that notebooks show without `pyplot`."""

  def _repr_png_(self) -> bytes:
    contents = io.BytesIO()
    self.savefig(contents, format="png", dpi=100)
    return contents.getvalue()


def glimpse_colour(n: int, num_glimpses: int) -> tuple[float, ...]:
  """The colour of glimpse n, from early (dark) to late (light)."""
  return colormaps["plasma"](0.25 + 0.65 * n / max(num_glimpses - 1, 1))


def show_image(axes: Axes, image: np.ndarray) -> None:
  """Shows a float image `[H, W, C]` in 0..1, grey or coloured, without ticks."""
  axes.imshow(np.squeeze(image[..., :3]), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
  axes.set_xticks([])
  axes.set_yticks([])


def draw_glimpse_squares(
  axes: Axes, image: np.ndarray, locations: np.ndarray, glimpse_side: int, glimpse_scales: int
) -> None:
  """Draws an image and, numbered in order, the squares that each glimpse covers.

  Args:
    axes: where to draw.
    image: float `[H, W, C]` in 0..1.
    locations: float `[N, 2]`, (row, column) in [-1, 1].
    glimpse_side: side of the finest patch, pixels.
    glimpse_scales: number of patches of each glimpse.
  """
  height, width = image.shape[:2]
  show_image(axes, image)
  centres = locations_to_pixels(np.asarray(locations, np.float32), height, width).numpy()
  for n, (row, column) in enumerate(centres):
    colour = glimpse_colour(n, len(centres))
    for scale in range(glimpse_scales):
      size = glimpse_side * 2**scale
      # imshow puts pixel centres at whole numbers, so the first pixel's edge is at -0.5.
      corner = (column - size / 2 - 0.5, row - size / 2 - 0.5)
      style = {"lw": 1.6 if scale == 0 else 0.6, "alpha": 1.0 if scale == 0 else 0.6}
      axes.add_patch(Rectangle(corner, size, size, fill=False, ec=colour, **style))
    box = {"boxstyle": "circle,pad=0.15", "fc": colour, "ec": "none"}
    axes.text(
      column - 0.5, row - 0.5, str(n + 1), color="black", size=6, ha="center", va="center", bbox=box
    )
  axes.set_xlim(-0.5, width - 0.5)
  axes.set_ylim(height - 0.5, -0.5)


def draw_glimpses(
  images: np.ndarray,
  locations: np.ndarray,
  patches: np.ndarray,
  captions: Sequence[str],
  *,
  right: Sequence[bool] | None = None,
  columns: int = 2,
) -> Figure:
  """Draws one case a panel: the canvas with its glimpses, and what each glimpse saw.

  Args:
    images: float `[B, H, W, C]` in 0..1.
    locations: float `[B, N, 2]`, (row, column) in [-1, 1].
    patches: float `[B, N, S, G, G, C]`, what the glimpse sensor cut out.
    captions: B lines, each over its panel.
    right: whether each answer is right; its caption is green or red. None: unknown; black.
    columns: panels side by side.

  Returns:
    the figure, to be saved by `figure.savefig(path)`.
  """
  _, num_glimpses, scales, side = patches.shape[:4]
  rows = -(-len(images) // columns)
  figure = Picture(
    figsize=(columns * (2.3 + 0.75 * num_glimpses), 2.3 * rows), layout="constrained"
  )
  panels = np.ravel(figure.subfigures(rows, columns, squeeze=False))
  for b in range(len(images)):
    panel = panels[b]
    colour = "black" if right is None else "darkgreen" if right[b] else "firebrick"
    panel.suptitle(captions[b], size=8, color=colour)
    canvas, seen = panel.subfigures(1, 2, width_ratios=(2.3, 0.75 * num_glimpses))
    draw_glimpse_squares(canvas.subplots(), images[b], locations[b], side, scales)
    cells = seen.subplots(scales, num_glimpses, squeeze=False)
    for n in range(num_glimpses):
      for scale in range(scales):
        axes = cells[scale, n]
        show_image(axes, patches[b, n, scale])
        for spine in axes.spines.values():
          spine.set(color=glimpse_colour(n, num_glimpses), lw=1.5)
        if scale == 0:
          axes.set_title(f"glimpse {n + 1}", size=6, pad=2)
  return figure


def show_glimpses(
  model: Any,
  images: np.ndarray,
  labels: np.ndarray | None = None,
  *,
  class_names: Sequence[str] = (),
  columns: int = 2,
) -> Figure:
  """Draws where a model looks at images, what it sees there, and its answers.

  Args:
    model: a `WakeSleepLearner` or a `PredictionNetwork`.
    images: float `[B, H, W, C]` in 0..1, or one image `[H, W, C]`; at most 64.
    labels: int `[B]`, the true classes; captions are then green where the answer is right, else
      red. None where they are unknown.
    class_names: K names, by label; empty to show numbers.
    columns: panels side by side.

  Returns:
    the figure, which notebooks show and `figure.savefig(path)` saves.

  Raises:
    ValueError: if the model gives no classes, or if images or labels break a rule.

  Example:

  ```python
  network = wsram_tf.load_pretrained("translated_scaled")
  wsram_tf.show_glimpses(network, images[:4], labels[:4]).savefig("glimpses.png")
  ```
  """
  network = getattr(model, "prediction_network", model)
  if not hasattr(network, "patches"):
    raise ValueError(
      f"model of {type(model).__name__}: must be a WakeSleepLearner or a PredictionNetwork"
    )
  images = np.asarray(images)
  images = images[np.newaxis] if images.ndim == 3 else images
  if not 1 <= len(images) <= MOST_SHOWN:
    raise ValueError(f"images: must be 1 to {MOST_SHOWN}, got {len(images)}")
  if labels is not None and np.shape(labels) != (len(images),):
    raise ValueError(f"labels: must have shape ({len(images)},), got {np.shape(labels)}")
  answer = {name: np.asarray(value) for name, value in network.predict_on_batch(images).items()}
  return draw_answers(network, images, answer, labels, class_names, columns)


def draw_answers(
  network: Any,
  images: np.ndarray,
  answer: Mapping[str, np.ndarray],
  labels: np.ndarray | None,
  class_names: Sequence[str],
  columns: int = 2,
) -> Figure:
  """As `show_glimpses`, for answers at hand: what `PredictionNetwork` returned for the images."""
  names = class_names or range(network.config.num_classes)
  class_id, confidence = answer["class_id"], answer["probabilities"].max(axis=-1)
  captions = [
    f"{names[found]} ({100 * sure:.0f}%)"
    if labels is None
    else f"{names[labels[b]]}, read as {names[found]} ({100 * sure:.0f}%)"
    for b, (found, sure) in enumerate(zip(class_id, confidence, strict=True))
  ]
  patches = network.patches(images, answer["locations"]).numpy()
  right = None if labels is None else class_id == np.asarray(labels)
  return draw_glimpses(images, answer["locations"], patches, captions, right=right, columns=columns)


def draw_captions(
  images: np.ndarray,
  locations: np.ndarray,
  words: Sequence[Sequence[str]],
  grid_shape: tuple[int, int],
  *,
  right: Sequence[bool] | None = None,
) -> Figure:
  """Draws one caption a row: the image with the cell looked at before each word.

  Args:
    images: float `[B, H, W, C]` in 0..1.
    locations: float `[B, T, 2]`, (row, column) in [-1, 1], before each word.
    words: B captions of at most T words.
    grid_shape: rows and columns of cells.
    right: whether each caption is right; its words are green or red. None: nobody knows; black.

  Returns:
    the figure, to be saved by `figure.savefig(path)`.
  """
  columns = max(len(caption) for caption in words)
  figure = Picture(figsize=(1.1 * columns, 1.35 * len(images)), layout="constrained")
  panels = figure.subplots(len(images), columns, squeeze=False)
  height, width = images.shape[1:3]
  points = locations_to_pixels(np.asarray(locations, np.float32), height, width).numpy()
  cell = (height / grid_shape[0], width / grid_shape[1])
  for b, caption in enumerate(words):
    colour = "black" if right is None else "darkgreen" if right[b] else "firebrick"
    for axes in panels[b, len(caption) :]:
      axes.set_axis_off()
    for n, word in enumerate(caption):
      axes, (row, column) = panels[b, n], points[b, n]
      show_image(axes, images[b])
      # As in draw_glimpse_squares: the first pixel's edge is at -0.5.
      corner = (column - cell[1] / 2 - 0.5, row - cell[0] / 2 - 0.5)
      axes.add_patch(Rectangle(corner, cell[1], cell[0], fill=False, ec="orange", lw=1.6))
      axes.set_title(word, size=8, pad=2, color=colour)
  return figure
