"""Canvases: digits at random places and scales, drawn afresh in a tf.data pipeline.

Every batch is a pure function of the seed and the step. Each batch is drawn at once, by a few
tensor operations. The same numbers give the same canvas, as pixels or as a list of its visible
pixels; the list's cost does not depend on the size of the canvas.
"""

import tensorflow as tf

from wsram_tf.data.canvases.config import CanvasConfig
from wsram_tf.data.canvases.rendering import add_clutter, cut_pieces, render_digits
from wsram_tf.data.canvases.sparse import pixels_of_squares, visible_pixels
from wsram_tf.data.digits import Digits, check_digits
from wsram_tf.data.pipelines import (
  EVALUATION_STREAM,
  TRAINING_STREAM,
  WHOLE,
  Shard,
  map_in_order,
  on_host,
  random_integers,
  random_rows,
  shuffled_indices,
  stream_key,
)
from wsram_tf.settings import check_instance, check_number

__all__ = ["canvas_dataset", "evaluation_canvases"]


def canvas_dataset(
  digits: Digits,
  canvas: CanvasConfig,
  *,
  canvas_width: int | None = None,
  clutter_side: int = 8,
  as_visible_pixels: bool = False,
  batch_size: int,
  seed: int,
  start_step: int = 0,
  shard: Shard = WHOLE,
) -> tf.data.Dataset:
  """Makes endless training batches; each epoch shows every digit once, in a new order and place.

  The digit's side is uniform over the integers smallest_digit..largest_digit. Its place is uniform
  over the integer places at which it lies wholly within the canvas. Batch t holds the digits t B to
  t B + B - 1 of one endless sequence, so an epoch may end inside a batch.

  Args:
    digits: images uint8 `[n, h, w]`, labels integer `[n]`.
    canvas: H (`canvas_side`), the digits' sizes and the number of pieces of clutter.
    canvas_width: W, pixels; default: H.
    clutter_side: pixels, the side of a piece of clutter.
    as_visible_pixels: list the visible pixels in place of drawing the canvas.
    batch_size: canvases per batch, B.
    seed: 0 to 2**63 - 1; with the step, determines a batch.
    start_step: the step of the first batch: the number of batches to leave out.
    shard: the rows of each batch to draw.

  Returns:
    dataset of (images float32 `[B, H, W, 1]` within 0..1, labels int32 `[B]`); as visible pixels
    images are float32 `[B, T, 3]`, as `SparseObservation` takes them.

  Raises:
    ValueError: if the digits are empty or malformed, or a number is out of its range.

  Example:

  >>> import numpy as np
  >>> digits = Digits(np.full([3, 28, 28], 255, np.uint8), np.arange(3))
  >>> data = canvas_dataset(digits, CanvasConfig(canvas_side=60), batch_size=8, seed=1)
  >>> images, labels = next(iter(data))
  >>> tuple(images.shape), sorted(set(labels.numpy().tolist()))
  ((8, 60, 60, 1), [0, 1, 2])
  """
  layout = _Layout(digits, canvas, canvas_width, clutter_side, as_visible_pixels, batch_size)
  if start_step < 0:
    raise ValueError(f"start_step={start_step}: must be at least 0")
  key = stream_key(seed, TRAINING_STREAM)

  def draw_batch(step: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    indices = shuffled_indices(step, batch_size, len(digits.images), seed)
    numbers = random_integers(key, step, [batch_size, layout.numbers_per_canvas])
    return layout.draw(shard.of(indices), shard.of(numbers))

  steps = tf.data.Dataset.counter(start=start_step)
  return map_in_order(steps, draw_batch)


def evaluation_canvases(
  digits: Digits,
  canvas: CanvasConfig,
  *,
  canvas_width: int | None = None,
  clutter_side: int = 8,
  as_visible_pixels: bool = False,
  num_canvases: int,
  batch_size: int,
  seed: int,
) -> tf.data.Dataset:
  """Makes one fixed set of canvases; it repeats the digits in order as often as needed.

  Canvas i shows digit i modulo n and depends on the seed and i alone. It does not depend on the
  number of canvases; with another batch size, the last bit of a pixel may differ, because
  TensorFlow may multiply in another order.

  Args:
    digits: as `canvas_dataset` takes them.
    canvas: as `canvas_dataset` takes it.
    canvas_width: as `canvas_dataset` takes it.
    clutter_side: as `canvas_dataset` takes it.
    as_visible_pixels: as `canvas_dataset` takes it.
    num_canvases: number of canvases in the set.
    batch_size: canvases per batch, B; the last batch may hold fewer.
    seed: 0 to 2**63 - 1.

  Returns:
    finite dataset of (images, labels) as from `canvas_dataset`, rendered anew on each pass; B is
    static where batch_size divides num_canvases.

  Raises:
    ValueError: if the digits are empty or malformed, or a number is out of its range.

  Example:

  >>> import numpy as np
  >>> digits = Digits(np.full([3, 28, 28], 255, np.uint8), np.arange(3))
  >>> data = evaluation_canvases(digits, CanvasConfig(), num_canvases=5, batch_size=4, seed=1)
  >>> [labels.numpy().tolist() for _, labels in data]
  [[0, 1, 2, 0], [1]]
  """
  layout = _Layout(digits, canvas, canvas_width, clutter_side, as_visible_pixels, batch_size)
  if num_canvases < 1:
    raise ValueError(f"num_canvases={num_canvases}: must be at least 1")
  key = stream_key(seed, EVALUATION_STREAM)
  numbers = random_rows(key, num_canvases, layout.numbers_per_canvas)

  def draw_batch(places: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    return layout.draw(places % len(digits.images), tf.gather(numbers, places))

  # drop_remainder makes the batch size static; it drops nothing where the remainder is 0.
  places = tf.data.Dataset.range(num_canvases).batch(
    batch_size, drop_remainder=num_canvases % batch_size == 0
  )
  return map_in_order(places, draw_batch)


class _Layout:
  """Checked digits and settings; draws canvases from random numbers."""

  def __init__(
    self,
    digits: Digits,
    canvas: CanvasConfig,
    canvas_width: int | None,
    clutter_side: int,
    as_visible_pixels: bool,
    batch_size: int,
  ):
    check_digits(digits)
    check_instance("canvas", canvas, CanvasConfig)
    check_number("batch_size", batch_size, whole=True, minimum=1)
    self.canvas = canvas
    self.shape = canvas.canvas_side, canvas.canvas_side if canvas_width is None else canvas_width
    self.clutter_side = clutter_side
    self.as_visible_pixels = as_visible_pixels
    if self.shape[1] < canvas.largest_digit:
      raise ValueError(
        f"canvas_width={canvas_width}: must be at least largest_digit={canvas.largest_digit}"
      )
    if canvas.num_clutter:
      self._check_clutter(digits, batch_size)
    self.images, self.labels = on_host(*digits)

  @property
  def numbers_per_canvas(self) -> int:
    """Random numbers of a canvas, 3 + 5 P.

    They are reduced modulo ranges below 2**20, which favours no value by more than one in 2,000.
    """
    return 3 + 5 * self.canvas.num_clutter

  def draw(self, indices: tf.Tensor, numbers: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Draws the canvases of digits `indices`, as the datasets give them, with their labels."""
    height, width = self.shape
    smallest, largest = self.canvas.smallest_digit, self.canvas.largest_digit
    sides = smallest + numbers[:, 0] % (largest - smallest + 1)
    tops, lefts = numbers[:, 1] % (height - sides + 1), numbers[:, 2] % (width - sides + 1)
    digits = tf.cast(tf.gather(self.images, indices), tf.float32) / 255.0
    clutter = self._clutter(indices, numbers[:, 3:]) if self.canvas.num_clutter else None
    if self.as_visible_pixels:
      images = self._list_pixels(digits, sides, tops, lefts, clutter)
    else:
      images = render_digits(digits, sides, tops, lefts, self.shape, largest)
      if clutter is not None:
        images = add_clutter(images, *clutter)
      images = images[..., tf.newaxis]
    return images, tf.gather(self.labels, indices)

  def _clutter(self, indices: tf.Tensor, numbers: tf.Tensor) -> tuple[tf.Tensor, ...]:
    """Cuts pieces `[B, P, k, k]` of other digits, and chooses their rows and columns `[B, P]`."""
    others, cut_tops, cut_lefts, tops, lefts = tf.split(numbers, 5, axis=1)
    side = self.clutter_side
    pieces = cut_pieces(self.images, indices, others, cut_tops, cut_lefts, side)
    return pieces, tops % (self.shape[0] - side + 1), lefts % (self.shape[1] - side + 1)

  def _list_pixels(
    self,
    digits: tf.Tensor,
    sides: tf.Tensor,
    tops: tf.Tensor,
    lefts: tf.Tensor,
    clutter: tuple[tf.Tensor, ...] | None,
  ) -> tf.Tensor:
    largest, origin = self.canvas.largest_digit, tf.zeros_like(tops)
    squares = render_digits(digits, sides, origin, origin, (largest, largest), largest)
    squares, sides, tops, lefts = (one[:, tf.newaxis] for one in (squares, sides, tops, lefts))
    lists = [pixels_of_squares(squares, sides, tops, lefts)]
    if clutter is not None:
      pieces, tops, lefts = clutter
      lists.append(
        pixels_of_squares(pieces, tf.fill(tf.shape(tops), self.clutter_side), tops, lefts)
      )
    return visible_pixels(tf.concat(lists, axis=1))

  def _check_clutter(self, digits: Digits, batch_size: int) -> None:
    height, width = self.shape
    # Pieces are placed by offsets of 32 bits.
    if not self.as_visible_pixels and batch_size * height * width >= 2**31:
      raise ValueError(
        f"batch_size={batch_size}: must be at most {(2**31 - 1) // (height * width)} for canvases "
        f"of {height} x {width} pixels with clutter"
      )
    largest = min(*self.shape, *digits.images.shape[1:])
    if not 1 <= self.clutter_side <= largest:
      raise ValueError(
        f"clutter_side={self.clutter_side}: must be from 1 to {largest}, the shortest side of "
        "digits and canvas"
      )
    if len(digits.images) < 2:
      raise ValueError(
        f"digits of length {len(digits.images)}: must be at least 2 where num_clutter is above 0, "
        "because clutter comes from other digits"
      )
