"""Asks models about the pictures of visitors, as any client does."""

import base64
import io
import math
import pathlib
import warnings
from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np
import PIL.Image

from wsram_tf.data.fitting import FORMATS, patch_squares
from wsram_tf.data.regions.reader import PatchShape, RegionReader
from wsram_tf.data.regions.search import RegionSource
from wsram_tf.serving import looking, models
from wsram_tf.serving.examples import png_bytes
from wsram_tf.serving.image_files import prepare_image

__all__ = [
  "MOST_PIXELS",
  "Box",
  "CaptionAnswer",
  "ClassifierAnswer",
  "PageModel",
  "ask_captioner",
  "ask_classifier",
  "prepared",
  "prepared_drawing",
  "search_file",
]

# Of a picture that is decoded as a whole.
MOST_PIXELS = 50_000_000
# Side of the reduced copy of a large file, pixels.
THUMBNAIL_SIDE = 512
# Characters.
_LONGEST_DRAWING = 2_000_000


class PageModel(models.StepwiseModel, looking.GlimpseModel, Protocol):
  """A model that the page asks: an `ExportedModel` or a `ServedModel`."""

  @property
  def class_names(self) -> Sequence[str]:
    """K names, by label; empty where classes have numbers alone."""
    ...


class Box(NamedTuple):
  """A rectangle on an image, in its pixels."""

  left: float
  top: float
  width: float
  height: float


class ClassifierAnswer(NamedTuple):
  """What a classifier did with one image, to show.

  Attributes:
    image: float32 `[h, w, C]` in 0..1: what the model saw, or a reduced copy.
    size: (H, W) that the model saw, pixels, in which the boxes are.
    boxes: for each of N glimpses the squares of its patches, the finest first.
    patches: float32 `[N, S, G, G, C]`.
    probabilities: float32 `[N, K]`, after each glimpse.
    names: K names, by label.
    prior: float32 `[N, R, C]`, before each glimpse; None where the model does not answer it.
    note: on what was done to the file; may be empty.
  """

  image: np.ndarray
  size: tuple[int, int]
  boxes: list[list[Box]]
  patches: np.ndarray
  probabilities: np.ndarray
  names: list[str]
  prior: np.ndarray | None
  note: str


class CaptionAnswer(NamedTuple):
  """A caption of one image, to show.

  Attributes:
    image: float32 `[H, W, C]` in 0..1.
    words: T words.
    boxes: the cell before each word; a box without width where the cells are not known.
    log_prob: of the caption, nats.
    note: on what was done to the file; may be empty.
  """

  image: np.ndarray
  words: list[str]
  boxes: list[Box]
  log_prob: float
  note: str


def prepared(model: PageModel, path: pathlib.Path, *, invert: bool = False) -> tuple[bytes, str]:
  """Makes a file of the model's size, after its header has shown that it is not too large.

  Args:
    model: the model to ask.
    path: of a PNG, JPEG, TIFF or WebP file of up to `MOST_PIXELS`.
    invert: whether to swap dark and bright.

  Returns:
    the contents to send, and a note on the resizing, which may be empty.

  Raises:
    ValueError: if the file is no image or too large; the message gives its name alone.
  """
  try:
    with warnings.catch_warnings():
      # The rule below is stricter than Pillow's warning.
      warnings.simplefilter("ignore", PIL.Image.DecompressionBombWarning)
      with PIL.Image.open(path, formats=FORMATS) as image:
        width, height = image.size
  except PIL.Image.DecompressionBombError as error:
    raise ValueError(f"{path.name}: must have at most {MOST_PIXELS:,} pixels") from error
  except (OSError, ValueError, SyntaxError) as error:
    raise ValueError(f"{path.name}: must be an image file, {' or '.join(FORMATS)}") from error
  if width * height > MOST_PIXELS:
    raise ValueError(
      f"{path.name}: must have at most {MOST_PIXELS:,} pixels; got {height:,} x {width:,}"
    )
  try:
    contents, note = prepare_image(path, model.image_shape(), model.fit, invert=invert)
  except ValueError as error:  # Visitors know the name of their file, not its path here.
    raise ValueError(str(error).replace(str(path), path.name)) from error
  try:
    PIL.Image.open(io.BytesIO(contents)).load()  # A file of the right size is sent as it is.
  except Exception as error:
    raise ValueError(f"{path.name}: must be a whole image file: {error}") from error
  return contents, note


def prepared_drawing(model: PageModel, drawing: object, side: int) -> bytes:
  """Makes a file of the model's size from a drawing, bright on dark.

  Args:
    model: the model to ask.
    drawing: the data URL of a PNG file of side x side pixels, as a canvas gives it.
    side: pixels.

  Raises:
    ValueError: if it is none.
  """
  rule = f"drawing: must be the data URL of a PNG file of {side} x {side} pixels"
  head, comma, encoded = drawing.partition(",") if isinstance(drawing, str) else ("", "", "")
  if head != "data:image/png;base64" or not comma or len(encoded) > _LONGEST_DRAWING:
    raise ValueError(rule)
  try:
    image = PIL.Image.open(io.BytesIO(base64.b64decode(encoded, validate=True)), formats=["PNG"])
    if image.size != (side, side):
      raise ValueError(rule)
    height, width, channels = model.image_shape()
    mode = "L" if channels == 1 else "RGB"
    image = image.convert(mode).resize((width, height), PIL.Image.Resampling.BOX)
  except Exception as error:  # Pillow's parsers raise all kinds at damage.
    raise ValueError(rule) from error
  return png_bytes(np.asarray(image).reshape(height, width, channels))


def ask_classifier(model: PageModel, contents: bytes, note: str = "") -> ClassifierAnswer:
  """Asks a classifier about an image file.

  Args:
    model: the classifier.
    contents: of the file, as `prepared` returned them.
    note: likewise.

  Raises:
    ValueError: if the model does not answer after each glimpse.
    ServerError, ServingError: as the model raises them.
  """
  steps = models.ask_steps(model, contents)
  prior = None
  if "prior_map" in model.signatures:
    answer = model.exchange("prior_map", {"images": steps.image[np.newaxis]}).outputs
    prior = np.asarray(answer["prior"])[0]
  height, width = steps.image.shape[:2]
  return ClassifierAnswer(
    image=steps.image,
    size=(height, width),
    boxes=_squares(model.glimpses, steps.locations, steps.scales, (height, width)),
    patches=steps.patches,
    probabilities=np.asarray(steps.probabilities),
    names=_names(model, np.shape(steps.probabilities)[1]),
    prior=prior,
    note=note,
  )


def search_file(model: PageModel, path: pathlib.Path) -> ClassifierAnswer:
  """Searches a large file, of which the model gets a reduced copy and the patches that it asks for.

  Args:
    model: a classifier with the signatures `begin` and `look`.
    path: of a pyramidal TIFF or a whole slide.

  Raises:
    ValueError: if the file cannot be read, or the model lacks the signatures.
    ServerError, ServingError: as the model raises them.
  """
  glimpses, channels = model.glimpses, model.image_shape()[-1]
  if isinstance(glimpses, models.Cells):
    raise ValueError("model: must be a classifier")
  reader = RegionReader()
  source = RegionSource([str(path)], PatchShape(glimpses.side, glimpses.scales, channels), reader)
  looked = looking.look_around(model, source)
  height, width = (int(length) for length in source.sizes[0])
  travelled = (looked.bytes_sent + looked.bytes_received) / 1e3
  return ClassifierAnswer(
    image=reader.low_resolution([str(path)], min(THUMBNAIL_SIDE, height, width), channels)[0],
    size=(height, width),
    boxes=_squares(
      glimpses,
      looked.locations[0],
      None if looked.scales is None else looked.scales[0],
      (height, width),
    ),
    patches=looking.patches_along(source, looked.locations, looked.scales)[0],
    probabilities=looked.probabilities[0],
    names=_names(model, looked.probabilities.shape[-1]),
    prior=None,
    note=f"{height} x {width} pixels (height x width), of which {travelled:.0f} kB travelled",
  )


def ask_captioner(model: PageModel, contents: bytes, note: str = "") -> CaptionAnswer:
  """Asks a captioner about an image file.

  Args:
    model: the captioner.
    contents: of the file, as `prepared` returned them.
    note: likewise.

  Raises:
    ServerError, ServingError: as the model raises them.
  """
  answer = model.ask([contents])
  image = models.as_images(contents, model.image_shape()[-1])[0]
  words = models.caption_words(answer)
  grids = model.glimpses.grids if isinstance(model.glimpses, models.Cells) else ()
  height, width = image.shape[:2]
  boxes = []
  for n, (row, column) in enumerate(np.asarray(answer["locations"])[0, : len(words)]):
    layer = int(answer["layers"][0][n]) if "layers" in answer else 0
    rows, columns = grids[layer] if grids else (math.inf, math.inf)
    middle = ((row + 1) / 2 * height, (column + 1) / 2 * width)
    box = Box(0.0, 0.0, width / columns, height / rows)
    boxes.append(box._replace(left=middle[1] - box.width / 2, top=middle[0] - box.height / 2))
  return CaptionAnswer(image, words, boxes, float(answer["log_prob"][0]), note)


def _names(model: PageModel, count: int) -> list[str]:
  return list(model.class_names) or [str(label) for label in range(count)]


def _squares(
  glimpses: models.Glimpses | models.Cells,
  locations: np.ndarray,
  scales: np.ndarray | None,
  size: tuple[int, int],
) -> list[list[Box]]:
  """The squares of the patches of each glimpse, as the glimpse sensor cuts them."""
  if isinstance(glimpses, models.Cells):
    raise ValueError("model: must be a classifier")
  squares = patch_squares(locations, scales, size, glimpses.side, glimpses.scales)
  return [[Box(left, top, side, side) for top, left, side in one] for one in squares.tolist()]
