"""Every program of benchmarks and conformance can be imported as the pages start it."""

import functools
import importlib
import pathlib
import sys
import unittest
from unittest import mock

from absl import flags

_TESTS = pathlib.Path(__file__).resolve().parents[2]


def import_alone(name: str) -> None:
  """Imports a module with flags of its own, and forgets it."""
  importlib.import_module("absl.app")  # Its own flags stay.
  before, values = set(sys.modules), flags.FlagValues()
  defining = [name for name in dir(flags) if name.startswith(("DEFINE_", "mark_flag"))]
  own = {
    name: functools.partial(getattr(flags, name), flag_values=values)
    for name in defining
    if name != "DEFINE_alias"
  }
  try:
    with mock.patch.multiple(flags, **own):
      importlib.import_module(name)
  finally:
    for new in set(sys.modules) - before:
      if new.startswith("tests."):
        del sys.modules[new]


class ProgramsTest(unittest.TestCase):
  def test_every_program_can_be_imported(self):
    for folder in ("benchmarks", "conformance"):
      for path in sorted((_TESTS / folder).glob("*.py")):
        if not path.stem.startswith("test_"):
          with self.subTest(f"{folder}.{path.stem}"):
            import_alone(f"tests.{folder}.{path.stem}")


if __name__ == "__main__":
  unittest.main()
