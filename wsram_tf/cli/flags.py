"""Flags made from the fields of configuration dataclasses, and the settings that they record."""

import dataclasses
import os
import pathlib
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NoReturn, TypeVar

from absl import flags

from wsram_tf.runs import record
from wsram_tf.settings import LARGEST_INTEGER, rule_text, rule_violation

__all__ = ["PathParser", "ProgramFlags"]

Config = TypeVar("Config")

FLAGFILES = pathlib.Path(__file__).parent / "flagfiles"
_HELP = ("--help", "-help", "-h", "--helpfull", "--helpshort")

flags.disclaim_key_flags()  # The module that calls `define` owns the flag, also in --help.


class PathParser(flags.ArgumentParser):
  """Parses a path and expands `~`, which the shell does not expand after a flag's `=`.

  Args:
    is_path: whether a value is a path and not a name; by default every value that is not empty.
  """

  def __init__(self, is_path: record.IsPath = bool):
    self.is_path = is_path

  def parse(self, argument: str) -> str:
    """Expands the path; a relative one stays relative."""
    return record.expanded_path(argument)

  def flag_type(self) -> str:
    """Returns the type that absl prints in its help."""
    return "string"


class ProgramFlags:
  """The flags of one program.

  Args:
    program_name: the name of the program, for its messages.
    usage: the text at the top of `--help`.

  Attributes:
    program_name: as given.
    values: absl's container of the flags.
  """

  def __init__(self, program_name: str, usage: str | None):
    self.program_name = program_name
    self._usage = usage or ""
    self.values = flags.FlagValues()

  def __getattr__(self, name: str) -> Any:
    """Returns the value of a flag."""
    try:
      return self.__dict__["values"][name].value
    except KeyError:
      raise AttributeError(f"flags: there is no flag {name!r}") from None

  def __contains__(self, name: str) -> bool:
    return name in self.values

  def define(
    self,
    config_class: type,
    *,
    leave_out: Iterable[str] = (),
    defaults: Mapping[str, Any] | None = None,
    hints: Mapping[str, str] | None = None,
  ) -> None:
    """Defines a flag for each field that `wsram_tf.settings.setting` made.

    A flag that exists already stays; several dataclasses may share it.

    Args:
      config_class: the dataclass.
      leave_out: fields without a flag.
      defaults: defaults that differ from the fields'.
      hints: additions to the error of a field, after its rule.
    """
    for field in _settings(config_class):
      if field.name in leave_out or field.name in self.values:
        continue
      default = (defaults or {}).get(field.name, field.default)
      self._define_field(field, default, (hints or {}).get(field.name, ""))

  def _define_field(self, field: dataclasses.Field, default: Any, hint: str) -> None:
    help, choices = f"{field.metadata['help']}{rule_text(field)}", field.metadata["choices"]
    values = self.values
    if isinstance(choices, Mapping):
      # A table that an extension may add to: the rule is checked after all flags are parsed.
      flags.DEFINE_string(field.name, default, _one_a_line(help, choices), flag_values=values)
    elif choices:
      flags.DEFINE_enum(field.name, default, choices, help, flag_values=values)
      return
    elif field.metadata.get("is_path"):
      parser = PathParser(field.metadata["is_path"])
      serializer = flags.ArgumentSerializer()
      flags.DEFINE(parser, field.name, default, help, serializer=serializer, flag_values=values)
    elif isinstance(default, tuple):
      items = [str(item) for item in default]
      flags.DEFINE_list(
        field.name, items, f"{help} (numbers separated by commas)", flag_values=values
      )
    else:
      kind = {
        bool: flags.DEFINE_bool,
        int: flags.DEFINE_integer,
        float: flags.DEFINE_float,
        str: flags.DEFINE_string,
      }[type(default)]
      kind(field.name, default, help, flag_values=values)
    flags.register_validator(field.name, _validator(field, hint), flag_values=self.values)

  def define_bool(self, name: str, default: bool, help: str) -> None:
    """Defines a flag that is true or false."""
    flags.DEFINE_bool(name, default, help, flag_values=self.values)

  def define_choice(self, name: str, default: str, choices: Sequence[str], help: str) -> None:
    """Defines a flag with a fixed set of values."""
    flags.DEFINE_enum(name, default, choices, help, flag_values=self.values)

  def define_count(self, name: str, default: int, help: str, *, minimum: int = 1) -> None:
    """Defines a flag for an integer of at least `minimum`."""
    flags.DEFINE_integer(
      name,
      default,
      help,
      lower_bound=minimum,
      upper_bound=LARGEST_INTEGER,
      flag_values=self.values,
    )

  def define_list(
    self,
    name: str,
    default: Sequence[str],
    help: str,
    check: Callable[[list[str]], bool] | None = None,
    rule: str = "",
  ) -> None:
    """Defines a flag for texts separated by commas, with a rule for all of them."""
    flags.DEFINE_list(name, list(default), help, flag_values=self.values)
    if check:
      flags.register_validator(name, check, rule, flag_values=self.values)

  def define_path(
    self,
    name: str,
    help: str,
    *,
    required: bool = False,
    check: Callable[[str], bool] | None = None,
    rule: str = "",
  ) -> None:
    """Defines a flag, absent by default, for a file or a folder.

    Args:
      name: the flag.
      help: its help text.
      required: whether it must be given.
      check: a rule for the path, or None.
      rule: the text of this rule.
    """
    flags.DEFINE(
      PathParser(),
      name,
      None,
      help,
      serializer=flags.ArgumentSerializer(),
      required=required,
      flag_values=self.values,
    )
    self._refuse_empty(name)
    if check:
      flags.register_validator(
        name, lambda path: path is None or check(path), rule, flag_values=self.values
      )

  def define_paths(self, name: str, help: str, parser: PathParser | None = None) -> None:
    """Defines a flag that may be given several times, each time with one path."""
    flags.DEFINE_multi(
      parser or PathParser(),
      flags.ArgumentSerializer(),
      name,
      None,
      help,
      flag_values=self.values,
    )

  def define_text(self, name: str, help: str) -> None:
    """Defines a flag, absent by default, for text that is not empty."""
    flags.DEFINE_string(name, None, help, flag_values=self.values)
    self._refuse_empty(name)

  def define_texts(self, name: str, help: str) -> None:
    """Defines a flag for text that may be given several times."""
    flags.DEFINE_multi_string(name, [], help, flag_values=self.values)

  def parse(self, arguments: Sequence[str] | None = None, *, known_only: bool = False) -> list[str]:
    """Parses a command line; `--help` and wrong flags end the program.

    Args:
      arguments: the command line without the program's name; None for this process'.
      known_only: whether to skip unknown flags, and `--help`.

    Returns:
      the arguments that are no flags; with `known_only` also the unknown flags.
    """
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    if not known_only and any(argument in _HELP for argument in arguments):
      print(f"{self._usage.strip()}\n{self.values.get_help()}")
      sys.exit(0)
    try:
      return self.values(
        [self.program_name, *map(_found_flagfile, arguments)], known_only=known_only
      )[1:]
    except flags.Error as error:
      self._fail(error)
    except (OSError, ValueError, RecursionError) as error:  # absl does not catch these.
      self._fail(f"flagfile: must be a text file of flags, one a line: {error}")

  def parse_lines(self, lines: Sequence[str]) -> list[str]:
    """Parses lines of flags; returns those that are no flags.

    Raises:
      ValueError: if a flag is wrong.
    """
    try:
      return self.values([self.program_name, *lines])[1:]
    except flags.Error as error:
      raise ValueError(str(error)) from error

  def check_no_rest(self, rest: Sequence[str]) -> None:
    """Checks that a command line holds nothing but flags.

    Raises:
      ValueError: otherwise.
    """
    if rest:
      raise ValueError(f"{rest[0]!r}: must be a flag, --NAME=VALUE")

  def read(self, config_class: type[Config], **given: Any) -> Config:
    """Makes a dataclass from its flags.

    Args:
      config_class: the dataclass.
      **given: fields that no flag sets.

    Raises:
      ValueError: if fields contradict each other; the message uses the names of the flags.
    """
    for field in _settings(config_class):
      if field.name not in given and field.name in self.values:
        value = self.values[field.name].value
        if value is None:
          continue
        given[field.name] = _integers(value) if isinstance(field.default, tuple) else value
    return config_class(**given)

  def settings(self, header: str, leave_out: Iterable[str] = ()) -> record.Settings:
    """Returns all flags as the settings of a run.

    Args:
      header: the first line; a comment.
      leave_out: flags to leave out, besides those that a run never records.
    """
    skipped = {*leave_out, *record.NOT_RECORDED}
    own = [self.values[name] for name in sorted(self.values) if name not in skipped]
    lines = list(dict.fromkeys(line for flag in own for line in _lines(flag)))
    defaults = {line for flag in own if flag.value == flag.default for line in _lines(flag)}
    return record.Settings([header, *lines], frozenset(defaults), self.paths())

  def paths(self) -> dict[str, record.IsPath]:
    """Returns the flags that hold paths."""
    parsers = {name: self.values[name].parser for name in self.values}
    return {
      name: parser.is_path for name, parser in parsers.items() if isinstance(parser, PathParser)
    }

  def take(self, lines: Sequence[str]) -> list[str]:
    """Sets flags to the values of a run, except those that were given; skips unknown ones.

    Args:
      lines: lines of the run's flagfile.

    Returns:
      the lines that were used.

    Raises:
      ValueError: if a value is no longer allowed.
    """
    own = [
      line
      for name, values in record.lines_by_name(lines, self.paths()).items()
      if name in self.values and not self.values[name].present
      for line in values
    ]
    self.parse_lines(own)
    return own

  def _refuse_empty(self, name: str) -> None:
    flags.register_validator(
      name,
      # An empty value usually comes from an unset variable of the shell.
      lambda value: value is None or (value.isprintable() and bool(value.strip())),
      "must be printable text, and not empty",
      flag_values=self.values,
    )

  def _fail(self, error: object) -> NoReturn:
    sys.exit(f"{self.program_name}: {error}")


def _found_flagfile(argument: str) -> str:
  """Replaces the name of one of the package's flagfiles by its path."""
  option, equals, name = argument.partition("=")
  if option not in ("--flagfile", "-flagfile") or not equals or os.path.dirname(name):
    return argument
  path = FLAGFILES / (name if name.endswith(".flags") else f"{name}.flags")
  is_own = os.path.exists(name) and not os.path.isdir(name)  # A data folder may have the name.
  return f"{option}={path}" if path.is_file() and not is_own else argument


def _lines(flag: flags.Flag) -> list[str]:
  if flag.value is None:
    return []
  if isinstance(flag.value, bool):
    return [f"--{flag.name}={str(flag.value).lower()}"]
  if isinstance(flag.parser, PathParser):
    values = flag.value if isinstance(flag.value, list) else [flag.value]
    return [f"--{flag.name}={record.stored_path(value, flag.parser.is_path)}" for value in values]
  return [flag.serialize() or f"--{flag.name}="]


def _one_a_line(help: str, names: Iterable[str]) -> str:
  """Puts each explained name of a help text at the start of a line."""
  for name in names:
    help = re.sub(rf"([:;]) (?={re.escape(name)}: )", r"\1\n", help)
  return help


def _settings(config_class: type) -> list[dataclasses.Field]:
  return [field for field in dataclasses.fields(config_class) if "help" in field.metadata]


def _integers(items: list[str]) -> tuple[int, ...]:
  return tuple(int(item) for item in items if item.strip())


def _validator(field: dataclasses.Field, hint: str = "") -> Callable[[Any], bool]:
  def check(value: Any) -> bool:
    if isinstance(field.default, tuple):
      try:
        value = _integers(value)
      except ValueError:
        raise flags.ValidationError("must be integers separated by commas") from None
    violation = rule_violation(field, value)
    if violation:
      raise flags.ValidationError(f"{violation}{hint}")
    return True

  return check
