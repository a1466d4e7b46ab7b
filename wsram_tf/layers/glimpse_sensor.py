"""The glimpse sensor: cuts square patches at several scales around a location, without weights."""

from typing import Literal, get_args

import keras
import tensorflow as tf
from tensorflow.compiler.tf2xla.python import xla
from tensorflow.compiler.xla import xla_data_pb2

from wsram_tf.locations import locations_to_pixels

__all__ = ["Cutting", "GlimpseSensor"]

# Levels are prepared while an image has at most so many times the pixels of the widest patch.
_LEVEL_AREA = 8

# How the sensor reads the pixels of a patch; see `GlimpseSensor.prepare`.
Cutting = Literal["gather", "windows", "xla"]


def halve(images: tf.Tensor) -> tf.Tensor:
  """Averages float `[R, H, W, C]` over blocks of 2 x 2."""
  # Strided slices are several times slower than a separate axis for each pair.
  _, height, width, channels = images.shape
  pairs = tf.reshape(images, [-1, height // 2, 2, width * channels])
  rows = tf.reshape(pairs[:, :, 0] + pairs[:, :, 1], [-1, height // 2, width // 2, 2, channels])
  return (rows[:, :, :, 0] + rows[:, :, :, 1]) * 0.25


def _halved(images: tf.Tensor, times: int) -> tf.Tensor:
  for _ in range(times):
    images = halve(images)
  return images


def _add_blocks(blocks: tf.Tensor, step: int) -> tf.Tensor:
  """Averages four blocks, each `step` pixels from the next, from every pixel on.

  It adds them in the order of `halve`, so the results are equal to the last bit.

  Args:
    blocks: float `[B, H, W, C]`.
    step: side of a block, pixels.

  Returns:
    float `[B, H - step, W - step, C]`.
  """
  rows = blocks[:, :-step] + blocks[:, step:]
  return (rows[:, :, :-step] + rows[:, :, step:]) * 0.25


def image_of_row(rows: tf.Tensor, images: tf.Tensor) -> tf.Tensor:
  """Returns the image at which each row looks, for integers of one type."""
  # An empty batch has no rows, so any divisor is correct.
  return tf.range(rows) // tf.maximum(rows // tf.maximum(images, 1), 1)


@tf.function(jit_compile=True, autograph=False)
def _split_levels(images: tf.Tensor, zeros: tuple[int, ...]) -> list[tf.Tensor]:
  """Averages images over blocks that start at every pixel, for `GlimpseSensor.prepare`.

  Args:
    images: float `[B, H, W, C]`.
    zeros: of each level, how many there are at least on each side of the pixels of an image; they
      do not decrease, and the first level has as many as the last one's blocks reach beyond it.

  Returns:
    that of scale s float `[B, H', W', C]`; H' and W' are multiples of 2**s.
  """
  levels = []
  for level, around in enumerate(zeros):
    # Each level is made from the one before, whose zeros it has too.
    blocks = _add_blocks(levels[-1], 2 ** (level - 1)) if level else images
    before = around - zeros[level - 1] if level else around
    lengths = [-(-(side + 2 * around) // 2**level) * 2**level for side in images.shape[1:3]]
    rows, columns = (length - before for length in lengths)
    inside = blocks[:, :rows, :columns]
    after = (rows - inside.shape[1], columns - inside.shape[2])
    levels.append(tf.pad(inside, [[0, 0], [before, after[0]], [before, after[1]], [0, 0]]))
  return levels


@tf.function(jit_compile=True, autograph=False)
def _copy_patches(
  levels: list[tf.Tensor],
  first: tf.Tensor,
  scales: tf.Tensor | None,
  side: int,
  starts: tuple[int, ...],
) -> tf.Tensor:
  """Copies patches from the levels of `_split_levels`.

  Args:
    levels: from `_split_levels`.
    first: int32 `[R, 2]`, from `GlimpseSensor.first_pixel`.
    scales: int32 `[R]`, those chosen; None for all.
    side: G.
    starts: of each scale, from `first` to the first pixel of its patch in its level.

  Returns:
    as `GlimpseSensor` does.
  """
  images = image_of_row(*(tf.shape(rows)[0] for rows in (first, levels[0])))[:, tf.newaxis]
  # XLA computes the indices of a gather again for each pixel, and with them the locations, unless a
  # division by several values lies between.
  steps = tf.constant([[2 ** min(scale, len(levels) - 1)] for scale in range(len(starts))])
  places = first[:, tf.newaxis] + tf.constant(starts)[:, tf.newaxis]  # [R, S, 2]
  places = tf.stack([places // steps, places % steps], axis=-1)  # [R, S, 2, 2]
  channels = levels[0].shape[-1]
  dimensions = xla_data_pb2.GatherDimensionNumbers(
    offset_dims=[1, 2, 3],
    collapsed_slice_dims=[0, 2, 4],
    start_index_map=[0, 1, 2, 3, 4],
    index_vector_dim=1,
  )
  patches = []
  for scale in range(len(starts)):
    level = min(scale, len(levels) - 1)
    indices = tf.concat([images, tf.reshape(places[:, scale], [-1, 4])], axis=1)
    if scales is not None:
      # Rows that chose another scale all read one place, which stays in the cache.
      indices = tf.where((scales == scale)[:, tf.newaxis], indices, 0)
    size = side * 2 ** (scale - level)
    # Pixels 2**level apart become neighbours, so that a patch is one block of the array.
    height, width = (length // 2**level for length in levels[level].shape[1:3])
    blocks = tf.reshape(levels[level], [-1, height, 2**level, width, 2**level, channels])
    cut = xla.gather(blocks, indices, dimensions, [1, size, 1, size, 1, channels])
    patches.append(_halved(tf.ensure_shape(cut, [None, size, size, channels]), scale - level))
  if scales is None:
    return tf.stack(patches, axis=1)
  # One gather with the level as an index would need all levels in one array.
  chosen = patches[0]
  for scale, patch in enumerate(patches[1:], start=1):
    chosen = tf.where((scales == scale)[:, tf.newaxis, tf.newaxis, tf.newaxis], patch, chosen)
  return chosen[:, tf.newaxis]


def _sides(images: tf.Tensor) -> tuple[int | tf.Tensor, int | tf.Tensor, int]:
  """Returns height, width and channels; height and width are tensors where one is not static."""
  _, height, width, channels = images.shape
  if None in (height, width):
    _, height, width, _ = tf.unstack(tf.shape(images))
  return height, width, channels


@keras.saving.register_keras_serializable("wsram_tf")
class GlimpseSensor(keras.layers.Layer):
  """Cuts S square patches of G x G pixels around each location.

  Scale s covers `side * 2**s` pixels of the canvas, averaged over blocks of 2**s x 2**s down to
  G x G. The widest patch starts at its centre minus half its size, rounded to the nearest whole
  pixel (halves round up). The other patches are centred in it; where the centre lies between two
  pixels, they are placed to its upper left. Pixels beyond the canvas are zero. No gradient passes
  to the locations.

  Args:
    side: G, pixels.
    scales: S.
    choose_scale: give the one patch of the scale that comes with each location. It equals the patch
      of this scale that a sensor for all scales gives.

  Raises:
    ValueError: if side or scales is below 1.

  Call arguments:
    prepared: from `prepare(images)`, for images float `[B, H, W, C]`; C must be static, H and W
      need not be.
    locations: float `[R, 2]`, (row, column) in [-1, 1]; with `choose_scale` float `[R, 3]`, (row,
      column, scale), where the scale is a whole number from 0 to S - 1. R = B * M; the M glimpses
      of an image are consecutive, so row r looks at image r // M.
    cutting: as given to `prepare`.

  Returns:
    float `[R, S, G, G, C]`; with `choose_scale` `[R, 1, G, G, C]`.

  Source: V. Mnih, N. Heess, A. Graves, K. Kavukcuoglu, Recurrent Models of Visual Attention, 2014,
    the glimpse sensor, arXiv 1406.6247.

  Example:

  >>> image = tf.reshape(tf.range(16.0), [1, 4, 4, 1])
  >>> sensor = GlimpseSensor(side=2, scales=2)
  >>> patches = sensor(sensor.prepare(image), tf.constant([[0.0, 0.0]]))[0, ..., 0]
  >>> patches.numpy().tolist()  # The middle, and the whole image at half the resolution.
  [[[5.0, 6.0], [9.0, 10.0]], [[2.5, 4.5], [10.5, 12.5]]]
  """

  def __init__(self, side: int, scales: int, choose_scale: bool = False, **kwargs):
    super().__init__(**kwargs)
    if side < 1 or scales < 1:
      raise ValueError(f"side={side}, scales={scales}: must both be at least 1")
    self.side = side
    self.scales = scales
    self.choose_scale = choose_scale

  @property
  def extent(self) -> int:
    """Side of the widest patch, in pixels of the canvas."""
    return self.side * 2 ** (self.scales - 1)

  @property
  def margin(self) -> int:
    """Largest distance by which a patch reaches beyond the canvas, in pixels."""
    return (self.extent + 1) // 2

  @property
  def insets(self) -> list[int]:
    """From the first pixel of the widest patch to that of the patch of each scale, in pixels."""
    return [(self.extent - self.side * 2**scale) // 2 for scale in range(self.scales)]

  def prepare(self, images: tf.Tensor, cutting: Cutting = "gather") -> tf.Tensor | list[tf.Tensor]:
    """Prepares images for `call`, once for all glimpses.

    All ways of cutting give the same patches, to the last bit. Which is fastest depends on the
    device and on the number of glimpses:

    - `gather` reads all pixels of the widest patch. Its cost does not depend on the size of the
      images, so it suits few glimpses of large images.
    - `windows` cuts the widest patches by one operation, `tf.image.extract_glimpse`. It is the
      fastest on a CPU without XLA, and serves one glimpse an image (M = 1) of float32 alone. XLA
      does not know the operation, and it has no kernel for a GPU.
    - `xla` averages whole small images over blocks at every pixel, and then copies only
      `side * side` values of a patch. It is the fastest on a CPU for many glimpses, but XLA takes a
      second to compile it for each shape.

    A gradient passes to the images with `gather` alone.

    Args:
      images: float `[B, H, W, C]`; for `xla`, H and W must be static.
      cutting: how `call` will cut the patches.

    Returns:
      for `gather` and `windows` the images; for `xla` a list of levels, that of scale s float
      `[B, H', W', C]`, where H' and W' are height and width with zeros on each side.

    Raises:
      ValueError: if cutting is none of them, `windows` with images of another type than float32, or
        `xla` with images of unknown size.
    """
    if cutting not in get_args(Cutting):
      raise ValueError(f"cutting={cutting!r}: must be one of {', '.join(get_args(Cutting))}")
    if cutting == "windows" and images.dtype != tf.float32:
      raise ValueError(f"cutting='windows': must go with float32 images, not {images.dtype.name}")
    return self._split_levels(images) if cutting == "xla" else images

  def call(
    self,
    prepared: tf.Tensor | list[tf.Tensor],
    locations: tf.Tensor,
    cutting: Cutting = "gather",
  ) -> tf.Tensor:
    """Cuts one glimpse per row; see the class."""
    locations = tf.stop_gradient(locations)
    if cutting == "xla":
      return self._copy_patches(prepared, locations)
    height, width, _ = _sides(prepared)
    first = self.first_pixel(locations, height, width)
    cut_widest = self._cut_windows if cutting == "windows" else self._gather
    patches = self._scale_down(cut_widest(prepared, first))
    if not self.choose_scale:
      return patches
    scales = tf.cast(locations[:, 2:3], tf.int32)
    return tf.gather(patches, scales, batch_dims=1)

  def first_pixel(
    self, locations: tf.Tensor, height: int | tf.Tensor, width: int | tf.Tensor
  ) -> tf.Tensor:
    """Places the widest patches.

    Args:
      locations: float `[R, 2]` or more columns, (row, column) in [-1, 1].
      height: of the images, pixels.
      width: of the images, pixels.

    Returns:
      row and column of the first pixel of each row's widest patch, int32 `[R, 2]`, from -`margin`.
    """
    places = locations if locations.shape[-1] == 2 else locations[:, :2]
    centre = locations_to_pixels(places, height, width)
    return tf.cast(tf.floor(centre - self.extent / 2 + 0.5), tf.int32)

  def _zeros_around(self, level: int, last: int) -> int:
    """Returns how many zeros a level for `xla` has on each side of the pixels of an image."""
    widest = self.scales - 1 if level == last else level  # Of the scales that are read from it.
    return max(self.margin - self.insets[widest], 2**last - 1)

  def _split_levels(self, images: tf.Tensor) -> list[tf.Tensor]:
    """Averages images over blocks that start at every pixel, one level for each of some scales."""
    _, height, width, _ = images.shape
    if None in (height, width):
      raise ValueError(f"images.shape={images.shape}: height and width must be static to use XLA")
    # Where every glimpse reads all scales, the widest patch is cheaper to average again. Levels of
    # large images cost more than they save.
    most = self.scales if self.choose_scale else max(self.scales - 1, 1)
    last = max(
      level for level in range(most) if level * height * width <= _LEVEL_AREA * self.extent**2
    )
    zeros = tuple(self._zeros_around(level, last) for level in range(last + 1))
    return _split_levels(images, zeros)

  def _copy_patches(self, levels: list[tf.Tensor], locations: tf.Tensor) -> tf.Tensor:
    """Copies the patches from the levels of `_split_levels`."""
    last = len(levels) - 1
    _, height, width, _ = levels[0].shape
    zeros = 2 * self._zeros_around(0, last)
    first = self.first_pixel(locations, height - zeros, width - zeros)
    starts = tuple(
      inset + self._zeros_around(min(scale, last), last) for scale, inset in enumerate(self.insets)
    )
    scales = tf.cast(locations[:, 2], tf.int32) if self.choose_scale else None
    return _copy_patches(levels, first, scales, self.side, starts)

  def _gather(self, canvas: tf.Tensor, first: tf.Tensor) -> tf.Tensor:
    height, width, channels = _sides(canvas)
    is_known = isinstance(height, int)
    # int64 indices are slower; int32 suffices for 2,048 images of up to 2**20 pixels each.
    integers = tf.int32 if is_known and height * width <= 2**20 else tf.int64
    if not is_known:
      height, width = tf.cast(height, integers), tf.cast(width, integers)
    first = tf.cast(first, integers)
    batch, count = tf.shape(canvas, integers)[0], tf.shape(first, integers)[0]
    image = image_of_row(count, batch)
    steps = tf.range(self.extent, dtype=integers)
    rows, columns = (first[:, axis, tf.newaxis] + steps for axis in (0, 1))  # [R, E]
    inside_rows = (rows >= 0) & (rows < height)
    inside_columns = (columns >= 0) & (columns < width)
    inside = inside_rows[:, :, tf.newaxis] & inside_columns[:, tf.newaxis]
    indices = (image[:, tf.newaxis] * height + rows)[:, :, tf.newaxis] * width
    indices = tf.where(inside, indices + columns[:, tf.newaxis], 0)
    pixels = tf.gather(tf.reshape(canvas, [-1, channels]), indices)
    # tf.where instead of a product with the mask, because the pixel at index 0 may be infinite.
    return tf.where(inside[..., tf.newaxis], pixels, tf.zeros([], pixels.dtype))

  def _cut_windows(self, canvas: tf.Tensor, first: tf.Tensor) -> tf.Tensor:
    # From integers, which are far outside where a location is not a number.
    offsets = tf.cast(first, tf.float32)
    size = [self.extent, self.extent]
    return tf.image.extract_glimpse(
      canvas, size, offsets, centered=False, normalized=False, noise="zero"
    )

  def _scale_down(self, widest: tf.Tensor) -> tf.Tensor:
    patches, halved = [], widest  # So many times as the scale.
    for scale, first in enumerate(self.insets):
      if scale:
        halved = halve(halved)
      if first % 2**scale:  # The blocks of this scale lie across those of the widest patch.
        size = self.side * 2**scale
        patches.append(_halved(widest[:, first : first + size, first : first + size], scale))
      elif scale < self.scales - 1:
        cut = slice(first >> scale, (first >> scale) + self.side)
        patches.append(halved[:, cut, cut])
      else:
        patches.append(halved)
    return tf.stack(patches, axis=1)

  def get_config(self):
    """Returns the constructor's arguments."""
    return {
      **super().get_config(),
      "side": self.side,
      "scales": self.scales,
      "choose_scale": self.choose_scale,
    }
