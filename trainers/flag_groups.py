"""Flags made from the fields of configuration dataclasses: one flag a field, with its rule."""

import dataclasses
import pathlib
import sys
from typing import Any, TypeVar

from absl import app, flags

from wsram_tf.config import LARGEST_INTEGER, rule_violation

__all__ = ["define", "define_count", "define_path", "flag_lines", "own_flags", "parse", "read"]

Config = TypeVar("Config")


def define(config_class: type, *, leave_out: tuple[str, ...] = ()) -> None:
  """Defines a flag for each field of a dataclass whose fields `wsram_tf.config.setting` made.

  Args:
    config_class: the dataclass.
    leave_out: fields that get no flag.
  """
  for field in _settings(config_class):
    if field.name in leave_out:
      continue
    help = f"{field.metadata['help']}{_rule_text(field)}"
    if field.metadata["choices"]:
      flags.DEFINE_enum(field.name, field.default, field.metadata["choices"], help)
      continue
    kind = {
      bool: flags.DEFINE_bool,
      int: flags.DEFINE_integer,
      float: flags.DEFINE_float,
      str: flags.DEFINE_string,
      tuple: _define_integers,
    }[type(field.default)]
    kind(field.name, field.default, help)
    flags.register_validator(field.name, _validator(field))


def define_count(name: str, default: int, help: str, *, minimum: int = 1) -> None:
  """Defines a flag of a whole number from `minimum` up that no dataclass has a field for."""
  flags.DEFINE_integer(name, default, help, lower_bound=minimum, upper_bound=LARGEST_INTEGER)


def define_path(name: str, help: str) -> None:
  """Defines a flag, absent by default, that names a folder or the like and is not empty."""
  flags.DEFINE_string(name, None, help)
  flags.register_validator(
    name,
    # An empty one is a variable of the shell that was never set.
    lambda value: value is None or (value.isprintable() and bool(value.strip())),
    "must be printable text, and not empty",
  )


def read(config_class: type[Config], **values: Any) -> Config:
  """Makes a dataclass from the flags that `define` made for it.

  Args:
    config_class: the dataclass.
    **values: fields that no flag gives.

  Raises:
    ValueError: if fields contradict each other; the message names them as the flags are named.
  """
  for field in _settings(config_class):
    if field.name not in values and field.name in flags.FLAGS:
      value = flags.FLAGS[field.name].value
      values[field.name] = _integers(value) if isinstance(field.default, tuple) else value
  return config_class(**values)


def own_flags() -> list[flags.Flag]:
  """The flags of the program and its flag groups; libraries define others."""
  here = pathlib.Path(__file__).parent
  return [
    flag
    for module, defined in flags.FLAGS.flags_by_module_dict().items()
    if module == sys.argv[0]
    or pathlib.Path(getattr(sys.modules.get(module), "__file__", None) or "").parent == here
    for flag in defined
  ]


def flag_lines(leave_out: tuple[str, ...]) -> list[str]:
  """All flags of the program and its flag groups, as lines of a flagfile that sets them alike."""
  named = {
    flag.name: flag for flag in own_flags() if flag.name not in leave_out and flag.value is not None
  }
  return [_line(named[name]) for name in sorted(named)]


def parse(argv: list[str]) -> list[str]:
  """Parses a program's flags, for `app.run`; with `--help` it shows all of the program's own.

  A wrong flag or flagfile ends the program with one clear message.
  """
  for flag in own_flags():
    # Without, absl shows those alone that the program's first file defines.
    flags.FLAGS.register_key_flag_for_module(argv[0], flag)
  try:
    return app.parse_flags_with_usage(argv)
  except (OSError, ValueError, RecursionError) as error:  # What absl lets pass.
    sys.exit(f"flagfile: must be a text file of flags, one a line: {error}")


def _line(flag: flags.Flag) -> str:
  if isinstance(flag.value, bool):
    return f"--{flag.name}={str(flag.value).lower()}"
  return flag.serialize() or f"--{flag.name}="


def _settings(config_class: type) -> list[dataclasses.Field]:
  return [field for field in dataclasses.fields(config_class) if "help" in field.metadata]


def _define_integers(name: str, default: tuple[int, ...], help: str) -> None:
  flags.DEFINE_list(name, [str(item) for item in default], f"{help} (numbers parted by commas)")


def _integers(items: list[str]) -> tuple[int, ...]:
  return tuple(int(item) for item in items if item.strip())


def _validator(field: dataclasses.Field) -> Any:
  def check(value: Any) -> bool:
    if isinstance(field.default, tuple):
      try:
        value = _integers(value)
      except ValueError:
        raise flags.ValidationError("must be whole numbers parted by commas") from None
    violation = rule_violation(field, value)
    if violation:
      raise flags.ValidationError(violation)
    return True

  return check


def _rule_text(field: dataclasses.Field) -> str:
  rule = field.metadata
  parts = [
    f"{words} {rule[key]}"
    for key, words in (("minimum", "at least"), ("above", "above"), ("maximum", "at most"))
    if rule[key] is not None
  ]
  return f"; {', '.join(parts)}" if parts else ""
