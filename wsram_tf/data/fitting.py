"""Reads image files and brings images to a model's size. Needs Pillow and NumPy alone.

Training and serving share these functions, so both see the same pixels.
"""

import os
from collections.abc import Sequence
from typing import BinaryIO

import numpy as np
import PIL.Image
import PIL.ImageOps

__all__ = [
  "FITS",
  "FORMATS",
  "IMAGE_SUFFIXES",
  "UnreadableImageError",
  "area_weights",
  "check_image",
  "first_pixels",
  "fit_image",
  "is_transparent",
  "patch_squares",
  "read_image",
]

FITS = ("resize", "pad")
# Channel counts that both PNG and JPEG can store.
CHANNELS = (1, 3)
FORMATS = ("JPEG", "PNG", "TIFF", "WEBP")
# Of the files of these formats.
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".tif", ".tiff", ".webp")
_WITH_ALPHA = ("RGBA", "LA", "PA")
# Pillow's parsers raise all of these for damaged files.
_DAMAGE = (OSError, SyntaxError, ValueError, PIL.Image.DecompressionBombError)


class UnreadableImageError(ValueError):
  """A file is missing, damaged, or of no known format; the message gives the reason."""


def read_image(
  file: str | os.PathLike | BinaryIO, image_shape: Sequence[int], fit: str
) -> np.ndarray:
  """Reads an image file at the size that a model takes; see `fit_image`.

  Args:
    file: a JPEG, PNG, TIFF or WebP file, its path, or the open file.
    image_shape: (H, W, C), pixels; C is 1 (grey) or 3 (colour).
    fit: "resize" or "pad".

  Returns:
    uint8 `[H, W, C]`.

  Raises:
    UnreadableImageError: if the file cannot be read.
  """
  try:
    with PIL.Image.open(file, formats=FORMATS) as image:
      return fit_image(image, image_shape, fit)
  except _DAMAGE as error:
    raise UnreadableImageError(str(error) or type(error).__name__) from error


def check_image(file: str | os.PathLike | BinaryIO) -> None:
  """Decodes an image file, to find out whether it can be read.

  Args:
    file: a JPEG, PNG, TIFF or WebP file, its path, or the open file.

  Raises:
    UnreadableImageError: if the file cannot be read.
  """
  try:
    with PIL.Image.open(file, formats=FORMATS) as image:
      image.load()
  except _DAMAGE as error:
    raise UnreadableImageError(str(error) or type(error).__name__) from error


def fit_image(
  image: PIL.Image.Image, image_shape: Sequence[int], fit: str, *, turn: bool = True
) -> np.ndarray:
  """Brings an image to the size and the channels that a model takes.

  Transparent pixels become black. 16-bit images are scaled to 8 bits.

  Args:
    image: of any size and mode.
    image_shape: (H, W, C), pixels; C is 1 (grey) or 3 (colour).
    fit: "resize" stretches it to the size, "pad" keeps its proportions and centres it on black.
    turn: whether to turn the image upright as its EXIF orientation demands.

  Returns:
    uint8 `[H, W, C]`.

  Raises:
    ValueError: if fit or the channels are unknown.
    OSError, SyntaxError: if the image's data is damaged.
  """
  height, width, channels = image_shape
  if fit not in FITS:
    raise ValueError(f"fit={fit!r}: must be one of {', '.join(FITS)}")
  if channels not in CHANNELS:
    raise ValueError(f"image_shape={tuple(image_shape)}: the channels must be 1 or 3")
  if turn:
    image = PIL.ImageOps.exif_transpose(image)
  if image.mode.startswith("I"):  # 16 bits: Pillow's conversion would clip, not scale.
    image = PIL.Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
  image = _opaque(image).convert("L" if channels == 1 else "RGB")
  method = PIL.Image.Resampling.BILINEAR
  if fit == "pad":
    image = PIL.ImageOps.pad(image, (width, height), method)
  elif image.size != (width, height):
    image = image.resize((width, height), method)
  return np.asarray(image).reshape(tuple(image_shape))


def area_weights(size: int, new_size: int, length: float | None = None) -> np.ndarray:
  """Makes weights `[new_size, size]` that average `size` pixels over `new_size` equal intervals.

  Args:
    size: pixels.
    new_size: intervals.
    length: of all intervals together, pixels, where it differs from `size` by less than one.

  Example:

  >>> area_weights(3, 2).round(2).tolist()
  [[0.67, 0.33, 0.0], [0.0, 0.33, 0.67]]
  """
  edges = np.linspace(0, length or size, new_size + 1)
  first = np.arange(size)
  overlap = np.minimum(edges[1:, None], first + 1) - np.maximum(edges[:-1, None], first)
  overlap = np.maximum(overlap, 0)
  if length is None:
    return overlap * new_size / size
  return overlap / overlap.sum(axis=1, keepdims=True)


def first_pixels(locations: np.ndarray, sizes: np.ndarray, extent: int) -> np.ndarray:
  """Places the widest patches as `GlimpseSensor.first_pixel` does, without TensorFlow.

  Args:
    locations: float32 `[R, 2]`, (row, column) in [-1, 1].
    sizes: int `[R, 2]`, height and width of the images, pixels.
    extent: side of the widest patch, pixels.

  Returns:
    row and column of the first pixel, int64 `[R, 2]`.

  Example:

  >>> first_pixels(np.zeros([1, 2], np.float32), np.array([[20, 40]]), extent=8).tolist()
  [[6, 16]]
  """
  # In float32, as the glimpse sensor: at the border of two pixels the rounding decides.
  centres = (np.clip(locations, -1, 1).astype(np.float32) + np.float32(1)) * np.float32(0.5)
  first = centres * sizes.astype(np.float32) - np.float32(extent / 2) + np.float32(0.5)
  return np.floor(first).astype(np.int64)


def patch_squares(
  locations: np.ndarray,
  scales: np.ndarray | None,
  size: Sequence[int],
  glimpse_side: int,
  glimpse_scales: int,
) -> np.ndarray:
  """Places the patches of one image's glimpses, as the glimpse sensor cuts them.

  Args:
    locations: float32 `[N, 2]`, (row, column) in [-1, 1].
    scales: int `[N]`, the chosen scales; None where a glimpse has the patches of all scales.
    size: height and width of the image, pixels.
    glimpse_side: side of the finest patch, pixels.
    glimpse_scales: S.

  Returns:
    int64 `[N, S, 3]`, of a chosen scale `[N, 1, 3]`: top, left and side of each patch, pixels.

  Example:

  >>> patch_squares(np.zeros([1, 2], np.float32), None, (20, 40), 4, 2).tolist()
  [[[8, 18, 4], [6, 16, 8]]]
  """
  extent = glimpse_side << (glimpse_scales - 1)
  firsts = first_pixels(np.asarray(locations), np.tile(size, (len(locations), 1)), extent)
  shown = np.arange(glimpse_scales)[np.newaxis] if scales is None else np.asarray(scales)[:, None]
  sides = np.broadcast_to(glimpse_side << shown, (len(locations), shown.shape[1]))
  corners = firsts[:, np.newaxis] + ((extent - sides) // 2)[..., np.newaxis]
  return np.concatenate([corners, sides[..., np.newaxis]], axis=-1)


def is_transparent(image: PIL.Image.Image) -> bool:
  """Whether an image has an alpha channel or a transparent colour."""
  return image.mode in _WITH_ALPHA or "transparency" in image.info


def _opaque(image: PIL.Image.Image) -> PIL.Image.Image:
  if not is_transparent(image):
    return image
  image = image.convert("RGBA")  # A plain conversion would show the hidden colours.
  return PIL.Image.alpha_composite(PIL.Image.new("RGBA", image.size, "black"), image)
