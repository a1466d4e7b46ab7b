"""The examples in the docstrings of the package run and print what they show."""

import doctest
import importlib
import pkgutil

import tensorflow as tf

import wsram_tf
from wsram_tf import location_families, objectives


def modules() -> list[str]:
  """The names of all modules of the package."""
  found = pkgutil.walk_packages(wsram_tf.__path__, "wsram_tf.")
  # A module that runs as a program runs nothing when it is imported as a library.
  return ["wsram_tf", *(module.name for module in found if not module.name.endswith("__main__"))]


class ExamplesTest(tf.test.TestCase):
  def setUp(self):
    super().setUp()
    for table in (objectives.ESTIMATORS, location_families.LOCATION_FAMILIES):
      self.addCleanup(table.update, dict(table))
      self.addCleanup(table.clear)

  def test_examples(self):
    attempted = 0
    for name in modules():
      with self.subTest(name):
        report = []
        runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
        module = importlib.import_module(name)
        for case in doctest.DocTestFinder(exclude_empty=True).find(module):
          runner.run(case, out=report.append)
        attempted += runner.tries
        self.assertEqual(runner.failures, 0, "".join(report))
    self.assertGreater(attempted, 40)


if __name__ == "__main__":
  tf.test.main()
