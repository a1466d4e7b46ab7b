"""What a network may look at: the sources of low-resolution images and of patches."""

from wsram_tf.observations.interface import Observation
from wsram_tf.observations.pixels import PixelObservation, area_means

__all__ = ["Observation", "PixelObservation", "area_means"]
