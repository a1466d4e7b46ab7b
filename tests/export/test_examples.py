"""The examples in the docstrings of exporting and serving run and give the shown results."""

import subprocess
import sys
import unittest

from tests.support import exports

MODULES = (
  "wsram_tf.export.classifier",
  "wsram_tf.serving.image_files",
  "wsram_tf.serving.models",
  "wsram_tf.serving.verification.checks",
)
# In a process of its own, since exports that run switch XLA off.
RUN = """
import doctest, importlib, sys
for name in sys.argv[1:]:
  print(name, *doctest.testmod(importlib.import_module(name)))
"""


class ExamplesTest(unittest.TestCase):
  def test_examples(self):
    done = subprocess.run(
      [sys.executable, "-c", RUN, *MODULES],
      capture_output=True,
      text=True,
      env=exports.ENVIRONMENT,
      check=False,
    )
    self.assertEqual(done.returncode, 0, done.stderr)
    counts = {name: count for name, *count in map(str.split, done.stdout.splitlines())}
    self.assertEqual(list(counts), list(MODULES), done.stdout)
    for name, (failed, tried) in counts.items():
      self.assertEqual(failed, "0", done.stdout)
      self.assertGreater(int(tried), 3, name)


if __name__ == "__main__":
  unittest.main()
