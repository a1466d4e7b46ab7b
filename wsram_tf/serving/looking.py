"""Takes the glimpses of images that stay with the client, through a model's `begin` and `look`.

The server gets a low-resolution copy and the patches of each glimpse, a few kilobytes, and answers
where to look next.
"""

from collections.abc import Mapping
from typing import NamedTuple, Protocol

import numpy as np

from wsram_tf.data.fitting import area_weights, first_pixels
from wsram_tf.serving import protos

__all__ = [
  "COUNT_AT",
  "PLACE_AT",
  "SCALE_AT",
  "GlimpseModel",
  "ImageSource",
  "Looked",
  "PixelSource",
  "look_around",
  "patches_along",
]

# Where a state holds the number of glimpses taken, the next place (row, column), and its scale.
COUNT_AT, PLACE_AT, SCALE_AT = 0, 1, 3


class ImageSource(Protocol):
  """Gives what a model asks of B images."""

  def low_resolution(self, side: int) -> np.ndarray:
    """Averages each image over `side` x `side` equal areas, float32 `[B, side, side, C]`."""
    ...

  def patches(self, locations: np.ndarray, scales: np.ndarray | None) -> np.ndarray:
    """Cuts the patches of one glimpse of each image.

    Args:
      locations: float32 `[B, 2]`, (row, column) in [-1, 1]; see `GlimpseSensor`.
      scales: int64 `[B]`, the chosen scales; None where a glimpse has the patches of all scales.

    Returns:
      float32 `[B, S, G, G, C]`; of a chosen scale `[B, 1, G, G, C]`.
    """
    ...


class GlimpseModel(Protocol):
  """A model with the signatures `begin` and `look`, wherever it runs."""

  @property
  def signatures(self) -> Mapping[str, protos.Signature]:
    """The model's signatures by name."""
    ...

  def exchange(self, signature: str, inputs: Mapping[str, np.ndarray]) -> protos.Exchange:
    """Asks for the outputs of a signature."""
    ...


class Looked(NamedTuple):
  """The glimpses of B images, and the classes after each.

  N is the number of glimpses taken. With a threshold it may be smaller than the model's.

  Attributes:
    locations: float32 `[B, N, 2]`, (row, column) in [-1, 1].
    scales: int64 `[B, N]`; None where the model does not choose a scale.
    probabilities: float32 `[B, N, K]`, of the classes after each glimpse.
    glimpses: int64 `[B]`, the number of glimpses after which each answer stands: with a threshold
      the first that reaches it, else N.
    class_names: objects `[B, N]`, the name of the likeliest class after each glimpse; None where
      classes have numbers alone.
    bytes_sent: of all requests; see `Exchange`.
    bytes_received: of all responses.
  """

  locations: np.ndarray
  scales: np.ndarray | None
  probabilities: np.ndarray
  glimpses: np.ndarray
  class_names: np.ndarray | None
  bytes_sent: int
  bytes_received: int

  @property
  def answer(self) -> dict[str, np.ndarray]:
    """The outputs of `serving_default` by name, after the glimpse where each answer stands."""
    at = np.arange(len(self.glimpses)), self.glimpses - 1
    probabilities = self.probabilities[at]
    outputs = {
      "class_id": np.argmax(probabilities, axis=-1),
      "class_name": None if self.class_names is None else self.class_names[at],
      "locations": self.locations,
      "probabilities": probabilities,
      "scales": self.scales,
    }
    return {name: output for name, output in outputs.items() if output is not None}


def look_around(model: GlimpseModel, source: ImageSource, threshold: float | None = None) -> Looked:
  """Takes the glimpses of images, each where the model chooses.

  Args:
    model: an `ExportedModel`, or a `GrpcClient` or `RestClient`.
    source: gives the low-resolution copies and the patches of B images.
    threshold: a probability, 0 to 1; no further glimpse is taken once the likeliest class of every
      image has reached it. None: all glimpses. It suits models trained with `stepwise_weight`.

  Returns:
    the glimpses and the classes. After the last glimpse they are those of `serving_default`, up to
    rounding.

  Raises:
    ValueError: if the threshold is no probability, the model lacks the signatures, or the source
      gives no image or other shapes than they take.
    ServerError, ServingError: as the model raises them.

  Example:

  >>> import numpy as np
  >>> from wsram_tf import serving
  >>> model = serving.ExportedModel("served/digits")  # See the example of `export_classifier`.
  >>> images = np.zeros([3, *model.image_shape()], np.float32)
  >>> looked = serving.look_around(model, serving.PixelSource(images, *model.glimpses))
  >>> looked.locations.shape  # Of two glimpses.
  (3, 2, 2)
  >>> looked.answer["probabilities"].shape
  (3, 10)
  """
  if threshold is not None and not 0 <= threshold <= 1:
    raise ValueError(f"threshold={threshold}: must be from 0 to 1")
  if not {"begin", "look"} <= model.signatures.keys():
    names = ", ".join(sorted(model.signatures))
    raise ValueError(
      f"model: must have the signatures begin and look, which captioners and exports of earlier "
      f"versions of this package lack; it has {names}"
    )
  begin, look = model.signatures["begin"], model.signatures["look"]
  copy_info = _info(begin.inputs, "begin", "low_resolution", 3)
  patches_info = _info(look.inputs, "look", "patches", 4)
  for name, signature in (("begin", begin), ("look", look)):
    for output, rank in (("state", 1), ("location", 1), ("glimpses_left", 0)):
      _info(signature.outputs, name, output, rank)
  _info(look.outputs, "look", "probabilities", 1)
  copy = source.low_resolution(copy_info.row_shape[0])
  copy = _checked("low_resolution", copy, copy_info, max(len(copy), 1))
  # Only a prior that compares places of the copy needs it again.
  again = {"low_resolution": copy} if "low_resolution" in look.inputs else {}
  exchange = model.exchange("begin", {"low_resolution": copy})
  answers = [_read(exchange, "begin", begin, len(copy))]
  sent, received = exchange.bytes_sent, exchange.bytes_received
  if answers[0]["glimpses_left"][0] < 1:
    raise ValueError("model: must leave a glimpse after begin; it leaves none")
  going_on = np.ones(len(copy), bool)
  glimpses = np.zeros(len(copy), np.int64)
  while answers[-1]["glimpses_left"][0] > 0 and going_on.any():
    patches = source.patches(answers[-1]["location"], answers[-1].get("scale"))
    patches = _checked("patches", patches, patches_info, len(copy))
    inputs = {"state": answers[-1]["state"], "patches": patches, **again}
    exchange = model.exchange("look", inputs)
    answers.append(_read(exchange, "look", look, len(copy)))
    glimpses += going_on
    if threshold is not None:
      going_on &= answers[-1]["probabilities"].max(axis=-1) < threshold
    sent, received = sent + exchange.bytes_sent, received + exchange.bytes_received
  places, looks = answers[:-1], answers[1:]
  return Looked(
    locations=np.stack([answer["location"] for answer in places], axis=1),
    scales=np.stack([a["scale"] for a in places], axis=1) if "scale" in places[0] else None,
    probabilities=np.stack([answer["probabilities"] for answer in looks], axis=1),
    glimpses=glimpses,
    class_names=np.stack([a["class_name"] for a in looks], 1) if "class_name" in looks[0] else None,
    bytes_sent=sent,
    bytes_received=received,
  )


def patches_along(
  source: ImageSource, locations: np.ndarray, scales: np.ndarray | None
) -> np.ndarray:
  """Cuts the patches of given glimpses, for pictures.

  Args:
    source: of B images.
    locations: float32 `[B, N, 2]`, (row, column) in [-1, 1].
    scales: int64 `[B, N]`, the chosen scales; None where a glimpse has the patches of all scales.

  Returns:
    float32 `[B, N, S, G, G, C]`; of a chosen scale `[B, N, 1, G, G, C]`.
  """
  glimpses = range(locations.shape[1])
  chosen = [None if scales is None else scales[:, n] for n in glimpses]
  return np.stack([source.patches(locations[:, n], chosen[n]) for n in glimpses], axis=1)


class PixelSource:
  """Gives what a model asks of images that are in memory; implements `ImageSource`.

  Args:
    images: float32 `[B, H, W, C]` in 0..1.
    glimpse_side: G, pixels.
    glimpse_scales: S.

  Example:

  >>> import numpy as np
  >>> source = PixelSource(np.ones([2, 40, 36, 1], np.float32), glimpse_side=8, glimpse_scales=3)
  >>> source.low_resolution(5).shape
  (2, 5, 5, 1)
  >>> source.patches(np.zeros([2, 2], np.float32), None).shape
  (2, 3, 8, 8, 1)
  """

  def __init__(self, images: np.ndarray, glimpse_side: int, glimpse_scales: int):
    self._images = images
    self._side, self._scales = glimpse_side, glimpse_scales

  def low_resolution(self, side: int) -> np.ndarray:
    """See `ImageSource`."""
    rows, columns = (area_weights(length, side) for length in self._images.shape[1:3])
    averaged = np.tensordot(rows, self._images, (1, 1))  # [side, B, W, C]
    averaged = np.tensordot(averaged, columns, (2, 1))  # [side, B, C, side]
    return averaged.transpose(1, 0, 3, 2).astype(np.float32)

  def patches(self, locations: np.ndarray, scales: np.ndarray | None) -> np.ndarray:
    """See `ImageSource`."""
    sizes = np.tile(self._images.shape[1:3], (len(locations), 1))
    firsts = first_pixels(locations, sizes, self._extent)
    count = self._scales if scales is None else 1
    shape = [len(locations), count, self._side, self._side, self._images.shape[3]]
    patches = np.empty(shape, np.float32)
    for row, first in enumerate(firsts):
      for patch, scale in enumerate(
        range(self._scales) if scales is None else scales[row : row + 1]
      ):
        patches[row, patch] = self._patch(self._images[row], first, int(scale))
    return patches

  @property
  def _extent(self) -> int:
    return self._side << (self._scales - 1)

  def _patch(self, image: np.ndarray, first: np.ndarray, scale: int) -> np.ndarray:
    """Cuts `[G, G, C]` from an image; `first` is the first pixel of the widest patch."""
    size = self._side << scale
    begin = first + (self._extent - size) // 2
    area = np.zeros([size, size, image.shape[2]], np.float32)  # Beyond the image it is black.
    low, high = np.clip(begin, 0, image.shape[:2]), np.clip(begin + size, 0, image.shape[:2])
    (top, left), (bottom, right) = low - begin, high - begin
    area[top:bottom, left:right] = image[low[0] : high[0], low[1] : high[1]]
    for _ in range(scale):
      half = len(area) // 2
      rows = area.reshape(half, 2, 2 * half, -1).sum(axis=1)
      area = rows.reshape(half, half, 2, -1).sum(axis=2) * np.float32(0.25)
    return area


def _checked(name: str, array: np.ndarray, info: protos.TensorInfo, rows: int) -> np.ndarray:
  """Checks what a source gives; returns it in the model's dtype."""
  shape = [rows, *info.row_shape]
  if list(np.shape(array)) != shape:
    raise ValueError(f"source: {name} must have shape {shape}; got {list(np.shape(array))}")
  return np.asarray(array, info.dtype)


def _info(
  infos: Mapping[str, protos.TensorInfo], signature: str, name: str, rank: int
) -> protos.TensorInfo:
  """Finds an input or output of a signature; `rank` is that of a row."""
  info = infos.get(name)
  if info is None or info.shape is None or len(info.shape) != rank + 1:
    raise ValueError(f"model: {signature} must have {name} with {rank} axes a row; it has {info}")
  return info


def _read(
  exchange: protos.Exchange, name: str, signature: protos.Signature, rows: int
) -> dict[str, np.ndarray]:
  """Converts outputs to the dtypes of their signature, which JSON does not carry."""
  outputs = {}
  for output, info in signature.outputs.items():
    rule = f"model: {name} must answer {output} as {info}, with {rows} rows"
    try:
      dtype = object if info.dtype == "string" else info.dtype
      outputs[output] = np.asarray(exchange.outputs[output], dtype)
    except (KeyError, OverflowError, TypeError, ValueError) as error:
      raise ValueError(f"{rule}: {error!r:.200}") from error
    if info.shape is not None and outputs[output].shape != (rows, *info.row_shape):
      raise ValueError(f"{rule}; got the shape {list(outputs[output].shape)}")
  return outputs
