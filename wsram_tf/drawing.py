"""Pictures of glimpses: where a model looked, what it saw there, and what it said."""

from collections.abc import Sequence

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from wsram_tf.layers import locations_to_pixels

__all__ = ["draw_captions", "draw_glimpse_squares", "draw_glimpses"]


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
  right: Sequence[bool],
  columns: int = 2,
) -> Figure:
  """Draws one case a panel: the canvas with its glimpses, and what each glimpse saw.

  Args:
    images: float `[B, H, W, C]` in 0..1.
    locations: float `[B, N, 2]`, (row, column) in [-1, 1].
    patches: float `[B, N, S, G, G, C]`, what the glimpse sensor cut out.
    captions: B lines, each over its panel.
    right: whether each answer was right; its caption is green or red.
    columns: panels side by side.

  Returns:
    the figure, to be saved by `figure.savefig(path)`.
  """
  _, num_glimpses, scales, side = patches.shape[:4]
  rows = -(-len(images) // columns)
  figure = Figure(figsize=(columns * (2.3 + 0.75 * num_glimpses), 2.3 * rows), layout="constrained")
  panels = np.ravel(figure.subfigures(rows, columns, squeeze=False))
  for b in range(len(images)):
    panel = panels[b]
    panel.suptitle(captions[b], size=8, color="darkgreen" if right[b] else "firebrick")
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
    right: whether each caption is right; its words are green or red. None where nobody knows.

  Returns:
    the figure, to be saved by `figure.savefig(path)`.
  """
  columns = max(len(caption) for caption in words)
  figure = Figure(figsize=(1.1 * columns, 1.35 * len(images)), layout="constrained")
  panels = figure.subplots(len(images), columns, squeeze=False)
  height, width = images.shape[1:3]
  points = locations_to_pixels(np.asarray(locations, np.float32), height, width).numpy()
  cell = (height / grid_shape[0], width / grid_shape[1])
  for b, caption in enumerate(words):
    colour = "black" if right is None else ("darkgreen" if right[b] else "firebrick")
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
