"""Checks the inputs of a signature and decodes image files, inside the graph.

A server enforces neither the shapes of a signature nor finite numbers. The graph therefore does,
with messages that name the input and the rule.
"""

from collections.abc import Sequence

import tensorflow as tf

__all__ = ["IMAGE_CHANNELS", "checked_array", "decoded_images", "with_rows_of"]

# Channel counts that both PNG and JPEG can store.
IMAGE_CHANNELS = (1, 3)
# Beyond it, squares and their sums in a network would overflow, and the answer would be NaN.
LARGEST_MAGNITUDE = 1e16
_PNG_HEAD = b"\x89PNG\r\n\x1a\n"
_PNG_SIZE = (16, 8)  # Width and height, 4 bytes each, after the first chunk's name.
_CMYK_COLOURS = 4
_JPEG_HEAD = b"\xff\xd8\xff"


def checked_array(array: tf.Tensor, row_shape: Sequence[int], name: str) -> tf.Tensor:
  """Refuses an input unless its shape is right and all numbers are finite and not too large.

  Args:
    array: the input, float `[B, *row_shape]`.
    row_shape: of each row, for example (H, W, C).
    name: of the input, for the message.

  Returns:
    the input.
  """
  # Without this line, three channels would be read as three times the batch.
  array = tf.ensure_shape(array, [None, *row_shape])
  # NaN is no largest number, and compares as false.
  largest = tf.reduce_max(tf.abs(array), axis=[*range(1, array.shape.rank)])
  is_right = largest <= LARGEST_MAGNITUDE
  message = (
    f"{name}: must be finite, without NaN or infinity, and at most {LARGEST_MAGNITUDE:g} in "
    "magnitude; these rows are not:"
  )
  check = tf.debugging.Assert(tf.reduce_all(is_right), [message, tf.where(~is_right)[:, 0]])
  with tf.control_dependencies([check]):
    return tf.identity(array)


def with_rows_of(array: tf.Tensor, name: str, other: tf.Tensor, other_name: str) -> tf.Tensor:
  """Refuses an input unless it has as many rows as another one; returns the input."""
  rows, needed = tf.shape(array)[0], tf.shape(other)[0]
  counted = tf.debugging.Assert(
    rows == needed,
    [f"{name}: must hold one row for each row of {other_name}; they have:", rows, needed],
  )
  with tf.control_dependencies([counted]):
    return tf.identity(array)


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
  known = tf.debugging.Assert(
    tf.reduce_all((is_png | is_jpeg) & whole_head),
    [
      "image_bytes: each row must be a PNG or JPEG file; these rows are not:",
      tf.where(~((is_png | is_jpeg) & whole_head))[:, 0],
    ],
  )
  with tf.control_dependencies([known]):
    image_bytes = tf.identity(image_bytes)
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
  right_size = tf.debugging.Assert(
    is_right,
    [f"image_bytes: each image {rule}; row, height and width are:", index, height, width],
  )
  with tf.control_dependencies([right_size]):
    contents = tf.identity(contents)

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
