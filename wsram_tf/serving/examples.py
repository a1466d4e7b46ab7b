"""Makes the example inputs of an export and of its verification, identical to the last bit.

An export stores the answers to these inputs, not the inputs. They therefore come from whole numbers
of a generator whose stream NumPy guarantees, and from no data set.
"""

import io
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import PIL.Image

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
  """Makes images of bright rectangles, of random size and place, on a dark, noisy ground.

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
  """Makes grids of features like those of a backbone: half of the numbers are 0, none is below.

  Args:
    feature_shape: (H, W, C).

  Returns:
    float32 `[NUM_ROWS, H, W, C]`.
  """
  generator = np.random.RandomState(20150718)
  numbers = generator.randint(-64, 65, [NUM_ROWS, *feature_shape])
  return np.maximum(numbers, 0).astype(np.float32) / np.float32(32)


def example_seeds() -> np.ndarray:
  """Makes seeds, int64 `[NUM_ROWS]`, all different."""
  return np.arange(NUM_ROWS, dtype=np.int64) * 1_000_003 - 7


def to_float(images: np.ndarray) -> np.ndarray:
  """Converts 8-bit pixels to float32 in 0..1, as exports do."""
  return images.astype(np.float32) / np.float32(255)


def as_bytes_array(files: Sequence[bytes]) -> np.ndarray:
  """Makes an array of objects `[B]` from the contents of files."""
  array = np.empty(len(files), object)
  array[:] = files
  return array


def storable(array: np.ndarray) -> np.ndarray:
  """Converts an output for a file of arrays: strings get the length of the longest."""
  return array.astype(np.bytes_) if array.dtype == object else array


def png_bytes(image: np.ndarray | PIL.Image.Image) -> bytes:
  """Encodes an image as a PNG file.

  Args:
    image: uint8 `[H, W, C]` with C = 1 (grey) or 3 (colour), or a Pillow image.

  Raises:
    ValueError: if the channels are neither 1 nor 3.
  """
  if isinstance(image, np.ndarray):
    if image.shape[-1] not in (1, 3):
      raise ValueError(f"image.shape={image.shape}: the channels must be 1 or 3")
    image = PIL.Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)
  file = io.BytesIO()
  image.save(file, format="PNG")
  return file.getvalue()


def example_requests(
  inputs_by_signature: Mapping[str, Iterable[str]],
  images: np.ndarray,
  jpeg: bytes | None,
  *,
  any_size: bool = False,
  feature_shape: Sequence[int] | None = None,
) -> dict[str, dict[str, np.ndarray]]:
  """Makes a request for each signature.

  Args:
    inputs_by_signature: names of the inputs, by signature.
    images: uint8 `[NUM_ROWS, H, W, C]`, from `example_images`.
    jpeg: a JPEG file of one image, the last row of a request of files. Encoders differ, so the
      export stores it. None where no signature takes files.
    any_size: whether the signatures take files of any size; the example files then have several.
    feature_shape: (H, W, C) where a signature takes features.

  Returns:
    arrays by signature and input name.
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
  """Crops an image by its row, and enlarges it in odd rows; row 0 stays as it is."""
  height, width = image.shape[:2]
  image = image[: height - row * height // 16, : width - row * width // 32]
  return image if row % 2 == 0 else image.repeat(2, axis=0).repeat(3, axis=1)
