"""What the page asks of exports, and what it refuses."""

import base64
import io
import zlib

import numpy as np
import PIL.Image
from absl.testing import absltest

from tests.support import pyramids
from tests.support.models import caption_toy
from tests.support.serving import exports, model_servers
from wsram_tf import serving
from wsram_tf.captions import CaptionLearner, Vocabulary
from wsram_tf.data.regions.pyramids import write_array
from wsram_tf.demo import asking, player
from wsram_tf.export import export_captioner
from wsram_tf.serving import models
from wsram_tf.serving.examples import png_bytes


def contents_of(model, seed=0):
  shape = model.image_shape()
  return png_bytes(np.random.RandomState(seed).randint(0, 256, shape).astype(np.uint8))


def data_url(image):
  file = io.BytesIO()
  image.save(file, "PNG")
  return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"


def chunk(kind, contents):
  checked = kind + contents
  return len(contents).to_bytes(4, "big") + checked + zlib.crc32(checked).to_bytes(4, "big")


def huge_png(height, width):
  """A PNG file whose header promises an image that it does not hold."""
  header = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes([8, 0, 0, 0, 0])
  return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"")


class AskingTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    self.folder = exports.temporary_folder(self)

  def test_a_classifiers_boxes_enclose_what_its_patches_show(self):
    for name, network, version in (
      ("all scales", exports.network(), exports.model_dir()),
      ("chosen scale", exports.choosing_network(), exports.choosing_version()),
    ):
      with self.subTest(name):
        model = serving.ExportedModel(version)
        answer = asking.ask_classifier(model, contents_of(model))
        height, width = answer.size
        self.assertEqual((height, width, 1), answer.image.shape)
        reach = 2 * max(height, width)
        around = np.pad(answer.image, [(reach, reach), (reach, reach), (0, 0)])
        for boxes, patches in zip(answer.boxes, answer.patches, strict=True):
          for box, patch in zip(boxes, patches, strict=True):
            top, left, side = int(box.top) + reach, int(box.left) + reach, int(box.width)
            inside = around[top : top + side, left : left + side, 0]
            step = side // 8
            expected = inside.reshape(8, step, 8, step).mean(axis=(1, 3))
            np.testing.assert_allclose(patch[..., 0], expected, atol=1e-6)
        np.testing.assert_allclose(answer.probabilities.sum(axis=-1), 1, rtol=1e-5)
        np.testing.assert_allclose(answer.prior.sum(axis=(-2, -1)), 1, rtol=1e-4)
        expected = network(answer.image[np.newaxis])["probabilities"][0]
        np.testing.assert_allclose(answer.probabilities[-1], expected, atol=1e-5)

  def test_a_server_answers_as_the_export(self):
    export = serving.ExportedModel(exports.model_dir())
    with model_servers.rest_server() as address:
      served = serving.ServedModel(serving.RestClient(address, "digits"), "digits")
      self.assertEqual(served.glimpses, export.glimpses)
      answers = [asking.ask_classifier(model, contents_of(export)) for model in (export, served)]
    for found, expected in zip(answers[1]._asdict().items(), answers[0], strict=True):
      with self.subTest(found[0]):
        if isinstance(expected, np.ndarray):
          np.testing.assert_allclose(found[1], expected, atol=1e-6)
        else:
          self.assertEqual(found[1], expected)

  def test_a_large_file_is_searched_as_its_pixels_are_seen(self):
    model = serving.ExportedModel(exports.model_dir())
    pixels = pyramids.random_pixels(40, 36, 1)
    write_array(self.folder / "a.tif", pixels)
    expected = asking.ask_classifier(model, png_bytes(pixels))
    answer = asking.search_file(model, self.folder / "a.tif")
    self.assertEqual(answer.size, (40, 36))
    self.assertEqual(answer.boxes, expected.boxes)
    np.testing.assert_allclose(answer.patches, expected.patches, atol=1e-6)
    np.testing.assert_allclose(answer.probabilities, expected.probabilities, atol=1e-5)

  def test_a_captioners_boxes_are_the_cells_before_its_words(self):
    learner = CaptionLearner(caption_toy.model_config(height=16, width=12, channels=1, max_words=2))
    run = self.folder / "run"
    run.mkdir()
    learner.save(run / "model.keras")
    Vocabulary(["dog", "<cat>", "runs"]).save(run / "vocabulary.txt")
    version = export_captioner(run, self.folder / "models", "scenes", verify=False)
    model = serving.ExportedModel(version)
    ((rows, columns),) = model.glimpses.grids
    contents = contents_of(model)
    answer = asking.ask_captioner(model, contents)
    self.assertEqual(answer.words, models.caption_words(model.ask([contents])))
    self.assertLen(answer.boxes, len(answer.words))
    for box in answer.boxes:
      self.assertEqual((box.width, box.height), (12 / columns, 16 / rows))
      for steps in (box.left / box.width, box.top / box.height):
        self.assertAlmostEqual(steps, round(steps), places=4)
    shown = player.caption_html(answer._replace(words=["a", "<cat>"], boxes=[answer.boxes[0]] * 2))
    self.assertIn("<strong>&lt;cat&gt;</strong>", shown)
    self.assertNotIn("<cat>", shown)
    self.assertEqual(shown.count("<section"), 2)

  def test_files_that_are_refused_by_their_name(self):
    model = serving.ExportedModel(exports.model_dir())
    cases = {
      "text.png": (b"no image", "text.png: must be an image file, JPEG or PNG or TIFF or WEBP"),
      "empty.png": (b"", "empty.png: must be an image file, "),
      "large.png": (
        huge_png(12_000, 12_000),
        "large.png: must have at most 50,000,000 pixels; got 12,000 x 12,000",
      ),
      "bomb.png": (huge_png(10**6, 10**6), "bomb.png: must have at most 50,000,000 pixels"),
      "cut.png": (contents_of(model)[:300], "cut.png: must be a whole image file"),
    }
    for name, (contents, rule) in cases.items():
      path = self.folder / name
      path.write_bytes(contents)
      with self.subTest(name), self.assertRaises(ValueError) as caught:
        asking.prepared(model, path)
      self.assertStartsWith(str(caught.exception), rule)
      self.assertNotIn(str(self.folder), str(caught.exception))

  def test_a_drawing_becomes_an_image_of_the_model(self):
    model = serving.ExportedModel(exports.model_dir())
    drawn = PIL.Image.new("RGB", (80, 80))
    drawn.paste("white", (0, 40, 80, 80))
    contents = asking.prepared_drawing(model, data_url(drawn), 80)
    pixels = np.asarray(PIL.Image.open(io.BytesIO(contents)))
    expected = np.repeat([0, 255], 20)[:, np.newaxis] * np.ones([1, 36])
    np.testing.assert_array_equal(pixels, expected)

  def test_drawings_that_are_refused(self):
    model = serving.ExportedModel(exports.model_dir())
    whole = data_url(PIL.Image.new("L", (80, 80)))
    head = "data:image/png;base64,"
    jpeg = io.BytesIO()
    PIL.Image.new("L", (80, 80)).save(jpeg, "JPEG")
    wrong = [
      None,
      5,
      "",
      head,
      whole.removeprefix("data:"),
      whole[:100],
      head + "*" * 40,
      head + "A" * 4_000_000,
      data_url(PIL.Image.new("L", (81, 80))),
      head + base64.b64encode(jpeg.getvalue()).decode(),
      head + base64.b64encode(huge_png(80, 80)).decode(),
    ]
    for drawing in wrong:
      with (
        self.subTest(str(drawing)[:50]),
        self.assertRaisesRegex(
          ValueError, "drawing: must be the data URL of a PNG file of 80 x 80"
        ),
      ):
        asking.prepared_drawing(model, drawing, 80)


if __name__ == "__main__":
  absltest.main()
