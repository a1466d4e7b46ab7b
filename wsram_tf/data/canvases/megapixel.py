"""Megapixel MNIST: fixed sets of canvases with five digits among noise patterns.

A set is held as its pieces, the number and place of each square. The canvases are drawn from them
one by one, as pixels or as lists of their visible pixels.
"""

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from wsram_tf.data.canvases.config import MegapixelConfig
from wsram_tf.data.digits import Digits, check_digits
from wsram_tf.data.pipelines import (
  WHOLE,
  Shard,
  map_in_order,
  on_host,
  random_integers,
  random_rows,
  shuffled_indices,
  stream_key,
)

__all__ = ["MegapixelCanvases", "Pieces"]

_SIDE = 28  # Of a digit and of a noise pattern, pixels.
_OF_TARGET, _OF_OTHERS = 3, 2  # Digits of a canvas.
# Streams of random numbers; each further attempt to place the digits takes the next one.
_DIGITS, _NOISE, _PATTERNS, _CORNERS = range(4)
_SHIFTS = 2**30
_CANDIDATES = 32  # Corners that an attempt tries, for five digits.
_STROKE_POINTS = 56
_STEEPEST = np.pi / 2.5  # Angle of a stroke from the row axis, radians.
_FLIPPED = 0.33  # Share of second strokes, for each of two flips.
_DARKEST, _GREYS = 204, 51  # Greys from 0.8 * 255 to below 255.


class Pieces(NamedTuple):
  """The squares of n canvases, S on each, in the order in which they are painted.

  Attributes:
    bank: uint8 `[n_digits + n_patterns, 28, 28]`: all digits, then all noise patterns.
    squares: int32 `[n, S]`, places in the bank.
    corners: int32 `[n, S, 2]`, pixels; row and column of each square's first pixel.
    labels: int32 `[n]`, the classes of the canvases.
  """

  bank: np.ndarray
  squares: np.ndarray
  corners: np.ndarray
  labels: np.ndarray


class MegapixelCanvases:
  """A fixed set of canvases; canvas i depends on the seed and i alone.

  Three digits show a target class, which is uniform over the classes, and two show other classes.
  Digits do not overlap each other. Noise patterns are pairs of straight strokes, which may overlap
  anything; their first pixels are at least 28 pixels from each border. All squares are opaque: a
  later one hides what lies under it, also under its black pixels.

  Args:
    digits: images uint8 `[n, 28, 28]`, labels integer `[n]`, of at least two classes.
    megapixel: the side of the canvases, the noise, the painting order and the label.
    num_canvases: canvases of the set.
    seed: 0 to 2**63 - 1.

  Attributes:
    pieces: see `Pieces`.

  Raises:
    ValueError: if the digits are malformed or of one class, or a number is out of its range.

  Source: A. Katharopoulos, F. Fleuret, "Processing Megapixel Images with Deep Attention-Sampling
    Models", ICML 2019 (noise last); B. Bergner, C. Lippert, A. Mahendran, "Iterative Patch
    Selection for High-Resolution Image Recognition", ICLR 2023 (digits last; labels).

  Example:

  >>> digits = Digits(np.full([4, 28, 28], 255, np.uint8), np.arange(4))
  >>> config = MegapixelConfig(megapixel_side=150)
  >>> canvases = MegapixelCanvases(digits, config, num_canvases=5, seed=1)
  >>> [tuple(images.shape) for images, _ in canvases.evaluation_data(batch_size=4)]
  [(4, 150, 150, 1), (1, 150, 150, 1)]
  """

  def __init__(self, digits: Digits, megapixel: MegapixelConfig, *, num_canvases: int, seed: int):
    check_digits(digits)
    if digits.images.shape[1:] != (_SIDE, _SIDE):
      raise ValueError(
        f"digits.images of shape {digits.images.shape}: must be of {_SIDE} x {_SIDE} pixels"
      )
    if len(np.unique(digits.labels)) < 2:
      raise ValueError(f"digits.labels, all {digits.labels[0]}: must be of at least two classes")
    if num_canvases < 1:
      raise ValueError(f"num_canvases={num_canvases}: must be at least 1")
    self.pieces = _draw_pieces(digits, megapixel, num_canvases, seed)
    self._side = megapixel.megapixel_side
    self._shift, self._wrap = megapixel.megapixel_shift, megapixel.megapixel_wrap
    self._bank, self._labels = on_host(self.pieces.bank, self.pieces.labels)
    self._corners, self._squares = on_host(self.pieces.corners, self.pieces.squares)

  def training_data(
    self,
    *,
    batch_size: int,
    seed: int,
    start_step: int = 0,
    as_visible_pixels: bool = False,
    shard: Shard = WHOLE,
  ) -> tf.data.Dataset:
    """Makes endless training batches; each epoch shows every canvas once, in a new order.

    Args:
      batch_size: canvases per batch, B.
      seed: 0 to 2**63 - 1; seed of the order.
      start_step: the step of the first batch: the number of batches to leave out.
      as_visible_pixels: list the visible pixels in place of drawing the canvas.
      shard: the rows of each batch to draw.

    Returns:
      dataset of (images float32 `[B, H, W, 1]` within 0..1, labels int32 `[B]`); as visible pixels
      images are float32 `[B, T, 3]`, as `SparseObservation` takes them.

    Raises:
      ValueError: if a number is out of its range.
    """
    if start_step < 0:
      raise ValueError(f"start_step={start_step}: must be at least 0")
    key = stream_key(seed, _SHIFTS)
    rows = shard.rows(batch_size)
    own_rows = tf.data.Dataset.counter(start=start_step * rows)
    count, most = len(self.pieces.labels), self._shift

    def shown(row: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
      place = row // rows * batch_size + shard.index * rows + row % rows
      shift = random_integers(key, place, [2]) % (2 * most + 1) - most
      return shuffled_indices(place, 1, count, seed)[0], shift

    return self._batches(own_rows.map(shown), rows, as_visible_pixels)

  def evaluation_data(self, *, batch_size: int, as_visible_pixels: bool = False) -> tf.data.Dataset:
    """Makes one pass over all canvases, in order.

    Args:
      batch_size: canvases per batch, B; the last batch may hold fewer.
      as_visible_pixels: as `training_data` takes it.

    Returns:
      finite dataset of (images, labels) as from `training_data`; B is static where batch_size
      divides the number of canvases.

    Raises:
      ValueError: if batch_size is out of its range.
    """
    indices = tf.data.Dataset.range(len(self.pieces.labels))
    shown = indices.map(lambda index: (index, tf.zeros([2], tf.int32)))
    return self._batches(shown, batch_size, as_visible_pixels)

  def _batches(
    self, shown: tf.data.Dataset, batch_size: int, as_visible_pixels: bool
  ) -> tf.data.Dataset:
    """Draws batches of canvases, given the number and the shift of each."""
    if batch_size < 1:
      raise ValueError(f"batch_size={batch_size}: must be at least 1")
    canvases = map_in_order(shown, lambda *canvas: self._draw(*canvas, as_visible_pixels))
    # drop_remainder makes the batch size static; it drops nothing where the remainder is 0.
    endless = shown.cardinality() == tf.data.INFINITE_CARDINALITY
    whole = endless or len(self.pieces.labels) % batch_size == 0
    return canvases.padded_batch(batch_size, drop_remainder=whole).prefetch(tf.data.AUTOTUNE)

  def _draw(
    self, index: tf.Tensor, shift: tf.Tensor, as_visible_pixels: bool
  ) -> tuple[tf.Tensor, tf.Tensor]:
    corners = tf.gather(self._corners, index)  # [S, 2]
    squares = tf.gather(self._bank, tf.gather(self._squares, index))
    visible = _without_hidden(squares, corners)  # [S, 28, 28]
    lit = tf.where(visible > 0)  # [T, 3]: square, row and column in it.
    places = tf.gather(corners, lit[:, 0]) + tf.cast(lit[:, 1:], tf.int32)  # [T, 2]
    values = tf.cast(tf.gather_nd(visible, lit), tf.float32) / 255.0
    if self._wrap:
      places = tf.math.floormod(places + shift, self._side)
    elif self._shift:
      places += shift
      inside = tf.reduce_all((places >= 0) & (places < self._side), axis=1)
      places, values = tf.boolean_mask(places, inside), tf.boolean_mask(values, inside)
    if as_visible_pixels:
      image = tf.concat([tf.cast(places, tf.float32), values[:, tf.newaxis]], axis=1)
    else:
      image = tf.scatter_nd(places, values, [self._side, self._side])[..., tf.newaxis]
    return image, tf.gather(self._labels, index)


def _without_hidden(squares: tf.Tensor, corners: tf.Tensor) -> tf.Tensor:
  """Blackens the pixels of squares `[S, k, k]` that lie under a later square."""
  count, side = tf.shape(squares)[0], squares.shape[-1]
  # By axis, because a last axis of two elements is slow for S x S pairs.
  near = [tf.abs(places - places[:, tf.newaxis]) < side for places in tf.unstack(corners, axis=1)]
  is_later = tf.range(count) > tf.range(count)[:, tf.newaxis]
  pairs = tf.where(near[0] & near[1] & is_later)  # [N, 2]: a square and a later one.
  offsets = tf.gather(corners, pairs[:, 1]) - tf.gather(corners, pairs[:, 0])
  steps = tf.range(side) - offsets[..., tf.newaxis]  # [N, 2, k]
  inside = (steps >= 0) & (steps < side)
  hidden = tf.cast(inside[:, 0, :, tf.newaxis] & inside[:, 1, tf.newaxis], tf.int32)  # [N, k, k]
  times_hidden = tf.scatter_nd(pairs[:, :1], hidden, tf.shape(squares, tf.int64))
  return squares * tf.cast(times_hidden == 0, squares.dtype)


def _draw_pieces(
  digits: Digits, megapixel: MegapixelConfig, num_canvases: int, seed: int
) -> Pieces:
  side, num_noise = megapixel.megapixel_side, megapixel.megapixel_noise
  shown = _choose_digits(digits.labels, num_canvases, seed)
  shown_corners = _digit_corners(side, num_canvases, seed)
  classes = digits.labels[shown]  # [n, 5]
  if megapixel.megapixel_label == "majority":
    labels = classes[:, 0]
  elif megapixel.megapixel_label == "max":
    labels = classes.max(axis=1)
  else:
    labels = classes[np.arange(num_canvases), shown_corners[..., 0].argmin(axis=1)]
  numbers = _numbers(seed, _NOISE, num_canvases, 3 * num_noise)
  noise = len(digits.images) + numbers[:, :num_noise] % max(num_noise, 1)
  noise_corners = (
    numbers[:, num_noise:].reshape(num_canvases, num_noise, 2) % (side - 2 * _SIDE) + _SIDE
  )
  parts = [(noise, noise_corners), (shown, shown_corners)]
  if megapixel.megapixel_order == "noise_last":
    parts.reverse()
  squares, corners = (np.concatenate(part, axis=1) for part in zip(*parts, strict=True))
  bank = np.concatenate([digits.images, _noise_patterns(num_noise, seed)])
  return Pieces(bank, squares.astype(np.int32), corners.astype(np.int32), labels.astype(np.int32))


def _numbers(seed: int, stream: int, rows: int, columns: int) -> np.ndarray:
  """Draws integers `[rows, columns]`, uniform over 0 to 2**31 - 2."""
  return random_rows(stream_key(seed, stream), rows, columns).numpy()


def _choose_digits(labels: np.ndarray, num_canvases: int, seed: int) -> np.ndarray:
  """Draws the digits of each canvas `[n, 5]`, with replacement; the target class comes first."""
  numbers = _numbers(seed, _DIGITS, num_canvases, 1 + _OF_TARGET + _OF_OTHERS)
  target, of_target, of_others = np.split(numbers, [1, 1 + _OF_TARGET], axis=1)
  by_class = np.argsort(labels, kind="stable")
  _, starts, counts = np.unique(labels[by_class], return_index=True, return_counts=True)
  start, count = (values[target % len(starts)] for values in (starts, counts))  # [n, 1]
  others = of_others % (len(labels) - count)
  others += np.where(others >= start, count, 0)  # Skips the target class.
  return by_class[np.concatenate([start + of_target % count, others], axis=1)]


def _digit_corners(side: int, num_canvases: int, seed: int) -> np.ndarray:
  """Draws corners `[n, 5, 2]` of digits that do not overlap, each among all that are left."""
  num_digits, furthest = _OF_TARGET + _OF_OTHERS, side - _SIDE
  corners = np.zeros([num_canvases, num_digits, 2], np.int32)
  missing = np.arange(num_canvases)
  stream = _CORNERS
  while len(missing):  # On small canvases few digits can leave no room for the others.
    numbers = _numbers(seed, stream, num_canvases, 2 * _CANDIDATES)[missing]
    # A uniform number, rounded: the outermost corners have half the probability of others.
    candidates = (numbers.reshape(-1, _CANDIDATES, 2) % (2 * furthest) + 1) // 2
    placed = np.zeros(len(missing), np.int32)
    chosen = np.full([len(missing), num_digits, 2], -_SIDE, np.int32)  # Overlaps no candidate.
    for candidate in candidates.swapaxes(0, 1):
      apart = np.abs(chosen - candidate[:, np.newaxis]).max(axis=-1) >= _SIDE
      rows = np.flatnonzero(apart.all(axis=1) & (placed < num_digits))
      chosen[rows, placed[rows]] = candidate[rows]
      placed[rows] += 1
    done = placed == num_digits
    corners[missing[done]] = chosen[done]
    missing, stream = missing[~done], stream + 1
  return corners


def _noise_patterns(count: int, seed: int) -> np.ndarray:
  """Draws patterns `[count, 28, 28]`, each the union of two strokes, every pixel in a grey."""
  if not count:
    return np.zeros([0, _SIDE, _SIDE], np.uint8)
  numbers = _numbers(seed, _PATTERNS, count, 4 + _SIDE**2)
  angles, order, *flips = numbers[:, :4].T / 2**31
  slopes = np.tan(angles * _STEEPEST)[:, np.newaxis]
  # Rows run evenly to the border that the stroke meets first.
  rows = np.linspace(0, 1, _STROKE_POINTS) * (_SIDE - 0.51) / np.maximum(slopes, 1)
  strokes = np.zeros([count, _SIDE, _SIDE], bool)
  rows, columns = (np.rint(values).astype(int) for values in (rows, slopes * rows))
  strokes[np.arange(count)[:, np.newaxis], rows, columns] = True
  others = strokes[np.argsort(order, kind="stable")]
  # Both flips of the original mirror the columns, so two of them undo each other.
  is_mirrored = (flips[0] < _FLIPPED) != (flips[1] < _FLIPPED)
  others = np.where(is_mirrored[:, np.newaxis, np.newaxis], others[..., ::-1], others)
  greys = _DARKEST + numbers[:, 4:].reshape(strokes.shape) % _GREYS
  return np.where(strokes | others, greys, 0).astype(np.uint8)
