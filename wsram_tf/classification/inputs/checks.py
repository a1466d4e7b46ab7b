"""Checks of images and labels before a network reads them."""

import dataclasses
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

__all__ = ["LabelRules", "check_arrays", "check_batch", "check_image_batch", "check_images"]

_PIXEL_RULE = "must lie within 0..1 (divide pixels stored as 0..255 by 255)"
_ONE_HOT_RULE = (
  "labels of shape [B, num_classes]: must be one-hot, a single 1 in each row and 0 elsewhere"
)
_WHOLE_RULE = "labels: must be whole numbers"
_BITS_OF_ONE = np.float32(1).view(np.uint32)


@dataclasses.dataclass(frozen=True)
class LabelRules:
  """The rules of images and class labels; implements `inputs.InputRules`.

  Labels are integers `[B]`, whole numbers of any dtype, `[B, 1]`, or one-hot `[B, num_classes]`.

  Attributes:
    image_shape: (H, W, C), pixels and channels.
    num_classes: K.

  Example:

  >>> import numpy as np
  >>> rules = LabelRules(image_shape=(4, 4, 1), num_classes=3)
  >>> rules.images(np.full([1, 4, 4, 1], 255.0))
  Traceback (most recent call last):
  ValueError: images: must lie within 0..1 (divide pixels stored as 0..255 by 255), got ...
  """

  image_shape: tuple[int, int, int]
  num_classes: int
  target_name = "labels"

  def images(self, images: np.ndarray) -> np.ndarray:
    """Returns float images `[B, H, W, C]` in 0..1, or raises ValueError."""
    check_images(images, self.image_shape)
    return images

  def static_images(self, shape: tf.TensorShape, dtype: tf.DType) -> None:
    """Raises ValueError if the shape or dtype of images breaks a rule."""
    _check_images_static(None if shape.rank is None else tuple(shape), dtype, self.image_shape)

  def image_batch(self, images: tf.Tensor) -> tf.Tensor:
    """Returns float images `[B, H, W, C]` in 0..1, or raises an error in the graph."""
    return check_image_batch(images, self.image_shape)

  def arrays(self, images: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns images and integer labels `[B]`, or raises ValueError."""
    labels = class_labels(labels, self.num_classes)
    check_arrays(images, labels, self.image_shape, self.num_classes)
    return images, labels

  def batch(self, images: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns images and integer labels `[B]`, or raises an error in the graph."""
    labels = class_label_batch(tf.convert_to_tensor(labels), self.num_classes)
    return check_batch(images, labels, self.image_shape, self.num_classes)


def class_labels(labels: np.ndarray, num_classes: int) -> np.ndarray:
  """Returns integer labels `[B]` from any form that `LabelRules` lists.

  Raises:
    ValueError: if rows are not one-hot, or labels are not whole numbers.
  """
  if labels.dtype.kind not in "biuf":
    raise ValueError(
      f"labels of dtype {labels.dtype}: must be whole numbers from 0 to {num_classes - 1}"
    )
  if labels.ndim == 2 and labels.shape[1] == num_classes:
    is_one = labels == 1
    good = (is_one.sum(axis=1) == 1) & (is_one | (labels == 0)).all(axis=1)
    if not good.all():
      row = int(np.argmin(good))
      raise ValueError(f"{_ONE_HOT_RULE}, got row {row}: {labels[row]}")
    return is_one.argmax(axis=1)
  if labels.ndim == 2 and labels.shape[1] == 1:
    labels = labels[:, 0]
  if labels.dtype.kind == "f":
    if labels.size and not (np.isfinite(labels) & (labels == np.floor(labels))).all():
      raise ValueError(f"{_WHOLE_RULE}, got {labels[labels != np.floor(labels)][:3]}")
    labels = labels.astype(np.int64)
  return labels.astype(np.int32) if labels.dtype == bool else labels


def class_label_batch(labels: tf.Tensor, num_classes: int) -> tf.Tensor:
  """Does as `class_labels` for a batch of a dataset, with assertions in the graph."""
  if labels.shape.rank == 2 and labels.shape[1] == num_classes:
    is_one = tf.equal(labels, tf.ones([], labels.dtype))
    ones = tf.reduce_sum(tf.cast(is_one, tf.int32), axis=1)
    others = tf.reduce_all(is_one | tf.equal(labels, tf.zeros([], labels.dtype)))
    good = tf.reduce_all(tf.equal(ones, 1)) & others
    with tf.control_dependencies([tf.debugging.Assert(good, [_ONE_HOT_RULE])]):
      return tf.argmax(tf.cast(is_one, tf.int32), axis=1, output_type=tf.int32)
  if labels.shape.rank == 2 and labels.shape[1] == 1:
    labels = labels[:, 0]
  if labels.dtype.is_floating:
    whole = tf.reduce_all(tf.equal(labels, tf.floor(labels)) & tf.math.is_finite(labels))
    with tf.control_dependencies([tf.debugging.Assert(whole, [f"{_WHOLE_RULE}, got", labels])]):
      return tf.cast(labels, tf.int32)
  return tf.cast(labels, tf.int32) if labels.dtype == tf.bool else labels


def check_images(images: np.ndarray, image_shape: Sequence[int]) -> None:
  """Raises an error if an array of images breaks a rule.

  Args:
    images: float `[B, H, W, C]`, within 0..1.
    image_shape: (H, W, C), pixels and channels.

  Raises:
    ValueError: with the argument, its value and the rule.
  """
  _check_images_static(images.shape, tf.as_dtype(images.dtype), tuple(image_shape))
  check_pixels(images)


def check_image_batch(images: tf.Tensor, image_shape: Sequence[int]) -> tf.Tensor:
  """Does as `check_batch` for images alone."""
  images, image_shape = tf.convert_to_tensor(images), tuple(image_shape)
  _check_images_static(_known_shape(images), images.dtype, image_shape)
  with tf.control_dependencies(_image_shape_assertions(images, image_shape)):
    images = tf.identity(images)
  images.set_shape((None, *image_shape))
  with tf.control_dependencies(pixel_assertions(images)):
    return tf.identity(images)


def check_arrays(
  images: np.ndarray, labels: np.ndarray, image_shape: Sequence[int], num_classes: int
) -> None:
  """Raises an error if arrays of images and labels break a rule.

  Args:
    images: float `[B, H, W, C]`, within 0..1.
    labels: integer `[B]`, within 0..num_classes - 1.
    image_shape: (H, W, C), pixels and channels.
    num_classes: K.

  Raises:
    ValueError: with the argument, its value and the rule.
  """
  images, labels = np.asarray(images), np.asarray(labels)
  _check_static(
    images.shape,
    tf.as_dtype(images.dtype),
    labels.shape,
    tf.as_dtype(labels.dtype),
    tuple(image_shape),
  )
  if not images.size:
    raise ValueError(f"images: must hold at least one pixel, got shape {images.shape}")
  check_pixels(images)
  check_label_values(labels, num_classes)


def check_label_values(labels: np.ndarray, num_classes: int) -> None:
  """Raises ValueError if labels do not lie within 0..num_classes - 1."""
  if labels.min() < 0 or labels.max() >= num_classes:
    raise ValueError(
      f"labels: must lie within 0..{num_classes - 1} (num_classes - 1), got values from "
      f"{labels.min()} to {labels.max()}"
    )


def check_batch(
  images: tf.Tensor, labels: tf.Tensor, image_shape: Sequence[int], num_classes: int
) -> tuple[tf.Tensor, tf.Tensor]:
  """Returns a valid batch unchanged and raises an error for another; for `tf.data.Dataset.map`.

  Args:
    images: float `[B, H, W, C]`, within 0..1.
    labels: integer `[B]`, within 0..num_classes - 1.
    image_shape: (H, W, C), pixels and channels.
    num_classes: K.

  Returns:
    the images and labels, with complete static shapes.

  Raises:
    ValueError: if a static shape or dtype breaks a rule.
    tf.errors.InvalidArgumentError: in the graph, if a value or a dynamic shape breaks a rule.
  """
  images, labels = tf.convert_to_tensor(images), tf.convert_to_tensor(labels)
  image_shape = tuple(image_shape)
  _check_static(_known_shape(images), images.dtype, _known_shape(labels), labels.dtype, image_shape)
  with tf.control_dependencies(_shape_assertions(images, labels, image_shape)):
    images, labels = tf.identity(images), tf.identity(labels)
  # The assertions above guarantee these shapes.
  images.set_shape((None, *image_shape))
  labels.set_shape((images.shape[0],))
  values = [*pixel_assertions(images), *label_value_assertions(labels, num_classes)]
  with tf.control_dependencies(values):
    return tf.identity(images), tf.identity(labels)


def check_pixels(images: np.ndarray) -> None:
  """Raises ValueError if values do not lie within 0..1."""
  if not images.size:
    return
  # One pass instead of two: as unsigned integers, the bits of 0..1 are at most the bits of 1. Those
  # of all other values, NaN included, are greater. -0.0 is valid too and takes the second way.
  is_plain = images.dtype == np.float32 and images.flags.c_contiguous
  if is_plain and images.view(np.uint32).max() <= _BITS_OF_ONE:
    return
  # Minimum and maximum reveal every NaN and infinity without an array of flags.
  lowest, highest = images.min(), images.max()
  if not (np.isfinite(lowest) and np.isfinite(highest)):
    raise ValueError(f"images: must be finite, got values from {lowest} to {highest}")
  if lowest < 0 or highest > 1:
    raise ValueError(f"images: {_PIXEL_RULE}, got values from {lowest} to {highest}")


def _known_shape(tensor: tf.Tensor) -> tuple[int | None, ...] | None:
  return None if tensor.shape.rank is None else tuple(tensor.shape)


def _check_images_static(
  images_shape: tuple[int | None, ...] | None,
  images_dtype: tf.DType,
  image_shape: tuple[int, ...],
) -> None:
  if len(image_shape) != 3:
    raise ValueError(f"image_shape: must be (height, width, channels), got {image_shape}")
  if not images_dtype.is_floating:
    raise ValueError(
      f"images: must be of a floating dtype and {_PIXEL_RULE}, got {images_dtype.name}"
    )
  if images_shape is not None and not (
    len(images_shape) == 4
    and all(size in (None, want) for size, want in zip(images_shape[1:], image_shape, strict=True))
  ):
    remedy = ""
    if len(images_shape) == 3:
      remedy = "; one image needs a batch axis, images without channels need a channel axis"
    raise ValueError(
      f"images: must have shape [B, {', '.join(map(str, image_shape))}], got {images_shape}{remedy}"
    )


def _check_static(
  images_shape: tuple[int | None, ...] | None,
  images_dtype: tf.DType,
  labels_shape: tuple[int | None, ...] | None,
  labels_dtype: tf.DType,
  image_shape: tuple[int, ...],
) -> None:
  _check_images_static(images_shape, images_dtype, image_shape)
  check_labels_static(images_shape, labels_shape, labels_dtype)


def check_labels_static(
  images_shape: tuple[int | None, ...] | None,
  labels_shape: tuple[int | None, ...] | None,
  labels_dtype: tf.DType,
) -> None:
  """Raises ValueError if the dtype or the shape of labels breaks a rule."""
  if not labels_dtype.is_integer:
    raise ValueError(f"labels: must be of an integer dtype, got {labels_dtype.name}")
  if labels_shape is not None and len(labels_shape) != 1:
    raise ValueError(
      f"labels: must have rank 1, one class index per image, got shape {labels_shape}"
    )
  if images_shape is None or labels_shape is None:
    return
  if None not in (images_shape[0], labels_shape[0]) and images_shape[0] != labels_shape[0]:
    raise ValueError(
      "images, labels: must be equally many, got "
      f"{images_shape[0]} images and {labels_shape[0]} labels"
    )


def _image_shape_assertions(
  images: tf.Tensor, image_shape: tuple[int, ...]
) -> list[tf.Operation | None]:
  assertions = []
  if not images.shape[1:].is_fully_defined():
    # tf.equal raises an unclear error where the ranks differ.
    fits = tf.raw_ops.Equal(
      x=tf.shape(images)[1:], y=list(image_shape), incompatible_shape_error=False
    )
    wanted = f"images: must have shape [B, {', '.join(map(str, image_shape))}], got"
    assertions.append(tf.debugging.Assert(tf.reduce_all(fits), [wanted, tf.shape(images)]))
  return assertions


def _shape_assertions(
  images: tf.Tensor, labels: tf.Tensor, image_shape: tuple[int, ...]
) -> list[tf.Operation | None]:
  return [*_image_shape_assertions(images, image_shape), *label_shape_assertions(images, labels)]


def label_shape_assertions(images: tf.Tensor, labels: tf.Tensor) -> list[tf.Operation | None]:
  """Makes assertions that there is one label for each image."""
  assertions = []
  if labels.shape.rank is None:
    assertions.append(
      tf.debugging.Assert(
        tf.equal(tf.rank(labels), 1), ["labels: must have rank 1, got shape", tf.shape(labels)]
      )
    )
  num_images, num_labels = tf.shape(images)[:1], tf.shape(labels)[:1]
  assertions.append(
    tf.debugging.Assert(
      tf.reduce_all(tf.equal(num_images, num_labels)),
      ["images, labels: must be equally many, got", num_images, "and", num_labels],
    )
  )
  return assertions


def pixel_assertions(images: tf.Tensor) -> list[tf.Operation | None]:
  """Makes assertions that values are finite and lie within 0..1."""
  # Minimum and maximum reveal every NaN and infinity at a fraction of the cost of a mask.
  lowest, highest = tf.reduce_min(images), tf.reduce_max(images)
  is_empty = tf.equal(tf.size(images), 0)  # Its minimum is infinite, but it is valid.
  finite = tf.math.is_finite(lowest) & tf.math.is_finite(highest)
  in_range = (lowest >= 0) & (highest <= 1)
  # NaN and infinity also break the range: their own message takes precedence.
  return [
    tf.debugging.Assert(
      finite | is_empty, ["images: must be finite, got values from", lowest, "to", highest]
    ),
    tf.debugging.Assert(
      in_range | is_empty | ~finite,
      [f"images: {_PIXEL_RULE}, got values from", lowest, "to", highest],
    ),
  ]


def label_value_assertions(labels: tf.Tensor, num_classes: int) -> list[tf.Operation | None]:
  """Makes an assertion that labels lie within 0..num_classes - 1."""
  smallest, largest = tf.reduce_min(labels), tf.reduce_max(labels)
  in_range = (smallest >= 0) & (largest < tf.cast(num_classes, labels.dtype))
  return [
    tf.debugging.Assert(
      in_range | tf.equal(tf.size(labels), 0),
      [
        f"labels: must lie within 0..{num_classes - 1} (num_classes - 1), got values from",
        smallest,
        "to",
        largest,
      ],
    )
  ]
