"""Pictures of images with the locations, patches and answers of a model."""

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import PIL.Image
import PIL.ImageDraw
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from wsram_tf.locations import locations_to_pixels
from wsram_tf.settings import as_array, check_number

__all__ = [
  "draw_answers",
  "draw_captions",
  "draw_glimpse_squares",
  "draw_glimpses",
  "show_glimpses",
]

# The largest number of images in one picture.
MOST_SHOWN = 64
# Side of the largest square whose number stands at a corner, as a share of the image's longer side.
SMALL_SQUARE = 0.1


class Picture(Figure):
  """A figure that notebooks display without `pyplot`."""

  def _repr_png_(self) -> bytes:
    contents = io.BytesIO()
    self.savefig(contents, format="png", dpi=100)
    return contents.getvalue()


def glimpse_colour(n: int, num_glimpses: int) -> tuple[float, ...]:
  """The colour of glimpse n, from dark (first) to light (last)."""
  return colormaps["plasma"](0.25 + 0.65 * n / max(num_glimpses - 1, 1))


def show_image(
  axes: Axes,
  image: np.ndarray,
  shape: tuple[float, float] | None = None,
  corner: tuple[float, float] = (0, 0),
  frame: Any = None,
) -> None:
  """Shows a float image `[H, W, C]` in 0..1, grey or colour; two channels as red and green.

  Args:
    axes: the axes to draw on.
    image: the image.
    shape: (height, width) in the axes' units; None: a pixel is a unit.
    corner: (row, column) of the image's first pixel, in the axes' units.
    frame: colour of a frame around it; None for no frame.
  """
  height, width = shape or image.shape[:2]
  top, left = corner[0] - 0.5, corner[1] - 0.5
  if image.shape[2] == 2:
    image = np.concatenate([image, np.zeros_like(image[..., :1])], axis=2)
  axes.imshow(
    np.squeeze(image[..., :3], axis=2) if image.shape[2] == 1 else image[..., :3],
    cmap="gray",
    vmin=0,
    vmax=1,
    interpolation="nearest",
    extent=(left, left + width, top + height, top),
  )
  if frame is not None:
    axes.add_patch(Rectangle((left, top), width, height, fill=False, ec=frame, lw=1.5))


def draw_glimpse_squares(
  axes: Axes,
  image: np.ndarray,
  locations: np.ndarray,
  glimpse_side: int,
  glimpse_scales: int,
  chosen_scales: np.ndarray | None = None,
  shape: tuple[int, int] | None = None,
  shown: int | None = None,
) -> None:
  """Draws an image and, with numbers in order, the squares of each glimpse.

  Args:
    axes: the axes to draw on.
    image: float `[H, W, C]` in 0..1.
    locations: float `[N, 2]`, (row, column) in [-1, 1].
    glimpse_side: side of the finest patch, pixels.
    glimpse_scales: number of scales.
    chosen_scales: int `[N]`, the scale of each glimpse; None where a glimpse has all scales.
    shape: (H, W) that the model saw, pixels, where the image is a reduced copy; None: its own.
    shown: the number of glimpses to draw, from the first on; None: all.
  """
  height, width = shape or image.shape[:2]
  show_image(axes, image, shape)
  centres = locations_to_pixels(np.asarray(locations, np.float32), height, width).numpy()
  for n, (row, column) in enumerate(centres[:shown]):
    colour = glimpse_colour(n, len(centres))
    scales = range(glimpse_scales) if chosen_scales is None else [chosen_scales[n]]
    for scale in scales:
      size = glimpse_side * 2 ** int(scale)
      # imshow places pixel centres at whole numbers, so the first pixel's edge is at -0.5.
      corner = (column - size / 2 - 0.5, row - size / 2 - 0.5)
      strong = scale == scales[0]
      style = {"lw": 1.6 if strong else 0.6, "alpha": 1.0 if strong else 0.6}
      axes.add_patch(Rectangle(corner, size, size, fill=False, ec=colour, **style))
    # A number in the middle would hide a small square.
    offset = 0.0 if size > SMALL_SQUARE * max(height, width) else size / 2
    axes.annotate(
      str(n + 1),
      (column - offset - 0.5, row - offset - 0.5),
      (-4.0 * bool(offset), 4.0 * bool(offset)),
      textcoords="offset points",
      color="black",
      size=6,
      ha="center",
      va="center",
      bbox={"boxstyle": "circle,pad=0.15", "fc": colour, "ec": "none"},
    )
  axes.set_xlim(-0.5, width - 0.5)
  axes.set_ylim(height - 0.5, -0.5)
  axes.set_xticks([])
  axes.set_yticks([])


def draw_glimpses(
  images: np.ndarray,
  locations: np.ndarray,
  patches: np.ndarray,
  captions: Sequence[str],
  *,
  right: Sequence[bool] | None = None,
  columns: int = 2,
  chosen_scales: np.ndarray | None = None,
  sizes: np.ndarray | None = None,
  image_inches: float = 2.3,
) -> Figure:
  """Draws one panel for each image: the image with its glimpses, and the patches of each glimpse.

  Args:
    images: float `[B, H, W, C]` in 0..1.
    locations: float `[B, N, 2]`, (row, column) in [-1, 1].
    patches: float `[B, N, S, G, G, C]`, from the glimpse sensor.
    captions: B lines, the titles of the panels.
    right: whether each answer is correct: green or red captions. None: unknown, black captions.
    columns: panels side by side.
    chosen_scales: int `[B, N]`, the scale of each glimpse; None where a glimpse has all scales.
    sizes: int `[B, 2]`, height and width that the model saw, pixels, where images are reduced
      copies; None: their own.
    image_inches: side of the place for an image.

  Returns:
    the figure; `figure.savefig(path)` saves it.
  """
  _, num_glimpses, scales, side = patches.shape[:4]
  rows = -(-len(images) // columns)
  widths = (image_inches, 0.75 * num_glimpses) * columns
  figure = Picture(figsize=(sum(widths), image_inches * rows), layout="constrained")
  panels = figure.subplots(rows, 2 * columns, squeeze=False, width_ratios=widths)
  panels = panels.reshape(rows * columns, 2)
  for b, (canvas, seen) in enumerate(panels):
    if b >= len(images):
      canvas.set_axis_off()
      seen.set_axis_off()
      continue
    colour = "black" if right is None else "darkgreen" if right[b] else "firebrick"
    canvas.set_title(captions[b], size=8, color=colour, loc="left")
    chosen = None if chosen_scales is None else chosen_scales[b]
    size = None if sizes is None else (int(sizes[b][0]), int(sizes[b][1]))
    draw_glimpse_squares(canvas, images[b], locations[b], side, scales, chosen, size)
    _show_patches(seen, patches[b])
  return figure


def _show_patches(axes: Axes, patches: np.ndarray) -> None:
  """Shows patches `[N, S, G, G, C]`: a column for each glimpse, a row for each scale."""
  num_glimpses, scales = patches.shape[:2]
  # In units of a patch's side. One pair of axes for each patch would take a second of computation.
  spacing = 1.15
  for n in range(num_glimpses):
    left = n * spacing
    for scale in range(scales):
      top = scale * spacing
      frame = glimpse_colour(n, num_glimpses)
      show_image(axes, patches[n, scale], (1, 1), (top, left), frame)
    axes.text(left, -0.58, f"glimpse {n + 1}", size=6, ha="center", va="bottom")
  axes.set_xlim(-0.55, (num_glimpses - 1) * spacing + 0.55)
  axes.set_ylim((scales - 1) * spacing + 0.55, -0.75)
  axes.set_axis_off()


def show_glimpses(
  model: Any,
  images: np.ndarray,
  labels: np.ndarray | None = None,
  *,
  class_names: Sequence[str] = (),
  columns: int = 2,
) -> Figure:
  """Draws a model's glimpses of images, their patches and its answers.

  Args:
    model: a `WakeSleepLearner` or a `PredictionNetwork`.
    images: as the model takes them, float `[B, H, W, C]` in 0..1, or one image; at most 64.
    labels: int `[B]`, the true classes: captions are green for correct answers, else red. None
      where they are unknown.
    class_names: K names, by label; empty to show numbers.
    columns: panels side by side.

  Returns:
    the figure; notebooks display it, and `figure.savefig(path)` saves it.

  Raises:
    ValueError: if the model is not a classifier, or another argument breaks a rule.

  Example:

  >>> import numpy as np
  >>> import wsram_tf
  >>> network = wsram_tf.load_pretrained("quickstart")
  >>> figure = wsram_tf.show_glimpses(network, np.zeros([100, 100, 1], np.float32))
  >>> figure.savefig("glimpses.png")  # doctest: +SKIP
  """
  network = getattr(model, "prediction_network", model)
  if not hasattr(network, "classify_stepwise"):
    raise ValueError(
      f"model of {type(model).__name__}: must be a WakeSleepLearner or a PredictionNetwork"
    )
  check_number("columns", columns, whole=True, minimum=1)
  images = as_array("images", images)
  images = images[np.newaxis] if images.ndim == network.input_rank - 1 else images
  if images.ndim != network.input_rank:
    raise ValueError(f"images of shape {images.shape}: must have {network.input_rank} axes")
  if not 1 <= len(images) <= MOST_SHOWN:
    raise ValueError(f"images of length {len(images)}: must be 1 to {MOST_SHOWN} images")
  classes = network.config.num_classes
  if labels is not None:
    labels = as_array("labels", labels)
    if labels.shape != (len(images),) or not np.issubdtype(labels.dtype, np.integer):
      raise ValueError(
        f"labels of dtype {labels.dtype} and shape {labels.shape}: must be integer ({len(images)},)"
      )
    if not ((labels >= 0) & (labels < classes)).all():
      raise ValueError(f"labels={labels!r:.200}: must be from 0 to {classes - 1}")
  if not isinstance(class_names, list | tuple) or len(class_names) not in (0, classes):
    raise ValueError(f"class_names={class_names!r:.200}: must be {classes} names, or empty")
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
  """Draws as `show_glimpses`, given the answers that `PredictionNetwork` returned."""
  names = class_names or range(network.config.num_classes)
  class_id, confidence = answer["class_id"], answer["probabilities"].max(axis=-1)
  captions = [
    f"{names[found]} ({100 * sure:.0f}%)"
    if labels is None
    else f"{names[labels[b]]}, read as {names[found]} ({100 * sure:.0f}%)"
    for b, (found, sure) in enumerate(zip(class_id, confidence, strict=True))
  ]
  scales = answer.get("scales")
  patches = network.patches(images, answer["locations"], scales).numpy()
  pictures, sizes = network.pictures(images)
  return draw_glimpses(
    pictures,
    answer["locations"],
    patches,
    captions,
    right=None if labels is None else class_id == np.asarray(labels),
    columns=columns,
    chosen_scales=scales,
    sizes=sizes,
  )


def enlarged(image: np.ndarray, size: Sequence[int], side: int) -> PIL.Image.Image:
  """Enlarges an image so that the lines drawn on it hide little.

  Args:
    image: float `[h, w, C]` in 0..1; of C channels, the first three are shown.
    size: height and width that the image stands for, pixels; those of a reduced copy are larger.
    side: the longer side of the result, pixels.

  Returns:
    an RGB image.
  """
  pixels = (np.clip(image[..., :3], 0, 1) * 255).astype(np.uint8)
  shown = PIL.Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels).convert("RGB")
  zoom = side / max(size)
  return shown.resize((round(size[1] * zoom), round(size[0] * zoom)), PIL.Image.Resampling.NEAREST)


def framed(picture: PIL.Image.Image, text: str, side: int, top: int) -> np.ndarray:
  """Puts a picture below a text on white, so that pictures stand side by side.

  Args:
    picture: RGB, at most `side` pixels a side.
    text: one or more lines.
    side: of the place for the picture, pixels.
    top: height of the place for the text, pixels.

  Returns:
    uint8 `[side + top, side + 8, 3]`.
  """
  frame = PIL.Image.new("RGB", (side + 8, side + top), "white")
  frame.paste(picture, (4, top - 4))
  PIL.ImageDraw.Draw(frame).multiline_text((4, 4), text, fill="black")
  return np.asarray(frame)


def draw_captions(
  images: np.ndarray,
  locations: np.ndarray,
  words: Sequence[Sequence[str]],
  grid_shapes: Sequence[tuple[int, int]],
  *,
  layers: np.ndarray | None = None,
  right: Sequence[bool] | None = None,
) -> Figure:
  """Draws one caption in each row: the image with the cell of the glimpse before each word.

  Args:
    images: float `[B, H, W, C]` in 0..1.
    locations: float `[B, T, 2]`, (row, column) in [-1, 1], before each word.
    words: B captions of at most T words.
    grid_shapes: rows and columns of cells, for each layer of features.
    layers: int `[B, T]`, the layer of each glimpse; None where there is one.
    right: whether each caption is correct: green or red words. None: unknown, black words.

  Returns:
    the figure; `figure.savefig(path)` saves it.
  """
  columns = max(len(caption) for caption in words)
  figure = Picture(figsize=(1.1 * columns, 1.35 * len(images)), layout="constrained")
  panels = figure.subplots(len(images), 1, squeeze=False)[:, 0]
  height, width = images.shape[1:3]
  points = locations_to_pixels(np.asarray(locations, np.float32), height, width).numpy()
  cells = [(height / rows, width / across) for rows, across in grid_shapes]
  # Copies of an image stand side by side in one pair of axes, with a gap between them.
  spacing = 1.08 * width
  for b, caption in enumerate(words):
    colour = "black" if right is None else "darkgreen" if right[b] else "firebrick"
    axes = panels[b]
    for n, word in enumerate(caption):
      left, (row, column) = n * spacing, points[b, n]
      layer = 0 if layers is None else int(layers[b, n])
      cell = cells[layer]
      show_image(axes, images[b], corner=(0, left))
      # As in draw_glimpse_squares: the first pixel's edge is at -0.5.
      corner = (left + column - cell[1] / 2 - 0.5, row - cell[0] / 2 - 0.5)
      axes.add_patch(Rectangle(corner, cell[1], cell[0], fill=False, ec=f"C{1 + layer}", lw=1.6))
      axes.text(
        left + width / 2, -0.03 * height, word, size=8, color=colour, ha="center", va="bottom"
      )
    axes.set_xlim(-0.5, columns * spacing - 0.5)
    axes.set_ylim(height - 0.5, -0.2 * height)
    axes.set_anchor("W")
    axes.set_axis_off()
  return figure
