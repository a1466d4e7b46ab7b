"""The settings of a model and its learning, as frozen dataclasses that check themselves.

Every field is made by `setting`, which keeps its help text, unit and rule beside the default. The
dataclass checks the rule when it is made, and the trainers turn the same record into a flag.
"""

import dataclasses
import math
import textwrap
from collections.abc import Collection
from typing import Any

from wsram_tf.location_families import LOCATION_FAMILIES
from wsram_tf.objectives import ESTIMATORS

__all__ = [
  "LARGEST_INTEGER",
  "PRECISIONS",
  "PRECISION_HELP",
  "CanvasConfig",
  "ExplorationConfig",
  "GlimpseConfig",
  "LocationConfig",
  "ModelConfig",
  "ObjectiveConfig",
  "OptimizerConfig",
  "check_settings",
  "documented",
  "rule_text",
  "rule_violation",
  "setting",
]

# What TensorFlow's int32 and float32 hold.
LARGEST_INTEGER = 2**31 - 1
LARGEST_FLOAT = 3.4e38

PRECISIONS = ("float32", "bfloat16")
PRECISION_HELP = (
  "numbers that the layers compute in; with bfloat16 weights, glimpses, log-probabilities, "
  "log-weights and losses stay float32"
)


def setting(
  default: Any,
  help: str,
  *,
  minimum: float | None = None,
  above: float | None = None,
  maximum: float | None = None,
  choices: Collection[str] | None = None,
) -> Any:
  """Declares one dataclass field with its help text (unit included) and its rule.

  Args:
    default: the value where none is given; its type is the type of the setting.
    help: one line for a person, with the unit.
    minimum: the smallest value allowed, or None.
    above: a bound that the value must exceed, or None.
    maximum: the largest value allowed, or None.
    choices: the allowed strings, or None; a table that grows keeps the rule up to date.

  Returns:
    A `dataclasses.field` whose metadata holds `help` and the rule.
  """
  rule = {"minimum": minimum, "above": above, "maximum": maximum, "choices": choices}
  return dataclasses.field(default=default, metadata={"help": help, **rule})


def rule_violation(field: dataclasses.Field, value: Any) -> str | None:
  """Says which rule of `field` the value breaks, as 'must be ...', or None where it breaks none."""
  rule = field.metadata
  if rule.get("choices"):
    is_known = isinstance(value, str) and value in rule["choices"]
    return None if is_known else f"must be one of {', '.join(rule['choices'])}"
  if isinstance(value, tuple) != isinstance(field.default, tuple):
    return "must be several numbers" if isinstance(field.default, tuple) else "must be one value"
  for item in value if isinstance(value, tuple) else (value,):
    if isinstance(field.default, bool):
      if not isinstance(item, bool):
        return "must be true or false"
      continue
    if isinstance(field.default, str):
      if not isinstance(item, str):
        return "must be text"
      if not item.isprintable():  # A flagfile holds one value a line, in UTF-8.
        return "must be printable text"
      continue
    if isinstance(item, bool) or not isinstance(item, int | float):
      return "must be a number"
    if isinstance(field.default, int | tuple) and not isinstance(item, int):
      return "must be a whole number"
    if isinstance(item, int) and abs(item) > LARGEST_INTEGER:
      return f"must be at most {LARGEST_INTEGER} in size"
    if not math.isfinite(item) or abs(item) > LARGEST_FLOAT:
      return "must be finite, also as float32"
    if rule.get("minimum") is not None and item < rule["minimum"]:
      return f"must be at least {rule['minimum']}"
    if rule.get("above") is not None and item <= rule["above"]:
      return f"must be above {rule['above']}"
    if rule.get("maximum") is not None and item > rule["maximum"]:
      return f"must be at most {rule['maximum']}"
  return None


def check_settings(config: Any) -> None:
  """Checks every field of a dataclass made with `setting` against its rule.

  Raises:
    ValueError: naming the field, its value and the rule that it breaks.
  """
  for field in dataclasses.fields(config):
    if "help" not in field.metadata:
      continue
    value = getattr(config, field.name)
    violation = rule_violation(field, value)
    if violation:
      raise ValueError(f"{field.name}={value!r}: {violation}")


def documented(config_class: type) -> type:
  """Adds each field's help, rule and default to a dataclass's docstring, for `help`."""
  lines = []
  for field in dataclasses.fields(config_class):
    if "help" in field.metadata:
      text = (
        f"{field.name}: {field.metadata['help']}{rule_text(field)}. Default: {field.default!r}."
      )
    else:
      text = f"{field.name}: see `{field.type.__name__}`."
    lines += textwrap.wrap(
      text, 94, initial_indent="  ", subsequent_indent="    ", break_on_hyphens=False
    )
  config_class.__doc__ = "\n".join([config_class.__doc__.rstrip(), "", "Args:", *lines, ""])
  return config_class


def rule_text(field: dataclasses.Field) -> str:
  """The bounds of a field, as `; at least 1, at most 8`; empty where it has none."""
  rule = field.metadata
  parts = [
    f"{words} {rule[key]}"
    for key, words in (("minimum", "at least"), ("above", "above"), ("maximum", "at most"))
    if rule[key] is not None
  ]
  return f"; {', '.join(parts)}" if parts else ""


@documented
@dataclasses.dataclass(frozen=True)
class GlimpseConfig:
  """What the glimpse sensor cuts out, and how the glimpse network encodes it."""

  glimpse_side: int = setting(
    18,
    "side of a glimpse patch, in pixels; the default shrinks to a smaller image's shorter side",
    minimum=1,
  )
  glimpse_scales: int = setting(
    2, "number of patches a glimpse; scale s covers side * 2**s pixels", minimum=1, maximum=8
  )
  glimpse_filters: tuple[int, ...] = setting(
    (),
    "filters of each 3 x 3 convolution in the glimpse network, one number a layer; empty: dense",
    minimum=1,
  )

  def __post_init__(self):
    if isinstance(self.glimpse_filters, list):  # JSON knows no tuples.
      object.__setattr__(self, "glimpse_filters", tuple(self.glimpse_filters))
    check_settings(self)
    if self.glimpse_side < 2 ** len(self.glimpse_filters):
      raise ValueError(
        f"glimpse_filters={self.glimpse_filters!r}: each convolution halves the patch, so "
        f"glimpse_side={self.glimpse_side} allows at most {self.glimpse_side.bit_length() - 1}"
      )


@documented
@dataclasses.dataclass(frozen=True)
class LocationConfig:
  """The family of distributions over locations that prior and proposal share."""

  location_distribution: str = setting(
    "normal",
    "family of the prior and the proposal: normal (fixed scale), normal_learned_scale, grid "
    "(categorical over the cells of a grid), or keyed_grid (over the pixels of the low-resolution "
    "copy, by what each shows: for small things in large images)",
    choices=LOCATION_FAMILIES,
  )
  location_scale: float = setting(
    0.1,
    "standard deviation of a location, where 2 is the canvas side; with normal_learned_scale where "
    "it starts",
    above=0,
  )
  grid_rows: int = setting(8, "rows of cells, for grid", minimum=1)
  grid_columns: int = setting(8, "columns of cells, for grid", minimum=1)
  location_filters: tuple[int, ...] = setting(
    (16,),
    "filters of each 3 x 3 convolution over the low-resolution copy before the last, for "
    "keyed_grid, one number a layer",
    minimum=1,
  )
  location_units: int = setting(
    32, "numbers by which a state and a cell are compared, for keyed_grid", minimum=1
  )

  def __post_init__(self):
    if isinstance(self.location_filters, list):  # JSON knows no tuples.
      object.__setattr__(self, "location_filters", tuple(self.location_filters))
    check_settings(self)
    if self.location_distribution == "normal_learned_scale" and self.location_scale <= 0.02:
      raise ValueError(
        f"location_scale={self.location_scale}: must be above 0.02, the smallest learned scale"
      )


def _default(config_class: type, name: str) -> Any:
  return next(field.default for field in dataclasses.fields(config_class) if field.name == name)


@documented
@dataclasses.dataclass(frozen=True)
class ModelConfig:
  """The shape of a prediction network and of its inference network."""

  height: int = setting(100, "height of the canvas, in pixels", minimum=1)
  width: int = setting(100, "width of the canvas, in pixels", minimum=1)
  channels: int = setting(1, "channels of the canvas", minimum=1)
  num_classes: int = setting(10, "number of classes", minimum=2)
  num_glimpses: int = setting(4, "glimpses a sequence", minimum=1)
  units: int = setting(256, "units of each recurrent layer and of each hidden layer", minimum=1)
  cell: str = setting("lstm", "recurrent cell of both layers", choices=("lstm", "gru"))
  context_side: int = setting(
    12,
    "side of the low-resolution copy that the context network sees, in pixels; the default shrinks "
    "to a smaller image's shorter side",
    minimum=1,
  )
  precision: str = setting("float32", PRECISION_HELP, choices=PRECISIONS)
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

  @property
  def image_shape(self) -> tuple[int, int, int]:
    """Height, width, channels."""
    return self.height, self.width, self.channels

  def to_dict(self) -> dict[str, Any]:
    """Returns a JSON-ready dictionary that `from_dict` takes back."""
    return dataclasses.asdict(self)

  @classmethod
  def from_dict(cls, values: dict[str, Any]) -> "ModelConfig":
    """Makes the configuration that `to_dict` wrote."""
    glimpse = GlimpseConfig(**values["glimpse"])
    location = LocationConfig(**values["location"])
    return cls(**{**values, "glimpse": glimpse, "location": location})


@documented
@dataclasses.dataclass(frozen=True)
class ObjectiveConfig:
  """Which estimator of the gradient is used, and with how many samples."""

  estimator: str = setting(
    "wake_sleep",
    "how the gradient is estimated: "
    + "; ".join(f"{name}: {estimator.help}" for name, estimator in ESTIMATORS.items()),
    choices=ESTIMATORS,
  )
  num_samples: int = setting(5, "glimpse sequences sampled for each image (M)", minimum=1)
  prior_fraction: float = setting(
    0.5,
    "of a mixture estimator, the probability that a glimpse comes from the prior",
    above=0,
    maximum=0.99,
  )
  inference_phase: str = setting(
    "wake",
    "what trains the inference network: wake (the weighted samples), sleep (the model's own "
    "dreams) or mix (from sleep alone to wake alone over sleep_updates)",
    choices=("wake", "sleep", "mix"),
  )
  sleep_updates: int = setting(5_000, "length of the mix of sleep and wake, in updates", minimum=1)

  def __post_init__(self):
    check_settings(self)
    estimator = ESTIMATORS[self.estimator]
    if self.num_samples < estimator.least_samples:
      raise ValueError(
        f"num_samples={self.num_samples}: must be at least {estimator.least_samples} for "
        f"estimator={self.estimator}, which weighs samples against each other"
      )
    if self.inference_phase != "wake" and not estimator.inference_loss:
      raise ValueError(
        f"inference_phase={self.inference_phase}: must be wake for estimator={self.estimator}, "
        "which has no inference network"
      )


@documented
@dataclasses.dataclass(frozen=True)
class ExplorationConfig:
  """What keeps the samples and the prior looking around, for any estimator."""

  temperature: float = setting(
    1.0,
    "temperature, without unit, of the distribution that training samples come from; above 1 it is "
    "wider, and the weights correct for it",
    above=0,
  )
  temperature_updates: int = setting(
    0, "updates over which the temperature goes to 1; 0: never", minimum=0
  )
  entropy_bonus: float = setting(
    0.0, "weight of the prior's entropy (nats, summed over glimpses) in the objective", minimum=0
  )
  entropy_bonus_updates: int = setting(
    0, "updates over which the entropy bonus goes to 0; 0: never", minimum=0
  )
  coverage_bonus: float = setting(
    0.0, "weight of the bonus for looking at all cells of the image alike", minimum=0
  )
  coverage_bonus_updates: int = setting(
    0, "updates over which the coverage bonus goes to 0; 0: never", minimum=0
  )

  def __post_init__(self):
    check_settings(self)


@documented
@dataclasses.dataclass(frozen=True)
class OptimizerConfig:
  """Adam, its learning-rate schedule and the clipping of gradients."""

  updates: int = setting(20_000, "length of the training, in updates", minimum=1)
  learning_rate: float = setting(1e-3, "highest learning rate of Adam", above=0)
  schedule: str = setting(
    "cosine",
    "learning rate after the warm-up: cosine (falls to 0 at the last update) or constant",
    choices=("cosine", "constant"),
  )
  warmup_updates: int = setting(0, "updates over which the learning rate rises from 0", minimum=0)
  clip_norm: float = setting(
    5.0, "largest norm of each network's gradient; larger ones are scaled down to it", above=0
  )

  def __post_init__(self):
    check_settings(self)
    if self.warmup_updates >= self.updates:
      raise ValueError(
        f"warmup_updates={self.warmup_updates}: must be below updates={self.updates}"
      )


@documented
@dataclasses.dataclass(frozen=True)
class CanvasConfig:
  """How digits are laid on canvases."""

  canvas_side: int = setting(100, "side of the square canvas, in pixels", minimum=1)
  smallest_digit: int = setting(14, "smallest side of a digit, in pixels", minimum=1)
  largest_digit: int = setting(56, "largest side of a digit, in pixels", minimum=1)
  num_clutter: int = setting(
    0, "pieces of other digits, 8 x 8 pixels each, strewn over each canvas", minimum=0
  )

  def __post_init__(self):
    check_settings(self)
    if self.largest_digit > self.canvas_side:
      raise ValueError(
        f"largest_digit={self.largest_digit}: must be at most canvas_side={self.canvas_side}"
      )
    if self.smallest_digit > self.largest_digit:
      raise ValueError(
        f"smallest_digit={self.smallest_digit}: must be at most largest_digit={self.largest_digit}"
      )
