"""The examples in the docstrings of the package run and print what they show."""

import contextlib
import doctest
import importlib
import io
import pkgutil
import tempfile
import unittest
from unittest import mock

import tensorflow as tf

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
# Its example writes the export that others open.
EXPORTING = "wsram_tf.export.classifier.export_classifier"
# Their examples make few updates, which take less time than tracing.
TRAINING = (
  "wsram_tf.classification.learner.WakeSleepLearner",
  "wsram_tf.runs.training.train",
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
    self.addCleanup(tf.config.run_functions_eagerly, False)

  def test_examples(self):
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    shown, failures = set(), io.StringIO()
    found = [
      (name, case)
      for name in modules()
      for case in doctest.DocTestFinder().find(importlib.import_module(name))
    ]
    found.sort(key=lambda one: one[1].name != EXPORTING)
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
      for name, case in found:
        tf.config.run_functions_eagerly(case.name in TRAINING)
        if runner.run(case, out=failures.write).attempted:
          shown.add(name)
    self.assertFalse(runner.failures, failures.getvalue())
    self.assertGreater(runner.tries, FEWEST_LINES)
    self.assertLessEqual(set(SHOWN), shown)


if __name__ == "__main__":
  unittest.main()
