"""Runs weights of the package in this process, through the functions that an export would hold."""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from wsram_tf.classification.prediction_network import PredictionNetwork
from wsram_tf.export.signatures.images import build_signatures
from wsram_tf.presets import preset_names
from wsram_tf.serving.models import Glimpses

__all__ = ["PretrainedModel"]


class PretrainedModel:
  """Runs the network of a preset on image files; see `wsram_tf.serving.models.Model`.

  Args:
    name: of a preset of the package, or the folder of one; see `PredictionNetwork.from_preset`.

  Attributes:
    fit: how to bring an image of another size to the model's.
    glimpses: the extent of a glimpse.
    class_names: K names, by label; empty where classes have numbers alone.

  Raises:
    ValueError: if there is no such preset.
  """

  def __init__(self, name: str):
    network = PredictionNetwork.from_preset(name)
    self.fit = "resize"
    self._shape = network.config.image_shape
    glimpse = network.config.glimpse
    self.glimpses = Glimpses(glimpse.glimpse_side, glimpse.glimpse_scales)
    self.class_names = preset_names(name)
    # The module holds the weights that the functions read.
    self._module, signatures = build_signatures(network, 1, self.class_names)
    self._signatures = signatures

  def image_shape(self) -> tuple[int, int, int]:
    """Height, width and channels of the model's images, pixels."""
    return self._shape

  def ask(self, files: Sequence[bytes]) -> dict[str, np.ndarray]:
    """Answers the contents of PNG or JPEG files with the outputs by name, one row a file."""
    outputs = self._signatures["classify_bytes"](image_bytes=tf.constant(list(files)))
    return {name: output.numpy() for name, output in outputs.items()}

  def ask_stepwise(self, images: np.ndarray) -> dict[str, np.ndarray]:
    """Answers images `[B, H, W, C]` after each glimpse; see `ExportedModel.ask_stepwise`."""
    threshold = tf.ones([len(images)])
    outputs = self._signatures["classify_stepwise"](images=tf.constant(images), threshold=threshold)
    return {name: output.numpy() for name, output in outputs.items()}
