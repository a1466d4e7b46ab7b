"""Flags made from the fields of configuration dataclasses: one flag a field, with its rule."""

import dataclasses
import glob
import os
import pathlib
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from absl import app, flags

from wsram_tf.settings import LARGEST_INTEGER, rule_text, rule_violation

__all__ = [
  "PathParser",
  "define",
  "define_count",
  "define_path",
  "define_paths",
  "define_text",
  "flag_lines",
  "own_flags",
  "parse",
  "read",
  "stored_line",
]

Config = TypeVar("Config")


class PathParser(flags.ArgumentParser):
  """Takes a path; `~` is expanded, since the shell does not expand it behind a flag's `=`.

  Args:
    is_name: whether a value is the name of something and no path; None where all are paths.
  """

  def __init__(self, is_name: Callable[[str], bool] | None = None):
    self._is_name = is_name

  def parse(self, argument: str) -> str:
    """The path as it is used; a relative one stays relative."""
    return os.path.expanduser(argument)

  def stored(self, value: str) -> str:
    """The path as a run records it: it holds in every working directory."""
    if not value or (self._is_name and self._is_name(value)):
      return value
    return os.path.abspath(value)

  def leads_nowhere(self, value: str) -> bool:
    """Whether a stored path is of nothing; a path may lack its files' ending."""
    if not os.path.isabs(value) or os.path.exists(value):
      return False
    return not glob.glob(f"{glob.escape(value)}.*")

  def flag_type(self) -> str:
    """What absl calls the type in its help."""
    return "string"


def define(
  config_class: type,
  *,
  leave_out: tuple[str, ...] = (),
  paths: dict[str, PathParser] | None = None,
  hints: dict[str, str] | None = None,
) -> None:
  """Defines a flag for each field of a dataclass whose fields `wsram_tf.config.setting` made.

  Args:
    config_class: the dataclass.
    leave_out: fields that get no flag.
    paths: parsers of the text fields that hold paths.
    hints: what to add to the error of a field, after its rule.
  """
  for field in _settings(config_class):
    if field.name in leave_out:
      continue
    help = f"{field.metadata['help']}{rule_text(field)}"
    choices = field.metadata["choices"]
    if isinstance(choices, Mapping):
      # A table that an extension may add to, so the rule is checked when all flags are parsed.
      flags.DEFINE_string(field.name, field.default, _one_a_line(help, choices))
      flags.register_validator(field.name, _validator(field))
      continue
    if choices:
      flags.DEFINE_enum(field.name, field.default, choices, help)
      continue
    if paths and field.name in paths:
      parser, serializer = paths[field.name], flags.ArgumentSerializer()
      flags.DEFINE(parser, field.name, field.default, help, serializer=serializer)
      flags.register_validator(field.name, _validator(field))
      continue
    kind = {
      bool: flags.DEFINE_bool,
      int: flags.DEFINE_integer,
      float: flags.DEFINE_float,
      str: flags.DEFINE_string,
      tuple: _define_integers,
    }[type(field.default)]
    kind(field.name, field.default, help)
    flags.register_validator(field.name, _validator(field, (hints or {}).get(field.name, "")))


def define_count(name: str, default: int, help: str, *, minimum: int = 1) -> None:
  """Defines a flag of a whole number from `minimum` up that no dataclass has a field for."""
  flags.DEFINE_integer(name, default, help, lower_bound=minimum, upper_bound=LARGEST_INTEGER)


def define_path(name: str, help: str, *, required: bool = False) -> None:
  """Defines a flag, absent by default, that names a file or a folder; see `PathParser`."""
  flags.DEFINE(
    PathParser(), name, None, help, serializer=flags.ArgumentSerializer(), required=required
  )
  _refuse_empty(name)


def define_paths(name: str, help: str, parser: PathParser) -> None:
  """Defines a flag that may be given several times, each time with one path."""
  flags.DEFINE_multi(parser, flags.ArgumentSerializer(), name, None, help)


def define_text(name: str, help: str) -> None:
  """Defines a flag, absent by default, of text that is not empty."""
  flags.DEFINE_string(name, None, help)
  _refuse_empty(name)


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
  """All flags of the program and its flag groups, as lines of a flagfile that sets them alike.

  The lines set the same in every working directory.
  """
  named = {
    flag.name: flag for flag in own_flags() if flag.name not in leave_out and flag.value is not None
  }
  lines = [line for name in sorted(named) for line in _lines(named[name])]
  return list(dict.fromkeys(lines))  # A file that is named twice counts once.


def stored_line(line: str) -> str:
  """A line of a flagfile as `flag_lines` writes it: a path does not depend on where one works."""
  name, equals, value = line.lstrip("-").partition("=")
  if not equals or name not in flags.FLAGS or not isinstance(flags.FLAGS[name].parser, PathParser):
    return line
  parser = flags.FLAGS[name].parser
  return f"--{name}={parser.stored(PathParser.parse(parser, value))}"


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


def _refuse_empty(name: str) -> None:
  flags.register_validator(
    name,
    # An empty one is a variable of the shell that was never set.
    lambda value: value is None or (value.isprintable() and bool(value.strip())),
    "must be printable text, and not empty",
  )


def _lines(flag: flags.Flag) -> list[str]:
  if isinstance(flag.value, bool):
    return [f"--{flag.name}={str(flag.value).lower()}"]
  if isinstance(flag.parser, PathParser):
    values = flag.value if isinstance(flag.value, list) else [flag.value]
    return [f"--{flag.name}={flag.parser.stored(value)}" for value in values]
  return [flag.serialize() or f"--{flag.name}="]


def _one_a_line(help: str, names: Iterable[str]) -> str:
  """A help text that explains names, with each name at the start of a line."""
  for name in names:
    help = re.sub(rf"([:;]) (?={re.escape(name)}: )", r"\1\n", help)
  return help


def _settings(config_class: type) -> list[dataclasses.Field]:
  return [field for field in dataclasses.fields(config_class) if "help" in field.metadata]


def _define_integers(name: str, default: tuple[int, ...], help: str) -> None:
  flags.DEFINE_list(name, [str(item) for item in default], f"{help} (numbers parted by commas)")


def _integers(items: list[str]) -> tuple[int, ...]:
  return tuple(int(item) for item in items if item.strip())


def _validator(field: dataclasses.Field, hint: str = "") -> Any:
  def check(value: Any) -> bool:
    if isinstance(field.default, tuple):
      try:
        value = _integers(value)
      except ValueError:
        raise flags.ValidationError("must be whole numbers parted by commas") from None
    violation = rule_violation(field, value)
    if violation:
      raise flags.ValidationError(f"{violation}{hint}")
    return True

  return check
