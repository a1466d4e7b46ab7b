"""Feature grids computed each time they are asked for, where there is no room for files."""

import pathlib
from collections.abc import Callable, Iterable, Sequence
from typing import BinaryIO

import numpy as np

from wsram_tf.captions.data import grid_features

__all__ = ["ComputedGrids"]

_BATCH = 32  # More images at once make no backbone faster on a CPU, and take memory.


class ComputedGrids:
  """Stands in for an array of grids, float16 `[n, H, W, C]`, of which rows are read.

  Args:
    names: of n images.
    read: gives what `PIL.Image.open` opens for some of them, in any order.
    compute: gives grids, float `[B, H, W, C]`, of images, float32 `[B, S, S, 3]` in 0..255.
    image_side: S, pixels; images are stretched to it.
    grid_shape: (H, W, C).
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
    """The grids of some rows, int64 `[k]`: float16 `[k, H, W, C]`.

    Raises:
      ValueError: if an image cannot be read, naming it.
    """
    grids = np.empty([len(rows), *self.shape[1:]], self.dtype)
    for start in range(0, len(rows), _BATCH):
      names = [self.names[row] for row in rows[start : start + _BATCH]]
      batch, errors = grid_features.read_images(names, iter(self.read(names)), self.image_side)
      for name, why in errors.items():
        raise ValueError(f"{name}: cannot be read, {why}")
      grids[start : start + _BATCH] = grid_features.checked_grids(
        self.compute(batch), len(batch), self.shape[1:]
      )
    return grids
