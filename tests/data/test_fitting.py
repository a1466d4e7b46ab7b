"""Image files become the same pixels in training and in serving, or are refused with a reason."""

import io
import tempfile
import unittest

import numpy as np
import PIL.Image

from wsram_tf.data import fitting
from wsram_tf.serving import prepare_image

_ORIENTATION = 0x0112


def _photo(**options):
  """A file of an image, 6 wide and 4 high, turned by EXIF where asked."""
  pixels = np.random.default_rng(1).integers(0, 256, [4, 6, 3], np.uint8)
  exif = PIL.Image.Exif()
  exif[_ORIENTATION] = options.pop("orientation", 1)
  file = io.BytesIO()
  PIL.Image.fromarray(pixels).save(file, exif=exif, **options)
  return file


class FitImageTest(unittest.TestCase):
  def test_transparent_pixels_become_black(self):
    hidden = np.full([2, 2, 4], 255, np.uint8)
    hidden[0, :, 3], hidden[1, 0, 3] = 0, 51
    rgba = PIL.Image.fromarray(hidden)
    grey = PIL.Image.fromarray(np.full([2, 2], 9, np.uint8))
    grey.info["transparency"] = 9  # PNG files store a transparent colour so.
    indexed = grey.convert("P")
    indexed.info["transparency"] = indexed.getpixel((0, 0))
    for image, expected in (
      (rgba, [[0, 0], [51, 255]]),
      (rgba.convert("LA"), [[0, 0], [51, 255]]),
      (grey, [[0, 0], [0, 0]]),
      (indexed, [[0, 0], [0, 0]]),
    ):
      for channels in (1, 3):
        pixels = fitting.fit_image(image, (2, 2, channels), "resize")
        np.testing.assert_array_equal(pixels[..., 0], expected, f"{image.mode} {channels}")

  def test_an_opaque_image_keeps_its_pixels(self):
    colours = np.random.default_rng(1).integers(0, 256, [5, 4, 4], np.uint8)
    colours[..., 3] = 255
    for mode, channels in (("L", 1), ("RGB", 3)):
      for image in (PIL.Image.fromarray(colours), PIL.Image.fromarray(colours[..., :3])):
        pixels = fitting.fit_image(image, (5, 4, channels), "resize")
        expected = np.asarray(image.convert(mode)).reshape(pixels.shape)
        np.testing.assert_array_equal(pixels, expected)

  def test_sixteen_bits_are_scaled(self):
    eight = np.random.default_rng(1).integers(0, 256, [5, 4], np.uint8)
    sixteen = PIL.Image.fromarray(eight.astype(np.uint16) * 256 + 100)
    pixels = fitting.fit_image(sixteen, (5, 4, 1), "resize")
    np.testing.assert_array_equal(pixels[..., 0], eight)

  def test_padding_keeps_proportions_on_black(self):
    white = PIL.Image.new("L", (6, 2), 255)
    pixels = fitting.fit_image(white, (6, 6, 1), "pad")[..., 0]
    self.assertEqual(pixels.max(axis=1).tolist(), [0, 0, 255, 255, 0, 0])
    stretched = fitting.fit_image(white, (6, 6, 1), "resize")
    self.assertEqual(stretched.min(), 255)

  def test_orientation_is_followed_unless_declined(self):
    image = PIL.Image.open(_photo(format="PNG", orientation=6))
    turned = fitting.fit_image(image, (6, 4, 3), "resize")
    as_it_lies = fitting.fit_image(image, (4, 6, 3), "resize", turn=False)
    np.testing.assert_array_equal(turned, np.rot90(as_it_lies, -1))

  def test_wrong_arguments(self):
    image = PIL.Image.new("L", (2, 2))
    with self.assertRaisesRegex(ValueError, "fit='crop': must be one of resize, pad"):
      fitting.fit_image(image, (2, 2, 1), "crop")
    with self.assertRaisesRegex(
      ValueError, r"image_shape=\(2, 2, 4\): the channels must be 1 or 3"
    ):
      fitting.fit_image(image, (2, 2, 4), "resize")


class ReadImageTest(unittest.TestCase):
  def test_serving_sees_the_pixels_of_training(self):
    for name, options in (
      ("a.png", {"format": "PNG"}),
      ("a.jpg", {"format": "JPEG"}),
      ("turned.jpg", {"format": "JPEG", "orientation": 6}),
    ):
      for fit in fitting.FITS:
        with self.subTest(name=name, fit=fit), tempfile.TemporaryDirectory() as folder:
          path = f"{folder}/{name}"
          with open(path, "wb") as file:
            file.write(_photo(**options).getvalue())
          contents, note = prepare_image(path, (5, 9, 3), fit)
          self.assertRegex(note, "resized from . x . to 5 x 9 pixels")
          trained = fitting.read_image(path, (5, 9, 3), fit)
          served = np.asarray(PIL.Image.open(io.BytesIO(contents)))
          np.testing.assert_array_equal(trained, served)

  def test_what_cannot_be_read(self):
    whole = _photo(format="PNG").getvalue()
    gif = io.BytesIO()
    PIL.Image.new("L", (2, 2)).save(gif, format="GIF")
    for contents in (whole[: len(whole) // 2], b"no image", b"", gif.getvalue()):
      for read in (
        lambda file: fitting.read_image(file, (4, 6, 3), "resize"),
        fitting.check_image,
      ):
        with self.assertRaisesRegex(fitting.UnreadableImageError, r"\w"):
          read(io.BytesIO(contents))
    with self.assertRaisesRegex(fitting.UnreadableImageError, "No such file"):
      fitting.read_image("/no/such/file.png", (4, 6, 3), "resize")
    fitting.check_image(io.BytesIO(whole))


if __name__ == "__main__":
  unittest.main()
