"""Loads backbones: trained convolutional networks that turn images into feature grids."""

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from wsram_tf.captions.grid_network import PackedGrids
from wsram_tf.model_files.loading import load_model
from wsram_tf.settings import check_path

__all__ = [
  "backbone_digest",
  "deserialized_backbone",
  "grid_computer",
  "grid_shape",
  "image_side",
  "layer_shapes",
  "load_backbone",
  "serialized_backbone",
  "with_preprocessing",
]

# The training resolution of most networks of keras.applications.
_COMMON_SIDE = 224


def load_backbone(
  backbone: str | os.PathLike,
  image_side: int = 0,
  download: bool = False,
  layers: Sequence[str] = (),
) -> keras.Model:
  """Loads a network that turns pixels into a feature grid, or into the grids of several layers.

  Args:
    backbone: path of a `.keras` file, or name of a network of `keras.applications`. A file's
      network takes float `[B, S, S, 3]`, RGB in 0..255, and returns `[B, H, W, C]`. A named network
      comes with its preprocessing and ImageNet weights.
    image_side: S, pixels; 0 for the side of the file's network, or 224 if that is open.
    download: whether to download the weights of a named network.
    layers: names of layers of the network whose grids it returns, packed as by `PackedGrids`; empty
      for the network's own output.

  Returns:
    the network, not trainable, with a fixed input side.

  Raises:
    ValueError: if the network does not exist, cannot be loaded, has other inputs or outputs, or
      lacks a layer.

  Example:

  >>> import tempfile
  >>> layers = [keras.Input([32, 32, 3]), keras.layers.Conv2D(5, 8, strides=8)]
  >>> with tempfile.TemporaryDirectory() as folder:
  ...   keras.Sequential(layers).save(f"{folder}/backbone.keras")
  ...   backbone = load_backbone(f"{folder}/backbone.keras")
  >>> grid_shape(backbone)
  (4, 4, 5)
  """
  check_path("backbone", backbone)
  name = os.fspath(backbone)
  if name.endswith(".keras"):
    network = _with_layers(_load_file(name), layers)
  else:
    network = _fetch(name, image_side, download, layers)
  if len(network.inputs) != 1 or len(network.outputs) != 1:
    raise ValueError(f"backbone={name!r}: must have one input and one output")
  given = tuple(network.inputs[0].shape)
  if len(given) != 4 or given[3] != 3 or given[1] != given[2]:
    raise ValueError(f"backbone={name!r}: must take images [B, S, S, 3]; it takes {given}")
  if given[1] is None or (image_side and given[1] != image_side):
    if given[1] is not None:
      raise ValueError(
        f"image_side={image_side}: must be {given[1]}, the input side of backbone={name!r}"
      )
    side = image_side or _COMMON_SIDE
    images = keras.Input([side, side, 3])
    network = keras.Model(images, network(images))
  shape = tuple(network.outputs[0].shape)
  if len(shape) != 4 or None in shape[1:]:
    raise ValueError(f"backbone={name!r}: must return grids [B, H, W, C]; it returns {shape}")
  network.trainable = False
  return network


def image_side(backbone: keras.Model) -> int:
  """Returns S, the side of a backbone's input images, pixels."""
  return backbone.inputs[0].shape[1]


def grid_shape(backbone: keras.Model) -> tuple[int, int, int]:
  """Returns (H, W, C) of a backbone's grids."""
  return tuple(backbone.outputs[0].shape[1:])


def layer_shapes(backbone: keras.Model) -> tuple[tuple[int, int, int], ...]:
  """Returns (H, W, C) of each grid that a backbone packs; empty for a backbone with one grid."""
  packing = [layer for layer in _layers(backbone) if isinstance(layer, PackedGrids)]
  return packing[-1].shapes if packing else ()


def grid_computer(backbone: keras.Model) -> Callable[[np.ndarray], np.ndarray]:
  """Makes a function from images to grids.

  Args:
    backbone: network from `load_backbone`.

  Returns:
    function from float32 `[B, S, S, 3]` in 0..255 to float32 `[B, H, W, C]`.

  Example:

  >>> backbone = keras.Sequential([keras.Input([8, 8, 3]), keras.layers.Conv2D(5, 4, strides=4)])
  >>> grid_computer(backbone)(np.zeros([3, 8, 8, 3], np.float32)).shape
  (3, 2, 2, 5)
  """
  side = image_side(backbone)

  # Without XLA, which makes convolutions on a CPU many times slower.
  @tf.function(input_signature=[tf.TensorSpec([None, side, side, 3])], jit_compile=False)
  def compute(images: tf.Tensor) -> tf.Tensor:
    return tf.cast(backbone(images, training=False), tf.float32)

  return lambda images: compute(tf.constant(images)).numpy()


def backbone_digest(backbone: keras.Model) -> str:
  """Computes a SHA-256 digest of a backbone's layers and weights.

  Names do not enter the digest, so saving and loading keep it.

  Args:
    backbone: network from `load_backbone`.

  Returns:
    64 hexadecimal digits.
  """
  digest = hashlib.sha256()
  for layer in _layers(backbone):
    settings = {key: value for key, value in layer.get_config().items() if _is_plain(key, value)}
    digest.update(json.dumps([type(layer).__name__, settings], sort_keys=True).encode())
  for weight in backbone.get_weights():
    digest.update(f"{weight.dtype}{weight.shape}".encode())
    digest.update(np.ascontiguousarray(weight).tobytes())
  return digest.hexdigest()


def serialized_backbone(backbone: keras.Model | None) -> dict[str, Any] | None:
  """Returns a backbone's architecture and whether it is trainable, for JSON; None without one."""
  if backbone is None:
    return None
  return {
    "network": keras.saving.serialize_keras_object(backbone),
    "trainable": backbone.trainable,
  }


def deserialized_backbone(config: dict[str, Any] | None) -> keras.Model | None:
  """Makes the backbone of a `serialized_backbone` dictionary, with new weights."""
  if config is None:
    return None
  backbone = keras.saving.deserialize_keras_object(config["network"])
  backbone.trainable = config["trainable"]
  return backbone


def _load_file(name: str) -> keras.Model:
  path = os.path.expanduser(name)  # Path.expanduser raises at an unknown user.
  if not os.path.isfile(path):
    raise ValueError(f"backbone={name!r}: must be an existing file")
  try:
    return load_model(path, compile=False)
  except Exception as error:  # Keras raises many classes of errors here.
    raise ValueError(f"backbone={name!r}: must be a loadable Keras model: {error}") from error


def _with_layers(network: keras.Model, names: Sequence[str]) -> keras.Model:
  """Replaces the output of a network by the packed grids of its layers."""
  if not names:
    return network
  grids = []
  for name in names:
    layer = next((one for one in network.layers if one.name == name), None)
    if layer is None or len(layer.output.shape) != 4 or None in layer.output.shape[1:]:
      known = [
        f"{one.name} {tuple(one.output.shape[1:])}"
        for one in network.layers
        if isinstance(one.output, keras.KerasTensor) and len(one.output.shape) == 4
      ]
      raise ValueError(
        f"backbone_layers={name!r}: must be a layer of the backbone with grids of a fixed size; "
        f"its last ones are {', '.join(known[-8:])}"
      )
    grids.append(layer.output)
  return keras.Model(network.inputs, PackedGrids(",".join(names), name="packed_grids")(grids))


def _fetch(name: str, side: int, download: bool, layers: Sequence[str] = ()) -> keras.Model:
  modules = [value for value in vars(keras.applications).values() if hasattr(value, "__path__")]
  owner = next((m for m in modules if name in vars(m) and hasattr(m, "preprocess_input")), None)
  if owner is None or not name[:1].isupper():
    raise ValueError(
      f"backbone={name!r}: must be a .keras file, or the name of a network of keras.applications, "
      "for instance EfficientNetV2B0"
    )
  if not download:
    raise ValueError(
      f"backbone={name!r}: must be downloaded first; add --download, or give a .keras file"
    )
  side = side or _COMMON_SIDE
  try:
    network = getattr(owner, name)(
      include_top=False, weights="imagenet", input_shape=(side, side, 3)
    )
  except Exception as error:  # A failed download has no error class of its own.
    raise ValueError(f"backbone={name!r}: cannot be downloaded: {error}") from error
  return with_preprocessing(_with_layers(network, layers), owner.preprocess_input)


def with_preprocessing(
  network: keras.Model, preprocess_input: Callable[[np.ndarray], np.ndarray]
) -> keras.Model:
  """Adds the preprocessing of `keras.applications` as a first layer of a network.

  Args:
    network: takes preprocessed images `[B, S, S, 3]`.
    preprocess_input: affine map of the channels, as all of `keras.applications` are.

  Returns:
    network that takes RGB in 0..255.
  """
  probes = np.concatenate([np.zeros([1, 3]), 255.0 * np.eye(3)]).astype(np.float32)
  answers = np.asarray(preprocess_input(probes[:, np.newaxis, np.newaxis].copy()))[:, 0, 0]
  bias, kernel = answers[0], (answers[1:] - answers[0]) / 255.0
  images = keras.Input(network.inputs[0].shape[1:])
  affine = keras.layers.Conv2D(3, 1, name="preprocessing")
  affine.build((None, *network.inputs[0].shape[1:]))
  affine.set_weights([kernel[np.newaxis, np.newaxis], bias])
  return keras.Model(images, network(affine(images)))


def _layers(network: keras.Model) -> list[keras.layers.Layer]:
  layers = []
  for layer in network.layers:
    layers.extend(_layers(layer) if isinstance(layer, keras.Model) else [layer])
  return layers


def _is_plain(key: str, value: Any) -> bool:
  # Keras numbers names in the order of creation, and nested objects may hold names.
  numbers = isinstance(value, list | tuple) and all(isinstance(x, int | float) for x in value)
  return key not in ("name", "trainable") and (numbers or isinstance(value, int | float | str))
