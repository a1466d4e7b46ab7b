"""Writes a folder of colour images of digits, with one subfolder per class.

python tests/support/example_images.py FOLDER [IMAGES_PER_CLASS]
"""

import pathlib
import sys

import numpy as np
import PIL.Image

from wsram_tf.data import digits

NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


def write_images(
  folder: pathlib.Path, images_a_class: int, names: tuple[str, ...] = NAMES, seed: int = 1
) -> None:
  """Writes JPEG and PNG files, FOLDER/NAME/NUMBER.jpg, of bright digits on a dark background.

  Args:
    folder: folder to make.
    images_a_class: images per class.
    names: class names; class i shows digit i.
    seed: seed of sizes and colours.
  """
  generator = np.random.default_rng(seed)
  source = digits.load_digits("mnist5k", num_validation=400).train
  for label, name in enumerate(names):
    (folder / name).mkdir(parents=True)
    for i, index in enumerate(np.flatnonzero(source.labels == label)[:images_a_class]):
      height, width = generator.integers(60, 160, 2)
      side = int(generator.integers(40, min(height, width) + 1))
      top, left = generator.integers(0, height - side + 1), generator.integers(0, width - side + 1)
      digit = np.asarray(PIL.Image.fromarray(source.images[index]).resize((side, side))) / 255
      alpha = np.zeros([height, width, 1])
      alpha[top : top + side, left : left + side, 0] = digit
      ink, ground = generator.uniform(150, 255, 3), generator.uniform(0, 60, 3)
      pixels = (alpha * ink + (1 - alpha) * ground).astype(np.uint8)
      ending = "png" if i % 2 else "jpg"
      PIL.Image.fromarray(pixels).save(folder / name / f"{i:04d}.{ending}")


if __name__ == "__main__":
  write_images(pathlib.Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 300)
