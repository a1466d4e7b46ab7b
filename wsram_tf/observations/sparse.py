"""Images as lists of their visible pixels, for canvases of any size that are mostly black."""

import math

import tensorflow as tf

from wsram_tf.layers.glimpse_sensor import GlimpseSensor

__all__ = ["SparseObservation"]


class SparseObservation:
  """Observes images given by their visible pixels; implements `Observation`.

  The work depends on the number of visible pixels and not on the size of an image. Scale 0 equals
  that of `PixelObservation` to the last bit. Other scales and the low-resolution copy are sums in
  another order, so that they differ by rounding alone.

  Args:
    pixels: float `[B, T, 2 + C]`: row, column and C values of each visible pixel. A pixel of an
      image occurs once; pixels of value 0 fill the rows of images with fewer than T.
    shape: (H, W) of the images, pixels, each below 2**24, so that float32 holds rows and columns.
    sensor: gives the sides, scales and places of the patches.

  Raises:
    ValueError: if a side of `shape` is out of its range.

  Example:

  >>> pixels = tf.constant([[[99_998.0, 4.0, 1.0]]])  # One white pixel.
  >>> observation = SparseObservation(pixels, (100_000, 100_000), GlimpseSensor(side=2, scales=1))
  >>> observation.patches(tf.constant([[1.0, -0.9999]]))[0, 0, ..., 0].numpy().tolist()
  [[0.0, 0.0], [0.0, 0.0]]
  >>> tuple(observation.low_resolution(10).shape)
  (1, 10, 10, 1)
  """

  def __init__(self, pixels: tf.Tensor, shape: tuple[int, int], sensor: GlimpseSensor):
    if not all(1 <= side < 2**24 for side in shape):
      raise ValueError(f"shape={tuple(shape)}: each side must be from 1 to {2**24 - 1} pixels")
    self.dtype = pixels.dtype
    self._shape = tuple(shape)
    self._sensor = sensor
    self._places = tf.cast(pixels[..., :2], tf.int32)  # [B, T, 2]
    self._values = pixels[..., 2:]  # [B, T, C]

  def low_resolution(self, side: int) -> tf.Tensor:
    """Averages each image over `side` x `side` equal areas; see `Observation`.

    Raises:
      ValueError: if `side` is above a side of the images.
    """
    if side > min(self._shape):
      raise ValueError(f"side={side}: must be at most the images' shorter side, {self._shape}")
    batch, _, channels = tf.unstack(tf.shape(self._values))
    rows, columns = (
      _cells(self._places[..., axis], self._shape[axis], side, self.dtype) for axis in (0, 1)
    )
    images = tf.range(batch)[:, tf.newaxis]
    total = tf.zeros([batch * side * side, channels], self.dtype)
    for row, tall in rows:
      for column, wide in columns:
        cells = (images * side + row) * side + column
        parts = self._values * (tall * wide)[..., tf.newaxis]
        total += _sum_segments(parts, cells, batch * side * side)
    areas = side * side / (self._shape[0] * self._shape[1])
    return tf.reshape(total * areas, [-1, side, side, self._values.shape[-1]])

  def patches(self, locations: tf.Tensor) -> tf.Tensor:
    """Sums the visible pixels in the patches of one glimpse a row; see `Observation`."""
    sensor = self._sensor
    locations = tf.stop_gradient(locations)
    first = sensor.first_pixel(locations, *self._shape)  # [R, 2]
    rows = tf.shape(first)[0]
    # An empty batch has no rows, so any number of samples is correct.
    samples = rows // tf.maximum(tf.shape(self._places)[0], 1)
    places = tf.repeat(self._places, samples, axis=0) - first[:, tf.newaxis]  # [R, T, 2]
    values = tf.repeat(self._values, samples, axis=0)
    if sensor.choose_scale:
      scales = tf.cast(locations[:, 2], tf.int32)[:, tf.newaxis]
      inset = tf.gather(tf.constant(sensor.insets), scales)[..., tf.newaxis]
      patches = [self._patch(places - inset, values, scales)]
    else:
      patches = [
        self._patch(places - inset, values, tf.constant(scale))
        for scale, inset in enumerate(sensor.insets)
      ]
    return tf.stack(patches, axis=1)

  def _patch(self, places: tf.Tensor, values: tf.Tensor, scales: tf.Tensor) -> tf.Tensor:
    """Sums pixels at places from the patch's first pixel, int32 `[R, T, 2]`, at one scale a row."""
    side = self._sensor.side
    # A shift, because the division of a negative place must round down.
    cells = tf.bitwise.right_shift(
      places, tf.broadcast_to(scales[..., tf.newaxis], tf.shape(places))
    )
    inside = tf.reduce_all((cells >= 0) & (cells < side), axis=-1)
    rows = tf.range(tf.shape(places)[0])[:, tf.newaxis]
    segments = (rows * side + cells[..., 0]) * side + cells[..., 1]
    count = tf.shape(places)[0] * side * side
    shares = tf.cast(tf.bitwise.left_shift(1, 2 * scales), self.dtype)[..., tf.newaxis]
    summed = _sum_segments(values / shares, tf.where(inside, segments, -1), count)
    return tf.reshape(summed, [-1, side, side, values.shape[-1]])


def _cells(
  places: tf.Tensor, length: int, side: int, dtype: tf.DType
) -> list[tuple[tf.Tensor, tf.Tensor]]:
  """The cells that a pixel lies in along one axis, at most two, with its overlap with each.

  Integers, because float32 is too coarse for the fractions of a large image.
  """
  scaled = tf.cast(places, tf.int64) * side
  first = scaled // length
  # Of `side` parts of a pixel, so many lie before the end of its first cell.
  parts = (first + 1) * length - scaled
  share = tf.cast(tf.minimum(parts, side), dtype) / side
  first = tf.cast(first, tf.int32)
  if math.gcd(length, side) == side:
    return [(first, share)]
  return [(first, share), (tf.minimum(first + 1, side - 1), 1 - share)]


def _sum_segments(values: tf.Tensor, segments: tf.Tensor, count: tf.Tensor) -> tf.Tensor:
  """Sums values `[..., C]` into float `[count, C]`; drops those of negative segments."""
  return tf.math.unsorted_segment_sum(
    tf.reshape(values, [-1, values.shape[-1]]), tf.reshape(segments, [-1]), count
  )
