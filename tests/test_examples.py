"""The examples in the docstrings of the package run and print what they show.

Run as a program, this file runs them. The test starts it in a process of its own, because examples
register names and load exports.
"""

import doctest
import importlib
import os
import pathlib
import pkgutil
import subprocess
import sys
import unittest

ROOT = pathlib.Path(__file__).resolve().parent.parent
# Fewer mean that the search misses modules.
FEWEST_LINES = 200
# Modules that must show an example.
SHOWN = (
  "wsram_tf.export.classifier",
  "wsram_tf.serving.image_files",
  "wsram_tf.serving.models",
  "wsram_tf.serving.verification.checks",
)


def modules() -> list[str]:
  """The names of all modules of the package but its programs."""
  package = importlib.import_module("wsram_tf")
  found = pkgutil.walk_packages(package.__path__, "wsram_tf.")
  return ["wsram_tf", *(module.name for module in found if not module.name.endswith("__main__"))]


def run_examples() -> int:
  """Runs all examples; prints the failures and the number of lines, and returns an exit status."""
  runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
  shown = set()
  for name in modules():
    for case in doctest.DocTestFinder().find(importlib.import_module(name)):
      if runner.run(case).attempted:
        shown.add(name)
  missing = sorted(set(SHOWN) - shown)
  print(f"{runner.tries} lines, {runner.failures} failures; no example in {missing}")
  return int(runner.failures > 0 or runner.tries < FEWEST_LINES or bool(missing))


class ExamplesTest(unittest.TestCase):
  def test_examples(self):
    done = subprocess.run(
      [sys.executable, __file__],
      cwd=ROOT,
      env={**os.environ, "PYTHONPATH": str(ROOT)},
      stdout=subprocess.PIPE,
      text=True,
      check=False,
    )
    self.assertEqual(done.returncode, 0, done.stdout)


if __name__ == "__main__":
  sys.exit(run_examples())
