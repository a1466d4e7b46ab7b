"""Manifests of all tasks and ages are read back as what they are."""

import dataclasses
import json

import manifests
import pytest

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


def read(tmp_path, values):
  path = tmp_path / manifests.MANIFEST_FILE
  path.parent.mkdir(exist_ok=True)
  path.write_text(json.dumps(values))
  return manifests.read_manifest(tmp_path)


def test_one_from_before_there_were_tasks_is_a_classifiers(tmp_path):
  manifest = read(tmp_path, CLASSIFIER)
  assert isinstance(manifest, manifests.ClassifierManifest)
  assert (manifest.fit, manifest.class_names, manifest.largest_pixels) == ("resize", [], None)
  assert manifest.image_shape == (20, 30, 1)
  assert read(tmp_path, dataclasses.asdict(manifest)) == manifest


def test_a_captioners(tmp_path):
  manifest = manifests.CaptionerManifest(**CAPTIONER, largest_pixels=9, feature_shape=[7, 7, 5])
  again = read(tmp_path, dataclasses.asdict(manifest))
  assert isinstance(again, manifests.CaptionerManifest)
  assert again == manifest


@pytest.mark.parametrize("values", [{}, [], 3, COMMON, CAPTIONER, {**CAPTIONER, "task": "x"}])
def test_what_is_none(tmp_path, values):
  with pytest.raises(ValueError, match=r"manifest\.json: must be a manifest as an export"):
    read(tmp_path, values)
