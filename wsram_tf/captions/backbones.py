"""Backbones: trained convolutional networks that turn an image into a grid of features."""

import hashlib
import json
import os
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

__all__ = [
  "backbone_digest",
  "grid_computer",
  "grid_shape",
  "image_side",
  "load_backbone",
  "with_preprocessing",
]

# What keras.applications trained most of its networks on.
_COMMON_SIDE = 224


def load_backbone(
  backbone: str | os.PathLike, image_side: int = 0, download: bool = False
) -> keras.Model:
  """Loads a network from pixels to a feature grid.

  Args:
    backbone: a `.keras` file of a network that takes float `[B, S, S, 3]`, RGB in 0..255, and gives
      `[B, H, W, C]`; or the name of a network of `keras.applications`, whose preprocessing and
      ImageNet weights are put in.
    image_side: S, pixels; 0 for the file's own, or 224.
    download: whether to fetch a named network's weights.

  Returns:
    the network, not trainable, with the input's side fixed.

  Raises:
    ValueError: if there is no such network, or it takes or gives something else.
  """
  name = os.fspath(backbone)
  network = _load_file(name) if name.endswith(".keras") else _fetch(name, image_side, download)
  if len(network.inputs) != 1 or len(network.outputs) != 1:
    raise ValueError(f"backbone={name!r}: must have one input and one output")
  given = tuple(network.inputs[0].shape)
  if len(given) != 4 or given[3] != 3 or given[1] != given[2]:
    raise ValueError(f"backbone={name!r}: must take images [B, S, S, 3], and takes {given}")
  if given[1] is None or (image_side and given[1] != image_side):
    if given[1] is not None:
      raise ValueError(
        f"image_side={image_side}: must be {given[1]}, the side that backbone={name!r} takes"
      )
    side = image_side or _COMMON_SIDE
    images = keras.Input([side, side, 3])
    network = keras.Model(images, network(images))
  shape = tuple(network.outputs[0].shape)
  if len(shape) != 4 or None in shape[1:]:
    raise ValueError(f"backbone={name!r}: must give grids [B, H, W, C], and gives {shape}")
  network.trainable = False
  return network


def image_side(backbone: keras.Model) -> int:
  """S, the side of the images that a backbone takes, pixels."""
  return backbone.inputs[0].shape[1]


def grid_shape(backbone: keras.Model) -> tuple[int, int, int]:
  """(H, W, C) of the grid that a backbone gives."""
  return tuple(backbone.outputs[0].shape[1:])


def grid_computer(backbone: keras.Model) -> Callable[[np.ndarray], np.ndarray]:
  """What computes grids, float32 `[B, H, W, C]`, of images, float32 `[B, S, S, 3]` in 0..255."""
  side = image_side(backbone)

  # Never with XLA, which makes convolutions on a CPU many times slower.
  @tf.function(input_signature=[tf.TensorSpec([None, side, side, 3])], jit_compile=False)
  def compute(images: tf.Tensor) -> tf.Tensor:
    return tf.cast(backbone(images, training=False), tf.float32)

  return lambda images: compute(tf.constant(images)).numpy()


def backbone_digest(backbone: keras.Model) -> str:
  """A digest of a backbone's layers and weights; saving, loading and names do not change it."""
  digest = hashlib.sha256()
  for layer in _layers(backbone):
    settings = {key: value for key, value in layer.get_config().items() if _is_plain(key, value)}
    digest.update(json.dumps([type(layer).__name__, settings], sort_keys=True).encode())
  for weight in backbone.get_weights():
    digest.update(f"{weight.dtype}{weight.shape}".encode())
    digest.update(np.ascontiguousarray(weight).tobytes())
  return digest.hexdigest()


def _load_file(name: str) -> keras.Model:
  path = os.path.expanduser(name)  # pathlib's raises at an unknown user.
  if not os.path.isfile(path):
    raise ValueError(f"backbone={name!r}: there is no such file")
  try:
    return keras.saving.load_model(path, compile=False)
  except Exception as error:  # Keras raises whatever its parts do.
    raise ValueError(
      f"backbone={name!r}: must be a Keras model, and cannot be loaded: {error}"
    ) from error


def _fetch(name: str, side: int, download: bool) -> keras.Model:
  modules = [value for value in vars(keras.applications).values() if hasattr(value, "__path__")]
  owner = next((m for m in modules if name in vars(m) and hasattr(m, "preprocess_input")), None)
  if owner is None or not name[:1].isupper():
    raise ValueError(
      f"backbone={name!r}: must be a .keras file, or the name of a network of keras.applications, "
      "such as EfficientNetV2B0"
    )
  if not download:
    raise ValueError(
      f"backbone={name!r}: its weights must be fetched; add --download, or give a .keras file"
    )
  side = side or _COMMON_SIDE
  try:
    network = getattr(owner, name)(
      include_top=False, weights="imagenet", input_shape=(side, side, 3)
    )
  except Exception as error:  # No class of its own stands for a failed download.
    raise ValueError(f"backbone={name!r}: cannot be had: {error}") from error
  return with_preprocessing(network, owner.preprocess_input)


def with_preprocessing(
  network: keras.Model, preprocess_input: Callable[[np.ndarray], np.ndarray]
) -> keras.Model:
  """Puts what `keras.applications` does to pixels, always an affine map of channels, in front."""
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
  # Names are numbered as they are made; nested objects may hold names.
  numbers = isinstance(value, list | tuple) and all(isinstance(x, int | float) for x in value)
  return key not in ("name", "trainable") and (numbers or isinstance(value, int | float | str))
