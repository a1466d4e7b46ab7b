"""The exported signatures refuse files beyond those that the verification tries."""

import io
import unittest

import numpy as np
import PIL.Image

from tests.support.serving import exports
from wsram_tf.serving import ServingError
from wsram_tf.serving.examples import as_bytes_array


def ask(*files):
  image_bytes = as_bytes_array(list(files))
  return exports.cpp().run(exports.model_dir(), "classify_bytes", image_bytes=image_bytes)


def encode(size=(36, 40), mode="L", **options):
  """A file of noise; size is (width, height)."""
  shape = [size[1], size[0], len(mode)] if len(mode) > 1 else [size[1], size[0]]
  pixels = np.random.RandomState(0).randint(0, 256, shape).astype(np.uint8)
  file = io.BytesIO()
  PIL.Image.fromarray(pixels, mode=None).save(file, **options)
  return file.getvalue()


class ImageFilesTest(unittest.TestCase):
  def refusal(self, *files):
    with self.assertRaises(ServingError) as caught:
      ask(*files)
    self.assertEqual(caught.exception.code, "INVALID_ARGUMENT")
    self.assertIn("image_bytes", caught.exception.message)
    return caught.exception.message

  def test_a_truncated_file_is_refused_wherever_it_ends(self):
    for options in (
      {"format": "PNG"},
      {"format": "JPEG"},
      {"format": "JPEG", "progressive": True},
    ):
      contents = encode(**options)
      self.assertEqual(ask(contents)["class_id"].shape, (1,))
      for length in range(0, len(contents) - 2, 7):
        with self.subTest(**options, length=length):
          self.refusal(contents[:length])

  def test_other_kinds_of_images_are_refused(self):
    for kind in ("GIF", "BMP", "WEBP", "TIFF"):
      with self.subTest(kind=kind):
        message = self.refusal(encode(format="PNG"), encode(format=kind))
        self.assertIn("each row must be a PNG or JPEG file; these rows are not:] [1]", message)

  def test_the_row_and_its_size_are_named(self):
    right, wrong = encode(format="PNG"), encode(size=(40, 36), format="JPEG")
    self.assertIn(
      "must be 40 pixels high and 36 wide; row, height and width are:] [2] [36] [40]",
      self.refusal(right, right, wrong),
    )

  def test_colour_and_alpha_are_dropped(self):
    for mode in ("L", "RGB", "RGBA"):
      self.assertEqual(ask(encode(mode=mode, format="PNG"))["class_id"].shape, (1,))

  def test_cmyk_is_answered_as_its_grey(self):
    image = PIL.Image.open(io.BytesIO(encode(mode="RGB", format="PNG"))).convert("CMYK")
    for progressive in (False, True):
      cmyk, grey = io.BytesIO(), io.BytesIO()
      image.save(cmyk, format="JPEG", quality=100, progressive=progressive)
      image.convert("RGB").convert("L").save(grey, format="PNG")
      first, second = ask(cmyk.getvalue(), grey.getvalue())["probabilities"]
      np.testing.assert_allclose(first, second, atol=0.02)
      self.refusal(cmyk.getvalue()[:-40])

  def test_no_file_and_many(self):
    self.assertEqual(ask()["probabilities"].shape, (0, 10))
    many = ask(*[encode(format="PNG"), encode(format="JPEG")] * 100)
    np.testing.assert_allclose(
      many["probabilities"], np.tile(many["probabilities"][:2], [100, 1]), atol=1e-6
    )

  def test_a_png_of_no_size_or_a_huge_one(self):
    contents = encode(format="PNG")
    for side in (0, 0x7FFFFFFF, 0xFFFFFFFF):
      header = contents[:16] + side.to_bytes(4, "big") * 2 + contents[24:]
      self.assertIn("pixels high", self.refusal(header))

  def test_numbers_of_which_a_network_would_make_nan_are_refused(self):
    images = np.zeros([3, 40, 36, 1], np.float32)
    images[1] = np.where(np.arange(36)[:, None] % 2, 3e38, -3e38)  # Their sum is 0.
    rule = "images: must be finite, without NaN or infinity, and at most 1e+16 in magnitude"
    with self.assertRaises(ServingError) as caught:
      exports.cpp().run(exports.model_dir(), "serving_default", images=images)
    self.assertIn(f"{rule}; these rows are not:] [1]", caught.exception.message)
    answer = exports.cpp().run(exports.model_dir(), "prior_map", images=images / 3e22)
    self.assertTrue(np.isfinite(answer["prior"]).all())


if __name__ == "__main__":
  unittest.main()
