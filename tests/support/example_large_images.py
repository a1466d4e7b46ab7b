"""Writes a folder of large images, each with one digit of 224 pixels somewhere on grain.

python tests/support/example_large_images.py FOLDER [IMAGES_PER_CLASS] [SIDE]

Some files are damaged or unusual on purpose: cut off, empty, grey with 16 bits, transparent.
"""

import pathlib
import sys

import numpy as np
import PIL.Image

from wsram_tf.data import digits

NAMES = ("zero", "one", "two")
DIGIT_SIDE = 224
FEWEST_A_CLASS = 5


def write_images(folder: pathlib.Path, images_a_class: int = 100, side: int = 4_000) -> None:
  """Writes FOLDER/NAME/NUMBER.png or .jpg, and in the first class one file of each odd kind.

  Args:
    folder: folder to make.
    images_a_class: images per class, at least 5.
    side: of an image, pixels; half of the images are an eighth wider.
  """
  if images_a_class < FEWEST_A_CLASS:
    raise ValueError(f"images_a_class={images_a_class}: must be at least {FEWEST_A_CLASS}")
  generator = np.random.default_rng(1)
  grain = generator.integers(0, 48, [side, side + side // 8, 1], np.uint8)
  source = digits.load_digits("mnist5k", num_validation=400).train
  for label, name in enumerate(NAMES):
    (folder / name).mkdir(parents=True)
    for i, index in enumerate(np.flatnonzero(source.labels == label)[:images_a_class]):
      width = side + (side // 8 if i % 2 else 0)
      pixels = np.repeat(np.roll(grain, generator.integers(side), axis=0)[:, :width], 3, axis=2)
      digit = PIL.Image.fromarray(source.images[index]).resize([DIGIT_SIDE] * 2)
      ink = np.asarray(digit)[..., np.newaxis] / 255 * generator.uniform(120, 200, 3)
      top, left = (int(generator.integers(most - DIGIT_SIDE)) for most in (side, width))
      pixels[top : top + DIGIT_SIDE, left : left + DIGIT_SIDE] += ink.astype(np.uint8)
      write(folder / name / f"{i:04d}", PIL.Image.fromarray(pixels), i if label == 0 else 9)


def write(path: pathlib.Path, image: PIL.Image.Image, kind: int) -> None:
  """Writes an image; the kinds from 0 to 3 are odd ones."""
  if kind == 0:
    path.with_suffix(".png").write_bytes(b"")
  elif kind == 1:
    image.save(path.with_suffix(".jpg"), quality=90)
    contents = path.with_suffix(".jpg").read_bytes()
    path.with_suffix(".jpg").write_bytes(contents[: len(contents) // 2])
  elif kind == 2:
    deep = np.asarray(image.convert("L")).astype(np.uint16) * 257
    PIL.Image.fromarray(deep).save(path.with_suffix(".tif"))
  elif kind == 3:
    image.putalpha(255)
    image.save(path.with_suffix(".png"), compress_level=1)
  else:
    image.save(path.with_suffix(".jpg"), quality=90)


if __name__ == "__main__":
  write_images(pathlib.Path(sys.argv[1]), *map(int, sys.argv[2:]))
