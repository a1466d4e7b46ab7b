"""A captioner's preset answers from everywhere, and is not taken for a classifier's."""

import io
import pathlib

import keras
import numpy as np
import PIL.Image
import tensorflow as tf

import wsram_tf
from tests.support import programs
from tests.support.models import caption_toy
from tests.support.serving import exports
from wsram_tf import export
from wsram_tf.captions import DecodingConfig, Vocabulary, beam_search
from wsram_tf.serving import ExportedModel, manifests
from wsram_tf.serving.models import Cells

WORDS = ["dog", "größe", "runs"]


class CaptionPresetTest(tf.test.TestCase):
  def setUp(self):
    super().setUp()
    self.folder = pathlib.Path(exports.temporary_folder(self))
    self.preset = self.folder / "toy"
    keras.utils.set_random_seed(7)
    shape = {"height": 16, "width": 12, "grid_filters": (4,), "channels": 1, "max_words": 2}
    # Smaller ones would be smaller than what a file holds beside them.
    units = {"units": 48, "word_units": 16, "location_units": 16}
    self.network = wsram_tf.CaptionNetwork(caption_toy.model_config(**shape, **units))
    for weight in self.network.weights:  # So that images make a difference.
      weight.assign_add(0.4 * keras.random.normal(weight.shape))
    self.network.save_to_preset(self.preset, names=Vocabulary(WORDS).words)
    image = np.random.RandomState(3).randint(0, 256, [16, 12]).astype(np.uint8)
    self.image, self.file = image[np.newaxis, ..., np.newaxis] / np.float32(255), io.BytesIO()
    PIL.Image.fromarray(image).save(self.file, "png")
    (self.folder / "image.png").write_bytes(self.file.getvalue())

  def test_answers_as_its_network_from_everywhere(self):
    vocabulary = Vocabulary.from_preset(self.preset)
    self.assertEqual(vocabulary.words, Vocabulary(WORDS).words)
    expected = beam_search(self.network, self.image, DecodingConfig(beam_width=3))
    caption = vocabulary.decode(expected["words"][0].numpy())
    self.assertTrue(caption)
    version = export.export_preset(str(self.preset), self.folder / "models", "toy", verify=False)
    self.assertEqual(manifests.read_manifest(version).facts.source, f"pretrained {self.preset}")
    with ExportedModel(version) as served:
      for model in (served, export.PretrainedModel(str(self.preset))):
        answer = model.ask([self.file.getvalue()])
        self.assertEqual(answer["caption"][0].decode(), caption)
        self.assertAllClose(answer["log_prob"], expected["log_prob"], rtol=1e-4)
        self.assertEqual(model.image_shape(), (16, 12, 1))
        self.assertEqual((model.fit, model.class_names), ("resize", []))
        self.assertEqual(model.glimpses, Cells(((8, 6),)))
    (printed,) = programs.endings(
      "predict",
      [f"--pretrained={self.preset}", f"--draw_dir={self.folder}", str(self.folder / "image.png")],
    )
    self.assertIn(caption, printed)
    self.assertTrue((self.folder / "image_glimpses.png").exists())

  def test_the_program_exports_it(self):
    (printed,) = programs.endings(
      "export_captioner",
      [f"--pretrained={self.preset}", f"--export_dir={self.folder}/models", "--name=toy"],
    )
    self.assertIn(f"Exported {self.folder}/models/toy/1", printed)
    self.assertNotIn("FAILED", printed)

  def test_classifiers_and_captioners_are_told_apart(self):
    nameless = self.folder / "nameless"
    self.network.save_to_preset(nameless)
    flags = [f"--export_dir={self.folder}/models", "--name=toy"]
    (of_classifier,) = programs.endings("export_captioner", ["--pretrained=quickstart", *flags])
    (of_captioner,) = programs.endings("export_classifier", [f"--pretrained={self.preset}", *flags])
    self.assertIn("must hold a CaptionNetwork; it holds a PredictionNetwork", of_classifier)
    self.assertIn("must hold a PredictionNetwork; it holds a CaptionNetwork", of_captioner)
    arguments = (self.network, self.folder / "models", "toy")
    for words, refused in (
      ("must have the words of a captioner", lambda: Vocabulary.from_preset("quickstart")),
      ("must have the words of a captioner", lambda: export.PretrainedModel(str(nameless))),
      (
        "vocabulary=None: must be of the class Vocabulary",
        lambda: export.export_captioner(*arguments),
      ),
      (
        "vocabulary: must not be given with a run",
        lambda: export.export_captioner(
          self.folder, *arguments[1:], vocabulary=Vocabulary.from_preset(self.preset)
        ),
      ),
    ):
      with self.assertRaisesRegex(ValueError, words):
        refused()
    self.assertFalse((self.folder / "models").exists())


if __name__ == "__main__":
  tf.test.main()
