"""The glimpse sensor: square patches at several scales around a location. It holds no weights."""

import contextlib
from collections.abc import Iterator

import keras
import tensorflow as tf
from tensorflow.compiler.tf2xla.python import xla

from wsram_tf.locations import locations_to_pixels

__all__ = [
  "GlimpseSensor",
]


def halve(images: tf.Tensor) -> tf.Tensor:
  """Averages float `[R, H, W, C]` over blocks of 2 x 2."""
  # Each pair as an axis of its own: steps of two through an axis are several times slower.
  _, height, width, channels = images.shape
  pairs = tf.reshape(images, [-1, height // 2, 2, width * channels])
  rows = tf.reshape(pairs[:, :, 0] + pairs[:, :, 1], [-1, height // 2, width // 2, 2, channels])
  return (rows[:, :, :, 0] + rows[:, :, :, 1]) * 0.25


def _sides(images: tf.Tensor) -> tuple[int | tf.Tensor, int | tf.Tensor, int]:
  """Height, width and channels of `[B, H, W, C]`; both sides as tensors where one is unknown."""
  _, height, width, channels = images.shape
  if None in (height, width):
    _, height, width, _ = tf.unstack(tf.shape(images))
  return height, width, channels


@keras.saving.register_keras_serializable("wsram_tf")
class GlimpseSensor(keras.layers.Layer):
  """Cuts S square patches of G x G pixels around each location.

  Scale s covers `side * 2**s` pixels of the canvas, averaged over blocks of 2**s x 2**s down to
  G x G. The widest patch begins at the whole pixel nearest to its centre minus half its size
  (halves round up); the others lie in its middle, and where that is between two pixels, to the
  upper left of it. What lies beyond the canvas reads as zero. No gradient passes to the locations.

  Args:
    side: G, pixels.
    scales: S.

  Call arguments:
    prepared: what `prepare(images)` returned for float `[B, H, W, C]`; C must be known before
      running, H and W need not.
    locations: float `[R, 2]`, (row, column) in [-1, 1]; R = B * M, the M glimpses of one image
      being neighbours: row r looks at image r // M.

  Returns:
    float `[R, S, G, G, C]`.

  Source: V. Mnih, N. Heess, A. Graves, K. Kavukcuoglu, Recurrent Models of Visual Attention, 2014,
    the glimpse sensor, arXiv 1406.6247.
  """

  def __init__(self, side: int, scales: int, **kwargs):
    super().__init__(**kwargs)
    if side < 1 or scales < 1:
      raise ValueError(f"side={side}, scales={scales}: both must be at least 1")
    self.side = side
    self.scales = scales
    self._loops = False

  @property
  def extent(self) -> int:
    """Side of the widest patch, in pixels of the canvas."""
    return self.side * 2 ** (self.scales - 1)

  @property
  def margin(self) -> int:
    """Pixels by which a patch may reach beyond the canvas, at most."""
    return (self.extent + 1) // 2

  @contextlib.contextmanager
  def loop_over_images(self, enabled: bool) -> Iterator[None]:
    """Cuts by a loop of slices, image by image, in what is traced inside this context.

    XLA on a CPU computes a gather's indices anew for each pixel, and is several times faster with
    the loop, which needs a padded copy of the images; everything else is faster with the gather,
    whose cost does not depend on the images' size. The patches are the same.
    """
    before, self._loops = self._loops, enabled
    try:
      yield
    finally:
      self._loops = before

  def prepare(self, images: tf.Tensor) -> tf.Tensor:
    """What `call` takes, once for all glimpses at float images `[B, H, W, C]`.

    The images themselves; for a loop over them, a copy with `margin` pixels of zeros around it.
    Belongs inside the same `loop_over_images` as the calls.
    """
    if not self._loops:
      return images
    return tf.pad(images, [[0, 0], [self.margin] * 2, [self.margin] * 2, [0, 0]])

  def call(self, prepared: tf.Tensor, locations: tf.Tensor) -> tf.Tensor:
    """Cuts one glimpse a row; see the class."""
    height, width, channels = _sides(prepared)
    margin = self.margin if self._loops else 0
    centre = locations_to_pixels(
      tf.stop_gradient(locations), height - 2 * margin, width - 2 * margin
    )
    first = tf.cast(tf.floor(centre - self.extent / 2 + 0.5), tf.int32) + margin
    if not self._loops or None in (prepared.shape[0], locations.shape[0]):
      return self._scale_down(self._gather(prepared, first))
    samples = locations.shape[0] // prepared.shape[0]
    first = tf.reshape(first, [-1, samples, 2])

    def cut(image: tf.Tensor) -> tf.Tensor:
      size = [1, self.extent, self.extent, channels]
      begins = [[image, first[image, m, 0], first[image, m, 1], 0] for m in range(samples)]
      # Not tf.slice: XLA wants its beginning at compile time, takes the weights that it depends on
      # for constants, and so compiles anew after each update.
      slices = [xla.dynamic_slice(prepared, tf.stack(begin), size) for begin in begins]
      return self._scale_down(tf.concat(slices, axis=0))

    patches = tf.map_fn(cut, tf.range(prepared.shape[0]), fn_output_signature=prepared.dtype)
    return tf.reshape(patches, [-1, self.scales, self.side, self.side, channels])

  def _gather(self, canvas: tf.Tensor, first: tf.Tensor) -> tf.Tensor:
    height, width, channels = _sides(canvas)
    is_known = isinstance(height, int)
    # Wider indices cost some time, so only where 2,048 images hold more pixels than int32 counts.
    integers = tf.int32 if is_known and height * width <= 2**20 else tf.int64
    if not is_known:
      height, width = tf.cast(height, integers), tf.cast(width, integers)
    first = tf.cast(first, integers)
    batch, count = tf.shape(canvas, integers)[0], tf.shape(first, integers)[0]
    # An empty batch has no row, whatever the divisor.
    image = tf.range(count) // tf.maximum(count // tf.maximum(batch, 1), 1)
    steps = tf.range(self.extent, dtype=integers)
    rows, columns = (first[:, axis, tf.newaxis] + steps for axis in (0, 1))  # [R, E]
    inside_rows = (rows >= 0) & (rows < height)
    inside_columns = (columns >= 0) & (columns < width)
    inside = inside_rows[:, :, tf.newaxis] & inside_columns[:, tf.newaxis]
    indices = (image[:, tf.newaxis] * height + rows)[:, :, tf.newaxis] * width
    indices = tf.where(inside, indices + columns[:, tf.newaxis], 0)
    pixels = tf.gather(tf.reshape(canvas, [-1, channels]), indices)
    # Not a product with the mask: the pixel read instead may be infinite.
    return tf.where(inside[..., tf.newaxis], pixels, tf.zeros([], pixels.dtype))

  def _scale_down(self, widest: tf.Tensor) -> tf.Tensor:
    patches = []
    for scale in range(self.scales):
      size = self.side * 2**scale
      first = (self.extent - size) // 2
      patch = widest[:, first : first + size, first : first + size]
      for _ in range(scale):
        patch = halve(patch)
      patches.append(patch)
    return tf.stack(patches, axis=1)

  def get_config(self):
    """Returns the constructor's arguments."""
    return {**super().get_config(), "side": self.side, "scales": self.scales}
