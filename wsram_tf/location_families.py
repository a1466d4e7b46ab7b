"""The families of location distributions by name; `register_location_family` adds one."""

import re
from collections.abc import Callable
from typing import Any

from wsram_tf.layers.location_distributions import (
  GridLocations,
  LocationDistribution,
  NormalLocations,
)

__all__ = ["LOCATION_FAMILIES", "make_location_distribution", "register_location_family"]

# Each takes a `ModelConfig`, which this module lies below.
LOCATION_FAMILIES: dict[str, Callable[[Any], LocationDistribution]] = {
  "normal": lambda config: NormalLocations(config.location.location_scale),
  "normal_learned_scale": lambda config: NormalLocations(
    config.location.location_scale, learned_scale=True
  ),
  "grid": lambda config: GridLocations(config.location.grid_rows, config.location.grid_columns),
  "keyed_grid": lambda config: GridLocations(config.context_side, config.context_side),
}
_BUILT_IN = frozenset(LOCATION_FAMILIES)


def make_location_distribution(config: Any) -> LocationDistribution:
  """Returns the family of distributions that a `ModelConfig` names."""
  return LOCATION_FAMILIES[config.location.location_distribution](config)


def register_location_family(name: str, make: Callable[[Any], LocationDistribution]) -> None:
  """Adds a family, so that `LocationConfig(location_distribution=name)` accepts its name.

  A saved model stores the name alone: register the family before you load one.

  Args:
    name: a new name, of letters, digits and underscores.
    make: takes the `ModelConfig` and returns a `layers.LocationDistribution`.

  Raises:
    ValueError: if the name is malformed or built in, or `make` cannot be called.

  Example:

  ```python
  wsram_tf.register_location_family("wide", lambda config: layers.NormalLocations(0.3))
  wsram_tf.LocationConfig(location_distribution="wide")
  ```
  """
  if not isinstance(name, str) or not re.fullmatch(r"\w{1,100}", name, re.ASCII):
    raise ValueError(f"name={name!r}: must be 1 to 100 letters, digits and underscores")
  if name in _BUILT_IN:
    raise ValueError(f"name={name!r}: must be new, the package defines a family of this name")
  if not callable(make):
    raise ValueError(f"make={make!r}: must be a function of a ModelConfig")
  LOCATION_FAMILIES[name] = make
