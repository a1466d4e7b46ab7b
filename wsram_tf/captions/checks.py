"""Checks images or feature grids and captions before they reach a network."""

import dataclasses
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from wsram_tf.captions.vocabulary import PADDING

__all__ = ["CaptionRules", "check_caption_arrays", "check_caption_batch"]

_EMPTY_RULE = "captions must each begin with a word, got an empty one"
_PADDING_RULE = "captions must hold no word after padding"


@dataclasses.dataclass(frozen=True)
class CaptionRules:
  """The rules of images and captions, as `inputs.InputRules` has them.

  Attributes:
    image_shape: (H, W, C) of what the network takes.
    vocabulary_size: V, words.
    max_words: the greatest length of a caption.
  """

  image_shape: tuple[int, int, int]
  vocabulary_size: int
  max_words: int
  target_name = "captions"
  num_classes = None

  def images(self, images: np.ndarray) -> np.ndarray:
    """Returns finite float images `[B, H, W, C]`, or raises ValueError."""
    _check_images_static(images.shape, images.dtype, self.image_shape)
    _check_finite(images)
    return images

  def static_images(self, shape: tf.TensorShape, dtype: tf.DType) -> None:
    """Raises ValueError where shape or dtype of images break a rule."""
    _check_images_static(tuple(shape), dtype.as_numpy_dtype, self.image_shape)

  def image_batch(self, images: tf.Tensor) -> tf.Tensor:
    """Returns finite float images `[B, H, W, C]`, or stops the graph."""
    images = tf.convert_to_tensor(images)
    _check_images_static(tuple(images.shape), images.dtype.as_numpy_dtype, self.image_shape)
    with tf.control_dependencies([_finite_assertion(images)]):
      return tf.identity(images)

  def arrays(self, images: np.ndarray, captions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns images and captions `[B, T]`, or raises ValueError."""
    check_caption_arrays(images, captions, *dataclasses.astuple(self))
    return images, captions

  def batch(self, images: tf.Tensor, captions: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns images and captions `[B, T]`, or stops the graph."""
    return check_caption_batch(images, captions, *dataclasses.astuple(self))


def check_caption_arrays(
  images: np.ndarray,
  captions: np.ndarray,
  image_shape: Sequence[int],
  vocabulary_size: int,
  max_words: int,
) -> None:
  """Raises unless whole arrays of images and captions are fit to learn from.

  Args:
    images: float `[B, H, W, C]`, finite: images, or feature grids.
    captions: integer `[B, T]`, within 0..vocabulary_size - 1; padding (0) only at the end.
    image_shape: (H, W, C) of the model.
    vocabulary_size: how many words there are.
    max_words: the greatest T.

  Raises:
    ValueError: naming the argument, its value and the rule that it breaks.
  """
  _check_static(
    images.shape, images.dtype, captions.shape, captions.dtype, tuple(image_shape), max_words
  )
  _check_finite(images)
  if captions.min() < 0 or captions.max() >= vocabulary_size:
    raise ValueError(
      f"{_words_rule(vocabulary_size)}, got values from {captions.min()} to {captions.max()}"
    )
  is_word = captions != PADDING
  if not is_word[:, 0].all():
    raise ValueError(f"{_EMPTY_RULE}: caption {np.argmin(is_word[:, 0])}")
  after = is_word[:, 1:] & ~is_word[:, :-1]
  if after.any():
    raise ValueError(f"{_PADDING_RULE}, as caption {np.argmax(after.any(axis=1))} does")


def check_caption_batch(
  images: tf.Tensor,
  captions: tf.Tensor,
  image_shape: Sequence[int],
  vocabulary_size: int,
  max_words: int,
) -> tuple[tf.Tensor, tf.Tensor]:
  """Passes a good batch through unchanged and stops at a bad one; for `tf.data.Dataset.map`.

  Args:
    images, captions, image_shape, vocabulary_size, max_words: see `check_caption_arrays`. All
      sizes but B must be known before running.

  Raises:
    ValueError: if what is known of shape and dtype before running breaks a rule.
    tf.errors.InvalidArgumentError: when run on values that break a rule.
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
      in_range, [f"{_words_rule(vocabulary_size)}, got values from", smallest, "to", largest]
    ),
    tf.debugging.Assert(tf.reduce_all(is_word[:, 0]), [_EMPTY_RULE]),
    tf.debugging.Assert(tf.reduce_all(is_word[:, :-1] | ~is_word[:, 1:]), [_PADDING_RULE]),
  ]
  with tf.control_dependencies(assertions):
    return tf.identity(images), tf.identity(captions)


def _check_finite(images: np.ndarray) -> None:
  if images.size and not np.isfinite([images.min(), images.max()]).all():
    raise ValueError(f"images must be finite, got values from {images.min()} to {images.max()}")


def _finite_assertion(images: tf.Tensor) -> tf.Operation | None:
  lowest, highest = tf.reduce_min(images), tf.reduce_max(images)
  finite = tf.math.is_finite(lowest) & tf.math.is_finite(highest)
  return tf.debugging.Assert(
    finite | tf.equal(tf.size(images), 0),
    ["images must be finite, got values from", lowest, "to", highest],
  )


def _words_rule(vocabulary_size: int) -> str:
  return f"captions must lie within 0..{vocabulary_size - 1} (vocabulary_size - 1)"


def _check_images_static(
  images_shape: tuple[int | None, ...], images_dtype: np.dtype, image_shape: tuple[int, ...]
) -> None:
  if not np.issubdtype(images_dtype, np.floating):
    raise ValueError(f"images must be of a floating dtype, got {np.dtype(images_dtype).name}")
  if images_shape[1:] != image_shape:
    raise ValueError(
      f"images must have the model's shape [B, {', '.join(map(str, image_shape))}], got "
      f"{images_shape}"
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
    raise ValueError(f"captions must be of an integer dtype, got {np.dtype(captions_dtype).name}")
  if len(captions_shape) != 2 or not 1 <= (captions_shape[1] or 0) <= max_words:
    raise ValueError(
      f"captions must have shape [B, T], T known and from 1 to max_words={max_words}, got "
      f"{captions_shape}"
    )
  if images_shape[0] != captions_shape[0] and None not in (images_shape[0], captions_shape[0]):
    raise ValueError(
      f"images and captions must be equally many, got {images_shape[0]} and {captions_shape[0]}"
    )
