"""Writes pyramids: tiled TIFF files with levels, from ordinary image files. Loads no TensorFlow."""

import math
import os
import pathlib
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from wsram_tf import files
from wsram_tf.data.fitting import IMAGE_SUFFIXES
from wsram_tf.data.regions.slides import RegionError

__all__ = [
  "COMPRESSIONS",
  "Converted",
  "convert",
  "convert_folder",
  "write_array",
]

COMPRESSIONS = ("deflate", "jpeg")
JPEG_QUALITY = 90
# The readers of libvips for the formats of `IMAGE_SUFFIXES`.
_LOADERS = ("jpegload", "pngload", "tiffload", "webpload")
# Of tiles, pixels. A patch is small, and the tiles that it touches are decoded whole.
TILE_SIDE = 128
_INSTALL = "writing pyramids needs libvips: pip install 'wsram_tf[slides]'"


def _pyvips() -> Any:
  try:
    import pyvips
  except ImportError as error:
    raise ValueError(_INSTALL) from error
  return pyvips


class Converted(NamedTuple):
  """A file of `convert_folder`.

  Attributes:
    source: the image file.
    pyramid: the pyramid.
    error: why the file could not be converted; empty where it was, or was before.
    is_new: whether the pyramid was written now.
  """

  source: pathlib.Path
  pyramid: pathlib.Path
  error: str
  is_new: bool


def convert(
  source: str | os.PathLike, pyramid: str | os.PathLike, compression: str = "deflate"
) -> None:
  """Writes the pyramid of an image file, in memory that does not depend on the file.

  Each level has half the sides of the one before; its pixels are averages of 2 x 2. Black rows and
  columns at the end, at most a sixteenth of the shorter side, make the sides divisible, so that the
  pixels of all levels coincide. Photographs are turned upright, transparent pixels become black,
  and 16 bits become 8.

  Args:
    source: a PNG, JPEG, TIFF or WebP file.
    pyramid: the TIFF file to write; it appears once it is complete.
    compression: `deflate` (exact) or `jpeg` (smaller, of quality 90).

  Raises:
    RegionError: if the image cannot be read to its end.
    ValueError: if `compression` is unknown, or libvips is not installed.
    OSError: if the pyramid cannot be written.
  """
  if compression not in COMPRESSIONS:
    raise ValueError(f"compression={compression!r}: must be one of {', '.join(COMPRESSIONS)}")
  pyvips = _pyvips()
  try:
    image = pyvips.Image.new_from_file(str(source), access="sequential", fail_on="truncated")
    if image.get("vips-loader") not in _LOADERS:  # An SVG image draws other files.
      raise RegionError(f"path={str(source)!r}: must be a PNG, JPEG, TIFF or WebP file")
    if image.get_typeof("orientation") and image.get("orientation") != 1:
      # Turning an image needs its pixels in another order.
      image = pyvips.Image.new_from_file(str(source), fail_on="truncated").autorot()
    write_image(pathlib.Path(pyramid), _plain(image), compression)
  except pyvips.Error as error:
    reason = " ".join(str(error).split())
    raise RegionError(f"path={str(source)!r}: cannot be converted: {reason}") from error


def convert_folder(
  image_dir: str | os.PathLike, out_dir: str | os.PathLike, compression: str = "deflate"
) -> Iterator[Converted]:
  """Converts all image files of a folder and its subfolders, which the pyramids' folder repeats.

  Pyramids that exist stay. Files that cannot be converted are left out.

  Args:
    image_dir: the folder of images.
    out_dir: the folder of pyramids, made where it does not exist.
    compression: see `convert`.

  Yields:
    what became of each file, in the order of names.

  Raises:
    ValueError: if there is no such folder, or no image in it.
  """
  root, out = pathlib.Path(image_dir).expanduser(), pathlib.Path(out_dir).expanduser()
  if not root.is_dir():
    raise ValueError(f"image_dir={str(image_dir)!r}: must be a folder")
  sources = files.found_in(root, IMAGE_SUFFIXES)
  if not sources:
    raise ValueError(
      f"image_dir={str(image_dir)!r}: must hold image files ({', '.join(IMAGE_SUFFIXES)}), got none"
    )
  for source in sources:
    # The whole name, because a.png and a.jpg may lie side by side.
    pyramid = out / source.relative_to(root).with_name(f"{source.name}.tif")
    if pyramid.exists():
      yield Converted(source, pyramid, "", is_new=False)
      continue
    try:
      convert(source, pyramid, compression)
    except RegionError as error:
      yield Converted(source, pyramid, str(error), is_new=False)
    else:
      yield Converted(source, pyramid, "", is_new=True)


def write_array(path: str | os.PathLike, pixels: np.ndarray, compression: str = "deflate") -> None:
  """Writes the pyramid of an array, uint8 `[H, W, C]`; see `convert`."""
  write_image(pathlib.Path(path), _pyvips().Image.new_from_array(pixels), compression)


def _plain(image: Any) -> Any:
  """Returns an image of 8 bits without transparency, grey or RGB."""
  if image.hasalpha():
    image = image.flatten(background=0)
  grey = image.bands == 1 or image.interpretation in ("b-w", "grey16")
  return image.colourspace("b-w" if grey else "srgb").cast("uchar")


def _divisible(image: Any) -> Any:
  """Fills the sides up to multiples of the reduction of the last level."""
  halvings = math.ceil(math.log2(max(image.width, image.height) / TILE_SIDE))
  most = int(math.log2(max(min(image.width, image.height) / 16, 1)))
  multiple = 2 ** max(min(halvings, most), 0)
  sides = (-(-side // multiple) * multiple for side in (image.width, image.height))
  return image.embed(0, 0, *sides, extend="black")


def write_image(path: pathlib.Path, image: Any, compression: str = "deflate") -> None:
  """Writes the pyramid of an image of libvips, 8 bits, grey or RGB; see `convert`."""
  path.parent.mkdir(parents=True, exist_ok=True)
  with files.replacing(path) as partial:
    _divisible(image).tiffsave(
      str(partial),
      compression=compression,
      Q=JPEG_QUALITY,
      tile=True,
      tile_width=TILE_SIDE,
      tile_height=TILE_SIDE,
      pyramid=True,
      region_shrink="mean",
      bigtiff=True,
    )
