"""Images as lists of their visible pixels, for canvases of any size that are mostly black."""

import math

import tensorflow as tf

from wsram_tf.layers.glimpse_sensor import GlimpseSensor, image_of_row

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
    static_shapes: read all visible pixels for each glimpse, as XLA requires; otherwise those near
      the glimpse alone.

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

  def __init__(
    self,
    pixels: tf.Tensor,
    shape: tuple[int, int],
    sensor: GlimpseSensor,
    static_shapes: bool = False,
  ):
    if not all(1 <= side < 2**24 for side in shape):
      raise ValueError(f"shape={tuple(shape)}: each side must be from 1 to {2**24 - 1} pixels")
    self.dtype = pixels.dtype
    self._shape = tuple(shape)
    self._sensor = sensor
    self._static_shapes = static_shapes
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
    count = tf.shape(first)[0]
    batch, listed = tf.unstack(tf.shape(self._places)[:2])
    images = image_of_row(count, batch)
    pixels = tf.range(count * listed) if self._static_shapes else self._near(first)
    rows = pixels // listed
    at = tf.gather(images, rows) * listed + pixels % listed
    places = tf.gather(tf.reshape(self._places, [-1, 2]), at) - tf.gather(first, rows)
    values = tf.gather(tf.reshape(self._values, [-1, self._values.shape[-1]]), at)
    if sensor.choose_scale:
      scales = tf.gather(tf.cast(locations[:, 2], tf.int32), rows)
      insets = tf.gather(tf.constant(sensor.insets), scales)[:, tf.newaxis]
      patches = [self._patch(places - insets, values, rows, count, scales)]
    else:
      patches = [
        self._patch(places - inset, values, rows, count, tf.fill(tf.shape(rows), scale))
        for scale, inset in enumerate(sensor.insets)
      ]
    return tf.stack(patches, axis=1)

  def _near(self, first: tf.Tensor) -> tf.Tensor:
    """Numbers r T + t, int32 `[K]`, of the pixels t in the widest patch of row r: few of all."""
    extent = tf.constant(self._sensor.extent, tf.uint32)
    batch = tf.shape(self._places)[0]
    samples = tf.shape(first)[0] // tf.maximum(batch, 1)
    firsts = tf.reshape(first, tf.stack([batch, samples, 1, 2]))
    near = [  # One axis at a time, because a broadcast over two numbers is slow.
      # As unsigned numbers, negative ones are large.
      tf.cast(self._places[:, tf.newaxis, :, axis] - firsts[..., axis], tf.uint32) < extent
      for axis in (0, 1)
    ]
    return tf.cast(tf.where(tf.reshape(near[0] & near[1], [-1]))[:, 0], tf.int32)

  def _patch(
    self, places: tf.Tensor, values: tf.Tensor, rows: tf.Tensor, count: tf.Tensor, scales: tf.Tensor
  ) -> tf.Tensor:
    """Sums pixels into the patches of `count` rows.

    Args:
      places: int32 `[K, 2]`, from the first pixel of the patch.
      values: float `[K, C]`.
      rows: int32 `[K]`, the row of each pixel.
      count: R.
      scales: int32 `[K]`.

    Returns:
      float `[R, G, G, C]`.
    """
    side = self._sensor.side
    # A shift, because the division of a negative place must round down.
    cells = tf.bitwise.right_shift(places, tf.stack([scales, scales], axis=-1))
    inside = tf.reduce_all((cells >= 0) & (cells < side), axis=-1)
    segments = (rows * side + cells[:, 0]) * side + cells[:, 1]
    shares = tf.cast(tf.bitwise.left_shift(1, 2 * scales), self.dtype)[:, tf.newaxis]
    summed = _sum_segments(values / shares, tf.where(inside, segments, -1), count * side * side)
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
