"""Writes small pyramids for tests, and damages them.

python tests/support/pyramids.py FOLDER FILES_A_CLASS

writes two classes, and in the first class one file of which parts cannot be read.
"""

import pathlib
import sys

import numpy as np

from wsram_tf.data.regions import pyramids

__all__ = ["damage_tiles", "random_pixels", "write_classes"]


def random_pixels(height: int, width: int, channels: int, block: int = 1) -> np.ndarray:
  """Makes uint8 `[H, W, C]` that is constant within blocks of `block` x `block` pixels."""
  rng = np.random.default_rng(height + width)
  coarse = rng.integers(0, 256, [-(-height // block), -(-width // block), channels], np.uint8)
  return coarse.repeat(block, axis=0).repeat(block, axis=1)[:height, :width]


def damage_tiles(path: pathlib.Path) -> None:
  """Overwrites tiles of level 0 of a pyramid of random pixels; the file can still be opened."""
  contents = bytearray(path.read_bytes())
  contents[64 : len(contents) // 2] = bytes(len(contents) // 2 - 64)
  path.write_bytes(contents)


def write_classes(folder: pathlib.Path, files_a_class: int, side: int = 300) -> None:
  """Writes FOLDER/CLASS/NUMBER.tif: a bright square at a place of its own, or a bright ring."""
  for label, name in enumerate(("ring", "square")):
    for number in range(files_a_class):
      rng = np.random.default_rng([label, number])
      pixels = np.zeros([side, side + 40, 1], np.uint8)
      top, left = rng.integers(0, side - 40, 2)
      pixels[top : top + 40, left : left + 40] = 255
      if name == "ring":
        pixels[top + 10 : top + 30, left + 10 : left + 30] = 0
      pyramids.write_array(folder / name / f"{number}.tif", pixels)


if __name__ == "__main__":
  write_classes(pathlib.Path(sys.argv[1]), int(sys.argv[2]))
  _DAMAGED = pathlib.Path(sys.argv[1]) / "ring" / "damaged.tif"
  pyramids.write_array(_DAMAGED, random_pixels(400, 400, 1))
  damage_tiles(_DAMAGED)
