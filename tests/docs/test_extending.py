"""Runs the Python examples of pages whose blocks build on each other."""

import contextlib
import io
import os
import tempfile
from unittest import mock

import tensorflow as tf

from tests.docs import pages
from tests.support import small_runs
from wsram_tf import location_families, objectives


class ExamplesTest(tf.test.TestCase):
  def execute(self, name):
    """Runs the Python blocks of a page in one namespace; returns it."""
    small_runs.run_eagerly(self.addCleanup)
    # Other tests in this process must not find the page's estimators and families.
    self.enterContext(mock.patch.dict(objectives.ESTIMATORS))
    self.enterContext(mock.patch.dict(location_families.LOCATION_FAMILIES))
    page = pages.ROOT / "docs" / name
    namespace = {"__name__": "__main__"}
    found = pages.blocks(page, "python")
    self.assertNotEmpty(found)
    with tempfile.TemporaryDirectory() as folder:
      before = os.getcwd()
      self.addCleanup(os.chdir, before)
      os.chdir(folder)
      with contextlib.redirect_stdout(io.StringIO()):
        for number, block in enumerate(found):
          exec(compile(block, f"{name}, Python block {number}", "exec"), namespace)
      os.chdir(before)
    return namespace

  def test_extending(self):
    namespace = self.execute("extending.md")
    parameters = tf.constant([[0.3, -2.0], [0.0, 0.1]])
    family = namespace["LaplaceLocations"](0.05)
    self.assertAllClose(tf.reduce_sum(family.cell_probabilities(parameters), axis=-1), [1.0, 1.0])
    # Along the row through the mode, the density relative to the mode integrates to the density's
    # normaliser of one coordinate, 2 * scale.
    mode = family.mode(parameters[1:])
    rows = tf.linspace(-3.0, 3.0, 2001)
    points = tf.stack([rows, tf.fill(rows.shape, mode[0, 1])], axis=-1)
    log_probs = family.log_prob(parameters[1:], points) - family.log_prob(parameters[1:], mode)
    step = rows[1] - rows[0]
    self.assertAllClose(tf.reduce_sum(tf.exp(log_probs)) * step, 2 * 0.05, rtol=0.01)
    self.assertIn("test_error_percent", namespace["run"].results)

  def test_python(self):
    namespace = self.execute("python.md")
    self.assertAllEqual(namespace["answer"]["probabilities"].shape, [4, 10])


if __name__ == "__main__":
  tf.test.main()
