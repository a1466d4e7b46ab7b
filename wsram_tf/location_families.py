"""The families of location distributions, by the names that `LocationConfig` accepts.

Reading the table does not load TensorFlow. `register_location_family` adds a family.
"""

import re
from collections.abc import Callable
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
  from wsram_tf.locations import LocationDistribution

__all__ = ["LOCATION_FAMILIES", "make_location_distribution", "register_location_family"]


def _locations() -> ModuleType:
  # Not at the top: the programs' --help reads the table and must not wait for TensorFlow.
  from wsram_tf import locations

  return locations


# Each function takes a `ModelConfig`.
LOCATION_FAMILIES: dict[str, Callable[[Any], "LocationDistribution"]] = {
  "normal": lambda config: _locations().NormalLocations(config.location.location_scale),
  "normal_learned_scale": lambda config: _locations().NormalLocations(
    config.location.location_scale, learned_scale=True
  ),
  "grid": lambda config: _locations().GridLocations(
    config.location.grid_rows, config.location.grid_columns
  ),
  "keyed_grid": lambda config: _locations().GridLocations(config.context_side, config.context_side),
}
_BUILT_IN = frozenset(LOCATION_FAMILIES)


def make_location_distribution(config: Any) -> "LocationDistribution":
  """Returns the family of distributions that a `ModelConfig` names.

  Where the model chooses a scale, the family extends to locations and scales.
  """
  family = LOCATION_FAMILIES[config.location.location_distribution](config)
  if not config.glimpse.chooses_scale:
    return family
  return _locations().ScaledLocations(family, config.glimpse.glimpse_scales)


def register_location_family(name: str, make: Callable[[Any], "LocationDistribution"]) -> None:
  """Adds a family, so that `LocationConfig(location_distribution=name)` accepts its name.

  A saved model stores the name alone: register the family before you load the model.

  Args:
    name: a new name, of letters, digits and underscores.
    make: takes the `ModelConfig` and returns a `locations.LocationDistribution`.

  Raises:
    ValueError: if the name is malformed or built in, or `make` cannot be called.

  Example:

  >>> import wsram_tf
  >>> wide = lambda config: wsram_tf.locations.NormalLocations(0.3)
  >>> wsram_tf.register_location_family("wide", wide)
  >>> wsram_tf.LocationConfig(location_distribution="wide").location_distribution
  'wide'
  """
  if not isinstance(name, str) or not re.fullmatch(r"\w{1,100}", name, re.ASCII):
    raise ValueError(f"name={name!r}: must be 1 to 100 letters, digits and underscores")
  if name in _BUILT_IN:
    raise ValueError(f"name={name!r}: must be new, because the package has a family of this name")
  if not callable(make):
    raise ValueError(f"make={make!r}: must be a function of a ModelConfig")
  LOCATION_FAMILIES[name] = make
