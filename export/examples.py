"""Example inputs that an export and its verification both make, the same to the last bit.

The export stores only the answers to them. So they come from whole numbers and a generator whose
stream NumPy guarantees, not from any data set.
"""

import struct
import zlib
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

__all__ = [
  "NUM_ROWS",
  "as_bytes_array",
  "example_features",
  "example_images",
  "example_requests",
  "example_seeds",
  "png_bytes",
  "storable",
  "to_float",
]

NUM_ROWS = 8


def example_images(height: int, width: int, channels: int) -> np.ndarray:
  """Images with bright rectangles of random size and place on a dark, noisy ground.

  Returns:
    uint8 `[NUM_ROWS, height, width, channels]`.
  """
  generator = np.random.RandomState(20150717)
  images = generator.randint(0, 32, [NUM_ROWS, height, width, channels]).astype(np.uint8)
  for image in images:
    for _ in range(4):
      top, left = generator.randint(0, height), generator.randint(0, width)
      bottom, right = top + generator.randint(1, height + 1), left + generator.randint(1, width + 1)
      image[top : (top + bottom) // 2, left : (left + right) // 2] = generator.randint(
        64, 256, channels
      )
  return images


def example_features(feature_shape: Sequence[int]) -> np.ndarray:
  """Grids of features as a backbone may make them: half of the numbers are 0, none is below.

  Args:
    feature_shape: (H, W, C).

  Returns:
    float32 `[NUM_ROWS, H, W, C]`.
  """
  generator = np.random.RandomState(20150718)
  numbers = generator.randint(-64, 65, [NUM_ROWS, *feature_shape])
  return np.maximum(numbers, 0).astype(np.float32) / np.float32(32)


def example_seeds() -> np.ndarray:
  """Seeds, int64 `[NUM_ROWS]`, all different."""
  return np.arange(NUM_ROWS, dtype=np.int64) * 1_000_003 - 7


def to_float(images: np.ndarray) -> np.ndarray:
  """The float32 values in 0..1 that a server makes of 8-bit pixels."""
  return images.astype(np.float32) / np.float32(255)


def as_bytes_array(files: list[bytes]) -> np.ndarray:
  """An array of objects `[B]` of the contents of files."""
  array = np.empty(len(files), object)
  array[:] = files
  return array


def storable(array: np.ndarray) -> np.ndarray:
  """An output as a file of arrays can hold it: strings get the length of the longest."""
  return array.astype(np.bytes_) if array.dtype == object else array


def png_bytes(image: np.ndarray) -> bytes:
  """A PNG file of an image.

  Args:
    image: uint8 `[H, W, C]` with C = 1 (grey) or 3 (colour).

  Raises:
    ValueError: if the channels are neither 1 nor 3.
  """
  height, width, channels = image.shape
  if channels not in (1, 3):
    raise ValueError(f"image.shape={image.shape}: the channels must be 1 or 3")

  def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

  header = struct.pack(">IIBBBBB", width, height, 8, 0 if channels == 1 else 2, 0, 0, 0)
  compressor = zlib.compressobj(6)
  # Row by row, each behind its filter type: a large picture is never held twice.
  rows = [compressor.compress(b"\0" + row.tobytes()) for row in image] + [compressor.flush()]
  chunks = chunk(b"IHDR", header) + chunk(b"IDAT", b"".join(rows)) + chunk(b"IEND", b"")
  return b"\x89PNG\r\n\x1a\n" + chunks


def example_requests(
  inputs_by_signature: Mapping[str, Iterable[str]],
  images: np.ndarray,
  jpeg: bytes | None,
  *,
  any_size: bool = False,
  feature_shape: Sequence[int] | None = None,
) -> dict[str, dict[str, np.ndarray]]:
  """A request for each signature.

  Args:
    inputs_by_signature: names of each signature's inputs.
    images: uint8 `[NUM_ROWS, H, W, C]`, what `example_images` returned.
    jpeg: a JPEG file of one image, which follows the PNG files in a request of files; it cannot be
      made without a codec, so the export stores it. None where no signature takes files.
    any_size: whether files may be of other sizes than the images, and so are.
    feature_shape: (H, W, C) where a signature takes features.

  Returns:
    arrays by input's name by signature.
  """
  arrays = {"images": to_float(images), "seed": example_seeds()}
  if feature_shape is not None:
    arrays["features"] = example_features(feature_shape)
  if jpeg is not None:
    pictures = [_resized(image, row) for row, image in enumerate(images)] if any_size else images
    arrays["image_bytes"] = as_bytes_array([*(png_bytes(image) for image in pictures), jpeg])
  return {
    signature: {name: arrays[name] for name in names}
    for signature, names in inputs_by_signature.items()
  }


def _resized(image: np.ndarray, row: int) -> np.ndarray:
  """An image of another size and shape: every second smaller, the others larger; row 0's as is."""
  height, width = image.shape[:2]
  image = image[: height - row * height // 16, : width - row * width // 32]
  return image if row % 2 == 0 else image.repeat(2, axis=0).repeat(3, axis=1)
