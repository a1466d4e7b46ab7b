"""Runs weights of the package in this process, through the functions that an export would hold."""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from wsram_tf.classification.pretrained import load_pretrained
from wsram_tf.export.classifier import build_signatures
from wsram_tf.serving.models import Glimpses

__all__ = ["PretrainedModel"]


class PretrainedModel:
  """Runs a network of the package's weights on image files; see `wsram_tf.serving.models.Model`.

  Args:
    name: of the weights; see `wsram_tf.PRETRAINED`.

  Attributes:
    fit: how to bring an image of another size to the model's.
    glimpses: the extent of a glimpse.
    class_names: empty, since the classes are digits.

  Raises:
    ValueError: if there are no weights of that name.
  """

  def __init__(self, name: str):
    network = load_pretrained(name)
    self.fit = "resize"
    self._shape = network.config.image_shape
    glimpse = network.config.glimpse
    self.glimpses = Glimpses(glimpse.glimpse_side, glimpse.glimpse_scales)
    # The module holds the weights that the functions read.
    self._module, signatures = build_signatures(network, averaged_samples=1)
    self._signatures = signatures
    self.class_names: list[str] = []  # All these weights read digits.

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
