"""Image files of every kind that a model must answer, of kinds that it must refuse, and damage."""

import io
import struct
import zlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import PIL.Image

from tests.fuzzing import strange_bytes
from wsram_tf.serving import examples

__all__ = ["Refused", "damaged_file", "right_files", "wrong_file"]

_HEAD = b"\x89PNG\r\n\x1a\n"
_FORMAT = "image_bytes: each row must be a PNG or JPEG file"
_WHOLE = "image_bytes_must_hold_a_whole"
# The passes of an interlaced PNG: first row and column, and the steps between rows and columns.
_PASSES = (
  *((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4)),
  *((2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)),
)
_COLOUR_TYPES = {1: 0, 2: 4, 3: 2, 4: 6}  # By channels.
_LARGE = 12_000  # Pixels; squared, they are more than any model takes.


class Refused(NamedTuple):
  """A file that a model must refuse.

  Attributes:
    what: the fault.
    contents: of the file.
    words: that the message must hold.
  """

  what: str
  contents: bytes
  words: str


def right_files(height: int, width: int, any_size: bool) -> list[bytes]:
  """Makes files that decoders must take: of every mode, interlaced, 16-bit, progressive, turned.

  Args:
    height: of the model's images, pixels.
    width: of the model's images, pixels.
    any_size: whether some files have other sizes.
  """
  images = examples.example_images(height, width, 3)
  if any_size:
    sides = ((1, 1), (3, 90), (70, 2), (64, 48))
    other = [examples.example_images(*size, 3)[1] for size in sides]
    images = [image for pair in zip(images, [*other, *other], strict=True) for image in pair]
  files = []
  for image in images:
    files += [_encoded(image, mode, format="PNG") for mode in ("1", "L", "LA", "P", "RGB", "RGBA")]
    grey, deep = image[..., :1], image.astype(np.uint16) * 257
    files += [_png(grey, 16), _png(deep, 16), _png(image, 8, interlaced=True)]
    files += [_png(grey, 8, interlaced=True), _png(deep, 16, interlaced=True)]
    for progressive in (False, True):
      files += [
        _encoded(image, mode, format="JPEG", progressive=progressive)
        for mode in ("L", "RGB", "CMYK")
      ]
    turned = PIL.Image.Exif()
    turned[0x0112] = 6
    files += [_encoded(image, "RGB", format=kind, exif=turned) for kind in ("PNG", "JPEG")]
    files += [
      _encoded(image, "RGB", format="JPEG", subsampling=kind, quality=95) for kind in (0, 1, 2)
    ]
  return files


def wrong_file(
  generator: np.random.Generator, right: Sequence[bytes], height: int, width: int, any_size: bool
) -> Refused:
  """Makes a file that a model must refuse.

  Args:
    generator: of random numbers.
    right: of `right_files`.
    height: of the model's images, pixels.
    width: of the model's images, pixels.
    any_size: whether the model takes images of any size.
  """
  contents = right[generator.integers(len(right))]
  rule = "image_bytes: each image must " + (
    "have 1 to" if any_size else f"be {height} pixels high and {width} wide"
  )
  kinds = [_cut, _other_format, _damaged_header, _huge]
  what, made, words = kinds[generator.integers(len(kinds))](generator, contents)
  if made is None:  # The wrong size.
    made = _sized(generator, contents, height, width, any_size)
  return Refused(what, made, rule if words is None else words)


def damaged_file(generator: np.random.Generator, right: Sequence[bytes]) -> bytes:
  """Makes a damaged file, which a decoder may take or not, or one that inflates its text."""
  if generator.integers(200) == 0:
    image = right[0]
    text = _chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(1_000_000), 9))
    return image[:33] + text + image[33:]
  drawn = generator.bytes(16 * int(generator.integers(1, 5)))
  return strange_bytes.changed(right[generator.integers(len(right))], drawn, right)


_Made = tuple[str, bytes | None, str | None]


def _cut(generator: np.random.Generator, contents: bytes) -> _Made:
  # A JPEG file without its last byte alone may hold all pixels, and is answered as the whole.
  least = 1 if contents.startswith(_HEAD) else 2
  length = int(generator.integers(len(contents) + 1 - least))
  return "file: cut off", contents[:length], _FORMAT if length < 24 else _WHOLE


def _other_format(generator: np.random.Generator, contents: bytes) -> _Made:
  image = PIL.Image.new("RGB", (5, 4))
  kinds: list[Callable[[], bytes]] = [
    lambda: b"",
    lambda: generator.bytes(int(generator.integers(1, 200))).replace(b"\xff\xd8", b""),
    lambda: b"not an image, but long enough to be one",
    lambda: b"\0" + contents,
    lambda: contents[1:],
    *(lambda kind=kind: _saved(image, format=kind) for kind in ("GIF", "BMP", "WEBP", "TIFF")),
  ]
  return "file: another format", kinds[generator.integers(len(kinds))](), _FORMAT


def _damaged_header(generator: np.random.Generator, contents: bytes) -> _Made:
  if contents.startswith(_HEAD):
    chunk = bytearray(contents[12:29])
    # Depth, colour type, compression, filter, interlacing: none may be 99.
    chunk[12 + int(generator.integers(5))] = 99
    header = bytes(chunk) + struct.pack(">I", zlib.crc32(chunk))
    return "file: damaged header", contents[:12] + header + contents[33:], _WHOLE
  # Without the marker of a frame, no size is known.
  start = contents.index(b"\xff\xc2" if b"\xff\xc2" in contents else b"\xff\xc0")
  return "file: damaged header", contents[:start] + b"\xff\xd9" + bytes(40), _WHOLE


def _huge(generator: np.random.Generator, contents: bytes) -> _Made:
  return "file: wrong size", None, None


def _sized(
  generator: np.random.Generator, contents: bytes, height: int, width: int, any_size: bool
) -> bytes:
  """Makes a file of a wrong size, or one whose header claims it."""
  if not any_size and generator.integers(2):
    taller, wider = (int(number) for number in generator.integers(1, 9, 2))
    size = [(height + taller, width), (height, width + wider), (1, 1), (width + 1, height + 2)]
    made = np.zeros([*size[generator.integers(4)], 3], np.uint8)
    kinds = ({"format": "PNG"}, {"format": "JPEG"}, {"format": "JPEG", "progressive": True})
    return _encoded(made, "RGB", **kinds[generator.integers(3)])
  if not contents.startswith(_HEAD):
    marker = b"\xff\xc2" if b"\xff\xc2" in contents else b"\xff\xc0"
    at = contents.index(marker) + 5  # Behind the length, 2 bytes, and the precision.
    side = int(generator.integers(_LARGE, 65_001)).to_bytes(2, "big")
    return contents[:at] + side + side + contents[at + 4 :]
  choices = [0, _LARGE, 0x7FFFFFFF, 0xFFFFFFFF]
  side = choices[generator.integers(len(choices))].to_bytes(4, "big")
  return contents[:16] + side + side + contents[24:]


def _encoded(image: np.ndarray, mode: str, **options: Any) -> bytes:
  return _saved(PIL.Image.fromarray(image).convert(mode), **options)


def _saved(image: PIL.Image.Image, **options: Any) -> bytes:
  file = io.BytesIO()
  image.save(file, **options)
  return file.getvalue()


def _png(image: np.ndarray, depth: int, interlaced: bool = False) -> bytes:
  """Encodes `[H, W, C]` as Pillow cannot: with 16 bits a channel, or interlaced."""
  height, width, channels = image.shape
  rows = image.astype(">u2" if depth == 16 else np.uint8)
  passes = _PASSES if interlaced else ((0, 0, 1, 1),)
  raw = b"".join(
    b"\0" + row.tobytes()
    for top, left, down, right in passes
    if left < width
    for row in rows[top::down, left::right]
  )
  header = struct.pack(
    ">IIBBBBB", width, height, depth, _COLOUR_TYPES[channels], 0, 0, int(interlaced)
  )
  chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(raw)), (b"IEND", b""))
  return _HEAD + b"".join(_chunk(name, contents) for name, contents in chunks)


def _chunk(name: bytes, contents: bytes) -> bytes:
  checksum = struct.pack(">I", zlib.crc32(name + contents))
  return struct.pack(">I", len(contents)) + name + contents + checksum
