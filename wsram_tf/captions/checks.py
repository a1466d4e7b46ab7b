"""Checks images, feature grids and captions before they reach a network."""

import dataclasses
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from wsram_tf.captions.vocabulary import PADDING

__all__ = ["CaptionRules", "check_caption_arrays", "check_caption_batch"]

_EMPTY_RULE = "captions: must each begin with a word; got an empty one"
_PADDING_RULE = "captions: must hold no word after padding"


@dataclasses.dataclass(frozen=True)
class CaptionRules:
  """Rules of images and captions, in the form of `learning.inputs.InputRules`.

  Attributes:
    image_shape: (H, W, C) of the network's input.
    vocabulary_size: V, number of words.
    max_words: largest length of a caption.

  Example:

  >>> rules = CaptionRules((8, 8, 1), vocabulary_size=7, max_words=3)
  >>> rules.arrays(np.zeros([1, 8, 8, 1], np.float32), np.array([[4, 9, 2]]))
  Traceback (most recent call last):
    ...
  ValueError: captions with values from 2 to 9: must lie within 0..6 (vocabulary_size - 1)
  """

  image_shape: tuple[int, int, int]
  vocabulary_size: int
  max_words: int
  target_name = "captions"
  num_classes = None

  def images(self, images: np.ndarray) -> np.ndarray:
    """Returns finite float images `[B, H, W, C]`; raises ValueError for others."""
    _check_images_static(images.shape, images.dtype, self.image_shape)
    _check_finite(images)
    return images

  def static_images(self, shape: tf.TensorShape, dtype: tf.DType) -> None:
    """Raises ValueError where shape or dtype of images break a rule."""
    _check_images_static(tuple(shape), dtype.as_numpy_dtype, self.image_shape)

  def image_batch(self, images: tf.Tensor) -> tf.Tensor:
    """Returns finite float images `[B, H, W, C]`; an assertion in the graph fails for others."""
    images = tf.convert_to_tensor(images)
    _check_images_static(tuple(images.shape), images.dtype.as_numpy_dtype, self.image_shape)
    with tf.control_dependencies([_finite_assertion(images)]):
      return tf.identity(images)

  def arrays(self, images: np.ndarray, captions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns images and captions `[B, T]`; raises ValueError if they break a rule."""
    check_caption_arrays(images, captions, *dataclasses.astuple(self))
    return images, captions

  def batch(self, images: tf.Tensor, captions: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns images and captions `[B, T]`; an assertion fails if they break a rule."""
    return check_caption_batch(images, captions, *dataclasses.astuple(self))


def check_caption_arrays(
  images: np.ndarray,
  captions: np.ndarray,
  image_shape: Sequence[int],
  vocabulary_size: int,
  max_words: int,
) -> None:
  """Checks whole arrays of images and captions.

  Args:
    images: images or feature grids, float `[B, H, W, C]`, finite.
    captions: integer `[B, T]`, within 0..vocabulary_size - 1; padding (0) only at the end.
    image_shape: (H, W, C) of the model.
    vocabulary_size: number of words.
    max_words: the largest T.

  Raises:
    ValueError: if an array breaks a rule.
  """
  _check_static(
    images.shape, images.dtype, captions.shape, captions.dtype, tuple(image_shape), max_words
  )
  _check_finite(images)
  if captions.min() < 0 or captions.max() >= vocabulary_size:
    raise ValueError(
      f"captions with values from {captions.min()} to {captions.max()}: "
      f"{_words_rule(vocabulary_size)}"
    )
  is_word = captions != PADDING
  if not is_word[:, 0].all():
    raise ValueError(f"{_EMPTY_RULE}, caption {np.argmin(is_word[:, 0])}")
  after = is_word[:, 1:] & ~is_word[:, :-1]
  if after.any():
    raise ValueError(f"{_PADDING_RULE}; caption {np.argmax(after.any(axis=1))} does")


def check_caption_batch(
  images: tf.Tensor,
  captions: tf.Tensor,
  image_shape: Sequence[int],
  vocabulary_size: int,
  max_words: int,
) -> tuple[tf.Tensor, tf.Tensor]:
  """Checks a batch inside a graph, for `tf.data.Dataset.map`.

  Args:
    images: see `check_caption_arrays`; H, W and C must be static.
    captions: see `check_caption_arrays`; T must be static.
    image_shape: see `check_caption_arrays`.
    vocabulary_size: see `check_caption_arrays`.
    max_words: see `check_caption_arrays`.

  Returns:
    images and captions, unchanged.

  Raises:
    ValueError: if a static shape or a dtype breaks a rule.
    tf.errors.InvalidArgumentError: on execution, if a value breaks a rule.
  """
  images, captions = tf.convert_to_tensor(images), tf.convert_to_tensor(captions)
  _check_static(
    tuple(images.shape),
    images.dtype.as_numpy_dtype,
    tuple(captions.shape),
    captions.dtype.as_numpy_dtype,
    tuple(image_shape),
    max_words,
  )
  is_word = captions != PADDING
  smallest, largest = tf.reduce_min(captions), tf.reduce_max(captions)
  in_range = (smallest >= 0) & (largest < vocabulary_size)
  assertions = [
    _finite_assertion(images),
    tf.debugging.Assert(
      in_range,
      ["captions with values from", smallest, "to", largest, f": {_words_rule(vocabulary_size)}"],
    ),
    tf.debugging.Assert(tf.reduce_all(is_word[:, 0]), [_EMPTY_RULE]),
    tf.debugging.Assert(tf.reduce_all(is_word[:, :-1] | ~is_word[:, 1:]), [_PADDING_RULE]),
  ]
  with tf.control_dependencies(assertions):
    return tf.identity(images), tf.identity(captions)


def _check_finite(images: np.ndarray) -> None:
  if images.size and not np.isfinite([images.min(), images.max()]).all():
    raise ValueError(f"images with values from {images.min()} to {images.max()}: must be finite")


def _finite_assertion(images: tf.Tensor) -> tf.Operation | None:
  lowest, highest = tf.reduce_min(images), tf.reduce_max(images)
  finite = tf.math.is_finite(lowest) & tf.math.is_finite(highest)
  return tf.debugging.Assert(
    finite | tf.equal(tf.size(images), 0),
    ["images with values from", lowest, "to", highest, ": must be finite"],
  )


def _words_rule(vocabulary_size: int) -> str:
  return f"must lie within 0..{vocabulary_size - 1} (vocabulary_size - 1)"


def _check_images_static(
  images_shape: tuple[int | None, ...], images_dtype: np.dtype, image_shape: tuple[int, ...]
) -> None:
  if not np.issubdtype(images_dtype, np.floating):
    raise ValueError(
      f"images of dtype {np.dtype(images_dtype).name}: must be of a floating-point dtype"
    )
  if images_shape[1:] != image_shape:
    raise ValueError(
      f"images of shape {images_shape}: must have the model's shape "
      f"[B, {', '.join(map(str, image_shape))}]"
    )


def _check_static(
  images_shape: tuple[int | None, ...],
  images_dtype: np.dtype,
  captions_shape: tuple[int | None, ...],
  captions_dtype: np.dtype,
  image_shape: tuple[int, ...],
  max_words: int,
) -> None:
  _check_images_static(images_shape, images_dtype, image_shape)
  if not np.issubdtype(captions_dtype, np.integer):
    raise ValueError(
      f"captions of dtype {np.dtype(captions_dtype).name}: must be of an integer dtype"
    )
  if len(captions_shape) != 2 or not 1 <= (captions_shape[1] or 0) <= max_words:
    raise ValueError(
      f"captions of shape {captions_shape}: must have shape [B, T], with static T from 1 to "
      f"max_words={max_words}"
    )
  if images_shape[0] != captions_shape[0] and None not in (images_shape[0], captions_shape[0]):
    raise ValueError(
      f"images of length {images_shape[0]}, captions of length {captions_shape[0]}: must have the "
      "same length"
    )
