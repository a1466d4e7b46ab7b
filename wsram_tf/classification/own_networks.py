"""Checks and serialises glimpse and context networks of a user's own."""

from collections.abc import Mapping
from typing import Any

import keras

__all__ = ["check_outputs", "deserialized", "fresh", "serialized"]


def check_outputs(
  name: str, network: keras.layers.Layer, inputs: list[tuple], outputs: list[tuple]
) -> None:
  """Checks the shapes that a network returns.

  Args:
    name: the argument that holds the network, for the message.
    network: the network, built.
    inputs: shapes of its call arguments; None for an open axis.
    outputs: shapes that it must return.

  Raises:
    ValueError: if the network returns other shapes.
  """
  returned = network.compute_output_spec(*(keras.KerasTensor(shape) for shape in inputs))
  parts = list(returned) if isinstance(returned, list | tuple) else [returned]
  shapes = [tuple(part.shape) for part in parts]
  fits = len(shapes) == len(outputs) and all(
    len(shape) == len(wanted)
    and all(side in (None, right) for side, right in zip(shape, wanted, strict=True))
    for shape, wanted in zip(shapes, outputs, strict=True)
  )
  if not fits:
    raise ValueError(
      f"{name}={network.name}: must return {_shown(outputs)}; it returns {_shown(shapes)}"
    )


def fresh(network: keras.layers.Layer | None) -> keras.layers.Layer | None:
  """Makes a network of the same configuration with new weights."""
  return deserialized(serialized(network))


def serialized(network: keras.layers.Layer | None) -> dict[str, Any] | None:
  """Returns the configuration of a network, ready for JSON."""
  if network is None:
    return None
  config = keras.saving.serialize_keras_object(network)
  config.pop("build_config", None)  # The prediction network builds it.
  return config


def deserialized(config: Mapping[str, Any] | None) -> keras.layers.Layer | None:
  """Makes the network of a configuration, with new weights.

  Raises:
    TypeError: if its class has no registered name; see `keras.saving.register_keras_serializable`.
  """
  return None if config is None else keras.saving.deserialize_keras_object(dict(config))


def _shown(shapes: list[tuple]) -> str:
  return ", ".join(str(list(shape)).replace("None", "R") for shape in shapes)
