"""Reads classification sets of TensorFlow Datasets by name, into memory at one size."""

import os
import pathlib
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import PIL.Image

from wsram_tf.data.fitting import fit_image
from wsram_tf.data.images import ImageSplits, LabelledImages, split_images

__all__ = ["Description", "describe_tfds", "load_tfds", "open_tfds"]

_NAME = r"\w[\w-]{0,99}(/[\w.-]{1,100})?(:\d+\.\d+\.\d+)?"


class Description(NamedTuple):
  """The features and classes of a classification set.

  Attributes:
    image: name of the image feature.
    label: name of the label feature.
    class_names: K names, by label.
  """

  image: str
  label: str
  class_names: tuple[str, ...]


def open_tfds(name: str, data_dir: str | None = None, download: bool = False) -> Any:
  """Opens a prepared set; downloads and prepares it only with `download`.

  Args:
    name: NAME, NAME/CONFIG, NAME:VERSION or NAME/CONFIG:VERSION.
    data_dir: directory that holds, or with `download` will hold, the prepared sets; default: the
      directory of tensorflow_datasets.
    download: whether to download and prepare the set where it is missing. If False, the function
      does not use the network.

  Returns:
    `tfds.core.DatasetBuilder` of the set.

  Raises:
    FileNotFoundError: if the set is not prepared and download is False.
    ValueError: if the name is malformed or unknown, or data_dir is not a directory.

  Example:

  >>> open_tfds("cifar10:one")
  Traceback (most recent call last):
    ...
  ValueError: dataset='cifar10:one': must be NAME, NAME/CONFIG, NAME:VERSION or NAME/CONFIG:VERSION
  """
  import tensorflow_datasets as tfds  # A slow import that image folders do not need.

  if not re.fullmatch(_NAME, name):
    raise ValueError(
      f"dataset={name!r}: must be NAME, NAME/CONFIG, NAME:VERSION or NAME/CONFIG:VERSION"
    )
  if data_dir is not None and not os.path.isdir(os.path.expanduser(data_dir)):
    raise ValueError(f"data_dir={data_dir!r}: must be an existing directory")
  root = pathlib.Path(os.path.expanduser(data_dir or tfds.core.constants.DATA_DIR))
  path, _, version = name.partition(":")
  # tfds.load may query a remote bucket first, which blocks for minutes offline.
  prepared = sorted(root.joinpath(path).glob(f"{version or '*.*.*'}/features.json"))
  if prepared:
    newest = max(prepared, key=lambda file: [int(n) for n in file.parent.name.split(".")])
    return tfds.builder_from_directory(os.fspath(newest.parent))
  if not download:
    raise FileNotFoundError(
      f"dataset={name!r}: must be prepared, and {root / path} holds no version of it; run once "
      "with --download on a machine with network access, or pass --data_dir=DIR that holds it"
    )
  try:
    builder = tfds.builder(name, data_dir=os.fspath(root))
  except tfds.core.DatasetNotFoundError as error:
    raise ValueError(f"dataset={name!r}: must be a set of TensorFlow Datasets") from error
  builder.download_and_prepare()
  return builder


def describe_tfds(builder: Any, name: str) -> Description:
  """Finds a set's image feature, label feature and classes.

  Args:
    builder: the set, from `open_tfds`.
    name: name of the set, for the error message.

  Raises:
    ValueError: if the set has no image feature or no class label.
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
      f"dataset={name!r}: must have an image and a class label; its features are "
      f"{', '.join(features)}"
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
  """Reads a set into memory, with its own splits where it has them.

  The test images are the set's test split; without one, its validation split; without either, part
  of the training images. The validation images are the set's validation split if that is not used
  for testing, and otherwise part of the training images.

  Args:
    builder: the set, from `open_tfds`.
    name: name of the set, for error messages.
    image_shape: (H, W, C), pixels; C is 1 (grey) or 3 (colour).
    fit: see `fit_image`.
    validation_percent: share of the training images to hold out where the set does not have both
      splits.
    test_percent: share of all images to hold out where the set has neither split.
    split_seed: seed of the parts that are held out.

  Raises:
    ValueError: if the set has no training split, or a percentage breaks a rule.
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
    known = labels >= 0  # Some sets publish test images without labels.
    return LabelledImages(images[known], labels[known])

  if "train" not in splits:
    raise ValueError(f"dataset={name!r}: must have a split 'train'; it has {', '.join(splits)}")
  train = read("train")
  own = [data for data in map(read, ("test", "validation")) if len(data.labels)]
  return split_images(
    train,
    class_names,
    test_percent=test_percent,
    validation_percent=validation_percent,
    split_seed=split_seed,
    test=own[0] if own else None,
    validation=own[1] if len(own) == 2 else None,
  )
