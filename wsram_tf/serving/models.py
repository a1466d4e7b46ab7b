"""Models that answer image files, in an export or on a server, and texts of their answers."""

import io
import os
from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

import numpy as np
import PIL.Image

from wsram_tf.data.fitting import FORMATS
from wsram_tf.serving import clients, cpp_loader, examples, looking, manifests, protos

__all__ = [
  "NO_WORDS",
  "Cells",
  "ExportedModel",
  "Glimpses",
  "Model",
  "ServedModel",
  "Steps",
  "StepwiseModel",
  "as_images",
  "ask_steps",
  "caption_words",
  "describe",
  "ranked_classes",
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


class StepwiseModel(Model, Protocol):
  """A classifier that answers after each glimpse."""

  @property
  def glimpses(self) -> Glimpses | Cells:
    """The extent of a glimpse."""
    ...

  def ask_stepwise(self, images: np.ndarray) -> dict[str, np.ndarray]:
    """Answers float32 images `[B, H, W, C]` with the outputs of `classify_stepwise` by name."""
    ...


class Steps(NamedTuple):
  """The glimpses of one image, and the answer after each.

  Attributes:
    image: float32 `[H, W, C]` in 0..1, as the model saw it.
    locations: float32 `[N, 2]`, (row, column) in [-1, 1].
    scales: int64 `[N]`, the scale of each glimpse; None where a glimpse has all scales.
    patches: float32 `[N, S, G, G, C]`; of a chosen scale `[N, 1, G, G, C]`.
    probabilities: float32 `[N, K]`, of the classes after each glimpse.
  """

  image: np.ndarray
  locations: np.ndarray
  scales: np.ndarray | None
  patches: np.ndarray
  probabilities: np.ndarray


def ask_steps(model: StepwiseModel, contents: bytes) -> Steps:
  """Asks a classifier for its answer after each glimpse of an image file.

  Args:
    model: the classifier.
    contents: of a PNG or JPEG file of the model's size.

  Raises:
    ValueError: if the model does not answer after each glimpse.
  """
  if isinstance(model.glimpses, Cells):
    raise ValueError("model: must be a classifier")
  images = as_images(contents, model.image_shape()[-1])
  answer = model.ask_stepwise(images)
  locations, scales = answer["locations"], answer.get("scales")
  source = looking.PixelSource(images, *model.glimpses)
  return Steps(
    image=images[0],
    locations=locations[0],
    scales=None if scales is None else scales[0],
    patches=looking.patches_along(source, locations, scales)[0],
    probabilities=answer["probabilities"][0],
  )


def as_images(contents: bytes, channels: int) -> np.ndarray:
  """Decodes an image file to a batch of one, float32 `[1, H, W, channels]` in 0..1."""
  image = PIL.Image.open(io.BytesIO(contents), formats=FORMATS)
  image = image.convert("L" if channels == 1 else "RGB")
  return examples.to_float(np.asarray(image).reshape(1, image.height, image.width, -1))


class ExportedModel:
  """An export, run by TensorFlow's C++ loader as a server runs it.

  Args:
    model_dir: folder of a version, or of a model, for its newest version.

  Attributes:
    fit: see `Model`.
    glimpses: the extent of a glimpse.

  Raises:
    FileNotFoundError: if the folder holds no export.
    ValueError: if its manifest is damaged, or its graph touches other files.
    ServingError: if the loader refuses it.

  Example:

  >>> import pathlib
  >>> from wsram_tf import serving
  >>> version = pathlib.Path("served/digits/1")  # See the example of `export_classifier`.
  >>> model = serving.ExportedModel(version)
  >>> answer = model.ask([(version / "assets.extra/example.png").read_bytes()])
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

  def __enter__(self) -> "ExportedModel":
    return self

  def __exit__(self, *_):
    self.close()

  def close(self) -> None:
    """Frees the model's memory, once the requests that run have their answers."""
    self._model.close()

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
    return _ask_stepwise(self, images)

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
    glimpse_scales: the scales that a model chooses from, which servers do not report; 0: unknown.

  Attributes:
    fit: see `Model`.
    class_names: empty; servers name the likeliest class alone.

  Raises:
    ServerError: if the server does not answer.
    ValueError: if no signature takes image files.
  """

  class_names: Sequence[str] = ()

  def __init__(
    self,
    client: clients.GrpcClient | clients.RestClient,
    name: str,
    glimpse_scales: int = 0,
  ):
    self._client = client
    self._chosen_scales = glimpse_scales
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

  @property
  def glimpses(self) -> Glimpses | Cells:
    """The extent of a glimpse; a captioner's cells are not known.

    Raises:
      ValueError: if the signatures do not tell a classifier's.
    """
    if self._signature != "classify_bytes":
      return Cells(())
    if "look" not in self.signatures:
      raise ValueError(
        "model: must have the signature look, which exports of earlier versions of this package "
        "lack"
      )
    scales, side = self.signatures["look"].inputs["patches"].row_shape[:2]
    if "scale" in self.signatures["begin"].outputs:
      scales = self._chosen_scales
      if not scales:
        raise ValueError(
          "glimpse_scales=0: must be the number of scales that the model chooses from, which "
          "servers do not report"
        )
    return Glimpses(side, scales)

  def ask_stepwise(self, images: np.ndarray) -> dict[str, np.ndarray]:
    """Answers images after each glimpse; see `ExportedModel.ask_stepwise`.

    Raises:
      ValueError: if the model lacks the signature.
      ServerError: if the server does not answer or refuses the images.
    """
    return _ask_stepwise(self, images)

  @property
  def signatures(self) -> Mapping[str, protos.Signature]:
    """The signatures by name."""
    return self._client.signatures

  def exchange(self, signature: str, inputs: Mapping[str, np.ndarray]) -> protos.Exchange:
    """Asks for the outputs of any signature.

    Raises:
      ServerError: if the server does not answer or refuses an input.
    """
    return self._client.exchange(signature, inputs)


def _ask_stepwise(model: looking.GlimpseModel, images: np.ndarray) -> dict[str, np.ndarray]:
  if "classify_stepwise" not in model.signatures:
    raise ValueError(
      "model: must have the signature classify_stepwise, which captioners and exports of earlier "
      f"versions of this package lack; it has {', '.join(sorted(model.signatures))}"
    )
  threshold = np.ones([len(images)], np.float32)
  return model.exchange("classify_stepwise", {"images": images, "threshold": threshold}).outputs


def describe(answer: Mapping[str, np.ndarray], class_names: Sequence[str] = ()) -> str:
  """Describes the answer to one image: its likeliest classes or caption, and the glimpses.

  Args:
    answer: outputs by name, of one row.
    class_names: K names, by label; empty to name the likeliest class as the answer does.
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
  ranked = ranked_classes(answer, class_names)
  shown = ", ".join(f"{name} ({100 * probability:.1f}%)" for name, probability in ranked)
  return f"{shown}; looked at ({axes}) {' '.join(looked)}"


def ranked_classes(
  answer: Mapping[str, np.ndarray], class_names: Sequence[str] = ()
) -> list[tuple[str, float]]:
  """Lists the three likeliest classes of the answer to one image, with their probabilities.

  Args:
    answer: outputs by name, of one row.
    class_names: as `describe` takes them.
  """
  probabilities = np.asarray(answer["probabilities"][0])
  labels = np.argsort(-probabilities, kind="stable")[:_CLASSES_SHOWN].tolist()
  names = dict(enumerate(class_names))
  # A server's answer names the likeliest class alone; the others appear as numbers.
  if "class_name" in answer and not names:
    names = {labels[0]: text_of(answer["class_name"][0])}
  return [(names.get(label, str(label)), float(probabilities[label])) for label in labels]


def caption_words(answer: Mapping[str, np.ndarray]) -> list[str]:
  """Lists the words of the caption of one image."""
  return [text_of(word) for word in answer["words"][0] if word]


def text_of(output: bytes | str) -> str:
  """Decodes a string output; over REST it is text already."""
  return output.decode() if isinstance(output, bytes) else str(output)
