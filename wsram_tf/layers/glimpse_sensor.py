"""The glimpse sensor: cuts square patches at several scales around a location, without weights."""

import functools
from typing import Literal, get_args

import keras
import tensorflow as tf
from tensorflow.compiler.tf2xla.python import xla

from wsram_tf.locations import locations_to_pixels

__all__ = ["Cutting", "GlimpseSensor"]

# How the sensor reads the pixels of a patch; see `GlimpseSensor.prepare`.
Cutting = Literal["gather", "levels", "loop", "windows"]


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


def _slice(prepared: tf.Tensor, begin: tf.Tensor, size: int) -> tf.Tensor:
  """Cuts float `[1, size, size, C]` from (image, row, column, 0) on, int32 `[4]`."""
  # XLA needs the start of a tf.slice at compile time; it would treat the weights behind the start
  # as constants and recompile after each update.
  return xla.dynamic_slice(prepared, begin, [1, size, size, prepared.shape[-1]])


def _sides(images: tf.Tensor) -> tuple[int | tf.Tensor, int | tf.Tensor, int]:
  """Returns height, width and channels; height and width are tensors where one is not static."""
  _, height, width, channels = images.shape
  if None in (height, width):
    _, height, width, _ = tf.unstack(tf.shape(images))
  return height, width, channels


def image_of_row(rows: tf.Tensor, images: tf.Tensor) -> tf.Tensor:
  """Returns the image at which each row looks, for integers of one type."""
  # An empty batch has no rows, so any divisor is correct.
  return tf.range(rows) // tf.maximum(rows // tf.maximum(images, 1), 1)


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
  def border(self) -> int:
    """Pixels of zeros around each level, the side of the largest block of an average."""
    return 2 ** (self.scales - 1)

  @property
  def insets(self) -> list[int]:
    """From the first pixel of the widest patch to that of the patch of each scale, in pixels."""
    return [(self.extent - self.side * 2**scale) // 2 for scale in range(self.scales)]

  def prepare(self, images: tf.Tensor, cutting: Cutting = "gather") -> tf.Tensor:
    """Prepares images for `call`, once for all glimpses.

    All ways of cutting give the same patches, to the last bit. Which is fastest depends on the
    device and on the number of glimpses:

    - `gather` reads all pixels of the widest patch. Its cost does not depend on the size of the
      images, so it suits few glimpses of large images.
    - `levels` averages each whole image over blocks at every pixel, one level for each scale, and
      then reads only `side * side` values of each patch. It suits many glimpses of small images.
    - `loop` loops over a padded copy of the images and slices it. It is the fastest under XLA on a
      CPU, which recomputes the indices of a gather for each pixel.
    - `windows` cuts the widest patches by one operation, `tf.image.extract_glimpse`. It is the
      fastest on a CPU without XLA, and serves one glimpse an image (M = 1) of float32 alone. XLA
      does not know the operation, and it has no kernel for a GPU.

    Args:
      images: float `[B, H, W, C]`.
      cutting: how `call` will cut the patches.

    Returns:
      for `gather` and `windows` the images; for `loop` a copy with `margin` pixels of zeros on each
      side; for `levels` float `[S, B, H + 2 * border, W + 2 * border, C]`.

    Raises:
      ValueError: if cutting is none of them, or `windows` with images of another type than float32.
    """
    if cutting not in get_args(Cutting):
      raise ValueError(f"cutting={cutting!r}: must be one of {', '.join(get_args(Cutting))}")
    if cutting == "windows" and images.dtype != tf.float32:
      raise ValueError(f"cutting='windows': must go with float32 images, not {images.dtype.name}")
    if cutting == "loop":
      return tf.pad(images, [[0, 0], [self.margin] * 2, [self.margin] * 2, [0, 0]])
    return self._levels(images) if cutting == "levels" else images

  def call(
    self, prepared: tf.Tensor, locations: tf.Tensor, cutting: Cutting = "gather"
  ) -> tf.Tensor:
    """Cuts one glimpse per row; see the class."""
    locations = tf.stop_gradient(locations)
    if cutting == "levels":
      return self._read_levels(prepared, locations)
    height, width, channels = _sides(prepared)
    margin = self.margin if cutting == "loop" else 0
    scales = tf.cast(locations[:, 2], tf.int32) if self.choose_scale else None
    first = self.first_pixel(locations, height - 2 * margin, width - 2 * margin) + margin
    if cutting in ("gather", "windows") or None in (prepared.shape[0], locations.shape[0]):
      cut_widest = self._cut_windows if cutting == "windows" else self._gather
      patches = self._scale_down(cut_widest(prepared, first))
      return patches if scales is None else tf.gather(patches, scales[:, tf.newaxis], batch_dims=1)
    samples = locations.shape[0] // prepared.shape[0]
    if scales is not None:
      first += tf.gather(tf.constant(self.insets), scales)[:, tf.newaxis]
      scales = tf.reshape(scales, [-1, samples])
    # All starts at once: in the loop, each number would be an operation of its own.
    images = tf.repeat(tf.range(prepared.shape[0]), samples)[:, tf.newaxis]
    starts = tf.concat([images, first, tf.zeros_like(images)], axis=1)
    starts = tf.reshape(starts, [-1, samples, 4])

    def cut(image: tf.Tensor) -> tf.Tensor:
      begins = tf.unstack(starts[image])
      if scales is None:
        slices = [_slice(prepared, begin, self.extent) for begin in begins]
        return self._scale_down(tf.concat(slices, axis=0))
      chosen = zip(begins, tf.unstack(scales[image]), strict=True)
      return tf.stack([self._cut_scale(prepared, begin, scale) for begin, scale in chosen])

    patches = tf.map_fn(cut, tf.range(prepared.shape[0]), fn_output_signature=prepared.dtype)
    per_glimpse = self.scales if scales is None else 1
    return tf.reshape(patches, [-1, per_glimpse, self.side, self.side, channels])

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

  def _levels(self, images: tf.Tensor) -> tf.Tensor:
    """Averages images over blocks that start at every pixel, `2**s` pixels a side for scale s."""
    border = [self.border] * 2
    levels = [tf.pad(images, [[0, 0], border, border, [0, 0]])]
    for scale in range(self.scales - 1):
      # Four blocks of the level below, added in the order of `halve`.
      step, below = 2**scale, levels[-1]
      rows = below[:, :-step] + below[:, step:]
      blocks = (rows[:, :, :-step] + rows[:, :, step:]) * 0.25
      levels.append(tf.pad(blocks, [[0, 0], [0, step], [0, step], [0, 0]]))
    return tf.stack(levels)

  def _read_levels(self, levels: tf.Tensor, locations: tf.Tensor) -> tf.Tensor:
    size = levels.shape.num_elements()
    integers = tf.int32 if size and size < 2**31 else tf.int64  # int64 indices are slower.
    _, batch, height, width, _ = tf.unstack(tf.shape(levels, integers))
    border, scales = self.border, tf.range(self.scales, dtype=integers)[tf.newaxis]
    first = self.first_pixel(
      locations, *(tf.cast(side, tf.int32) - 2 * border for side in (height, width))
    )
    if self.choose_scale:
      scales = tf.cast(locations[:, 2:3], integers)
    # Offsets of the pixels of each patch, [R or 1, scales, G].
    blocks = tf.gather(tf.constant([2**scale for scale in range(self.scales)], integers), scales)
    offsets = tf.range(self.side, dtype=integers) * blocks[..., tf.newaxis]
    offsets += tf.gather(tf.constant(self.insets, integers), scales)[..., tf.newaxis] + border
    starts = tf.cast(first, integers)[..., tf.newaxis, tf.newaxis]
    # The outermost rows and columns of all levels are zero.
    rows = tf.clip_by_value(starts[:, 0] + offsets, 0, height - 1)
    columns = tf.clip_by_value(starts[:, 1] + offsets, 0, width - 1)
    grids = scales * batch + image_of_row(tf.shape(first, integers)[0], batch)[:, tf.newaxis]
    indices = (grids[..., tf.newaxis] * height + rows)[..., tf.newaxis] * width
    indices += columns[..., tf.newaxis, :]
    return tf.gather(tf.reshape(levels, [-1, levels.shape[-1]]), indices)

  def _cut_scale(self, prepared: tf.Tensor, begin: tf.Tensor, scale: tf.Tensor) -> tf.Tensor:
    """Cuts the patch of one scale, float `[1, G, G, C]`; the branches have different sizes."""

    def cut(scale: int) -> tf.Tensor:
      return _halved(_slice(prepared, begin, self.side * 2**scale), scale)

    branches = [functools.partial(cut, scale) for scale in range(self.scales)]
    return tf.switch_case(scale, branches)

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
