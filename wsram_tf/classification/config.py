"""The settings of the networks for classification."""

import dataclasses
from typing import Any

from wsram_tf.location_families import LOCATION_FAMILIES
from wsram_tf.settings import PRECISION_HELP, PRECISIONS, check_settings, documented, setting

__all__ = ["GlimpseConfig", "LocationConfig", "ModelConfig"]


def _default(config_class: type, name: str) -> Any:
  return next(field.default for field in dataclasses.fields(config_class) if field.name == name)


@documented
@dataclasses.dataclass(frozen=True)
class GlimpseConfig:
  """The patches of a glimpse, and the network that encodes them.

  Example:

  >>> GlimpseConfig(glimpse_side=8, glimpse_scales=3).glimpse_scales
  3
  """

  glimpse_side: int = setting(
    18,
    "side of a glimpse patch, in pixels; the default shrinks to a smaller image's shorter side",
    minimum=1,
  )
  glimpse_scales: int = setting(
    2, "patches of a glimpse; patch s covers glimpse_side * 2**s pixels", minimum=1, maximum=8
  )
  glimpse_filters: tuple[int, ...] = setting(
    (),
    "filters of each 3 x 3 convolution in the glimpse network, one number a layer; empty: dense",
    minimum=1,
  )
  choose_scale: bool = setting(
    False,
    "each glimpse has one patch, at a scale that prior and proposal choose with the location, as "
    "in the paper; false: the patches of all glimpse_scales",
  )

  def __post_init__(self):
    if isinstance(self.glimpse_filters, list):  # JSON has no tuples.
      object.__setattr__(self, "glimpse_filters", tuple(self.glimpse_filters))
    check_settings(self)
    if self.glimpse_side < 2 ** len(self.glimpse_filters):
      raise ValueError(
        f"glimpse_filters={self.glimpse_filters!r}: must be at most "
        f"{self.glimpse_side.bit_length() - 1} convolutions for glimpse_side={self.glimpse_side}, "
        "because each halves the patch"
      )

  @property
  def chooses_scale(self) -> bool:
    """Whether an action is a location and a scale; false for one scale, which is no choice."""
    return self.choose_scale and self.glimpse_scales > 1

  @property
  def patches(self) -> int:
    """Patches a glimpse: 1 at a chosen scale, else one a scale."""
    return 1 if self.chooses_scale else self.glimpse_scales


@documented
@dataclasses.dataclass(frozen=True)
class LocationConfig:
  """The family of distributions over locations, common to prior and proposal.

  Example:

  >>> LocationConfig("grid", grid_rows=4, grid_columns=4).grid_rows
  4
  """

  location_distribution: str = setting(
    "normal",
    "family of the prior and the proposal: normal (fixed scale), normal_learned_scale, grid "
    "(categorical over the cells of a grid), or keyed_grid (categorical over the pixels of the "
    "low-resolution copy, by their features: for small objects in large images)",
    choices=LOCATION_FAMILIES,
  )
  location_scale: float = setting(
    0.1,
    "standard deviation of a location, in half canvas sides; with normal_learned_scale its initial "
    "value",
    above=0,
  )
  grid_rows: int = setting(8, "rows of cells, for grid", minimum=1)
  grid_columns: int = setting(8, "columns of cells, for grid", minimum=1)
  location_filters: tuple[int, ...] = setting(
    (16,),
    "filters of each 3 x 3 convolution over the low-resolution copy except the last, for "
    "keyed_grid, one number a layer",
    minimum=1,
  )
  location_units: int = setting(
    32, "size of the vectors that compare a state with a cell, for keyed_grid", minimum=1
  )
  location_saliency: float = setting(
    0.0,
    "for keyed_grid, factor at the start of a cell's distance from the mean brightness (standard "
    "deviations) in the logits of prior and proposal, which learn it: the search starts on "
    "conspicuous cells; 0: none",
    minimum=0,
  )
  no_return: bool = setting(
    False,
    "for keyed_grid, no two glimpses of a sequence look at the same cell",
  )
  no_return_radius: int = setting(
    0,
    "with no_return, later glimpses leave out so many cells around it in each direction too, such "
    "as those that a glimpse covers",
    minimum=0,
  )

  def __post_init__(self):
    if isinstance(self.location_filters, list):  # JSON has no tuples.
      object.__setattr__(self, "location_filters", tuple(self.location_filters))
    check_settings(self)
    if self.location_distribution == "normal_learned_scale" and self.location_scale <= 0.02:
      raise ValueError(
        f"location_scale={self.location_scale}: must be above 0.02, the least learned scale"
      )
    if self.no_return_radius and not self.no_return:
      raise ValueError(f"no_return_radius={self.no_return_radius}: must be 0 without no_return")
    if self.location_distribution != "keyed_grid":
      for name in ("location_saliency", "no_return"):
        if getattr(self, name):
          raise ValueError(
            f"{name}={getattr(self, name)}: must be {_default(LocationConfig, name)} for "
            f"location_distribution={self.location_distribution}, because it needs keyed_grid"
          )


@documented
@dataclasses.dataclass(frozen=True)
class ModelConfig:
  """The shape of a prediction network and of its inference network.

  Example:

  >>> ModelConfig(height=28, width=28).image_shape
  (28, 28, 1)
  """

  height: int = setting(100, "height of the canvas, in pixels", minimum=1)
  width: int = setting(100, "width of the canvas, in pixels", minimum=1)
  channels: int = setting(1, "channels of the canvas", minimum=1)
  num_classes: int = setting(10, "number of classes", minimum=2)
  num_glimpses: int = setting(4, "glimpses a sequence", minimum=1)
  units: int = setting(256, "units of each recurrent layer and each hidden layer", minimum=1)
  cell: str = setting(
    "lstm",
    "recurrent cell of both layers; relu: plain recurrent layers of ReLU units, as in the paper",
    choices=("lstm", "gru", "relu"),
  )
  context_side: int = setting(
    12,
    "side of the low-resolution copy for the context network, in pixels; the default shrinks to a "
    "smaller image's shorter side",
    minimum=1,
  )
  context_pool: int = setting(
    1,
    "the context network averages the copy over blocks of this many pixels a side; large copies, "
    "whose cells a keyed_grid needs, saturate its states without it",
    minimum=1,
  )
  precision: str = setting("float32", PRECISION_HELP, choices=PRECISIONS)
  observation: str = setting(
    "pixels",
    "form of the images; visible_pixels: a list of the pixels that are not black, whose cost does "
    "not grow with the canvas; regions: paths of large files, each of its own size, of which "
    "glimpses read regions",
    choices=("pixels", "visible_pixels", "regions"),
  )
  glimpse: GlimpseConfig = dataclasses.field(default_factory=GlimpseConfig)
  location: LocationConfig = dataclasses.field(default_factory=LocationConfig)

  def __post_init__(self):
    check_settings(self)
    shorter = min(self.height, self.width)
    if self.context_side == _default(ModelConfig, "context_side"):
      object.__setattr__(self, "context_side", min(self.context_side, shorter))
    if shorter < self.glimpse.glimpse_side == _default(GlimpseConfig, "glimpse_side"):
      smaller = dataclasses.replace(self.glimpse, glimpse_side=shorter)
      object.__setattr__(self, "glimpse", smaller)
    if self.glimpse.glimpse_side > shorter:
      raise ValueError(
        f"glimpse_side={self.glimpse.glimpse_side}: must be at most the canvas' shorter side, "
        f"{shorter} pixels"
      )
    if self.context_side > shorter:
      raise ValueError(
        f"context_side={self.context_side}: must be at most the canvas' shorter side, "
        f"{shorter} pixels"
      )
    if self.context_side % self.context_pool:
      raise ValueError(
        f"context_pool={self.context_pool}: must divide context_side={self.context_side}"
      )
    taken = (2 * self.location.no_return_radius + 1) ** 2
    if self.location.no_return and (self.num_glimpses - 1) * taken >= self.context_side**2:
      raise ValueError(
        f"num_glimpses={self.num_glimpses}: must leave a cell for each glimpse with no_return: of "
        f"the {self.context_side**2} cells of context_side={self.context_side} each takes {taken}"
      )

  @property
  def image_shape(self) -> tuple[int, int, int]:
    """Height, width, channels."""
    return self.height, self.width, self.channels

  def to_dict(self) -> dict[str, Any]:
    """Returns a dictionary of JSON types, the argument of `from_dict`."""
    return dataclasses.asdict(self)

  @classmethod
  def from_dict(cls, values: dict[str, Any]) -> "ModelConfig":
    """Makes a configuration from the result of `to_dict`."""
    glimpse = GlimpseConfig(**values["glimpse"])
    location = LocationConfig(**values["location"])
    return cls(**{**values, "glimpse": glimpse, "location": location})
