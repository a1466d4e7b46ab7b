"""What a captioner does with a few fixed images, for TensorBoard: pictures and histograms."""

import textwrap
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import PIL.Image
import PIL.ImageDraw

from wsram_tf import drawing
from wsram_tf.locations import locations_to_pixels

__all__ = ["NUM_IMAGES", "NUM_SHOWN", "CaptionsLookedAt", "caption_tiles", "looked_at"]

# Images that are described, and those of them that are shown.
NUM_IMAGES, NUM_SHOWN = 64, 4
# Side of an image with glimpses, pixels; characters and height of a line of words.
TILE_SIDE, LINE_CHARACTERS, LINE_HEIGHT = 256, 42, 14


class CaptionsLookedAt(NamedTuple):
  """What TensorBoard gets after an evaluation.

  Attributes:
    images: uint8 `[H, W, 3]`, by tag.
    histograms: the values, by tag.
  """

  images: Mapping[str, np.ndarray]
  histograms: Mapping[str, np.ndarray]


def looked_at(
  pictures: np.ndarray,
  locations: np.ndarray,
  words: Sequence[Sequence[str]],
  grid_shapes: Sequence[tuple[int, int]],
  layers: np.ndarray | None = None,
) -> CaptionsLookedAt:
  """Shows the glimpses before the words of captions.

  Args:
    pictures: float `[b, H, W, C]` in 0..1, of the first images.
    locations: float `[B, T, 2]`, (row, column) in [-1, 1], before each word.
    words: B captions of at most T words; no glimpse after the last word counts.
    grid_shapes: rows and columns of cells, for each layer of features.
    layers: int `[B, T]`, the layer of each glimpse; None where there is one.
  """
  spoken = np.arange(locations.shape[1]) < np.array([len(caption) for caption in words])[:, None]
  histograms = {"glimpses/row": locations[spoken][:, 0], "glimpses/column": locations[spoken][:, 1]}
  if layers is not None:
    histograms["glimpses/layer"] = layers[spoken]
  # Weights that diverged give places that are not finite.
  finite = {tag: values[np.isfinite(values)] for tag, values in histograms.items()}
  picture = caption_tiles(pictures, locations, words[: len(pictures)], grid_shapes, layers)
  return CaptionsLookedAt({"glimpses/validation": picture}, finite)


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
    pixels = (np.clip(images[b, ..., :3], 0, 1) * 255).astype(np.uint8)
    grey = pixels.shape[-1] == 1
    tile = PIL.Image.fromarray(pixels[..., 0] if grey else pixels).convert("RGB")
    tile = tile.resize((round(width * zoom), round(height * zoom)), PIL.Image.Resampling.NEAREST)
    pen = PIL.ImageDraw.Draw(tile)
    for n in range(len(caption)):
      rows, columns = grid_shapes[0 if layers is None else int(layers[b, n])]
      colour = tuple(round(255 * part) for part in drawing.glimpse_colour(n, len(caption))[:3])
      upper, left = points[b, n] - np.array([height / rows, width / columns]) / 2
      box = np.array([left, upper, left + width / columns, upper + height / rows]) * zoom
      pen.rectangle(tuple(box.tolist()), outline=colour, width=2)
      pen.text((box[0] + 4, box[1] + 2), str(n + 1), fill=colour)
    framed = PIL.Image.new("RGB", (TILE_SIDE + 8, TILE_SIDE + top), "white")
    framed.paste(tile, (4, top - 4))
    PIL.ImageDraw.Draw(framed).multiline_text((4, 4), "\n".join(texts[b]), fill="black")
    tiles.append(np.asarray(framed))
  return np.concatenate(tiles, axis=1)
