"""Images as paths of large files, of which regions are read when a glimpse looks at them."""

import numpy as np
import tensorflow as tf

from wsram_tf.data.regions.reader import PatchShape, RegionReader, shared_reader
from wsram_tf.layers.glimpse_sensor import GlimpseSensor, image_of_row

__all__ = ["RegionObservation"]


class RegionObservation:
  """Observes files of any size, each of its own; implements `Observation`.

  The work depends neither on the size of a file nor on that of the others. Patches of a scale that
  a coarser level serves are those of `RegionReader`. XLA cannot compile it, and an export cannot
  hold it, because it runs Python.

  Args:
    paths: string `[B]`.
    sensor: gives the sides, scales and places of the patches.
    channels: 1 (grey) or 3 (colour).
    reader: reads the files; None for the reader of the process.

  Raises:
    RegionError: in eager mode, if a file cannot be read; in a graph tf.errors.UnknownError.

  Example:

  >>> import tempfile
  >>> from wsram_tf.data.regions import pyramids
  >>> with tempfile.TemporaryDirectory() as folder:
  ...   pyramids.write_array(f"{folder}/large.tif", np.full([900, 700, 1], 255, np.uint8))
  ...   sensor = GlimpseSensor(side=8, scales=3)
  ...   observation = RegionObservation(tf.constant([f"{folder}/large.tif"]), sensor, channels=1)
  ...   copy, patches = observation.low_resolution(16), observation.patches(tf.zeros([2, 2]))
  >>> tuple(copy.shape), tuple(patches.shape), float(tf.reduce_min(patches))
  ((1, 16, 16, 1), (2, 3, 8, 8, 1), 1.0)
  """

  dtype = tf.float32

  def __init__(
    self,
    paths: tf.Tensor,
    sensor: GlimpseSensor,
    channels: int,
    reader: RegionReader | None = None,
  ):
    self._paths = paths
    self._sensor = sensor
    self._shape = PatchShape(sensor.side, sensor.scales, channels)
    self._reader = reader or shared_reader()
    self.sizes = self._run(lambda paths: self._reader.sizes(_texts(paths)), [paths], tf.int64)
    self.sizes.set_shape([paths.shape[0], 2])

  def low_resolution(self, side: int) -> tf.Tensor:
    """Averages each file over `side` x `side` equal areas; see `Observation`."""
    channels = self._shape.channels

    def read(paths: np.ndarray) -> np.ndarray:
      return self._reader.low_resolution(_texts(paths), side, channels)

    copies = self._run(read, [self._paths], tf.float32)
    copies.set_shape([self._paths.shape[0], side, side, channels])
    return copies

  def patches(self, locations: tf.Tensor) -> tf.Tensor:
    """Reads the patches of one glimpse a row, all rows at once; see `Observation`."""
    locations = tf.stop_gradient(locations)
    images = image_of_row(tf.shape(locations)[0], tf.shape(self._paths)[0])
    sizes = tf.gather(self.sizes, images)
    first = self._sensor.first_pixel(locations, sizes[:, 0], sizes[:, 1])
    arguments = [tf.gather(self._paths, images), first]
    if self._sensor.choose_scale:
      arguments.append(tf.cast(locations[:, 2], tf.int32))

    def read(paths: np.ndarray, first: np.ndarray, scales: np.ndarray | None = None) -> np.ndarray:
      return self._reader.patches(_texts(paths), first, self._shape, scales)

    patches = self._run(read, arguments, tf.float32)
    scales = 1 if self._sensor.choose_scale else self._sensor.scales
    side = self._sensor.side
    patches.set_shape([locations.shape[0], scales, side, side, self._shape.channels])
    return patches

  @staticmethod
  def _run(function, arguments: list[tf.Tensor], dtype: tf.DType) -> tf.Tensor:
    if tf.executing_eagerly():  # A plain call, so that errors keep their type.
      return tf.constant(function(*(argument.numpy() for argument in arguments)), dtype)
    with tf.device("/CPU:0"):
      return tf.numpy_function(function, arguments, dtype)


def _texts(paths: np.ndarray) -> list[str]:
  return [path.decode("utf-8", "surrogateescape") for path in paths]
