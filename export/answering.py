"""What answers about image files: an export, a running server, or weights of the package."""

from typing import NamedTuple, Protocol

import cpp_loader
import examples
import manifests
import numpy as np
import server_client
import starting

__all__ = ["Cells", "ExportedModel", "Glimpses", "Model", "PretrainedModel", "ServedModel"]


class Glimpses(NamedTuple):
  """What a glimpse covers: the finest patch's side in pixels, and the number of scales."""

  side: int
  scales: int


class Cells(NamedTuple):
  """Of what the glimpses of a caption are cells: the grid's rows and columns."""

  rows: int
  columns: int


class Model(Protocol):
  """What answers, wherever it runs.

  Attributes:
    fit: how a file of another size is to be brought to the model's: `resize` stretches it, `pad`
      keeps its proportions, on black, and `any size` leaves that to the model.
  """

  fit: str

  def image_shape(self) -> tuple[int, int, int]:
    """Height, width and channels of the model's images, pixels."""

  def ask(self, files: list[bytes]) -> dict[str, np.ndarray]:
    """The outputs for the contents of PNG or JPEG files."""


class ExportedModel:
  """An export, run by the C++ loader as a server runs it.

  Args:
    model_dir: folder of one version.
  """

  def __init__(self, model_dir: str):
    self._manifest = manifest = manifests.read_manifest(model_dir)
    self.fit = manifest.fit if manifest.largest_pixels is None else "any size"
    if isinstance(manifest, manifests.CaptionerManifest):
      self._signature = "serving_default"
      self.glimpses = Cells(manifest.grid_rows, manifest.grid_columns)
    else:
      self._signature = "classify_bytes"
      self.glimpses = Glimpses(manifest.glimpse_side, manifest.glimpse_scales)
    self._model = cpp_loader.LoadedModel(model_dir)

  def image_shape(self) -> tuple[int, int, int]:
    """See `Model`."""
    return self._manifest.image_shape

  def ask(self, files: list[bytes]) -> dict[str, np.ndarray]:
    """See `Model`."""
    return self._model.run(self._signature, {"image_bytes": examples.as_bytes_array(files)})


class ServedModel:
  """What a running server answers from; whether classes or captions is told by its signatures.

  Args:
    client: of the server.
    name: of the model, for messages.

  Raises:
    ValueError: if no signature takes image files.
  """

  def __init__(self, client: server_client.GrpcClient | server_client.RestClient, name: str):
    self._client = client
    shapes = client.input_shapes()
    self._signature = "classify_bytes" if "classify_bytes" in shapes else "serving_default"
    if "image_bytes" not in shapes.get(self._signature, {}):
      raise ValueError(f"name={name!r}: must be a model that takes image files")
    # A server does not tell how its images were brought to their size.
    self.fit = "any size" if "caption_features" in shapes else "resize"
    own = [inputs["images"] for inputs in shapes.values() if "images" in inputs]
    self._shape = own[0][1:] if own else (0, 0, 3)  # Of any size, and coloured.

  def image_shape(self) -> tuple[int, int, int]:
    """See `Model`."""
    return self._shape

  def ask(self, files: list[bytes]) -> dict[str, np.ndarray]:
    """See `Model`."""
    return self._client.ask(self._signature, files)


class PretrainedModel:
  """Weights that the package ships, run by the functions that an export of them would hold.

  Args:
    name: of the weights.
  """

  def __init__(self, name: str):
    # Only here: everything else works without TensorFlow's Python package.
    with starting.quiet_tensorflow():
      import signatures

      import wsram_tf

    network = wsram_tf.load_pretrained(name)
    self.fit = "resize"
    self._shape = network.config.image_shape
    glimpse = network.config.glimpse
    self.glimpses = Glimpses(glimpse.glimpse_side, glimpse.glimpse_scales)
    # The module holds the weights that the functions read.
    self._module, functions = signatures.build_signatures(network, averaged_samples=1)
    self._classify_bytes = functions["classify_bytes"]

  def image_shape(self) -> tuple[int, int, int]:
    """See `Model`."""
    return self._shape

  def ask(self, files: list[bytes]) -> dict[str, np.ndarray]:
    """See `Model`."""
    import tensorflow as tf

    outputs = self._classify_bytes(image_bytes=tf.constant(files))
    return {name: output.numpy() for name, output in outputs.items()}
