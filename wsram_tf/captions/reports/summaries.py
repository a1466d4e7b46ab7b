"""What a captioner does with a few fixed images, for TensorBoard: pictures and histograms."""

import textwrap
from collections.abc import Sequence

import numpy as np
import PIL.ImageDraw

from wsram_tf import drawing
from wsram_tf.locations import locations_to_pixels

__all__ = ["NUM_IMAGES", "NUM_SHOWN", "caption_tiles", "looked_at"]

# Images that are described, and those of them that are shown.
NUM_IMAGES, NUM_SHOWN = 64, 4
# Side of an image with glimpses, pixels; characters and height of a line of words.
TILE_SIDE, LINE_CHARACTERS, LINE_HEIGHT = 256, 42, 14


def looked_at(
  pictures: np.ndarray,
  locations: np.ndarray,
  words: Sequence[Sequence[str]],
  grid_shapes: Sequence[tuple[int, int]],
  layers: np.ndarray | None = None,
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
  """Shows the glimpses before the words of captions.

  Args:
    pictures: float `[b, H, W, C]` in 0..1, of the first images.
    locations: float `[B, T, 2]`, (row, column) in [-1, 1], before each word.
    words: B captions of at most T words; no glimpse after the last word counts.
    grid_shapes: rows and columns of cells, for each layer of features.
    layers: int `[B, T]`, the layer of each glimpse; None where there is one.

  Returns:
    pictures, uint8 `[H, W, 3]`, by tag; the values of histograms, by tag.
  """
  spoken = np.arange(locations.shape[1]) < np.array([len(caption) for caption in words])[:, None]
  histograms = {"glimpses/row": locations[spoken][:, 0], "glimpses/column": locations[spoken][:, 1]}
  if layers is not None:
    histograms["glimpses/layer"] = layers[spoken]
  # Weights that diverged give places that are not finite.
  finite = {tag: values[np.isfinite(values)] for tag, values in histograms.items()}
  picture = caption_tiles(pictures, locations, words[: len(pictures)], grid_shapes, layers)
  return {"glimpses/validation": picture}, finite


def caption_tiles(
  images: np.ndarray,
  locations: np.ndarray,
  words: Sequence[Sequence[str]],
  grid_shapes: Sequence[tuple[int, int]],
  layers: np.ndarray | None = None,
) -> np.ndarray:
  """Draws images side by side with the cells of their glimpses, in milliseconds.

  The number of a word stands in the cell that was looked at before it, and before the word.

  Args:
    images: float `[B, H, W, C]` in 0..1.
    locations: float `[B, T, 2]`, (row, column) in [-1, 1]; more rows than captions are left out.
    words: B captions of at most T words.
    grid_shapes: rows and columns of cells, for each layer of features.
    layers: int `[B, T]`, the layer of each glimpse; None where there is one.

  Returns:
    uint8 `[H, W, 3]`.
  """
  texts = [
    textwrap.wrap(" ".join(f"{n}:{word}" for n, word in enumerate(caption, 1)), LINE_CHARACTERS)
    for caption in words
  ]
  top = LINE_HEIGHT * max(1, *map(len, texts)) + 8
  height, width = images.shape[1:3]
  points = locations_to_pixels(np.nan_to_num(locations).astype(np.float32), height, width).numpy()
  zoom = TILE_SIDE / max(height, width)
  tiles = []
  for b, caption in enumerate(words):
    tile = drawing.enlarged(images[b], (height, width), TILE_SIDE)
    pen = PIL.ImageDraw.Draw(tile)
    for n in range(len(caption)):
      rows, columns = grid_shapes[0 if layers is None else int(layers[b, n])]
      colour = tuple(round(255 * part) for part in drawing.glimpse_colour(n, len(caption))[:3])
      upper, left = points[b, n] - np.array([height / rows, width / columns]) / 2
      box = np.array([left, upper, left + width / columns, upper + height / rows]) * zoom
      pen.rectangle(tuple(box.tolist()), outline=colour, width=2)
      pen.text((box[0] + 4, box[1] + 2), str(n + 1), fill=colour)
    tiles.append(drawing.framed(tile, "\n".join(texts[b]), TILE_SIDE, top))
  return np.concatenate(tiles, axis=1)
