"""Prepares image files for a model: turns, converts and resizes them as training did."""

import io
import os
import pathlib

import PIL.ExifTags
import PIL.Image
import PIL.ImageOps

from wsram_tf.data.fitting import FORMATS, fit_image, is_transparent
from wsram_tf.serving.examples import png_bytes
from wsram_tf.settings import check_path

__all__ = ["prepare_image"]

# Formats that exported models decode.
SENT_FORMATS = ("PNG", "JPEG")
_ORIENTATION = PIL.ExifTags.Base.Orientation


def prepare_image(
  path: str | os.PathLike, shape: tuple[int, int, int], fit: str, *, invert: bool = False
) -> tuple[bytes, str]:
  """Makes a file of the size that a model takes.

  Args:
    path: of a PNG, JPEG, TIFF or WebP file.
    shape: height, width and channels of the model's images, pixels.
    fit: `resize`, `pad` or `any size`; see `Model`.
    invert: whether to swap dark and bright.

  Returns:
    the contents to send, which equal the file's own where nothing must change, and a note on the
    resizing, or an empty string.

  Raises:
    OSError: if the file cannot be read.
    ValueError: if it is no whole image file, or the model does not take image files.

  Example:

  >>> import pathlib, tempfile
  >>> import PIL.Image
  >>> from wsram_tf.serving import prepare_image
  >>> with tempfile.TemporaryDirectory() as folder:
  ...   path = pathlib.Path(folder, "photo.jpg")
  ...   PIL.Image.new("RGB", (640, 480)).save(path)
  ...   contents, note = prepare_image(path, (60, 80, 1), "resize")
  >>> note
  'resized from 480 x 640 to 60 x 80 pixels (height x width)'
  """
  check_path("path", path)
  height, width, channels = shape
  if channels not in (1, 3):
    raise ValueError(
      f"shape={tuple(shape)}: must have 1 or 3 channels, because image files hold no others"
    )
  contents = pathlib.Path(path).read_bytes()
  try:
    image = PIL.Image.open(io.BytesIO(contents), formats=FORMATS)
    # Cameras record which way is up; models take pixels as they lie in the file.
    turned = image.format == "JPEG" and image.getexif().get(_ORIENTATION, 1) != 1
    if turned:
      image = PIL.ImageOps.exif_transpose(image)
    right_size = fit == "any size" or image.size == (width, height)
    sendable = image.format in SENT_FORMATS and not is_transparent(image)
    if right_size and sendable and not turned and not invert:
      return contents, ""
    old_width, old_height = image.size
    if right_size:
      width, height = image.size
    pixels = fit_image(
      image, (height, width, channels), "pad" if fit == "pad" else "resize", turn=False
    )
  except PIL.UnidentifiedImageError as error:
    raise ValueError(f"{path}: must be an image file, {' or '.join(FORMATS)}") from error
  except Exception as error:  # Pillow's parsers raise all kinds at damage.
    raise ValueError(f"{path}: must be a whole image file: {error}") from error
  old, new = f"{old_height} x {old_width}", f"{height} x {width}"
  done = "padded and resized" if fit == "pad" else "resized"
  note = "" if right_size else f"{done} from {old} to {new} pixels (height x width)"
  return png_bytes(255 - pixels if invert else pixels), note
