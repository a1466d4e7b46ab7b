"""Digits at random places and scales on larger canvases, drawn afresh in a tf.data pipeline.

Every batch is a pure function of the seed and the step, so a run that is resumed sees exactly the
batches that it would have seen. A whole batch is drawn by one handful of tensor operations.
"""

import functools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from wsram_tf.data.digits import Digits
from wsram_tf.data.orders import shuffled_indices
from wsram_tf.data.pipelines import map_in_order

__all__ = ["add_clutter", "canvas_dataset", "evaluation_canvases", "render_digits"]

# Random numbers for training and for evaluation must differ even under one seed.
_TRAINING_STREAM, _EVALUATION_STREAM = 0, 1
_EVALUATION_BLOCK = 1024
# A brightness that no eye sees, left free so that rounding in float32 cannot push pixels above 1.
_HEADROOM = 2.0**-18


class _Setting(NamedTuple):
  canvas_shape: tuple[int, int]
  smallest_digit: int
  largest_digit: int
  num_clutter: int
  clutter_side: int


def render_digits(
  digits: tf.Tensor,
  sides: tf.Tensor,
  tops: tf.Tensor,
  lefts: tf.Tensor,
  canvas_shape: Sequence[int],
  largest_side: int | None = None,
) -> tf.Tensor:
  """Draws each digit, resized to its own side, at its own place on a black canvas.

  Linear interpolation between pixel centres; a digit that shrinks is averaged over a triangle
  widened by the factor of shrinking, so thin strokes fade instead of breaking up. A digit at its
  own side is copied exactly.

  Args:
    digits: float32 `[B, h, w]`, within 0..1.
    sides: int32 `[B]`, pixels; height and width of the drawn digit, 1 to the canvas's longer side.
    tops: int32 `[B]`, pixels; the canvas row of the digit's first row.
    lefts: int32 `[B]`, pixels; the canvas column of the digit's first column.
    canvas_shape: (H, W), pixels.
    largest_side: pixels, the greatest of `sides` that there can be, which saves memory on large
      canvases; None for the canvas's longer side.

  Returns:
    canvases, float32 `[B, H, W]`, within 0..1; what does not fit on the canvas is cut off.

  Raises:
    ValueError: if canvas_shape is not two positive sizes or digits are not of rank 3.
  """
  height, width = _check_canvas_shape(canvas_shape)
  digits, sides, tops, lefts = map(tf.convert_to_tensor, (digits, sides, tops, lefts))
  if digits.shape.rank != 3 or None in digits.shape[1:]:
    raise ValueError(f"digits must have shape [B, h, w] with h, w known, got {digits.shape}")
  largest = largest_side or max(height, width)
  rows = _interpolation(digits.shape[1], largest, sides, tops, height)  # [B, H, h]
  columns = _interpolation(digits.shape[2], largest, sides, lefts, width)  # [B, W, w]
  return rows @ tf.matmul(digits, columns, transpose_b=True)


def add_clutter(
  canvases: tf.Tensor, pieces: tf.Tensor, tops: tf.Tensor, lefts: tf.Tensor
) -> tf.Tensor:
  """Pastes pieces onto canvases, keeping the brighter of the two at every pixel.

  Args:
    canvases: float32 `[B, H, W]`.
    pieces: float32 `[B, P, k, k]`, P pieces per canvas.
    tops: int32 `[B, P]`, pixels; 0 to H - k.
    lefts: int32 `[B, P]`, pixels; 0 to W - k.

  Returns:
    canvases, float32 `[B, H, W]`, nowhere darker than they were.

  Source: V. Mnih, N. Heess, A. Graves, K. Kavukcuoglu, "Recurrent Models of Visual Attention",
    2014, section on cluttered translated MNIST, arXiv 1406.6247.
  """
  height, width = canvases.shape[1:]
  side = pieces.shape[-1]
  firsts = tf.range(tf.shape(canvases)[0])[:, tf.newaxis] * (height * width) + tops * width + lefts
  pixels = _square_of_offsets(firsts, side, width)  # [B, P, k k]
  # A segment per pixel: a scatter of single pixels takes several times as long. Segments without
  # a piece hold the lowest float, which loses to any canvas.
  clutter = tf.math.unsorted_segment_max(
    tf.reshape(pieces, [-1]), tf.reshape(pixels, [-1]), tf.size(canvases)
  )
  return tf.maximum(canvases, tf.reshape(clutter, tf.shape(canvases)))


def canvas_dataset(
  digits: Digits,
  *,
  canvas_shape: Sequence[int],
  smallest_digit: int,
  largest_digit: int,
  num_clutter: int = 0,
  clutter_side: int = 8,
  batch_size: int,
  seed: int,
  start_step: int = 0,
) -> tf.data.Dataset:
  """Endless training batches; each epoch shows every digit once, in a new order and new places.

  The digit's side is uniform over the integers smallest_digit..largest_digit, its place uniform
  over the integer places where it lies wholly within the canvas. Batch t holds the digits t B to
  t B + B - 1 of one endless sequence, so an epoch may end inside a batch.

  Args:
    digits: what to draw; images uint8 `[n, h, w]`, labels integer `[n]`.
    canvas_shape: (H, W), pixels.
    smallest_digit: pixels, the least side of a drawn digit.
    largest_digit: pixels, the greatest side of a drawn digit.
    num_clutter: how many square pieces of other digits to paste onto each canvas.
    clutter_side: pixels, the side of such a piece.
    batch_size: canvases per batch, B.
    seed: 0 to 2**63 - 1; with the step, determines a batch.
    start_step: the step of the first batch: the number of batches to leave out.

  Returns:
    dataset of (images float32 `[B, H, W, 1]` within 0..1, labels int32 `[B]`).

  Raises:
    ValueError: if the digits are empty or malformed, or a number is out of its range.
  """
  setting = _Setting(tuple(canvas_shape), smallest_digit, largest_digit, num_clutter, clutter_side)
  _check_setting(digits, setting, batch_size, seed)
  if start_step < 0:
    raise ValueError(f"start_step must be at least 0, got {start_step}")
  images, labels = _host_tensors(digits)
  key = _stream_key(seed, _TRAINING_STREAM)

  def draw_batch(step: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    indices = shuffled_indices(step, batch_size, len(digits.images), seed)
    numbers = _random_numbers(key, step, batch_size, setting)
    return _draw(images, setting, indices, numbers), tf.gather(labels, indices)

  steps = tf.data.Dataset.counter(start=start_step)
  return map_in_order(steps, draw_batch)


def evaluation_canvases(
  digits: Digits,
  *,
  canvas_shape: Sequence[int],
  smallest_digit: int,
  largest_digit: int,
  num_clutter: int = 0,
  clutter_side: int = 8,
  num_canvases: int,
  batch_size: int,
  seed: int,
) -> tf.data.Dataset:
  """One fixed set of canvases, made from the digits in order and as often as needed.

  Canvas i shows digit i modulo n and depends on the seed and i alone: neither on the batch size
  (but for the last bit of a pixel, where TensorFlow multiplies in another order) nor on how many
  canvases there are.

  Args:
    digits: what to draw; images uint8 `[n, h, w]`, labels integer `[n]`.
    canvas_shape: (H, W), pixels.
    smallest_digit: pixels, the least side of a drawn digit.
    largest_digit: pixels, the greatest side of a drawn digit.
    num_clutter: how many square pieces of other digits to paste onto each canvas.
    clutter_side: pixels, the side of such a piece.
    num_canvases: how many canvases the set holds.
    batch_size: canvases per batch, B; the last batch may hold fewer.
    seed: 0 to 2**63 - 1.

  Returns:
    finite dataset of (images float32 `[B, H, W, 1]` within 0..1, labels int32 `[B]`), rendered
    anew on each pass; B is static where batch_size divides num_canvases.

  Raises:
    ValueError: if the digits are empty or malformed, or a number is out of its range.
  """
  setting = _Setting(tuple(canvas_shape), smallest_digit, largest_digit, num_clutter, clutter_side)
  _check_setting(digits, setting, batch_size, seed)
  if num_canvases < 1:
    raise ValueError(f"num_canvases must be at least 1, got {num_canvases}")
  images, labels = _host_tensors(digits)
  numbers = _evaluation_numbers(seed, num_canvases, setting)

  def draw_batch(canvases: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    indices = canvases % len(digits.images)
    return _draw(images, setting, indices, tf.gather(numbers, canvases)), tf.gather(labels, indices)

  # Dropping a remainder that is none makes the batch size static.
  canvases = tf.data.Dataset.range(num_canvases).batch(
    batch_size, drop_remainder=num_canvases % batch_size == 0
  )
  return map_in_order(canvases, draw_batch)


def _host_tensors(digits: Digits) -> tuple[tf.Tensor, tf.Tensor]:
  # Eager tensors are captured by reference, arrays would be copied into each graph; on the host
  # because a pipeline that captures device memory fetches it back for every batch.
  with tf.device("/CPU:0"):
    return tf.constant(digits.images), tf.constant(digits.labels, tf.int32)


def _stream_key(seed: int, stream: int) -> tf.Tensor:
  with tf.device("/CPU:0"):
    return tf.random.fold_in(tf.constant([seed, 0], tf.int64), stream, alg="philox")


def _random_numbers(
  key: tf.Tensor, data: tf.Tensor | int, count: int, setting: _Setting
) -> tf.Tensor:
  """All numbers that `count` canvases take, int32 `[count, 3 + 5 P]`.

  They are reduced modulo ranges below 2**20, which favours no value by more than one in 2,000.
  """
  return tf.random.stateless_uniform(
    [count, 3 + 5 * setting.num_clutter],
    # One dtype, since fold_in gives other keys for an int32 than for an equal int64.
    tf.random.fold_in(key, tf.cast(data, tf.int64), alg="philox"),
    minval=0,
    maxval=tf.int32.max,
    dtype=tf.int32,
    alg="philox",
  )


def _evaluation_numbers(seed: int, num_canvases: int, setting: _Setting) -> tf.Tensor:
  # Whole blocks of a fixed size, since the numbers of a shorter draw need not be a prefix.
  key = _stream_key(seed, _EVALUATION_STREAM)
  num_blocks = -(-num_canvases // _EVALUATION_BLOCK)
  with tf.device("/CPU:0"):
    blocks = [
      _random_numbers(key, block, _EVALUATION_BLOCK, setting) for block in range(num_blocks)
    ]
    return tf.concat(blocks, axis=0)[:num_canvases]


def _draw(
  images: tf.Tensor, setting: _Setting, indices: tf.Tensor, numbers: tf.Tensor
) -> tf.Tensor:
  """The canvases float32 `[B, H, W, 1]` of digits `indices`, as random `numbers` have it."""
  height, width = setting.canvas_shape
  sides = setting.smallest_digit + numbers[:, 0] % (
    setting.largest_digit - setting.smallest_digit + 1
  )
  tops, lefts = numbers[:, 1] % (height - sides + 1), numbers[:, 2] % (width - sides + 1)
  digits = tf.cast(tf.gather(images, indices), tf.float32) / 255.0
  canvases = render_digits(digits, sides, tops, lefts, setting.canvas_shape, setting.largest_digit)
  if setting.num_clutter:
    others, cut_tops, cut_lefts, tops, lefts = tf.split(numbers[:, 3:], 5, axis=1)  # [B, P]
    pieces = _cut_pieces(images, indices, others, cut_tops, cut_lefts, setting.clutter_side)
    canvases = add_clutter(
      canvases,
      pieces,
      tops % (height - setting.clutter_side + 1),
      lefts % (width - setting.clutter_side + 1),
    )
  return canvases[..., tf.newaxis]


def _cut_pieces(
  images: tf.Tensor,
  indices: tf.Tensor,
  others: tf.Tensor,
  tops: tf.Tensor,
  lefts: tf.Tensor,
  side: int,
) -> tf.Tensor:
  """Square pieces, float32 `[B, P, k, k]`, of digits other than the canvas's own."""
  num_digits, height, width = images.shape
  # A step of 1 to n - 1 from a digit, counted round, reaches each of the others alike.
  own = tf.cast(indices, tf.int32)[:, tf.newaxis]
  others = (own + 1 + others % (num_digits - 1)) % num_digits
  tops, lefts = tops % (height - side + 1), lefts % (width - side + 1)
  pixels = _square_of_offsets((others * height + tops) * width + lefts, side, width)
  pieces = tf.cast(tf.gather(tf.reshape(images, [-1]), pixels), tf.float32) / 255.0
  return tf.reshape(pieces, [-1, others.shape[1], side, side])


def _square_of_offsets(firsts: tf.Tensor, side: int, row_length: int) -> tf.Tensor:
  """Flat offsets `[B, P, k k]` of squares of `side` pixels, given those of their first pixels."""
  steps = np.arange(side, dtype=np.int32)
  return firsts[..., tf.newaxis] + (steps[:, np.newaxis] * row_length + steps).ravel()


def _interpolation(
  source_length: int, largest: int, sides: tf.Tensor, starts: tf.Tensor, length: int
) -> tf.Tensor:
  """Matrices float32 `[B, length, source_length]` that resize and place along one axis."""
  # Looking the rows up costs a third of computing them for each batch.
  table = tf.constant(_interpolation_table(source_length, largest))
  sides = sides[:, tf.newaxis]
  places = tf.range(length) - starts[:, tf.newaxis]
  rows = 1 + sides * (sides - 1) // 2 + places
  return tf.gather(table, tf.where((places >= 0) & (places < sides), rows, 0))


@functools.lru_cache(maxsize=8)
def _interpolation_table(source_length: int, largest: int) -> np.ndarray:
  """A row of zeros, then the rows of the resizing matrices to 1, 2, ... `largest` pixels."""
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


def _check_canvas_shape(canvas_shape: Sequence[int]) -> tuple[int, int]:
  if len(canvas_shape) != 2 or min(canvas_shape) < 1:
    raise ValueError(
      f"canvas_shape must be (height, width), both at least 1 pixel, got {canvas_shape}"
    )
  return tuple(canvas_shape)


def _check_digits(digits: Digits) -> None:
  if digits.images.ndim != 3 or digits.images.dtype != np.uint8:
    raise ValueError(
      "digits.images must be uint8 of shape [n, h, w], got "
      f"{digits.images.dtype} of shape {digits.images.shape}"
    )
  if digits.labels.ndim != 1 or not np.issubdtype(digits.labels.dtype, np.integer):
    raise ValueError(
      "digits.labels must be integers of shape [n], got "
      f"{digits.labels.dtype} of shape {digits.labels.shape}"
    )
  if len(digits.images) != len(digits.labels):
    raise ValueError(
      "digits.images and digits.labels must be equally many, got "
      f"{len(digits.images)} images and {len(digits.labels)} labels"
    )
  if not digits.images.size:
    raise ValueError(f"digits must not be empty, got images of shape {digits.images.shape}")


def _check_setting(digits: Digits, setting: _Setting, batch_size: int, seed: int) -> None:
  _check_digits(digits)
  _check_canvas_shape(setting.canvas_shape)
  if setting.smallest_digit < 1:
    raise ValueError(f"smallest_digit must be at least 1 pixel, got {setting.smallest_digit}")
  if setting.largest_digit < setting.smallest_digit:
    raise ValueError(
      f"largest_digit must be at least smallest_digit ({setting.smallest_digit}), "
      f"got {setting.largest_digit}"
    )
  if setting.largest_digit > min(setting.canvas_shape):
    raise ValueError(
      f"largest_digit must fit canvas_shape {setting.canvas_shape}, got {setting.largest_digit}"
    )
  if setting.num_clutter < 0:
    raise ValueError(f"num_clutter must be at least 0, got {setting.num_clutter}")
  if setting.num_clutter:
    _check_clutter(digits, setting, batch_size)
  if batch_size < 1:
    raise ValueError(f"batch_size must be at least 1, got {batch_size}")
  if not 0 <= seed < 2**63:
    raise ValueError(f"seed must lie within 0..2**63 - 1, got {seed}")


def _check_clutter(digits: Digits, setting: _Setting, batch_size: int) -> None:
  height, width = setting.canvas_shape
  if batch_size * height * width >= 2**31:  # Pieces are placed by offsets of 32 bits.
    raise ValueError(
      f"batch_size={batch_size}: must be at most {(2**31 - 1) // (height * width)} for canvases of "
      f"{height} x {width} pixels with clutter"
    )
  room = min(*setting.canvas_shape, *digits.images.shape[1:])
  if not 1 <= setting.clutter_side <= room:
    raise ValueError(
      f"clutter_side must lie within 1..{room}, the shortest side of digits and canvas, "
      f"got {setting.clutter_side}"
    )
  if len(digits.images) < 2:
    raise ValueError(
      "digits must number at least 2 where num_clutter > 0, since pieces come from other digits, "
      f"got {len(digits.images)}"
    )
