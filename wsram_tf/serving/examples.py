"""Makes the example inputs of an export and of its verification, identical to the last bit.

An export stores the answers to these inputs, not the inputs. They therefore come from whole numbers
of a generator whose stream NumPy guarantees, and from no data set.
"""

import io
from collections.abc import Mapping, Sequence

import numpy as np
import PIL.Image

from wsram_tf.serving import manifests, protos
from wsram_tf.serving.looking import COUNT_AT, SCALE_AT

__all__ = [
  "NUM_ROWS",
  "as_bytes_array",
  "example_features",
  "example_images",
  "example_patches",
  "example_requests",
  "example_seeds",
  "example_states",
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


def example_thresholds() -> np.ndarray:
  """Makes thresholds of a probability, float32 `[NUM_ROWS]`, from one that every answer reaches."""
  return np.linspace(0, 0.95, NUM_ROWS, dtype=np.float32)


def example_patches(patches_shape: Sequence[int]) -> np.ndarray:
  """Makes the patches of a glimpse, of noise.

  Args:
    patches_shape: (S, G, G, C).

  Returns:
    float32 `[NUM_ROWS, S, G, G, C]`, in 0..1.
  """
  generator = np.random.RandomState(20150719)
  return to_float(generator.randint(0, 256, [NUM_ROWS, *patches_shape]))


def example_states(size: int, num_glimpses: int, num_scales: int) -> np.ndarray:
  """Makes states between two glimpses, after 0 to N - 1 of them.

  Args:
    size: D, numbers a state.
    num_glimpses: N.
    num_scales: S where a glimpse chooses a scale; otherwise 0.

  Returns:
    float32 `[NUM_ROWS, D]`.
  """
  generator = np.random.RandomState(20150720)
  states = generator.randint(-64, 65, [NUM_ROWS, size]).astype(np.float32) / np.float32(64)
  rows = np.arange(NUM_ROWS)
  states[:, COUNT_AT] = rows % num_glimpses
  if num_scales:
    states[:, SCALE_AT] = rows % num_scales
  return states


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
  signatures: Mapping[str, protos.Signature],
  facts: manifests.Facts,
  images: np.ndarray,
  jpeg: bytes | None,
) -> dict[str, dict[str, np.ndarray]]:
  """Makes a request for each signature.

  Args:
    signatures: by name.
    facts: about the model.
    images: uint8 `[NUM_ROWS, H, W, C]`, from `example_images`.
    jpeg: a JPEG file of one image, the last row of a request of files. Encoders differ, so the
      export stores it. None where no signature takes files.

  Returns:
    arrays by signature and input name.
  """
  arrays = {
    "images": to_float(images),
    "seed": example_seeds(),
    "threshold": example_thresholds(),
  }
  if facts.feature_shape is not None:
    arrays["features"] = example_features(facts.feature_shape)
  if jpeg is not None:
    any_size = facts.largest_pixels is not None
    pictures = [_resized(image, row) for row, image in enumerate(images)] if any_size else images
    arrays["image_bytes"] = as_bytes_array([*(png_bytes(image) for image in pictures), jpeg])
  if "look" in signatures and isinstance(facts, manifests.ClassifierFacts):
    side, _, channels = signatures["begin"].inputs["low_resolution"].row_shape
    arrays["low_resolution"] = to_float(example_images(side, side, channels))
    arrays["patches"] = example_patches(signatures["look"].inputs["patches"].row_shape)
    (size,) = signatures["look"].inputs["state"].row_shape
    scales = facts.glimpse_scales if facts.choose_scale else 0
    arrays["state"] = example_states(size, facts.num_glimpses, scales)
  return {
    name: {key: arrays[key] for key in signature.inputs} for name, signature in signatures.items()
  }


def _resized(image: np.ndarray, row: int) -> np.ndarray:
  """Crops an image by its row, and enlarges it in odd rows; row 0 stays as it is."""
  height, width = image.shape[:2]
  image = image[: height - row * height // 16, : width - row * width // 32]
  return image if row % 2 == 0 else image.repeat(2, axis=0).repeat(3, axis=1)
