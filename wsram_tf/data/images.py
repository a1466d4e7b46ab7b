"""Labelled images of one size in memory: how they are fitted, split, augmented and batched."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import PIL.Image
import PIL.ImageOps
import tensorflow as tf

from wsram_tf.data.orders import shuffled_indices, stratified_order
from wsram_tf.data.pipelines import map_in_order

__all__ = [
  "FITS",
  "Augmentation",
  "ImageSplits",
  "LabelledImages",
  "evaluation_dataset",
  "fit_image",
  "hold_out",
  "training_dataset",
]

FITS = ("resize", "pad")
_WITH_ALPHA = ("RGBA", "LA", "PA")
_NAMED_AT_MOST = 5


class LabelledImages(NamedTuple):
  """Images and their classes.

  Attributes:
    images: uint8 `[n, H, W, C]`.
    labels: int32 `[n]`, within 0..K - 1.
  """

  images: np.ndarray
  labels: np.ndarray


class ImageSplits(NamedTuple):
  """Three sets of images that share none, and the names of their classes.

  Attributes:
    train: what the model learns from.
    validation: what weights are chosen on.
    test: what results are reported on.
    class_names: K names, by label.
  """

  train: LabelledImages
  validation: LabelledImages
  test: LabelledImages
  class_names: tuple[str, ...]


class Augmentation(NamedTuple):
  """How training images are changed, at random and anew in each epoch.

  Attributes:
    crop: pixels; the image is moved by up to so many up, down, left and right, black moving in.
    flip: whether to mirror left and right in half of the cases.
    brightness: the largest change of all pixels, 0 to 1.
  """

  crop: int = 0
  flip: bool = False
  brightness: float = 0.0


def fit_image(image: PIL.Image.Image, image_shape: Sequence[int], fit: str) -> np.ndarray:
  """Brings an image to the size and the channels that a model takes.

  Args:
    image: of any size and kind; it is turned upright where its file says how it was held, and
      what is transparent is laid on black.
    image_shape: (H, W, C), pixels; C is 1 (grey) or 3 (colour).
    fit: "resize" stretches it to the size, "pad" keeps its proportions and centres it on black.

  Returns:
    uint8 `[H, W, C]`.

  Raises:
    ValueError: if fit or the channels are unknown.
    OSError, SyntaxError: if the image's data is damaged.
  """
  height, width, channels = image_shape
  if fit not in FITS:
    raise ValueError(f"fit={fit!r}: must be one of {', '.join(FITS)}")
  if channels not in (1, 3):
    raise ValueError(f"image_shape={tuple(image_shape)}: the channels must be 1 or 3")
  image = PIL.ImageOps.exif_transpose(image)
  if image.mode.startswith("I"):  # 16 bits: conversion would clip them to 8, not scale them.
    image = PIL.Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
  image = _opaque(image).convert("L" if channels == 1 else "RGB")
  method = PIL.Image.Resampling.BILINEAR
  if fit == "pad":
    image = PIL.ImageOps.pad(image, (width, height), method)
  elif image.size != (width, height):
    image = image.resize((width, height), method)
  return np.asarray(image).reshape(tuple(image_shape))


def hold_out(
  data: LabelledImages,
  percent: int,
  seed: int,
  name: str,
  *,
  class_names: Sequence[str] = (),
  counts: np.ndarray | None = None,
) -> tuple[LabelledImages, LabelledImages]:
  """Splits images into (kept, held out), each class in proportion and in a random order.

  Args:
    data: what to split.
    percent: of the images, to hold out.
    seed: of the split.
    name: what the error names the percentage by.
    class_names: what the error names classes by, by label; absent: by label.
    counts: images of each class, by label, that the error gives; absent: those in `data`.

  Raises:
    ValueError: if nothing would be held out, or some class be left without an image.
  """
  order = stratified_order(data.labels, seed)
  count = round(len(order) * percent / 100)
  held_out, kept = order[:count], order[count:]
  lost = np.setdiff1d(data.labels, data.labels[kept])
  if not count or lost.size:
    if not count:
      raise ValueError(f"{name}={percent}: must make at least one image, of {len(order)} images")
    counts = np.bincount(data.labels) if counts is None else counts
    few = [
      f"{class_names[label] if class_names else label} ({counts[label]})"
      for label in lost[:_NAMED_AT_MOST]
    ]
    more = f" and {len(lost) - len(few)} more" if len(lost) > len(few) else ""
    raise ValueError(
      f"{name}={percent}: must leave every class an image to learn from, and leaves none of these "
      f"(with their images): {', '.join(few)}{more}; add images, leave these classes out, or hold "
      "out less; 3 images a class are enough for test_percent=20 and validation_percent=10"
    )
  # What is left would start with whole rounds of all classes; its order should tell nothing.
  kept = np.random.default_rng(seed + 1).permutation(kept)
  return (
    LabelledImages(data.images[kept], data.labels[kept]),
    LabelledImages(data.images[held_out], data.labels[held_out]),
  )


def training_dataset(
  data: LabelledImages,
  augmentation: Augmentation,
  *,
  batch_size: int,
  seed: int,
  start_step: int = 0,
) -> tf.data.Dataset:
  """Endless training batches; each epoch shows every image once, in a new order.

  Args:
    data: what to learn from.
    augmentation: how images are changed.
    batch_size: B.
    seed: 0 to 2**31 - 1; with the step, determines a batch.
    start_step: the step of the first batch.

  Returns:
    dataset of (images float32 `[B, H, W, C]` within 0..1, labels int32 `[B]`).

  Raises:
    ValueError: if there are no images, or a number is out of its range.
  """
  _, height, width, _ = data.images.shape
  if not len(data.images):
    raise ValueError("data: must hold at least one image")
  if not 0 <= augmentation.crop < min(height, width):
    raise ValueError(
      f"crop={augmentation.crop}: must be from 0 to {min(height, width) - 1}, the images' shorter "
      "side less one"
    )
  if not 0 <= augmentation.brightness <= 1:
    raise ValueError(f"brightness={augmentation.brightness}: must lie within 0..1")
  images, labels = _on_host(data)

  def draw_batch(step: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    indices = shuffled_indices(step, batch_size, len(data.images), seed)
    batch = tf.cast(tf.gather(images, indices), tf.float32) / 255.0
    if augmentation != Augmentation():
      # A place in the endless sequence of images is a seed of its own.
      places = step * batch_size + tf.range(batch_size, dtype=tf.int64)
      batch = tf.map_fn(
        lambda row: _augment(row[0], tf.stack([seed, row[1]]), augmentation),
        (batch, places),
        fn_output_signature=tf.TensorSpec(data.images.shape[1:], tf.float32),
      )
    return batch, tf.gather(labels, indices)

  steps = tf.data.Dataset.counter(start=start_step)
  return map_in_order(steps, draw_batch)


def evaluation_dataset(data: LabelledImages, batch_size: int) -> tf.data.Dataset:
  """All images once, in order.

  Returns:
    finite dataset of (images float32 `[B, H, W, C]` within 0..1, labels int32 `[B]`); the last
    batch may hold fewer.
  """
  batches = tf.data.Dataset.from_tensor_slices(_on_host(data)).batch(batch_size)
  return map_in_order(batches, lambda images, labels: (tf.cast(images, tf.float32) / 255.0, labels))


def _opaque(image: PIL.Image.Image) -> PIL.Image.Image:
  """Lays an image on black where it is transparent; a conversion shows what is hidden there."""
  if image.mode not in _WITH_ALPHA and "transparency" not in image.info:
    return image
  image = image.convert("RGBA")
  return PIL.Image.alpha_composite(PIL.Image.new("RGBA", image.size, "black"), image)


def _on_host(data: LabelledImages) -> tuple[tf.Tensor, tf.Tensor]:
  # A pipeline that captures device memory fetches it back for every batch.
  with tf.device("/CPU:0"):
    return tf.constant(data.images), tf.constant(data.labels, tf.int32)


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
