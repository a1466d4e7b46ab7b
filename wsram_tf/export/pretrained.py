"""Presets as exports, and as models that run in this process."""

import os
import pathlib
from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf

from wsram_tf.captions.caption_network import CaptionNetwork
from wsram_tf.captions.config import EXPORTED_DECODING
from wsram_tf.captions.vocabulary import Vocabulary
from wsram_tf.classification.prediction_network import PredictionNetwork
from wsram_tf.export import finished_run, publishing
from wsram_tf.export.captioner import build_caption_signatures, export_captioner
from wsram_tf.export.classifier import export_classifier
from wsram_tf.export.signatures.images import build_signatures
from wsram_tf.presets import preset_names
from wsram_tf.presets.folders import load_preset
from wsram_tf.serving.models import Cells, Glimpses

__all__ = ["PretrainedModel", "export_preset"]


def export_preset(
  preset: str,
  export_dir: str | os.PathLike,
  name: str,
  *,
  verify: bool = True,
  report: publishing.Report | None = None,
) -> pathlib.Path:
  """Exports a preset, of a classifier or of a captioner, as the next version of a model.

  Args:
    preset: name of a preset of the package, or the folder of one.
    export_dir: the folder of all models; created if it does not exist.
    name: of the model, for its clients.
    verify: whether to verify the version.
    report: takes the table of the verification and other notes, line by line, for example `print`.

  Returns:
    the version's folder.

  Raises:
    ValueError: if there is no such preset, or an argument breaks its rule.
    VerificationError: if the version fails its verification; nothing is published.

  Example:

  >>> from wsram_tf.export import export_preset
  >>> export_preset("quickstart", "served", "seven", verify=False).as_posix()
  'served/seven/1'
  """
  network, source = _load(preset), f"pretrained {preset}"
  if isinstance(network, CaptionNetwork):
    return export_captioner(
      network,
      export_dir,
      name,
      vocabulary=Vocabulary.from_preset(preset),
      source=source,
      verify=verify,
      report=report,
    )
  return export_classifier(
    network,
    export_dir,
    name,
    class_names=preset_names(preset),
    source=source,
    verify=verify,
    report=report,
  )


class PretrainedModel:
  """Runs the network of a preset on image files; see `wsram_tf.serving.models.Model`.

  Args:
    name: of a preset of the package, or the folder of one; of a classifier or of a captioner.

  Attributes:
    fit: how to bring an image of another size to the model's.
    glimpses: the extent of a glimpse.
    class_names: K names, by label; empty where classes have numbers alone, and for captioners.

  Raises:
    ValueError: if there is no such preset.
  """

  def __init__(self, name: str):
    network = _load(name)
    self.glimpses: Glimpses | Cells
    # The module holds the weights that the functions read.
    if isinstance(network, CaptionNetwork):
      run = finished_run.of_caption_network(network, Vocabulary.from_preset(name), name)
      self._module, self._signatures = build_caption_signatures(
        run.network, run.vocabulary, EXPORTED_DECODING, run.backbone
      )
      self._signature, self._shape = "serving_default", run.image_shape
      self.fit = "resize" if run.backbone is None else "any size"
      self.glimpses = Cells(network.config.grid_shapes)
      self.class_names = []
    else:
      self.class_names = preset_names(name)
      self._module, self._signatures = build_signatures(network, 1, self.class_names)
      self._signature, self._shape = "classify_bytes", network.config.image_shape
      self.fit = "resize"
      glimpse = network.config.glimpse
      self.glimpses = Glimpses(glimpse.glimpse_side, glimpse.glimpse_scales)

  def image_shape(self) -> tuple[int, int, int]:
    """Height, width and channels of the model's images, pixels."""
    return self._shape

  def ask(self, files: Sequence[bytes]) -> dict[str, np.ndarray]:
    """Answers the contents of PNG or JPEG files with the outputs by name, one row a file."""
    outputs = self._signatures[self._signature](image_bytes=tf.constant(list(files)))
    return {name: output.numpy() for name, output in outputs.items()}

  def ask_stepwise(self, images: np.ndarray) -> dict[str, np.ndarray]:
    """Answers images `[B, H, W, C]` after each glimpse; see `ExportedModel.ask_stepwise`."""
    threshold = tf.ones([len(images)])
    outputs = self._signatures["classify_stepwise"](images=tf.constant(images), threshold=threshold)
    return {name: output.numpy() for name, output in outputs.items()}


def _load(preset: str) -> PredictionNetwork | CaptionNetwork:
  network = load_preset(keras.Model, preset)
  if not isinstance(network, PredictionNetwork | CaptionNetwork):
    raise ValueError(
      f"preset={preset!r}: must hold a PredictionNetwork or a CaptionNetwork; it holds a "
      f"{type(network).__name__}"
    )
  return network
