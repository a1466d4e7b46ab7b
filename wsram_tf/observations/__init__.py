"""What a network may look at: the sources of low-resolution images and of patches."""

from wsram_tf.observations.interface import Observation
from wsram_tf.observations.pixels import PixelObservation, area_means
from wsram_tf.observations.regions import RegionObservation
from wsram_tf.observations.sparse import SparseObservation

__all__ = [
  "Observation",
  "PixelObservation",
  "RegionObservation",
  "SparseObservation",
  "area_means",
]
