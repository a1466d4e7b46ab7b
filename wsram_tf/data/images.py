"""Labelled images of one size in memory: splits, augmentation and batches."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from wsram_tf.data.orders import hold_out
from wsram_tf.data.pipelines import WHOLE, Shard, map_in_order, on_host, shuffled_indices

__all__ = [
  "Augmentation",
  "ImageSplits",
  "LabelledImages",
  "evaluation_dataset",
  "split_images",
  "training_dataset",
]


class LabelledImages(NamedTuple):
  """Images and their classes.

  Attributes:
    images: uint8 `[n, H, W, C]`, or an object with this `shape` and a method `read(indices)` that
      returns uint8 `[B, H, W, C]`, as `image_folder.StoredImages`.
    labels: int32 `[n]`, within 0..K - 1.
  """

  images: np.ndarray
  labels: np.ndarray


class ImageSplits(NamedTuple):
  """Three disjoint sets of images, and the names of their classes.

  Attributes:
    train: images to train on.
    validation: images to choose weights on.
    test: images to report results on.
    class_names: K names, by label.
  """

  train: LabelledImages
  validation: LabelledImages
  test: LabelledImages
  class_names: tuple[str, ...]


class Augmentation(NamedTuple):
  """Random changes of training images, drawn anew in each epoch.

  Attributes:
    crop: pixels; the largest shift up, down, left and right. Black fills the uncovered part.
    flip: whether to mirror half of the images left to right.
    brightness: 0 to 1; the largest change, the same for all pixels of an image.
  """

  crop: int = 0
  flip: bool = False
  brightness: float = 0.0


def split_images(
  data: LabelledImages,
  class_names: Sequence[str],
  *,
  test_percent: int,
  validation_percent: int,
  split_seed: int,
  test: LabelledImages | None = None,
  validation: LabelledImages | None = None,
) -> ImageSplits:
  """Splits images into training, validation and test images, each class in proportion.

  Args:
    data: images of which parts are held out.
    class_names: K names, by label.
    test_percent: share of `data` to hold out for testing; not used if `test` is given.
    validation_percent: share of the remaining images to hold out for validation; not used if
      `validation` is given.
    split_seed: seed of the splits.
    test: test images that exist already.
    validation: validation images that exist already.

  Raises:
    ValueError: if a percentage holds out no image, or leaves a class without training images.

  Example:

  >>> data = LabelledImages(np.zeros([20, 8, 8, 1], np.uint8), np.arange(20) % 2)
  >>> splits = split_images(
  ...   data, ("cat", "dog"), test_percent=20, validation_percent=25, split_seed=1
  ... )
  >>> len(splits.train.labels), len(splits.validation.labels), len(splits.test.labels)
  (12, 4, 4)
  """
  counts = np.bincount(data.labels)

  def part(learning: LabelledImages, name: str, percent: int):
    total = len(learning.labels)
    count = round(total * percent / 100)
    if not count:
      raise ValueError(f"{name}={percent}: must hold out at least one of the {total} images")
    return hold_out(
      learning,
      count,
      split_seed,
      f"{name}={percent}",
      class_names=class_names,
      counts=counts,
      advice="add images, remove these classes, or hold out less; 3 images per class suffice for "
      "test_percent=20 and validation_percent=10",
    )

  if test is None:
    data, test = part(data, "test_percent", test_percent)
  if validation is None:
    data, validation = part(data, "validation_percent", validation_percent)
  return ImageSplits(data, validation, test, tuple(class_names))


def training_dataset(
  data: LabelledImages,
  augmentation: Augmentation,
  *,
  batch_size: int,
  seed: int,
  start_step: int = 0,
  shard: Shard = WHOLE,
) -> tf.data.Dataset:
  """Makes endless training batches; each epoch shows every image once, in a new order.

  Args:
    data: images to train on.
    augmentation: random changes of the images.
    batch_size: B.
    seed: 0 to 2**31 - 1; with the step, determines a batch.
    start_step: the step of the first batch.
    shard: the rows of each batch to read.

  Returns:
    dataset of (images float32 `[B, H, W, C]` within 0..1, labels int32 `[B]`).

  Raises:
    ValueError: if there are no images, or a number is out of its range.

  Example:

  >>> data = LabelledImages(np.full([3, 8, 8, 1], 255, np.uint8), np.arange(3))
  >>> batches = training_dataset(data, Augmentation(crop=2), batch_size=3, seed=1)
  >>> images, labels = next(iter(batches))
  >>> tuple(images.shape), sorted(labels.numpy().tolist())
  ((3, 8, 8, 1), [0, 1, 2])
  """
  _, height, width, _ = data.images.shape
  if not len(data.images):
    raise ValueError("data of length 0: must hold at least one image")
  if not 0 <= augmentation.crop < min(height, width):
    raise ValueError(
      f"crop={augmentation.crop}: must be from 0 to {min(height, width) - 1}, which is below the "
      "images' shorter side"
    )
  if not 0 <= augmentation.brightness <= 1:
    raise ValueError(f"brightness={augmentation.brightness}: must be from 0 to 1")
  fetch, labels = _fetching(data)

  def draw_batch(step: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    indices = shard.of(shuffled_indices(step, batch_size, len(data.images), seed))
    batch = tf.cast(fetch(indices), tf.float32) / 255.0
    if augmentation != Augmentation():
      # The place in the endless sequence of images seeds an image's augmentation.
      places = step * batch_size + shard.of(tf.range(batch_size, dtype=tf.int64))
      batch = tf.map_fn(
        lambda row: _augment(row[0], tf.stack([seed, row[1]]), augmentation),
        (batch, places),
        fn_output_signature=tf.TensorSpec(data.images.shape[1:], tf.float32),
      )
    return batch, tf.gather(labels, indices)

  steps = tf.data.Dataset.counter(start=start_step)
  return map_in_order(steps, draw_batch)


def evaluation_dataset(data: LabelledImages, batch_size: int) -> tf.data.Dataset:
  """Makes one pass over all images, in order.

  Args:
    data: images to evaluate on.
    batch_size: B; the last batch may hold fewer.

  Returns:
    finite dataset of (images float32 `[B, H, W, C]` within 0..1, labels int32 `[B]`).

  Example:

  >>> data = LabelledImages(np.zeros([3, 8, 8, 1], np.uint8), np.arange(3))
  >>> [labels.numpy().tolist() for _, labels in evaluation_dataset(data, batch_size=2)]
  [[0, 1], [2]]
  """
  fetch, labels = _fetching(data)

  def read_batch(indices: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    return tf.cast(fetch(indices), tf.float32) / 255.0, tf.gather(labels, indices)

  return map_in_order(tf.data.Dataset.range(len(data.labels)).batch(batch_size), read_batch)


def _fetching(data: LabelledImages) -> tuple[Callable[[tf.Tensor], tf.Tensor], tf.Tensor]:
  """Returns a function from indices `[B]` to images, uint8 `[B, H, W, C]`, and all labels."""
  if isinstance(data.images, np.ndarray):
    images, labels = on_host(*data)
    return lambda indices: tf.gather(images, indices), labels

  def fetch(indices: tf.Tensor) -> tf.Tensor:
    images = tf.numpy_function(data.images.read, [indices], tf.uint8)
    return tf.ensure_shape(images, [indices.shape[0], *data.images.shape[1:]])

  with tf.device("/CPU:0"):
    return fetch, tf.constant(data.labels, tf.int32)


def _augment(image: tf.Tensor, seed: tf.Tensor, augmentation: Augmentation) -> tf.Tensor:
  crop_seed, flip_seed, light_seed = tf.unstack(tf.random.split(seed, 3, alg="philox"), axis=0)
  if augmentation.crop:
    around = [augmentation.crop] * 2
    wide = tf.pad(image, [around, around, [0, 0]])
    image = tf.image.stateless_random_crop(wide, image.shape, crop_seed)
  if augmentation.flip:
    image = tf.image.stateless_random_flip_left_right(image, flip_seed)
  if augmentation.brightness:
    image = tf.image.stateless_random_brightness(image, augmentation.brightness, light_seed)
  return tf.clip_by_value(image, 0.0, 1.0)
