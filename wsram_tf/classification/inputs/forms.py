"""Checks of images that are no tensors of pixels: lists of visible pixels, and paths of files."""

import dataclasses
import os

import numpy as np
import tensorflow as tf

from wsram_tf.classification.inputs import checks
from wsram_tf.data.regions.reader import shared_reader

__all__ = ["PathRules", "PixelListRules"]

_PLACE_RULE = "rows and columns must be whole numbers within the image"


@dataclasses.dataclass(frozen=True)
class _FormRules(checks.LabelRules):
  """The rules of images and labels apart; a subclass defines those of images."""

  def arrays(self, images: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns images and integer labels `[B]`, or raises ValueError."""
    labels = checks.class_labels(labels, self.num_classes)
    images = self.images(images)
    checks.check_labels_static(images.shape, labels.shape, tf.as_dtype(labels.dtype))
    if not len(images):
      raise ValueError("images: must hold at least one image, got none")
    checks.check_label_values(labels, self.num_classes)
    return images, labels

  def batch(self, images: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns images and integer labels `[B]`, or raises an error in the graph."""
    images = self.image_batch(images)
    labels = checks.class_label_batch(tf.convert_to_tensor(labels), self.num_classes)
    shape = None if labels.shape.rank is None else tuple(labels.shape)
    checks.check_labels_static(tuple(images.shape), shape, labels.dtype)
    with tf.control_dependencies(checks.label_shape_assertions(images, labels)):
      labels = tf.identity(labels)
    labels.set_shape((images.shape[0],))
    with tf.control_dependencies(checks.label_value_assertions(labels, self.num_classes)):
      return images, tf.identity(labels)


@dataclasses.dataclass(frozen=True)
class PixelListRules(_FormRules):
  """The rules of images as lists of visible pixels; labels as for `LabelRules`.

  Images are float `[B, T, 2 + C]`: row, column and C values of each pixel. That a place occurs once
  is not checked.

  Example:

  >>> rules = PixelListRules(image_shape=(9, 9, 1), num_classes=3)
  >>> rules.images(np.array([[[9.0, 0.0, 1.0]]]))
  Traceback (most recent call last):
  ValueError: images: rows and columns must be whole numbers within the image, 9 x 9 pixels; got ...
  """

  def images(self, images: np.ndarray) -> np.ndarray:
    """Returns float lists of pixels `[B, T, 2 + C]`, or raises ValueError."""
    self._check_static(tuple(images.shape), tf.as_dtype(images.dtype))
    places = images[..., :2]
    good = (places == np.floor(places)) & (places >= 0) & (places < self.image_shape[:2])
    if not good.all():  # NaN is in no range.
      raise ValueError(f"{self._place_rule}; got {places[~good.all(axis=-1)][0]}")
    checks.check_pixels(images[..., 2:])
    return images

  def static_images(self, shape: tf.TensorShape, dtype: tf.DType) -> None:
    """Raises ValueError if the shape or dtype of lists breaks a rule."""
    self._check_static(None if shape.rank is None else tuple(shape), dtype)

  def image_batch(self, images: tf.Tensor) -> tf.Tensor:
    """Returns float lists of pixels `[B, T, 2 + C]`, or raises an error in the graph."""
    images = tf.convert_to_tensor(images)
    self.static_images(images.shape, images.dtype)
    images = tf.ensure_shape(images, (None, None, 2 + self.image_shape[2]))
    places = images[..., :2]
    sides = tf.constant(self.image_shape[:2], images.dtype)
    good = tf.reduce_all((places == tf.floor(places)) & (places >= 0) & (places < sides))
    assertions = [
      tf.debugging.Assert(good, [self._place_rule]),
      *checks.pixel_assertions(images[..., 2:]),
    ]
    with tf.control_dependencies(assertions):
      return tf.identity(images)

  @property
  def _place_rule(self) -> str:
    height, width, _ = self.image_shape
    return f"images: {_PLACE_RULE}, {height} x {width} pixels"

  def _check_static(self, shape: tuple[int | None, ...] | None, dtype: tf.DType) -> None:
    if not dtype.is_floating:
      raise ValueError(f"images: must be of a floating dtype, got {dtype.name}")
    size = 2 + self.image_shape[2]
    if shape is not None and not (len(shape) == 3 and shape[2] in (None, size)):
      raise ValueError(
        f"images: must have shape [B, T, {size}], row, column and values of each pixel, got {shape}"
      )


@dataclasses.dataclass(frozen=True)
class PathRules(_FormRules):
  """The rules of images as paths of files, string `[B]`; labels as for `LabelRules`.

  Example:

  >>> rules = PathRules(image_shape=(9, 9, 1), num_classes=3)
  >>> rules.images(np.array(["missing.tif"]))
  Traceback (most recent call last):
  ValueError: images: must be paths of files; there is no file 'missing.tif'
  """

  def images(self, images: np.ndarray) -> tf.Tensor:
    """Returns paths, string `[B]`, or raises ValueError."""
    paths = images.reshape(-1).tolist()
    if images.ndim != 1 or not all(isinstance(path, str | bytes | os.PathLike) for path in paths):
      raise ValueError(
        f"images: must be paths of files of shape [B], got {images.dtype} of shape {images.shape}"
      )
    for path in paths:
      # In a run the reader counts a file that has vanished, and goes on.
      if not os.path.isfile(path) and not shared_reader().keeps_going:
        raise ValueError(f"images: must be paths of files; there is no file {os.fsdecode(path)!r}")
    # A tensor, because Keras takes no arrays of strings.
    with tf.device("/CPU:0"):
      return tf.constant([os.fsencode(path) for path in paths], tf.string)

  def static_images(self, shape: tf.TensorShape, dtype: tf.DType) -> None:
    """Raises ValueError if the shape or dtype of paths breaks a rule."""
    if dtype != tf.string or shape.rank not in (None, 1):
      raise ValueError(
        f"images: must be paths of files, string of shape [B], got {dtype.name} of shape {shape}"
      )

  def image_batch(self, images: tf.Tensor) -> tf.Tensor:
    """Returns paths, string `[B]`; whether there are such files is seen when they are read."""
    images = tf.convert_to_tensor(images)
    self.static_images(images.shape, images.dtype)
    return tf.ensure_shape(images, (None,))
