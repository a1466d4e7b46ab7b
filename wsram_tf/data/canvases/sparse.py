"""Draws digits and clutter as lists of visible pixels, for canvases of any size."""

import tensorflow as tf

__all__ = ["pixels_of_squares", "visible_pixels"]

# float32 holds whole numbers up to here.
_MOST_COLUMNS = 2**24


def pixels_of_squares(
  squares: tf.Tensor, sides: tf.Tensor, tops: tf.Tensor, lefts: tf.Tensor
) -> tf.Tensor:
  """Lists the pixels of squares that lie on canvases.

  Args:
    squares: float32 `[B, P, k, k]`, P squares per canvas.
    sides: int32 `[B, P]`, pixels; the used rows and columns of each square, at most k.
    tops: int32 `[B, P]`, pixels; canvas row of the square's first row.
    lefts: int32 `[B, P]`, pixels; canvas column of the square's first column.

  Returns:
    float32 `[B, P * k * k, 3]`: row, column and value of each pixel; the value of an unused pixel
    is 0.

  Example:

  >>> one = tf.ones([1, 1], tf.int32)
  >>> pixels_of_squares(tf.ones([1, 1, 2, 2]), one, 5 * one, 7 * one)[0, 0].numpy().tolist()
  [5.0, 7.0, 1.0]
  """
  steps = tf.range(squares.shape[-1])
  used = steps < sides[..., tf.newaxis]  # [B, P, k]
  is_used = used[..., :, tf.newaxis] & used[..., tf.newaxis, :]
  values = tf.where(is_used, squares, 0.0)
  rows, columns = (
    tf.broadcast_to(tf.cast(places, tf.float32), tf.shape(squares))
    for places in (
      (tops[..., tf.newaxis] + steps)[..., :, tf.newaxis],
      (lefts[..., tf.newaxis] + steps)[..., tf.newaxis, :],
    )
  )
  pixels = tf.stack([rows, columns, values], axis=-1)
  return tf.reshape(pixels, [-1, squares.shape[1] * squares.shape[2] * squares.shape[3], 3])


def visible_pixels(pixels: tf.Tensor) -> tf.Tensor:
  """Leaves the brightest of the pixels at one place, and no pixel of value 0.

  Args:
    pixels: float32 `[B, T, 3]`: row, column and value, 0 or above.

  Returns:
    float32 `[B, V, 3]`, by rows and columns, V the most visible pixels of a canvas; canvases with
    fewer are filled with zeros.

  Example:

  >>> visible_pixels(tf.constant([[[4.0, 0.0, 0.5], [1.0, 2.0, 0.0], [4.0, 0.0, 0.7]]])).numpy()
  array([[[4. , 0. , 0.7]]], dtype=float32)
  """
  # Without black pixels, which are most, the sorts take a third of the time.
  pixels = tf.ragged.boolean_mask(pixels, pixels[..., 2] > 0).to_tensor()
  # By value, then by place: the second sort keeps the order of equal places.
  pixels = tf.gather(pixels, tf.argsort(pixels[..., 2], axis=1), batch_dims=1)
  places = tf.cast(pixels[..., 0], tf.int64) * _MOST_COLUMNS + tf.cast(pixels[..., 1], tf.int64)
  order = tf.argsort(places, axis=1, stable=True)
  pixels, places = (tf.gather(one, order, batch_dims=1) for one in (pixels, places))
  is_last = tf.concat(
    [places[:, 1:] != places[:, :-1], tf.ones_like(places[:, :1], tf.bool)], axis=1
  )
  return tf.ragged.boolean_mask(pixels, is_last & (pixels[..., 2] > 0)).to_tensor()
