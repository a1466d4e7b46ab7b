"""The examples in the docstrings of the package run and print what they show."""

import doctest
import importlib
import io
import pkgutil
import unittest
from unittest import mock

from wsram_tf import location_families, objectives

# Fewer mean that the search misses modules.
FEWEST_LINES = 200
# Modules that must show an example.
SHOWN = (
  "wsram_tf.export.classifier",
  "wsram_tf.serving.image_files",
  "wsram_tf.serving.looking",
  "wsram_tf.serving.models",
  "wsram_tf.serving.verification.checks",
)


def modules() -> list[str]:
  """The names of all modules of the package but its programs."""
  package = importlib.import_module("wsram_tf")
  found = pkgutil.walk_packages(package.__path__, "wsram_tf.")
  return ["wsram_tf", *(module.name for module in found if not module.name.endswith("__main__"))]


class ExamplesTest(unittest.TestCase):
  def setUp(self):
    super().setUp()
    # Examples register names.
    for registered in (objectives.ESTIMATORS, location_families.LOCATION_FAMILIES):
      patch = mock.patch.dict(registered)
      patch.start()
      self.addCleanup(patch.stop)

  def test_examples(self):
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    shown, failures = set(), io.StringIO()
    for name in modules():
      for case in doctest.DocTestFinder().find(importlib.import_module(name)):
        if runner.run(case, out=failures.write).attempted:
          shown.add(name)
    self.assertFalse(runner.failures, failures.getvalue())
    self.assertGreater(runner.tries, FEWEST_LINES)
    self.assertLessEqual(set(SHOWN), shown)


if __name__ == "__main__":
  unittest.main()
