"""Runs the notebook of the documentation as Jupyter does."""

import os
import tempfile
import unittest

import nbclient
import nbformat

from tests.docs import pages

# Shorter trainings of a smaller network. The tutorial on serving verifies its export.
SHORTER = {
  "updates=50": "updates=2",
  "evaluate_every=50": "evaluate_every=2",
  "warmup_updates=5": "warmup_updates=1",
  "units=128": "units=16",
  "num_glimpses=2": "num_glimpses=1",
  "num_samples=3": "num_samples=2",
  "batch_size=64": "batch_size=4",
  "validation_canvases=200, test_canvases=200": "validation_canvases=4, test_canvases=4",
  'name="digits")': 'name="digits", verify=False)',
}
# Tracing takes longer than a few updates. An export holds traces.
EAGERLY = """
import tensorflow as tf
tf.config.run_functions_eagerly({eagerly})
{source}"""


class TutorialTest(unittest.TestCase):
  def setUp(self):
    super().setUp()
    self.notebook = nbformat.read(pages.ROOT / "docs" / "tutorial.ipynb", as_version=4)

  def test_no_outputs_are_stored(self):
    for cell in self.notebook.cells:
      self.assertFalse(cell.get("outputs") or cell.get("execution_count"), cell.source)

  def test_runs(self):
    for text, shorter in SHORTER.items():
      self.assertIn(text, "".join(cell.source for cell in self.notebook.cells))
      for cell in self.notebook.cells:
        cell.source = cell.source.replace(text, shorter)
    for cell in self.notebook.cells:
      if cell.cell_type == "code":
        cell.source = EAGERLY.format(
          eagerly="export.export_" not in cell.source, source=cell.source
        )
    # The kernel is a process of its own, in another folder.
    path = os.pathsep.join(filter(None, [str(pages.ROOT), os.environ.get("PYTHONPATH")]))
    with tempfile.TemporaryDirectory() as folder:
      client = nbclient.NotebookClient(
        self.notebook,
        timeout=300,
        kernel_name="python3",
        resources={"metadata": {"path": folder}},
      )
      client.execute(env={**os.environ, "PYTHONPATH": path})
    shown = [output for cell in self.notebook.cells for output in cell.get("outputs", ())]
    self.assertTrue(any("image/png" in output.get("data", ()) for output in shown), "no picture")
    answers = [output.data["text/plain"] for output in shown if output.output_type != "stream"]
    self.assertIn("array", answers[-1])


if __name__ == "__main__":
  unittest.main()
