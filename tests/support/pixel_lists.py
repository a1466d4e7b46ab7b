"""Draws lists of visible pixels."""

import numpy as np

__all__ = ["drawn"]


def drawn(pixels: np.ndarray, side: int) -> np.ndarray:
  """Draws lists of pixels `[B, T, 3]` as canvases `[B, side, side, 1]`; a place must occur once."""
  canvases = np.zeros([len(pixels), side, side, 1], np.float32)
  for canvas, listed in zip(canvases, pixels, strict=True):
    listed = listed[listed[:, 2] > 0]
    rows, columns = listed[:, :2].astype(int).T
    assert len(set(zip(rows, columns, strict=True))) == len(rows)
    canvas[rows, columns, 0] = listed[:, 2]
  return canvases
