"""Checks of images and labels that come from a user, before they reach a network."""

from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf

__all__ = ["check_arrays", "check_batch", "images_and_targets"]

_PIXEL_RULE = "must lie within 0..1 (divide pixels stored as 0..255 by 255)"


def images_and_targets(data: tuple, name: str = "labels") -> tuple[tf.Tensor, tf.Tensor]:
  """Takes a batch apart, as Keras hands it to a step.

  Args:
    data: the batch.
    name: what the targets are called in messages.

  Raises:
    ValueError: if targets are missing, or samples carry weights, which the estimators do not know.
  """
  images, targets, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
  if targets is None:
    raise ValueError(f"{name}=None: must be given with the images")
  if sample_weight is not None:
    raise ValueError("sample_weight: must be None, importance weights are the model's own")
  return images, targets


def check_arrays(
  images: np.ndarray, labels: np.ndarray, image_shape: Sequence[int], num_classes: int
) -> None:
  """Raises unless whole arrays of images and labels are fit to learn from.

  Args:
    images: float `[B, H, W, C]`, within 0..1.
    labels: integer `[B]`, within 0..num_classes - 1.
    image_shape: (H, W, C), pixels and channels.
    num_classes: how many classes there are.

  Raises:
    ValueError: naming the argument, its value and the rule that it breaks.
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
    raise ValueError(f"images must hold at least one pixel, got shape {images.shape}")
  # A minimum and a maximum see every NaN and infinity too, and need no array of flags.
  lowest, highest = images.min(), images.max()
  if not (np.isfinite(lowest) and np.isfinite(highest)):
    raise ValueError(f"images must be finite, got values from {lowest} to {highest}")
  if lowest < 0 or highest > 1:
    raise ValueError(f"images {_PIXEL_RULE}, got values from {lowest} to {highest}")
  if labels.min() < 0 or labels.max() >= num_classes:
    raise ValueError(
      f"labels must lie within 0..{num_classes - 1} (num_classes - 1), got values from "
      f"{labels.min()} to {labels.max()}"
    )


def check_batch(
  images: tf.Tensor, labels: tf.Tensor, image_shape: Sequence[int], num_classes: int
) -> tuple[tf.Tensor, tf.Tensor]:
  """Passes a good batch through unchanged and stops at a bad one; for `tf.data.Dataset.map`.

  Args:
    images: float `[B, H, W, C]`, within 0..1.
    labels: integer `[B]`, within 0..num_classes - 1.
    image_shape: (H, W, C), pixels and channels.
    num_classes: how many classes there are.

  Returns:
    images and labels as given, with their static shapes filled in.

  Raises:
    ValueError: if what is known of shape and dtype before running breaks a rule.
    tf.errors.InvalidArgumentError: when run on values that break a rule, or on shapes that were
      unknown before.
  """
  images, labels = tf.convert_to_tensor(images), tf.convert_to_tensor(labels)
  image_shape = tuple(image_shape)
  _check_static(_known_shape(images), images.dtype, _known_shape(labels), labels.dtype, image_shape)
  with tf.control_dependencies(_shape_assertions(images, labels, image_shape)):
    images, labels = tf.identity(images), tf.identity(labels)
  # The assertions above establish these shapes.
  images.set_shape((None, *image_shape))
  labels.set_shape((images.shape[0],))
  with tf.control_dependencies(_value_assertions(images, labels, num_classes)):
    return tf.identity(images), tf.identity(labels)


def _known_shape(tensor: tf.Tensor) -> tuple[int | None, ...] | None:
  return None if tensor.shape.rank is None else tuple(tensor.shape)


def _check_static(
  images_shape: tuple[int | None, ...] | None,
  images_dtype: tf.DType,
  labels_shape: tuple[int | None, ...] | None,
  labels_dtype: tf.DType,
  image_shape: tuple[int, ...],
) -> None:
  if len(image_shape) != 3:
    raise ValueError(f"image_shape must be (height, width, channels), got {image_shape}")
  if not images_dtype.is_floating:
    raise ValueError(
      f"images must be of a floating dtype and {_PIXEL_RULE}, got {images_dtype.name}"
    )
  if not labels_dtype.is_integer:
    raise ValueError(f"labels must be of an integer dtype, got {labels_dtype.name}")
  if images_shape is not None and not (
    len(images_shape) == 4
    and all(size in (None, want) for size, want in zip(images_shape[1:], image_shape, strict=True))
  ):
    raise ValueError(
      f"images must have shape [B, {', '.join(map(str, image_shape))}], got {images_shape}"
    )
  if labels_shape is not None and len(labels_shape) != 1:
    raise ValueError(
      f"labels must have rank 1, one class index per image, got shape {labels_shape}"
    )
  if images_shape is None or labels_shape is None:
    return
  if None not in (images_shape[0], labels_shape[0]) and images_shape[0] != labels_shape[0]:
    raise ValueError(
      "images and labels must be equally many, got "
      f"{images_shape[0]} images and {labels_shape[0]} labels"
    )


def _shape_assertions(
  images: tf.Tensor, labels: tf.Tensor, image_shape: tuple[int, ...]
) -> list[tf.Operation | None]:
  assertions = []
  if not images.shape[1:].is_fully_defined():
    # The plain comparison raises an unreadable error where the ranks differ.
    fits = tf.raw_ops.Equal(
      x=tf.shape(images)[1:], y=list(image_shape), incompatible_shape_error=False
    )
    wanted = f"images must have shape [B, {', '.join(map(str, image_shape))}], got"
    assertions.append(tf.debugging.Assert(tf.reduce_all(fits), [wanted, tf.shape(images)]))
  if labels.shape.rank is None:
    assertions.append(
      tf.debugging.Assert(
        tf.equal(tf.rank(labels), 1), ["labels must have rank 1, got shape", tf.shape(labels)]
      )
    )
  num_images, num_labels = tf.shape(images)[:1], tf.shape(labels)[:1]
  assertions.append(
    tf.debugging.Assert(
      tf.reduce_all(tf.equal(num_images, num_labels)),
      ["images and labels must be equally many, got", num_images, "and", num_labels],
    )
  )
  return assertions


def _value_assertions(
  images: tf.Tensor, labels: tf.Tensor, num_classes: int
) -> list[tf.Operation | None]:
  # A minimum and a maximum see every NaN and infinity too, at a fraction of the cost of a mask.
  lowest, highest = tf.reduce_min(images), tf.reduce_max(images)
  smallest, largest = tf.reduce_min(labels), tf.reduce_max(labels)
  is_empty = tf.equal(tf.size(images), 0)  # Its minimum is infinite, yet it breaks no rule.
  finite = tf.math.is_finite(lowest) & tf.math.is_finite(highest)
  in_range = (lowest >= 0) & (highest <= 1)
  # NaN and infinity also break the range, and deserve the message that names them.
  return [
    tf.debugging.Assert(
      finite | is_empty, ["images must be finite, got values from", lowest, "to", highest]
    ),
    tf.debugging.Assert(
      in_range | is_empty | ~finite,
      [f"images {_PIXEL_RULE}, got values from", lowest, "to", highest],
    ),
    tf.debugging.Assert(
      ((smallest >= 0) & (largest < tf.cast(num_classes, labels.dtype))) | is_empty,
      [
        f"labels must lie within 0..{num_classes - 1} (num_classes - 1), got values from",
        smallest,
        "to",
        largest,
      ],
    ),
  ]
