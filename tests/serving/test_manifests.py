"""Manifests of all tasks and ages are read back unchanged; others are refused."""

import json
import pathlib
import tempfile
import unittest

from wsram_tf.serving import manifests

COMMON = {
  "name": "m",
  "version": 3,
  "source": "test",
  "height": 20,
  "width": 30,
  "channels": 1,
  "num_glimpses": 4,
  "allowed_batch_sizes": [1],
  "weight_bytes": 8,
  "contract": {},
  "files": {},
}
CLASSIFIER = {
  **COMMON,
  "test_error_percent": 1.5,
  "num_classes": 10,
  "glimpse_side": 8,
  "glimpse_scales": 2,
  "averaged_samples": 5,
}
CAPTIONER = {
  **COMMON,
  "test_figures": {"bleu_4": 0.2},
  "vocabulary_size": 9,
  "grid_rows": 7,
  "grid_columns": 7,
  "beam_width": 3,
  "length_exponent": 1.0,
}


class ManifestsTest(unittest.TestCase):
  def setUp(self):
    super().setUp()
    folder = tempfile.TemporaryDirectory()
    self.addCleanup(folder.cleanup)
    self.folder = pathlib.Path(folder.name)

  def read(self, values):
    path = self.folder / manifests.MANIFEST_FILE
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(values))
    return manifests.read_manifest(self.folder)

  def test_a_manifest_without_task_is_a_classifiers(self):
    manifest = self.read(CLASSIFIER)
    facts = manifest.facts
    self.assertIsInstance(facts, manifests.ClassifierFacts)
    self.assertEqual((facts.fit, facts.class_names, facts.largest_pixels), ("resize", [], None))
    self.assertEqual(facts.image_shape, (20, 30, 1))
    self.assertEqual((manifest.version, manifest.weight_bytes), (3, 8))
    self.assertEqual(self.read(manifests.manifest_values(manifest)), manifest)

  def test_a_captioners(self):
    given = {**CAPTIONER, "largest_pixels": 9, "feature_shape": [7, 7, 5], "task": "captioning"}
    manifest = self.read(given)
    self.assertIsInstance(manifest.facts, manifests.CaptionerFacts)
    self.assertEqual(manifest.facts.feature_shape, [7, 7, 5])
    filled = {**given, "fit": "resize", "layer_grids": [], "averaged_samples": 0}
    filled |= {"consensus": False, "consensus_exponent": 0.5}
    self.assertEqual(manifests.manifest_values(manifest), filled)
    self.assertEqual(self.read(manifests.manifest_values(manifest)), manifest)

  def test_wrong_ones_are_refused(self):
    wrong = ({}, [], 3, COMMON, CAPTIONER, {**CAPTIONER, "task": "x"}, {**CLASSIFIER, "facts": 1})
    wrong += ({**CLASSIFIER, "version": "3"}, {**CLASSIFIER, "height": 1.5})
    for values in wrong:
      with (
        self.subTest(values=values),
        self.assertRaisesRegex(ValueError, r"manifest\.json: must be a manifest as an export"),
      ):
        self.read(values)

  def test_wrong_names_are_refused(self):
    for name in ("", "7", "../x", "a/b", ".hidden", "a b", "a\n"):
      with self.subTest(name=name), self.assertRaisesRegex(ValueError, "must be a letter, then"):
        manifests.check_name(name)

  def test_wrong_batch_sizes_are_refused(self):
    manifests.check_batch_sizes([1, 4, 16])
    for sizes in ([], [0, 1], [1, 8, 4], [2, 2], list(range(1, 252))):
      with self.subTest(sizes=sizes), self.assertRaisesRegex(ValueError, "must be whole numbers"):
        manifests.check_batch_sizes(sizes)


if __name__ == "__main__":
  unittest.main()
