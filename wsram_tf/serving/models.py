"""Models that answer image files, in an export or on a server, and texts of their answers."""

import os
from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

import numpy as np

from wsram_tf.serving import clients, cpp_loader, examples, manifests, protos

__all__ = [
  "NO_WORDS",
  "Cells",
  "ExportedModel",
  "Glimpses",
  "Model",
  "ServedModel",
  "caption_words",
  "describe",
  "text_of",
]

# Stands for an empty caption.
NO_WORDS = "(nothing)"
_CLASSES_SHOWN = 3


class Glimpses(NamedTuple):
  """The extent of a classifier's glimpse: side of the finest patch, pixels, and scales."""

  side: int
  scales: int


class Cells(NamedTuple):
  """The grids of a captioner, which looks at one cell a glimpse.

  Attributes:
    grids: rows and columns of the cells of each layer of features.
  """

  grids: tuple[tuple[int, int], ...]


class Model(Protocol):
  """A model that answers image files, wherever it runs.

  Attributes:
    fit: how to bring an image of another size to the model's: `resize` stretches it, `pad` keeps
      its proportions, on black, and `any size` leaves it to the model.
  """

  fit: str

  def image_shape(self) -> tuple[int, int, int]:
    """Height, width and channels of the model's images, pixels."""
    ...

  def ask(self, files: Sequence[bytes]) -> dict[str, np.ndarray]:
    """Answers the contents of PNG or JPEG files with the outputs by name, one row a file."""
    ...


class ExportedModel:
  """An export, run by TensorFlow's C++ loader as a server runs it.

  Args:
    model_dir: folder of a version, or of a model, for its newest version.

  Attributes:
    fit: see `Model`.
    glimpses: the extent of a glimpse.

  Raises:
    FileNotFoundError: if the folder holds no export.
    ValueError: if its manifest is damaged.
    ServingError: if the loader refuses it.

  Example:

  >>> import tempfile
  >>> import wsram_tf
  >>> from wsram_tf import export, serving
  >>> network = wsram_tf.load_pretrained("quickstart")
  >>> with tempfile.TemporaryDirectory() as folder:
  ...   version = export.export_classifier(network, folder, "digits", verify=False)
  ...   model = serving.ExportedModel(version)
  ...   answer = model.ask([(version / "assets.extra/example.png").read_bytes()])
  >>> answer["probabilities"].shape
  (1, 10)
  """

  def __init__(self, model_dir: str | os.PathLike):
    model_dir = manifests.version_dir(model_dir)
    self._facts = facts = manifests.read_manifest(model_dir).facts
    self.fit = facts.fit if facts.largest_pixels is None else "any size"
    if isinstance(facts, manifests.CaptionerFacts):
      self._signature = "serving_default"
      grids = facts.layer_grids or [[facts.grid_rows, facts.grid_columns]]
      self.glimpses = Cells(tuple((rows, columns) for rows, columns in grids))
    else:
      self._signature = "classify_bytes"
      self.glimpses = Glimpses(facts.glimpse_side, facts.glimpse_scales)
    self._model = cpp_loader.LoadedModel(model_dir)

  def image_shape(self) -> tuple[int, int, int]:
    """See `Model`."""
    return self._facts.image_shape

  @property
  def class_names(self) -> list[str]:
    """K names, by label; empty where classes have numbers alone, and for captioners."""
    return list(getattr(self._facts, "class_names", []))

  def ask(self, files: Sequence[bytes]) -> dict[str, np.ndarray]:
    """See `Model`.

    Raises:
      ServingError: if the model refuses a file.
    """
    return self._model.run(self._signature, {"image_bytes": examples.as_bytes_array(files)})

  def ask_stepwise(self, images: np.ndarray) -> dict[str, np.ndarray]:
    """Answers images after each glimpse, with the outputs of `classify_stepwise` by name.

    Args:
      images: float32 `[B, H, W, C]` in 0..1.

    Raises:
      ValueError: if the model lacks this signature.
      ServingError: if the model refuses the images.
    """
    if "classify_stepwise" not in self.signatures:
      raise ValueError(
        "model: must have the signature classify_stepwise, which captioners and exports of earlier "
        f"versions of this package lack; it has {', '.join(sorted(self.signatures))}"
      )
    threshold = np.ones([len(images)], np.float32)
    return self._model.run("classify_stepwise", {"images": images, "threshold": threshold})

  @property
  def signatures(self) -> Mapping[str, protos.Signature]:
    """The signatures by name."""
    return self._model.signatures

  def exchange(self, signature: str, inputs: Mapping[str, np.ndarray]) -> protos.Exchange:
    """Asks for the outputs of any signature.

    Raises:
      ValueError: if the signature or the name of an input is unknown, or an input is missing.
      ServingError: if the model refuses an input.
    """
    return self._model.exchange(signature, inputs)


class ServedModel:
  """A model on a running server; its signatures show whether it classifies or describes.

  Args:
    client: of the server.
    name: of the model, for messages.

  Raises:
    ServerError: if the server does not answer.
    ValueError: if no signature takes image files.
  """

  def __init__(self, client: clients.GrpcClient | clients.RestClient, name: str):
    self._client = client
    shapes = client.input_shapes()
    self._signature = "classify_bytes" if "classify_bytes" in shapes else "serving_default"
    if "image_bytes" not in shapes.get(self._signature, {}):
      raise ValueError(f"name={name!r}: must be a model that takes image files")
    # Servers do not report how training brought images to their size.
    self.fit = "any size" if "caption_features" in shapes else "resize"
    pixels = [inputs.get("images") for inputs in shapes.values()]
    own = [(size[1], size[2], size[3]) for size in pixels if size is not None and len(size) == 4]
    self._shape = own[0] if own else (0, 0, 3)  # Colour images of any size.

  def image_shape(self) -> tuple[int, int, int]:
    """See `Model`."""
    return self._shape

  def ask(self, files: Sequence[bytes]) -> dict[str, np.ndarray]:
    """See `Model`.

    Raises:
      ServerError: if the server does not answer or refuses a file.
    """
    return self._client.ask(self._signature, files)


def describe(answer: Mapping[str, np.ndarray]) -> str:
  """Describes the answer to one image: its likeliest classes or caption, and the glimpses.

  Args:
    answer: outputs by name, of one row.
  """
  looked = [f"{row:+.2f}, {column:+.2f}" for row, column in answer["locations"][0]]
  axes = "row, column"
  for name in ("scales", "layers"):
    if name in answer:
      axes += f", {name[:-1]}"
      looked = [f"{at}, {chosen}" for at, chosen in zip(looked, answer[name][0], strict=True)]
  looked = [f"({at})" for at in looked]
  if "caption" in answer:
    words = caption_words(answer)
    places = " ".join(looked[: len(words)])
    text = f"{' '.join(words) or NO_WORDS} (log-probability {answer['log_prob'][0]:.2f} nats)"
    return f"{text}; looked at ({axes}) {places}" if places else text
  probabilities = answer["probabilities"][0]
  classes = np.argsort(-probabilities, kind="stable")[:_CLASSES_SHOWN]
  # An answer names the likeliest class alone; the others appear as numbers.
  names = {classes[0]: text_of(answer["class_name"][0])} if "class_name" in answer else {}
  shown = ", ".join(
    f"{names.get(label, label)} ({100 * probabilities[label]:.1f}%)" for label in classes
  )
  return f"{shown}; looked at ({axes}) {' '.join(looked)}"


def caption_words(answer: Mapping[str, np.ndarray]) -> list[str]:
  """Lists the words of the caption of one image."""
  return [text_of(word) for word in answer["words"][0] if word]


def text_of(output: bytes | str) -> str:
  """Decodes a string output; over REST it is text already."""
  return output.decode() if isinstance(output, bytes) else str(output)
