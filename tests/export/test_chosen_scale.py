"""An export of a model that chooses a scale: contract, verification, prediction, picture."""

import json
import re

import numpy as np
import PIL.Image
import tensorflow as tf

from tests.support import programs
from tests.support.serving import exports
from wsram_tf.serving import examples, manifests


class ChosenScaleExportTest(tf.test.TestCase):
  def test_is_verified_served_and_drawn(self):
    folder = exports.temporary_folder(self)
    network, version = exports.choosing_network(), exports.choosing_version()
    manifest = manifests.read_manifest(version)
    self.assertTrue(manifest.facts.choose_scale)
    for name in ("serving_default", "attend", "classify_bytes"):
      outputs = manifest.contract[name]["outputs"]
      self.assertEqual(outputs["scales"], "int64 [-1, 2]")
      self.assertEqual(outputs["locations"], "float32 [-1, 2, 2]")
    self.assertNotIn("scales", manifest.contract["classify_averaged"]["outputs"])
    begin, look = manifest.contract["begin"], manifest.contract["look"]
    place = {"glimpses_left": "int64 [-1]", "location": "float32 [-1, 2]", "scale": "int64 [-1]"}
    state = {"state": "float32 [-1, 100]"}  # A number, a place, a scale, and two states of 48.
    self.assertEqual(begin["outputs"], {**state, **place})
    self.assertEqual(
      look["inputs"], {**state, **begin["inputs"], "patches": "float32 [-1, 1, 8, 8, 1]"}
    )
    answer = {"class_id": "int64 [-1]", "probabilities": "float32 [-1, 10]"}
    self.assertEqual(look["outputs"], {**state, **place, **answer})
    with np.load(version / manifests.GOLDEN_FILE) as golden:
      self.assertEqual(golden["attend/scales"].dtype, np.int64)
      self.assertAllEqual(np.unique(golden["attend/scales"]), [0, 1, 2])
    found = exports.cpp().verify(version)
    self.assertEqual({name: check for name, check in found.items() if not check[0]}, {})
    self.assertStartsWith(found["steps"][1], "begin and 2 times look: largest difference")
    image = examples.example_images(*network.config.image_shape)[0]
    path = folder / "image.png"
    path.write_bytes(examples.png_bytes(image))
    (printed,) = programs.endings(
      "predict", [f"--model_dir={version}", f"--draw_dir={folder}", path]
    )
    answer = network(tf.constant(examples.to_float(image[np.newaxis])))
    looked = re.search(r"looked at \(row, column, scale\) (.*)", printed)[1]
    scales = [int(scale) for scale in re.findall(r", (\d)\)", looked)]
    self.assertEqual(scales, answer["scales"][0].numpy().tolist())
    PIL.Image.open(folder / "image_glimpses.png").verify()

  def test_models_without_a_choice_keep_their_contract_and_manifest(self):
    manifest = manifests.read_manifest(exports.model_dir())
    self.assertFalse(manifest.facts.choose_scale)
    for signature in manifest.contract.values():
      self.assertNotIn("scales", signature["outputs"])
    values = json.loads((exports.model_dir() / manifests.MANIFEST_FILE).read_text())
    del values["choose_scale"]  # As versions before the choice wrote it.
    old = exports.temporary_folder(self)
    (old / manifests.MANIFEST_FILE).parent.mkdir()
    (old / manifests.MANIFEST_FILE).write_text(json.dumps(values))
    self.assertEqual(manifests.read_manifest(old), manifest)


if __name__ == "__main__":
  tf.test.main()
