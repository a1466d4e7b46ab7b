"""Settings: fields of frozen dataclasses that carry their help text, unit and rule.

`setting` declares a field. The dataclass checks the rules with `check_settings` when an instance is
made, and the programs turn the same fields into flags.
"""

import dataclasses
import math
import os
import textwrap
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
  import numpy as np

__all__ = [
  "LARGEST_INTEGER",
  "PRECISIONS",
  "PRECISION_HELP",
  "as_array",
  "check_instance",
  "check_number",
  "check_path",
  "check_settings",
  "documented",
  "given_or_default",
  "rule_text",
  "rule_violation",
  "setting",
]

_Class = TypeVar("_Class", bound=type)
_Config = TypeVar("_Config")

# The ranges of TensorFlow's int32 and float32.
LARGEST_INTEGER = 2**31 - 1
LARGEST_FLOAT = 3.4e38


PRECISIONS = ("float32", "bfloat16")
PRECISION_HELP = (
  "number format of the layers' computations; with bfloat16, the weights, glimpses, "
  "log-probabilities, log-weights and losses stay float32"
)


def setting(
  default: Any,
  help: str,
  *,
  minimum: float | None = None,
  above: float | None = None,
  maximum: float | None = None,
  choices: Collection[str] | None = None,
  is_path: Callable[[str], bool] | None = None,
) -> Any:
  """Declares one dataclass field with its help text (unit included) and its rule.

  Args:
    default: the default value; its type is the type of the setting.
    help: one line for users, with the unit.
    minimum: the smallest value allowed, or None.
    above: a bound that the value must exceed, or None.
    maximum: the largest value allowed, or None.
    choices: the allowed strings, or None. A table is read at each check, so it may grow.
    is_path: for text that holds a path: tells a path from another value; `bool` if every value but
      the empty text is a path. Runs record paths independently of the working directory.

  Returns:
    A `dataclasses.field` with `help` and the rule in its metadata.

  Example:

  >>> import dataclasses
  >>> @dataclasses.dataclass(frozen=True)
  ... class BoxConfig:
  ...   side: int = setting(3, "side of the box, in pixels", minimum=1)
  ...   def __post_init__(self):
  ...     check_settings(self)
  >>> BoxConfig(side=0)
  Traceback (most recent call last):
  ValueError: side=0: must be at least 1
  """
  rule = {"minimum": minimum, "above": above, "maximum": maximum, "choices": choices}
  rule["is_path"] = is_path
  return dataclasses.field(default=default, metadata={"help": help, **rule})


def rule_violation(field: dataclasses.Field, value: Any) -> str | None:
  """Returns the rule of a field that a value breaks, as `must be ...`, or None."""
  rule = field.metadata
  if rule.get("choices"):
    is_known = isinstance(value, str) and value in rule["choices"]
    return None if is_known else f"must be one of {', '.join(rule['choices'])}"
  if isinstance(value, tuple) != isinstance(field.default, tuple):
    return "must be a tuple of numbers" if isinstance(field.default, tuple) else "must be one value"
  for item in value if isinstance(value, tuple) else (value,):
    if isinstance(field.default, bool):
      if not isinstance(item, bool):
        return "must be true or false"
      continue
    if isinstance(field.default, str):
      if not isinstance(item, str):
        return "must be text"
      if not item.isprintable():  # A flagfile holds one UTF-8 value a line.
        return "must be printable text"
      continue
    if isinstance(item, bool) or not isinstance(item, int | float):
      return "must be a number"
    if isinstance(field.default, int | tuple) and not isinstance(item, int):
      return "must be a whole number"
    if isinstance(item, int) and abs(item) > LARGEST_INTEGER:
      return f"must be at most {LARGEST_INTEGER} in absolute value"
    if not math.isfinite(item) or abs(item) > LARGEST_FLOAT:
      return "must be finite as float32"
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
    ValueError: if a value breaks its rule; the message is `name=value: rule`.
  """
  for field in dataclasses.fields(config):
    value = getattr(config, field.name)
    if "help" not in field.metadata:
      if isinstance(field.default_factory, type):  # Settings within these.
        check_instance(field.name, value, field.default_factory)
      continue
    violation = rule_violation(field, value)
    if violation:
      raise ValueError(f"{field.name}={value!r}: {violation}")


def check_instance(name: str, value: Any, kind: type) -> None:
  """Checks that an argument is of a class.

  Raises:
    ValueError: if it is not; the message is `name=value: rule`.
  """
  if not isinstance(value, kind):
    raise ValueError(f"{name}={value!r:.200}: must be of the class {kind.__name__}")


def given_or_default(name: str, value: _Config | None, kind: type[_Config]) -> _Config:
  """Returns the settings given, or the default ones in place of None.

  Args:
    name: of the argument.
    value: of the argument.
    kind: the class of the settings.

  Raises:
    ValueError: if the settings are of another class.
  """
  if value is None:
    return kind()
  check_instance(name, value, kind)
  return value


def check_number(
  name: str, value: Any, *, whole: bool, minimum: float | None = None, above: float | None = None
) -> None:
  """Checks that an argument is a number within its range.

  Raises:
    ValueError: if it is not; the message is `name=value: rule`.
  """
  violation = rule_violation(setting(0 if whole else 0.0, "", minimum=minimum, above=above), value)
  if violation:
    raise ValueError(f"{name}={value!r:.200}: {violation}")


def as_array(name: str, values: Any) -> "np.ndarray":
  """Returns an argument as an array of numbers, or of paths.

  Raises:
    ValueError: if it forms none; the message begins with the name.
  """
  import numpy as np  # Programs read their flags before they need it.

  try:
    array = np.asarray(values)
  except ValueError as error:  # Rows of different lengths.
    raise ValueError(f"{name} of {type(values).__name__}: must form one array: {error}") from error
  texts = (str, bytes, os.PathLike)  # Paths of files.
  if array.dtype == object and not all(isinstance(value, texts) for value in array.flat):
    raise ValueError(f"{name} of {type(values).__name__}: must form one array of numbers")
  return array


def check_path(name: str, value: Any) -> None:
  """Checks that an argument is the path of a file or a folder.

  Raises:
    ValueError: if it is not; the message is `name=value: rule`.
  """
  if not isinstance(value, str | os.PathLike) or not os.fspath(value) or "\0" in os.fspath(value):
    raise ValueError(f"{name}={value!r:.200}: must be a path")


def documented(config_class: _Class) -> _Class:
  """Adds each field's help, rule and default to the docstring of a dataclass."""
  lines = []
  for field in dataclasses.fields(config_class):
    if "help" in field.metadata:
      text = (
        f"{field.name}: {field.metadata['help']}{rule_text(field)}. Default: {field.default!r}."
      )
    else:
      text = f"{field.name}: see `{getattr(field.type, '__name__', field.type)}`."
    lines += textwrap.wrap(
      text, 94, initial_indent="  ", subsequent_indent="    ", break_on_hyphens=False
    )
  config_class.__doc__ = "\n".join([(config_class.__doc__ or "").rstrip(), "", "Args:", *lines, ""])
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
