"""The glimpse sensor: cuts square patches at several scales around a location, without weights."""

import functools

import keras
import tensorflow as tf
from tensorflow.compiler.tf2xla.python import xla

from wsram_tf.locations import locations_to_pixels

__all__ = [
  "GlimpseSensor",
]


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
    loop_over_images: as given to `prepare`.

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

  def prepare(self, images: tf.Tensor, loop_over_images: bool = False) -> tf.Tensor:
    """Prepares images for `call`, once for all glimpses.

    XLA on a CPU recomputes the indices of a gather for each pixel, so a loop of slices over the
    images is several times faster there. The loop needs a padded copy of the images. Elsewhere the
    gather is faster, and its cost does not depend on the size of the images. Both give the same
    patches.

    Args:
      images: float `[B, H, W, C]`.
      loop_over_images: whether to loop.

    Returns:
      the images; for the loop, a copy with `margin` pixels of zeros on each side.
    """
    if not loop_over_images:
      return images
    return tf.pad(images, [[0, 0], [self.margin] * 2, [self.margin] * 2, [0, 0]])

  def call(
    self, prepared: tf.Tensor, locations: tf.Tensor, loop_over_images: bool = False
  ) -> tf.Tensor:
    """Cuts one glimpse per row; see the class."""
    height, width, channels = _sides(prepared)
    margin = self.margin if loop_over_images else 0
    locations = tf.stop_gradient(locations)
    scales = tf.cast(locations[:, 2], tf.int32) if self.choose_scale else None
    centre = locations_to_pixels(locations[:, :2], height - 2 * margin, width - 2 * margin)
    first = tf.cast(tf.floor(centre - self.extent / 2 + 0.5), tf.int32) + margin
    if not loop_over_images or None in (prepared.shape[0], locations.shape[0]):
      patches = self._scale_down(self._gather(prepared, first))
      return patches if scales is None else tf.gather(patches, scales[:, tf.newaxis], batch_dims=1)
    samples = locations.shape[0] // prepared.shape[0]
    if scales is not None:
      insets = [(self.extent - self.side * 2**scale) // 2 for scale in range(self.scales)]
      first += tf.gather(tf.constant(insets), scales)[:, tf.newaxis]
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
    # An empty batch has no rows, so any divisor is correct.
    image = tf.range(count) // tf.maximum(count // tf.maximum(batch, 1), 1)
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

  def _scale_down(self, widest: tf.Tensor) -> tf.Tensor:
    patches = []
    for scale in range(self.scales):
      size = self.side * 2**scale
      first = (self.extent - size) // 2
      patches.append(_halved(widest[:, first : first + size, first : first + size], scale))
    return tf.stack(patches, axis=1)

  def get_config(self):
    """Returns the constructor's arguments."""
    return {
      **super().get_config(),
      "side": self.side,
      "scales": self.scales,
      "choose_scale": self.choose_scale,
    }
