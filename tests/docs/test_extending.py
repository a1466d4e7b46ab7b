"""Runs the Python examples of pages whose blocks build on each other."""

import contextlib
import io
import os
import tempfile

import tensorflow as tf

from tests.docs import pages


class ExamplesTest(tf.test.TestCase):
  def execute(self, name):
    """Runs the Python blocks of a page in one namespace; returns it."""
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
    # The density that `log_prob` states is that of the samples: its integral over a grid is 1.
    steps = tf.linspace(-3.0, 3.0, 2001)
    one = tf.stack([steps, tf.zeros_like(steps)], axis=-1)
    log_probs = family.log_prob(parameters[1:], one) - family.log_prob(
      parameters[1:], family.mode(parameters[1:])
    )
    width = 0.006 / (2 * 0.05)
    self.assertAllClose(tf.reduce_sum(tf.exp(log_probs)) * width, 1.0, atol=0.01)
    self.assertIn("test_error_percent", namespace["run"].results)

  def test_python(self):
    namespace = self.execute("python.md")
    self.assertAllEqual(namespace["answer"]["probabilities"].shape, [4, 10])


if __name__ == "__main__":
  tf.test.main()
