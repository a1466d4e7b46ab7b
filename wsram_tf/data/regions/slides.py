"""One large image file: its levels, and regions of them. Loads no TensorFlow."""

import math
import os
from typing import Any

import numpy as np
import PIL.Image

from wsram_tf.data.fitting import area_weights

__all__ = ["SLIDE_SUFFIXES", "RegionError", "Slide"]

# The formats that OpenSlide reads from one file.
SLIDE_SUFFIXES = (
  ".tif", ".tiff", ".svs", ".ndpi", ".scn", ".bif", ".mrxs", ".svslide", ".vms", ".vmu", ".czi",
)  # fmt: skip
# Pixels of the level that a low-resolution copy is made from; more take too long.
LARGEST_LEVEL = 2**28
# Pixels of it that are in memory at once.
STRIP_PIXELS = 2**22
_INSTALL = "reading regions of files needs OpenSlide: pip install 'wsram_tf[slides]'"


class RegionError(ValueError):
  """A file is missing, damaged or no image with levels; the message names it and the reason."""


def _openslide() -> Any:
  try:
    import openslide
  except ImportError as error:
    raise ValueError(_INSTALL) from error
  return openslide


class Slide:
  """A file that OpenSlide reads: a pyramid, or an image of one level.

  Regions come from levels that are reduced by a power of two; others serve low-resolution copies
  alone. Where the sides of a level were rounded, as in most files that `make_pyramids` did not
  write, its regions are up to half a pixel of level 0 off.

  Args:
    path: of the file.

  Attributes:
    path: as given.
    height, width: of level 0, pixels.

  Raises:
    RegionError: if the file cannot be read.
    ValueError: if OpenSlide is not installed.
  """

  def __init__(self, path: str):
    openslide = _openslide()
    self.path = path
    self._error = openslide.OpenSlideError
    if not os.path.isfile(path):
      raise RegionError(f"path={path!r}: there is no such file")
    try:
      self._slide = openslide.OpenSlide(path)
    except (openslide.OpenSlideError, OSError) as error:
      reason = str(error) or type(error).__name__
      raise RegionError(f"path={path!r}: cannot be read: {reason}") from error
    # Read once, because a slide answers nothing after an error.
    self.width, self.height = self._slide.dimensions
    self._sizes, self._downsamples = self._slide.level_dimensions, self._slide.level_downsamples
    # Of each level its reduction, a power of two where the sides say so.
    self._reductions = [
      _reduction((self.width, self.height), size, downsample)
      for size, downsample in zip(self._sizes, self._downsamples, strict=True)
    ]

  def make_tile_cache(self, size: int) -> Any:
    """Makes a cache of decoded tiles that slides can share, of so many bytes."""
    return _openslide().OpenSlideCache(size)

  def share_tiles(self, cache: Any) -> None:
    """Keeps decoded tiles in a cache from `make_tile_cache`."""
    self._slide.set_cache(cache)

  def level_for(self, scale: int) -> int:
    """Returns s of the coarsest level that is reduced by 2**s, and s is at most `scale`."""
    powers = [math.log2(reduction) for reduction in self._reductions]
    return max(int(power) for power in powers if power.is_integer() and power <= scale)

  def region(self, top: int, left: int, level: int, side: int, channels: int) -> np.ndarray:
    """Reads a square of the level that is reduced by 2**level.

    Where it begins between two pixels of the level, neighbours are interpolated linearly.

    Args:
      top: row of its first pixel, in pixels of level 0; it may lie outside the image.
      left: column likewise.
      level: as `level_for` returns it.
      side: in pixels of the level.
      channels: 1 or 3.

    Returns:
      float32 `[side, side, C]` in 0..1; zeros outside the image, transparent pixels are black.

    Raises:
      RegionError: if the region cannot be read.
    """
    width = 2**level
    (row, down), (column, right) = divmod(top, width), divmod(left, width)
    # Whole pixels alone, since OpenSlide drops the fractions of negative places.
    sides = side + bool(down), side + bool(right)
    number = self._reductions.index(width)
    pixels = self._read(number, row * width, column * width, *sides, channels)
    pixels = pixels.astype(np.float32) / np.float32(255)
    for axis, part in enumerate((down, right)):
      if part:
        before, after = pixels.take(range(side), axis), pixels.take(range(1, side + 1), axis)
        pixels = before + (after - before) * np.float32(part / width)
    return pixels

  def low_resolution(self, side: int, channels: int) -> np.ndarray:
    """Averages the image over `side` x `side` equal areas, float32 `[side, side, C]` in 0..1.

    Averages a level of at least twice this side, where there is one.

    Raises:
      RegionError: if the image is smaller than that, its levels are too large, or it cannot be
        read.
    """
    if side > min(self.height, self.width):
      raise RegionError(
        f"path={self.path!r}: must have at least {side} pixels a side for the low-resolution copy, "
        f"got {self.height} x {self.width}"
      )
    fine = (i for i, size in enumerate(self._sizes) if min(size) >= 2 * side)
    number = max(fine, default=0)
    width, height = self._sizes[number]
    if width * height > LARGEST_LEVEL:
      raise RegionError(
        f"path={self.path!r}: must have a level of at most {LARGEST_LEVEL:,} pixels; the smallest "
        f"that suffices has {height} x {width}: make a pyramid of it with make_pyramids"
      )
    reduction = self._reductions[number]
    rows = area_weights(height, side, self.height / reduction).astype(np.float32)
    columns = area_weights(width, side, self.width / reduction).astype(np.float32)
    copy = np.zeros([side, side, channels], np.float32)
    strip = max(1, STRIP_PIXELS // width)
    for top in range(0, height, strip):
      count = min(strip, height - top)
      pixels = self._read(number, top * reduction, 0, count, width, channels)
      needed = rows[:, top : top + count]
      touched = np.flatnonzero(needed.any(axis=1))
      flat = pixels.reshape(count, -1).astype(np.float32)
      reduced = (needed[touched] @ flat).reshape(len(touched), width, channels)
      copy[touched] += np.einsum("bw,awc->abc", columns, reduced)
    return copy / np.float32(255)

  def _read(
    self, number: int, top: float, left: float, height: int, width: int, channels: int
  ) -> np.ndarray:
    # OpenSlide's coordinates of a level follow from the level's sides, which are rounded.
    factor = self._downsamples[number] / self._reductions[number]
    place = round(left * factor), round(top * factor)
    try:
      region = self._slide.read_region(place, number, (width, height))
    except (self._error, OSError) as error:
      raise RegionError(f"path={self.path!r}: cannot be read: {error}") from error
    return _opaque(region, channels)


def _reduction(whole: tuple[int, int], size: tuple[int, int], downsample: float) -> float:
  """Returns a power of two if rounding alone distinguishes the sides of a level from it."""
  power = 2 ** round(math.log2(downsample))
  if all(abs(part * power - side) < power for part, side in zip(size, whole, strict=True)):
    return power
  return downsample


def _opaque(region: PIL.Image.Image, channels: int) -> np.ndarray:
  """Returns uint8 `[H, W, C]`, with transparent pixels over black."""
  low, _ = region.getextrema()[3]
  if low < 255:
    region = PIL.Image.alpha_composite(PIL.Image.new("RGBA", region.size, "black"), region)
  pixels = np.asarray(region.convert("L" if channels == 1 else "RGB"))
  return pixels.reshape(region.height, region.width, channels)
