"""Runs the tutorials with smaller constants, and checks the pages that the site makes of them."""

import ast
import contextlib
import dataclasses
import importlib.util
import io
import pathlib
import re
import tempfile
import unittest
from collections.abc import Callable, Mapping
from typing import Any
from unittest import mock

import numpy as np
import tensorflow as tf

from docs import tutorial_pages
from tests.docs import pages
from wsram_tf import captions, classification, objectives
from wsram_tf.data import fitting
from wsram_tf.serving import models

TUTORIALS = sorted((pages.ROOT / "docs" / "tutorials").glob("*.py"))
HAS_SLIDES = all(map(importlib.util.find_spec, ("openslide", "pyvips")))
# One update, of a small network.
SHORT = {"UPDATES": 1, "EVALUATE_EVERY": 1, "BATCH_SIZE": 4, "UNITS": 8}
SHORT_LOOK = {**SHORT, "GLIMPSES": 1}
NO_XLA = {"JIT_COMPILE": "off"}
# The tutorial on serving verifies its export.
UNVERIFIED = {"VERIFY": False}


def with_constants(source: str, **constants: Any) -> ast.Module:
  """Parses a tutorial with other values of its constants.

  Raises:
    ValueError: if the tutorial does not assign a constant exactly once.
  """
  tree = ast.parse(source)
  for name, value in constants.items():
    found = [
      statement
      for statement in tree.body
      if isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]) == name
    ]
    if len(found) != 1:
      raise ValueError(f"{name}: must be assigned once in the tutorial")
    found[0].value = ast.copy_location(ast.Constant(value), found[0].value)
  return ast.fix_missing_locations(tree)


def two_glimpses(network: classification.PredictionNetwork) -> classification.PredictionNetwork:
  """Makes the network that stops after its second glimpse, and is exported sooner."""
  shorter = classification.PredictionNetwork(dataclasses.replace(network.config, num_glimpses=2))
  shorter.set_weights(network.get_weights())
  return shorter


class TutorialsTest(tf.test.TestCase):
  def execute(
    self,
    tutorial: str,
    smaller: Mapping[str, Callable[[Any], Any]] | None = None,
    **constants: Any,
  ) -> dict[str, Any]:
    """Runs a tutorial with other constants; returns its names, and its output as `printed`.

    Args:
      tutorial: its name.
      smaller: by the name of a variable, makes a smaller value of the tutorial's, which replaces
        it.
      **constants: their values, by name.
    """
    self.addCleanup(tf.config.run_functions_eagerly, False)
    # Other tests in this process must not find the tutorial's estimator, or its files.
    self.enterContext(mock.patch.dict(objectives.ESTIMATORS))
    folder = self.enterContext(tempfile.TemporaryDirectory())
    self.enterContext(mock.patch.object(tempfile, "tempdir", folder))
    path = pages.ROOT / "docs" / "tutorials" / f"{tutorial}.py"
    names, printed = {"__name__": "__main__"}, io.StringIO()
    with contextlib.redirect_stdout(printed):
      for statement in with_constants(path.read_text(), **constants).body:
        # Tracing takes longer than a few updates. An export holds traces.
        tf.config.run_functions_eagerly("export.export_" not in ast.unparse(statement))
        exec(compile(ast.Module([statement], []), path, "exec"), names)
        if isinstance(statement, ast.Assign):
          for name in (smaller or {}).keys() & {ast.unparse(statement.targets[0])}:
            names[name] = smaller[name](names[name])
    return {**names, "printed": printed.getvalue()}

  def assert_picture(self, path: pathlib.Path) -> None:
    self.assertEqual(path.read_bytes()[:4], b"\x89PNG")

  def test_quick_start(self):
    names = self.execute(
      "quick_start", **SHORT, GLIMPSES=2, **NO_XLA, **UNVERIFIED, TEST_CANVASES=10
    )
    run, looked = names["run"], names["looked"]
    errors = run.results["test_error_percent_by_glimpse"]
    self.assertLen(errors, 2)
    self.assertEqual(errors[-1], run.results["test_error_percent"])
    # The export answers the file as the learner answers its pixels.
    pixels = models.as_images(names["picture"].read_bytes(), channels=1)
    expected = run.learner.predict(pixels, verbose=0)
    for output in ("probabilities", "locations"):
      self.assertAllClose(names["answer"][output], expected[output], atol=1e-5)
    steps = names["probabilities"]
    expected = run.learner.predict(names["images"], verbose=0)
    self.assertAllClose(steps[:, -1], expected["probabilities"], atol=1e-5)
    sure = np.concatenate([steps.max(axis=-1) >= 0.9, np.ones([8, 1], bool)], axis=1)
    self.assertAllEqual(looked.glimpses, np.minimum(sure.argmax(axis=1) + 1, 2))
    self.assert_picture(names["folder"] / "glimpses.png")

  def test_own_images(self):
    names = self.execute("own_images", **SHORT_LOOK, **NO_XLA, IMAGES_A_CLASS=6)
    run, confusion = names["run"], names["confusion"]
    self.assertEqual(names["header"], ["class", *names["CLASSES"]][:1] + sorted(names["CLASSES"]))
    self.assertEqual(confusion.sum(), run.results["test_images"])
    wrong = 100 * (1 - np.trace(confusion) / confusion.sum())
    self.assertAllClose(run.results["test_error_percent"], wrong, atol=1e-4)
    # A new file is read as the training would have read it.
    image = fitting.read_image(names["new_files"][-1], [100, 100, 3], "pad")
    self.assertAllClose(names["new_images"][-1], image / np.float32(255), atol=1e-6)
    self.assertAllEqual(names["answer"]["class_id"].shape, [4])
    self.assert_picture(names["folder"] / "new_files.png")

  def test_estimator(self):
    names = self.execute(
      "estimator", **SHORT_LOOK, **NO_XLA, NUM_SAMPLES=2, SEEDS=(1,), CANVASES=4, GRADIENT_DRAWS=2
    )
    bias, variance = names["bias"], names["variance"]
    for name in ("no baseline", "mean of the others", "median of the others"):
      self.assertLess(bias[name], 1e-12, name)
    self.assertGreater(bias["median of all"], 0.01)
    self.assertLess(variance["mean of the others"], variance["median of the others"])
    self.assertLess(variance["median of the others"], variance["no baseline"])
    rows = [line for line in names["table"].splitlines() if line.startswith("| ")]
    self.assertLen(rows, 3)
    self.assertTrue(any("median_of_others" in row for row in rows), rows)

  def test_serving(self):
    names = self.execute("serving", {"network": two_glimpses}, NUM_IMAGES=50, BATCH_SIZES=(1,))
    self.assertEqual(names["network"].config.num_glimpses, 2)
    outcomes = re.findall(r"^(\S.*?) +(ok|FAILED) ", names["printed"], re.MULTILINE)
    self.assertGreater(len(outcomes), 8)
    self.assertEqual({outcome for _, outcome in outcomes}, {"ok"})
    self.assertAllEqual(names["first"], names["again"])
    self.assertNotAllClose(names["first"], names["other"])
    self.assertLess(names["same"], 1e-5)
    self.assertAllEqual(names["step"]["class_id"], names["one"]["class_id"])
    error = np.mean(names["averaged"]["class_id"] != names["labels"])
    self.assertLess(error, 0.2)

  def test_captions(self):
    names = self.execute(
      "captions",
      **SHORT,
      **UNVERIFIED,
      MOST_DIGITS=1,
      GRID_FILTERS=(2, 2, 2),
      NUM_SAMPLES=2,
      TEST_SCENES=3,
    )
    network = names["run"].learner.prediction_network
    pixels = [models.as_images(path.read_bytes(), channels=1) for path in names["files"]]
    pixels = np.concatenate(pixels)
    self.assertAllClose(pixels, names["test"].images, atol=1 / 255)
    # The export answers the files as the network answers their pixels.
    found = captions.beam_search(network, pixels, captions.DecodingConfig(3))
    self.assertAllClose(names["answer"]["log_prob"], found["log_prob"], rtol=1e-4)
    vocabulary = names["task"].vocabulary
    self.assertEqual(
      [" ".join(words) for words in names["captions"]],
      [vocabulary.decode(words) or "(nothing)" for words in found["words"].numpy()],
    )
    self.assertLen(names["right"], 6)
    self.assert_picture(names["folder"] / "captions.png")

  @unittest.skipUnless(HAS_SLIDES, "needs the extra slides: openslide and pyvips")
  def test_large_images(self):
    names = self.execute(
      "large_images",
      **SHORT_LOOK,
      **UNVERIFIED,
      SIDE=256,
      SHAPE_SIDE=32,
      IMAGES_A_CLASS=4,
      CONTEXT_SIDE=8,
      GLIMPSE_SIDE=8,
      GLIMPSE_SCALES=2,
    )
    self.assertEqual(names["run"].results["files_left_out"], [])
    # The export looks where the learner looks.
    expected = names["run"].learner.predict(np.array(names["paths"]), verbose=0)
    self.assertAllClose(names["looked"].locations, expected["locations"])
    self.assertAllClose(
      names["looked"].answer["probabilities"], expected["probabilities"], atol=1e-5
    )
    titles = [names["task"].class_names[label] for label in names["labels"]]
    self.assertEqual(titles, list(names["CLASSES"]))
    features = names["marked"]["features"]
    self.assertLen(features, 2)  # One for each scale.
    for feature in features:
      corners = np.array(feature["geometry"]["coordinates"][0])
      self.assertAllEqual(np.ptp(corners, axis=0), [8 * 2 ** feature["properties"]["scale"]] * 2)
    self.assert_picture(names["folder"] / "glimpses.png")

  def test_every_tutorial_is_run(self):
    tests = {name.removeprefix("test_") for name in dir(self) if name.startswith("test_")}
    self.assertLessEqual({path.stem for path in TUTORIALS}, tests)

  def test_an_unknown_constant_is_refused(self):
    with self.assertRaisesRegex(ValueError, "STEPS: must be assigned once"):
      with_constants("UPDATES = 3\n", STEPS=2)


class PagesTest(unittest.TestCase):
  def test_nothing_is_lost(self):
    self.assertEqual(len(TUTORIALS), 6)
    for path in TUTORIALS:
      with self.subTest(tutorial=path.stem):
        source = path.read_text()
        page = tutorial_pages.to_markdown(source, path.name)
        lines = source.splitlines()
        for statement in reversed(ast.parse(source).body):
          if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
            text = [line for line in statement.value.value.splitlines() if line]
            del lines[statement.lineno - 1 : statement.end_lineno]
            if statement.lineno > 1:
              self.assertIn("\n".join(text), re.sub(r"\n\n+", "\n", page))
        blocks = re.findall(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
        code = "".join(blocks).splitlines()
        self.assertEqual([line for line in code if line], [line for line in lines if line])

  def test_structure(self):
    source = (
      '"""\nTitle: A sum\nDescription: Adds.\nAccelerator: None\n"""\n'
      'r"""\n## One\n\n\\alpha\n"""\nx = 1  # One.\n\n\ny = """\nz\n"""\n"""\n'
      '```text\n1\n```\n"""\n\nz = 2\n"""last"""\n'
    )
    expected = [
      "# A sum",
      "Adds.",
      "Accelerator: None. Program: [sum.py](sum.py).",
      "## One",
      "\\alpha",
      '```python\nx = 1  # One.\n\n\ny = """\nz\n"""\n```',
      "```text\n1\n```",
      "```python\nz = 2\n```",
      "last",
    ]
    page = tutorial_pages.to_markdown(source, "sum.py")
    self.assertEqual(page, "\n\n".join(expected) + "\n")

  def test_a_tutorial_without_its_lines_is_refused(self):
    for source in ("x = 1\n", '"""\nTitle: A sum\nAccelerator: None\n"""\n', '"""Adds."""\n'):
      with self.assertRaisesRegex(ValueError, "sum.py: must begin with the lines Title"):
        tutorial_pages.to_markdown(source, "sum.py")


if __name__ == "__main__":
  tf.test.main()
