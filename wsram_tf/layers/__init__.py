"""Keras layers of the networks; one public class per file."""

from wsram_tf.layers.baseline_network import BaselineNetwork
from wsram_tf.layers.cell_location_network import CellLocationNetwork, with_saliency
from wsram_tf.layers.cell_network import CellNetwork, saliency
from wsram_tf.layers.classifier import Classifier
from wsram_tf.layers.context_network import ContextNetwork
from wsram_tf.layers.glimpse_network import GlimpseNetwork
from wsram_tf.layers.glimpse_sensor import GlimpseSensor
from wsram_tf.layers.location_network import LocationNetwork
from wsram_tf.layers.precision import computing_in, follows_policy, full_precision
from wsram_tf.layers.recurrent_core import CoreState, RecurrentCore

__all__ = [
  "BaselineNetwork",
  "CellLocationNetwork",
  "CellNetwork",
  "Classifier",
  "ContextNetwork",
  "CoreState",
  "GlimpseNetwork",
  "GlimpseSensor",
  "LocationNetwork",
  "RecurrentCore",
  "computing_in",
  "follows_policy",
  "full_precision",
  "saliency",
  "with_saliency",
]
