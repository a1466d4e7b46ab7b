"""Writes synthetic photographs in the formats of Flickr8k and COCO, and a small backbone."""

import io
import pathlib
from typing import Any

import keras
import numpy as np
import PIL.Image

COLOURS = {"red": (220, 40, 40), "green": (40, 180, 60), "blue": (50, 70, 220)}
SIDE = 32


def write_flickr8k(folder: pathlib.Path, train: int = 6, dev: int = 3, test: int = 3) -> None:
  """Writes images of one coloured square each, two captions per image, and the lists of splits."""
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
  """Saves a network from images of 32 x 32 pixels to grids of 4 x 4 cells."""
  keras.utils.set_random_seed(seed)
  layers = [
    keras.Input([SIDE, SIDE, 3]),
    keras.layers.Rescaling(1 / 128, offset=-1),
    keras.layers.Conv2D(channels, 8, strides=8, activation="relu"),
  ]
  keras.Sequential(layers).save(path)


def write_layered_backbone(path: pathlib.Path) -> None:
  """Saves a network whose layers `fine` and `coarse` make grids of 4 x 4 x 5 and 2 x 2 x 6."""
  keras.utils.set_random_seed(1)
  images = keras.Input([SIDE, SIDE, 3])
  scaled = keras.layers.Rescaling(1 / 128, offset=-1)(images)
  fine = keras.layers.Conv2D(5, 8, strides=8, activation="relu", name="fine")(scaled)
  coarse = keras.layers.Conv2D(6, 2, strides=2, activation="relu", name="coarse")(fine)
  keras.Model(images, keras.layers.Flatten(name="flat")(coarse)).save(path)


def write_coco_captions(
  data_dir: pathlib.Path, counts: dict[str, int], damaged: tuple[str, ...] = (), **changed
) -> None:
  """Prepares a set with the features of coco_captions of TensorFlow Datasets.

  Args:
    data_dir: directory of prepared sets.
    counts: number of images by split.
    damaged: names of images to truncate.
    **changed: captions by image name without suffix, in place of the usual two.
  """
  import tensorflow_datasets as tfds  # A slow import that other tests do not need.

  def example(split: str, i: int) -> tuple[str, dict[str, Any]]:
    name, colour = f"{split}_{i}.jpg", list(COLOURS)[i % len(COLOURS)]
    file = io.BytesIO()
    PIL.Image.fromarray(np.full([SIDE, SIDE, 3], COLOURS[colour], np.uint8)).save(file, "JPEG")
    data = file.getvalue()
    written = changed.get(name[:-4], [f"A {colour} square .", f"There is a {colour} square here ."])
    return name, {
      "image": io.BytesIO(data[:300] if name in damaged else data),
      "image/filename": name,
      "captions": {"text": written, "id": list(range(len(written)))},
    }

  tfds.dataset_builders.store_as_tfds_dataset(
    name="coco_captions",
    config="2014",
    version="1.1.0",
    data_dir=data_dir,
    split_datasets={s: [example(s, i) for i in range(n)] for s, n in counts.items()},
    features=tfds.features.FeaturesDict(
      {
        "image": tfds.features.Image(encoding_format="jpeg"),
        "image/filename": tfds.features.Text(),
        "captions": tfds.features.Sequence({"text": np.str_, "id": np.int64}),
      }
    ),
  )
