"""Feature grids that are computed on each access, for disks too small for feature files."""

import pathlib
from collections.abc import Callable, Iterable, Sequence
from typing import BinaryIO

import numpy as np

from wsram_tf.captions.data import grid_features

__all__ = ["ComputedGrids"]

_BATCH = 32  # Larger batches make no backbone faster on a CPU, and take memory.


class ComputedGrids:
  """Computes the rows of an array of grids, float16 `[n, H, W, C]`, on access.

  Args:
    names: names of n images.
    read: returns paths or open files of the named images, in the given order.
    compute: turns images, float32 `[B, S, S, 3]` in 0..255, into grids, float `[B, H, W, C]`.
    image_side: S, pixels; images are resized to S x S.
    grid_shape: (H, W, C).

  Example:

  >>> import io
  >>> import PIL.Image
  >>> def read(names):
  ...   for name in names:
  ...     file = io.BytesIO()
  ...     PIL.Image.new("RGB", (8, 8), name).save(file, "PNG")
  ...     yield file
  >>> means = lambda images: images.mean((1, 2), keepdims=True)
  >>> grids = ComputedGrids(["red", "blue"], read, means, image_side=4, grid_shape=(1, 1, 3))
  >>> grids.shape, grids[np.array([1])].tolist()
  ((2, 1, 1, 3), [[[[0.0, 0.0, 255.0]]]])
  """

  dtype = np.dtype(np.float16)

  def __init__(
    self,
    names: Sequence[str],
    read: Callable[[Sequence[str]], Iterable[pathlib.Path | BinaryIO]],
    compute: Callable[[np.ndarray], np.ndarray],
    *,
    image_side: int,
    grid_shape: Sequence[int],
  ):
    self.names = names
    self.read = read
    self.compute = compute
    self.image_side = image_side
    self.shape = (len(names), *grid_shape)

  def __getitem__(self, rows: np.ndarray) -> np.ndarray:
    """Computes the grids of rows, int64 `[k]`: float16 `[k, H, W, C]`.

    Raises:
      ValueError: if an image cannot be read.
    """
    grids = np.empty([len(rows), *self.shape[1:]], self.dtype)
    for start in range(0, len(rows), _BATCH):
      names = [self.names[row] for row in rows[start : start + _BATCH]]
      batch, errors = grid_features.read_images(names, iter(self.read(names)), self.image_side)
      for name, why in errors.items():
        raise ValueError(f"{name}: must be a readable image: {why}")
      grids[start : start + _BATCH] = grid_features.checked_grids(
        self.compute(batch), len(batch), self.shape[1:]
      )
    return grids
