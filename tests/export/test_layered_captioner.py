"""The export of a captioner whose glimpses choose among layers: contract, answers, pictures."""

import pathlib

import numpy as np
import PIL.Image
import tensorflow as tf

from tests.export import test_captioner
from tests.support import example_photos, programs
from tests.support.serving import exports
from wsram_tf.captions import backbones
from wsram_tf.export import export_captioner
from wsram_tf.serving import ExportedModel, manifests, models

_LAYERS = ((4, 4, 5), (2, 2, 6))
_MAX_WORDS = 2  # Each word is traced.


class LayeredCaptionerTest(tf.test.TestCase):
  def test_is_verified_served_and_drawn(self):
    folder = pathlib.Path(self.get_temp_dir())
    example_photos.write_layered_backbone(folder / "backbone.keras")
    backbone = backbones.load_backbone(folder / "backbone.keras", layers=["fine", "coarse"])
    shape = {"height": 1, "width": 1, "channels": 4 * 4 * 5 + 2 * 2 * 6}
    run = test_captioner.make_run(
      folder / "run", backbone, layer_shapes=_LAYERS, max_words=_MAX_WORDS, **shape
    )
    version = export_captioner(run, folder / "models", "layers", allowed_batch_sizes=(1, 3))
    facts = manifests.read_manifest(version).facts
    self.assertEqual(facts.layer_grids, [[4, 4], [2, 2]])
    contract = manifests.read_manifest(version).contract
    self.assertEqual(contract["serving_default"]["outputs"]["layers"], f"int64 [-1, {_MAX_WORDS}]")

    features = np.random.default_rng(2).normal(size=[40, 1, 1, 104]).astype(np.float32)
    found, captions = test_captioner.expected_answer(run, features)
    answer = exports.cpp().run(version, "caption_features", features=features)
    self.assertEqual([caption.decode() for caption in answer["caption"]], captions)
    self.assertEqual(set(np.unique(answer["layers"])), {0, 1})
    for row, caption in enumerate(captions):
      count = len(caption.split())
      self.assertAllEqual(answer["layers"][row, :count], found["layers"][row, :count])
      self.assertFalse(answer["layers"][row, count:].any())
    row = next(row for row, caption in enumerate(captions) if caption)
    described = models.describe({name: values[row : row + 1] for name, values in answer.items()})
    self.assertIn("looked at (row, column, layer) (", described)

    path = folder / "photo.png"
    pixels = np.random.default_rng(3).integers(0, 255, [48, 40, 3], np.uint8)
    PIL.Image.fromarray(pixels).save(path)
    model = ExportedModel(version)
    self.assertEqual(model.glimpses.grids, ((4, 4), (2, 2)))
    (printed,) = programs.endings(
      "predict", [f"--model_dir={version}", f"--draw_dir={folder / 'drawn'}", str(path)]
    )
    self.assertIn("drawn in", printed)
    self.assertGreater((folder / "drawn" / "photo_glimpses.png").stat().st_size, 0)


if __name__ == "__main__":
  tf.test.main()
