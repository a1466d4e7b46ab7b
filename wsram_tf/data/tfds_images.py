"""Classification sets of TensorFlow Datasets by name, read into memory at one size."""

import os
import pathlib
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import PIL.Image

from wsram_tf.data.images import ImageSplits, LabelledImages, fit_image, hold_out

__all__ = ["Description", "describe_tfds", "load_tfds", "open_tfds"]

_NAME = r"\w[\w-]{0,99}(/[\w.-]{1,100})?(:\d+\.\d+\.\d+)?"


class Description(NamedTuple):
  """What a classification set holds.

  Attributes:
    image: name of the image feature.
    label: name of the label feature.
    class_names: K names, by label.
  """

  image: str
  label: str
  class_names: tuple[str, ...]


def open_tfds(name: str, data_dir: str | None = None, download: bool = False) -> Any:
  """Opens a prepared set, and prepares it only if asked to.

  Args:
    name: NAME, NAME/CONFIG, NAME:VERSION or NAME/CONFIG:VERSION.
    data_dir: directory that holds, or with `download` will hold, the prepared sets; None means
      tensorflow_datasets' own.
    download: whether the set may be fetched where it is missing. Without it nothing here touches
      the network.

  Returns:
    its `tfds.core.DatasetBuilder`.

  Raises:
    FileNotFoundError: if it is not prepared and download is False.
    ValueError: if name is none, data_dir is no directory, or there is no such set to download.
  """
  import tensorflow_datasets as tfds  # Costs an import that image folders do without.

  if not re.fullmatch(_NAME, name):
    raise ValueError(
      f"dataset={name!r}: must be NAME, NAME/CONFIG, NAME:VERSION or NAME/CONFIG:VERSION"
    )
  if data_dir is not None and not os.path.isdir(os.path.expanduser(data_dir)):
    raise ValueError(f"data_dir={data_dir!r}: must be an existing directory")
  root = pathlib.Path(os.path.expanduser(data_dir or tfds.core.constants.DATA_DIR))
  path, _, version = name.partition(":")
  # Not tfds.load, which may ask a remote bucket first: offline, that blocks for minutes.
  prepared = sorted(root.joinpath(path).glob(f"{version or '*.*.*'}/features.json"))
  if prepared:
    newest = max(prepared, key=lambda file: [int(n) for n in file.parent.name.split(".")])
    return tfds.builder_from_directory(os.fspath(newest.parent))
  if not download:
    raise FileNotFoundError(
      f"dataset={name!r}: {root / path} holds no prepared version of it: run once with --download "
      "on a machine with network, or pass --data_dir=DIR that holds it"
    )
  try:
    builder = tfds.builder(name, data_dir=os.fspath(root))
  except tfds.core.DatasetNotFoundError as error:
    raise ValueError(f"dataset={name!r}: TensorFlow Datasets has no such set") from error
  builder.download_and_prepare()
  return builder


def describe_tfds(builder: Any, name: str) -> Description:
  """Finds a set's image, label and classes.

  Raises:
    ValueError: if it is no classification set.
  """
  import tensorflow_datasets as tfds

  features = dict(builder.info.features.items())
  images = [key for key, value in features.items() if isinstance(value, tfds.features.Image)]
  labels = [key for key, value in features.items() if isinstance(value, tfds.features.ClassLabel)]
  supervised = builder.info.supervised_keys or ()
  image = next((key for key in images if key in supervised), images[0] if images else None)
  label = next((key for key in labels if key in supervised), labels[0] if labels else None)
  if image is None or label is None:
    raise ValueError(
      f"dataset={name!r}: must hold an image and a class label; it holds {', '.join(features)}"
    )
  return Description(image, label, tuple(features[label].names))


def load_tfds(
  builder: Any,
  name: str,
  image_shape: Sequence[int],
  *,
  fit: str,
  validation_percent: int,
  test_percent: int,
  split_seed: int,
) -> ImageSplits:
  """Reads a set and splits it: its own test split where there is one, else part of the training.

  Args:
    builder: what `open_tfds` returned.
    name: of the set, for messages.
    image_shape: (H, W, C), pixels; C is 1 (grey) or 3 (colour).
    fit: see `fit_image`.
    validation_percent: of the images that are not test images, unless the set has a validation
      split beside its test split.
    test_percent: of all images, where the set has neither test nor validation split.
    split_seed: of what is split here.

  Raises:
    ValueError: if the set has no training split, or a percentage will not do.
  """
  image, label, class_names = describe_tfds(builder, name)
  splits = builder.info.splits

  def read(split: str) -> LabelledImages:
    count = splits[split].num_examples if split in splits else 0
    images, labels = np.empty([count, *image_shape], np.uint8), np.empty([count], np.int32)
    examples = builder.as_dataset(split=split).as_numpy_iterator() if count else ()
    for row, example in enumerate(examples):
      pixels = example[image]
      pixels = PIL.Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)
      images[row], labels[row] = fit_image(pixels, image_shape, fit), example[label]
    known = labels >= 0  # Some sets publish their test images without labels.
    return LabelledImages(images[known], labels[known])

  if "train" not in splits:
    raise ValueError(f"dataset={name!r}: must have a split 'train'; it has {', '.join(splits)}")
  learning = read("train")
  named = {"class_names": class_names, "counts": np.bincount(learning.labels)}
  own = [data for data in map(read, ("test", "validation")) if len(data.labels)]
  validation = own[1] if len(own) == 2 else None
  if own:
    test = own[0]
  else:
    learning, test = hold_out(learning, test_percent, split_seed, "test_percent", **named)
  if validation is None:
    learning, validation = hold_out(
      learning, validation_percent, split_seed, "validation_percent", **named
    )
  return ImageSplits(learning, validation, test, class_names)
