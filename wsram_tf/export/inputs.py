"""Checks the inputs of a signature and decodes image files, inside the graph.

A server enforces neither the shapes of a signature nor finite numbers. The graph therefore does,
with messages that name the input and the rule.
"""

import functools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import tensorflow as tf

__all__ = [
  "IMAGE_CHANNELS",
  "Rule",
  "checked",
  "checked_array",
  "decoded_images",
  "finite_rule",
  "row_rule",
  "same_rows_rule",
  "shaped",
]

# Channel counts that both PNG and JPEG can store.
IMAGE_CHANNELS = (1, 3)
# Beyond it, squares and their sums in a network would overflow, and the answer would be NaN.
LARGEST_MAGNITUDE = 1e16
_PNG_HEAD = b"\x89PNG\r\n\x1a\n"
_PNG_SIZE = (16, 8)  # Width and height, 4 bytes each, after the first chunk's name.
_CMYK_COLOURS = 4
_JPEG_HEAD = b"\xff\xd8\xff"


class Rule(NamedTuple):
  """What a signature asks of its inputs.

  Attributes:
    is_right: whether it holds, bool, for all or for each row.
    message: makes the parts of the error's message.
  """

  is_right: tf.Tensor
  message: Callable[[], list]


def checked(rules: Sequence[Rule], *inputs: tf.Tensor) -> list[tf.Tensor]:
  """Refuses inputs for which a rule does not hold; the message names the first such rule.

  One `tf.cond` holds the messages of all rules, because each more takes microseconds of the answer
  to a single row.

  Args:
    rules: at least one.
    *inputs: what the rules are about.

  Returns:
    the inputs.
  """

  def fail():
    checks = []
    for rule in rules:
      with tf.control_dependencies(checks):
        checks = [tf.debugging.Assert(tf.reduce_all(rule.is_right), rule.message())]
    with tf.control_dependencies(checks):
      return tf.constant(False)

  hold = [tf.reduce_all(rule.is_right) for rule in rules]
  good = tf.cond(functools.reduce(tf.logical_and, hold), lambda: tf.constant(True), fail)
  with tf.control_dependencies([good]):
    return [tf.identity(array) for array in inputs]


def row_rule(is_right: tf.Tensor, message: str, *values: tf.Tensor) -> Rule:
  """Makes a rule about each row.

  Args:
    is_right: bool `[B]`.
    message: the rule; the indices of the rows that break it follow.
    *values: each `[B, ...]`; the values of those rows follow the indices.
  """

  def parts():
    wrong = tf.where(~is_right)[:, 0]
    return [message, wrong, *(tf.gather(value, wrong) for value in values)]

  return Rule(is_right, parts)


def finite_rule(array: tf.Tensor, name: str) -> Rule:
  """Makes the rule that all numbers of an input, float `[B, ...]`, are finite and not too large."""
  # NaN is no largest number, and compares as false.
  largest = tf.reduce_max(tf.abs(array), axis=[*range(1, array.shape.rank)])
  return row_rule(
    largest <= LARGEST_MAGNITUDE,
    f"{name}: must be finite, without NaN or infinity, and at most {LARGEST_MAGNITUDE:g} in "
    "magnitude; these rows are not:",
  )


def same_rows_rule(array: tf.Tensor, name: str, other: tf.Tensor, other_name: str) -> Rule:
  """Makes the rule that an input has as many rows as another one."""
  rows, needed = tf.shape(array)[0], tf.shape(other)[0]
  message = f"{name}: must hold one row for each row of {other_name}; they have:"
  return Rule(rows == needed, lambda: [message, rows, needed])


def shaped(array: tf.Tensor, row_shape: Sequence[int]) -> tf.Tensor:
  """Refuses an input whose rows have another shape, which a server would take for more rows."""
  return tf.ensure_shape(array, [None, *row_shape])


def checked_array(array: tf.Tensor, row_shape: Sequence[int], name: str) -> tf.Tensor:
  """Refuses an input unless its shape is right and all numbers are finite and not too large.

  Args:
    array: the input, float `[B, *row_shape]`.
    row_shape: of each row, for example (H, W, C).
    name: of the input, for the message.

  Returns:
    the input.
  """
  array = shaped(array, row_shape)
  return checked([finite_rule(array, name)], array)[0]


def decoded_images(
  image_bytes: tf.Tensor, image_shape: Sequence[int], largest_pixels: int | None = None
) -> tf.Tensor:
  """Decodes PNG or JPEG files.

  Args:
    image_bytes: contents of files, string `[B]`, the input of that name.
    image_shape: (H, W, C), of an image as the network takes it.
    largest_pixels: the most pixels of a file, height times width; images of any size up to it are
      stretched to H x W. None where a file must have the exact size.

  Returns:
    float32 `[B, H, W, C]`, whole numbers in 0..255.
  """
  image_bytes = tf.ensure_shape(image_bytes, [None])
  # A regular expression cannot match the first byte of a PNG, which is no UTF-8.
  is_png = tf.strings.substr(image_bytes, 0, len(_PNG_HEAD)) == _PNG_HEAD
  is_jpeg = tf.strings.substr(image_bytes, 0, len(_JPEG_HEAD)) == _JPEG_HEAD
  whole_head = tf.strings.length(image_bytes) >= sum(_PNG_SIZE)
  known = row_rule(
    (is_png | is_jpeg) & whole_head,
    "image_bytes: each row must be a PNG or JPEG file; these rows are not:",
  )
  (image_bytes,) = checked([known], image_bytes)
  pixels = tf.map_fn(
    lambda row: _decoded_image(*row, tuple(image_shape), largest_pixels),
    (tf.range(tf.shape(image_bytes)[0]), image_bytes, is_png),
    fn_output_signature=tf.TensorSpec(image_shape, tf.uint8),
  )
  return tf.cast(pixels, tf.float32)


def _decoded_image(index, contents, is_png, image_shape, largest_pixels):
  def png_size():
    width, height = tf.unstack(
      tf.io.decode_raw(tf.strings.substr(contents, *_PNG_SIZE), tf.int32, little_endian=False), 2
    )
    return height, width, tf.constant(False)

  def jpeg_size():
    with tf.name_scope("image_bytes_must_hold_a_whole_JPEG"):
      height, width, colours = tf.unstack(tf.image.extract_jpeg_shape(contents), 3)
    return height, width, colours == _CMYK_COLOURS

  # From the header, before any pixel is decoded: a file of 170 kB can hold 144 million pixels.
  height, width, is_cmyk = tf.cond(is_png, png_size, jpeg_size)
  if largest_pixels is None:
    is_right = (height == image_shape[0]) & (width == image_shape[1])
    rule = f"must be {image_shape[0]} pixels high and {image_shape[1]} wide"
  else:
    count = tf.cast(height, tf.int64) * tf.cast(width, tf.int64)
    is_right = (height > 0) & (width > 0) & (count <= largest_pixels)
    rule = f"must have 1 to {largest_pixels} pixels"
  message = f"image_bytes: each image {rule}; row, height and width are:"
  right_size = Rule(is_right, lambda: [message, index, height, width])
  (contents,) = checked([right_size], contents)

  def pixels_of(channels):
    # The scope's name is part of the message about a truncated file.
    with tf.name_scope("image_bytes_must_hold_a_whole_PNG_or_JPEG"):
      return tf.io.decode_image(contents, channels, expand_animations=False)

  if image_shape[2] == 1:  # The decoder converts CMYK to colour alone.
    pixels = tf.cond(is_cmyk, lambda: tf.image.rgb_to_grayscale(pixels_of(3)), lambda: pixels_of(1))
  else:
    pixels = pixels_of(image_shape[2])
  if largest_pixels is not None:
    pixels = tf.ensure_shape(pixels, [None, None, image_shape[2]])
    pixels = tf.image.resize(pixels, image_shape[:2], antialias=True)
    # The pixels of training were whole numbers too.
    pixels = tf.cast(tf.clip_by_value(tf.round(pixels), 0.0, 255.0), tf.uint8)
  return tf.ensure_shape(pixels, image_shape)
