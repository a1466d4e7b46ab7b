"""Draws digits and clutter onto batches of canvases, as tensor operations."""

import functools
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

__all__ = ["add_clutter", "cut_pieces", "render_digits"]

# Invisible reduction of brightness, so that float32 rounding cannot push a pixel above 1.
_HEADROOM = 2.0**-18


def render_digits(
  digits: tf.Tensor,
  sides: tf.Tensor,
  tops: tf.Tensor,
  lefts: tf.Tensor,
  canvas_shape: Sequence[int],
  largest_side: int | None = None,
) -> tf.Tensor:
  """Draws each digit at its own size and place on a black canvas.

  Resizing is linear interpolation between pixel centres. A digit that shrinks is averaged over a
  triangle widened by the shrinking factor, so thin strokes fade instead of breaking up. A digit
  drawn at its original size is copied exactly. Parts beyond the canvas are cut off.

  Args:
    digits: float32 `[B, h, w]`, within 0..1.
    sides: int32 `[B]`, pixels; height and width of the drawn digit, 1 to the canvas's longer side.
    tops: int32 `[B]`, pixels; canvas row of the digit's first row.
    lefts: int32 `[B]`, pixels; canvas column of the digit's first column.
    canvas_shape: (H, W), pixels.
    largest_side: pixels, an upper bound of `sides`, which saves memory on large canvases; default:
      the canvas's longer side.

  Returns:
    canvases, float32 `[B, H, W]`, within 0..1.

  Raises:
    ValueError: if canvas_shape is not two positive sizes or digits are not of rank 3.

  Example:

  >>> canvas = render_digits(tf.ones([1, 2, 2]), [2], [1], [0], canvas_shape=(3, 4))[0]
  >>> canvas.numpy().astype(int).tolist()
  [[0, 0, 0, 0], [1, 1, 0, 0], [1, 1, 0, 0]]
  """
  if len(canvas_shape) != 2 or min(canvas_shape) < 1:
    raise ValueError(
      f"canvas_shape={tuple(canvas_shape)}: must be (height, width), both at least 1 pixel"
    )
  height, width = canvas_shape
  digits, sides, tops, lefts = map(tf.convert_to_tensor, (digits, sides, tops, lefts))
  if digits.shape.rank != 3 or None in digits.shape[1:]:
    raise ValueError(
      f"digits of shape {digits.shape}: must have shape [B, h, w], with h and w known"
    )
  largest = largest_side or max(height, width)
  rows = _interpolation(digits.shape[1], largest, sides, tops, height)  # [B, H, h]
  columns = _interpolation(digits.shape[2], largest, sides, lefts, width)  # [B, W, w]
  return rows @ tf.matmul(digits, columns, transpose_b=True)


def add_clutter(
  canvases: tf.Tensor, pieces: tf.Tensor, tops: tf.Tensor, lefts: tf.Tensor
) -> tf.Tensor:
  """Pastes pieces onto canvases; each pixel keeps the brightest of the overlapping values.

  Args:
    canvases: float32 `[B, H, W]`.
    pieces: float32 `[B, P, k, k]`, P pieces per canvas.
    tops: int32 `[B, P]`, pixels; 0 to H - k.
    lefts: int32 `[B, P]`, pixels; 0 to W - k.

  Returns:
    canvases, float32 `[B, H, W]`.

  Source: V. Mnih, N. Heess, A. Graves, K. Kavukcuoglu, "Recurrent Models of Visual Attention",
    2014, section on cluttered translated MNIST, arXiv 1406.6247.

  Example:

  >>> piece, top, left = tf.fill([1, 1, 2, 2], 0.5), tf.constant([[0]]), tf.constant([[1]])
  >>> add_clutter(tf.zeros([1, 2, 3]), piece, top, left)[0].numpy().tolist()
  [[0.0, 0.5, 0.5], [0.0, 0.5, 0.5]]
  """
  height, width = canvases.shape[1:]
  side = pieces.shape[-1]
  firsts = tf.range(tf.shape(canvases)[0])[:, tf.newaxis] * (height * width) + tops * width + lefts
  pixels = _square_of_offsets(firsts, side, width)  # [B, P, k k]
  # One segment per pixel: a scatter of single pixels takes several times as long. Segments without
  # a piece hold the lowest float, so the canvas wins there.
  clutter = tf.math.unsorted_segment_max(
    tf.reshape(pieces, [-1]), tf.reshape(pixels, [-1]), tf.size(canvases)
  )
  return tf.maximum(canvases, tf.reshape(clutter, tf.shape(canvases)))


def cut_pieces(
  images: tf.Tensor,
  indices: tf.Tensor,
  others: tf.Tensor,
  tops: tf.Tensor,
  lefts: tf.Tensor,
  side: int,
) -> tf.Tensor:
  """Cuts square pieces out of digits other than each canvas's own.

  Args:
    images: uint8 `[n, h, w]`, static shape, n at least 2.
    indices: integer `[B]`, the digit of each canvas.
    others: int32 `[B, P]`, random numbers that choose the other digits.
    tops: int32 `[B, P]`, random numbers that choose the pieces' rows.
    lefts: int32 `[B, P]`, random numbers that choose the pieces' columns.
    side: k, pixels, at most h and w.

  Returns:
    pieces, float32 `[B, P, k, k]`, within 0..1.

  Example:

  >>> images = tf.constant([[[0]], [[255]]], tf.uint8)
  >>> others, zeros = tf.constant([[7, 8]]), tf.zeros([1, 2], tf.int32)
  >>> cut_pieces(images, [0], others, zeros, zeros, side=1)[0, :, 0, 0].numpy().tolist()
  [1.0, 1.0]
  """
  num_digits, height, width = images.shape
  # A cyclic step of 1 to n - 1 from a digit reaches every other digit with equal probability.
  own = tf.cast(indices, tf.int32)[:, tf.newaxis]
  others = (own + 1 + others % (num_digits - 1)) % num_digits
  tops, lefts = tops % (height - side + 1), lefts % (width - side + 1)
  pixels = _square_of_offsets((others * height + tops) * width + lefts, side, width)
  pieces = tf.cast(tf.gather(tf.reshape(images, [-1]), pixels), tf.float32) / 255.0
  return tf.reshape(pieces, [-1, others.shape[1], side, side])


def _square_of_offsets(firsts: tf.Tensor, side: int, row_length: int) -> tf.Tensor:
  """Computes flat offsets `[B, P, k k]` of squares of `side` pixels from their first pixels'."""
  steps = np.arange(side, dtype=np.int32)
  return firsts[..., tf.newaxis] + (steps[:, np.newaxis] * row_length + steps).ravel()


def _interpolation(
  source_length: int, largest: int, sides: tf.Tensor, starts: tf.Tensor, length: int
) -> tf.Tensor:
  """Makes matrices, float32 `[B, length, source_length]`, that resize and place along one axis."""
  # A table lookup takes a third of the time that computing the rows for each batch would.
  table = tf.constant(_interpolation_table(source_length, largest))
  sides = sides[:, tf.newaxis]
  places = tf.range(length) - starts[:, tf.newaxis]
  rows = 1 + sides * (sides - 1) // 2 + places
  return tf.gather(table, tf.where((places >= 0) & (places < sides), rows, 0))


@functools.lru_cache(maxsize=8)
def _interpolation_table(source_length: int, largest: int) -> np.ndarray:
  """Stacks a row of zeros and the rows of the matrices that resize to 1 to `largest` pixels."""
  blocks = [np.zeros([1, source_length])]
  for side in range(1, largest + 1):
    scale = source_length / side
    centers = (np.arange(side) + 0.5) * scale - 0.5
    distances = np.abs(centers[:, np.newaxis] - np.arange(source_length)) / max(scale, 1.0)
    weights = np.maximum(1.0 - distances, 0.0)
    weights /= weights.sum(axis=1, keepdims=True)
    # A row that copies one pixel cannot round up and must stay exact.
    blocks.append(np.where(weights < 1.0, weights * (1.0 - _HEADROOM), weights))
  return np.concatenate(blocks).astype(np.float32)
