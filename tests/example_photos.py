"""Writes made-up photographs with captions in Flickr8k's layout, and a small backbone for them."""

import pathlib

import keras
import numpy as np
import PIL.Image

COLOURS = {"red": (220, 40, 40), "green": (40, 180, 60), "blue": (50, 70, 220)}
SIDE = 32


def write_flickr8k(folder: pathlib.Path, train: int = 6, dev: int = 3, test: int = 3) -> None:
  """Writes images of one coloured square each, with two captions, and the three lists."""
  photos = folder / "Flicker8k_Dataset"
  photos.mkdir(parents=True)
  lines = []
  counts = {"train": train, "dev": dev, "test": test}
  for split, count in counts.items():
    names = [f"{split}_{i}.jpg" for i in range(count)]
    (folder / f"Flickr_8k.{split}Images.txt").write_text("".join(f"{n}\n" for n in names))
    for i, name in enumerate(names):
      colour = list(COLOURS)[i % len(COLOURS)]
      pixels = np.zeros([SIDE, SIDE, 3], np.uint8)
      top, left = 8 * (i % 2), 12 * (i % 3)
      pixels[top : top + 12, left : left + 12] = COLOURS[colour]
      PIL.Image.fromarray(pixels).save(photos / name)
      lines += [f"{name}#0\tA {colour} square .", f"{name}#1\tThere is a {colour} square here ."]
  (folder / "Flickr8k.token.txt").write_text("".join(f"{line}\n" for line in lines))


def write_backbone(path: pathlib.Path, channels: int = 5, seed: int = 1) -> None:
  """Writes a network from images of 32 x 32 pixels to grids of 4 x 4 cells."""
  keras.utils.set_random_seed(seed)
  layers = [
    keras.Input([SIDE, SIDE, 3]),
    keras.layers.Rescaling(1 / 128, offset=-1),
    keras.layers.Conv2D(channels, 8, strides=8, activation="relu"),
  ]
  keras.Sequential(layers).save(path)
