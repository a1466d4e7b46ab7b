"""Stores feature grids of many images in files and maps them from the disk.

A feature file is a pair of files. `NAME.npy` is a NumPy array, float16 `[n, H, W, C]`, with one
grid per image. `NAME.json` is an object with

- `names`: names of the n images, by row;
- `unreadable`: reason by name, for the images that cannot be read; their grids are zeros;
- `shape`: `[n, H, W, C]`;
- `image_side`: the side that images are resized to, pixels;
- `backbone`: digest of the backbone, from `wsram_tf.captions.backbones`.

The JSON file is written last, so a pair without it is incomplete.
"""

import concurrent.futures
import itertools
import json
import os
import pathlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import BinaryIO, NamedTuple

import numpy as np

from wsram_tf.data.fitting import UnreadableImageError, check_image, read_image
from wsram_tf.data.orders import first_few
from wsram_tf.files import replacing

__all__ = [
  "GridFeatures",
  "checked_grids",
  "features_exist",
  "open_features",
  "read_images",
  "unreadable_images",
  "write_features",
]

_KINDS = {"names": list, "unreadable": dict, "shape": list, "image_side": int, "backbone": str}
_KIND_NAMES = {list: "an array", dict: "an object", int: "an integer", str: "a string"}
_BATCH = 32  # Larger batches make no backbone faster on a CPU.


class GridFeatures(NamedTuple):
  """Feature grids by image.

  Attributes:
    grids: float16 `[n, H, W, C]`, mapped from the disk.
    rows: row by name, for the readable images.
    unreadable: reason by name, for the unreadable images.
  """

  grids: np.ndarray
  rows: dict[str, int]
  unreadable: dict[str, str]

  def rows_of(self, names: Iterable[str]) -> np.ndarray:
    """Looks up the rows of images.

    Returns:
      int64 `[k]`.

    Raises:
      KeyError: if a name has no row.
    """
    return np.array([self.rows[name] for name in names], np.int64)


def features_exist(path: str | os.PathLike) -> bool:
  """Checks whether a complete pair of files exists.

  Args:
    path: path of the pair, without a suffix.
  """
  return os.path.exists(_with_suffix(path, ".json"))


def write_features(
  path: str | os.PathLike,
  names: Sequence[str],
  images: Iterable[pathlib.Path | BinaryIO],
  compute: Callable[[np.ndarray], np.ndarray],
  *,
  image_side: int,
  grid_shape: Sequence[int],
  backbone: str,
  progress: Callable[[int], None] = lambda done: None,
) -> None:
  """Computes the grids of images and writes a pair of files; after an error it writes nothing.

  Args:
    path: path of the pair, without a suffix; missing folders are made.
    names: names of n images, all different.
    images: JPEG or PNG files, as paths or open files, in the order of `names`. At most two batches
      are in memory.
    compute: turns images, float32 `[B, S, S, 3]` in 0..255, into grids, float `[B, H, W, C]`.
    image_side: S, pixels; images are resized to S x S.
    grid_shape: (H, W, C).
    backbone: digest of the network behind `compute`.
    progress: called after each batch with the number of finished images.

  Raises:
    ValueError: if images and names differ in number, grids have another shape, or a value exceeds
      the range of float16.
    OSError: if a file cannot be written.

  Example:

  >>> import tempfile
  >>> import PIL.Image
  >>> wanted = {"image_side": 4, "grid_shape": (1, 1, 3), "backbone": "means"}
  >>> with tempfile.TemporaryDirectory() as folder:
  ...   image = pathlib.Path(folder, "red.png")
  ...   PIL.Image.new("RGB", (8, 8), (200, 0, 0)).save(image)
  ...   means = lambda images: images.mean((1, 2), keepdims=True)
  ...   write_features(pathlib.Path(folder, "grids"), ["red.png"], [image], means, **wanted)
  ...   features = open_features(pathlib.Path(folder, "grids"), ["red.png"], **wanted)
  ...   features.grids[features.rows_of(["red.png"])].tolist()
  [[[[200.0, 0.0, 0.0]]]]
  """
  array, described = _with_suffix(path, ".npy"), _with_suffix(path, ".json")
  array.parent.mkdir(parents=True, exist_ok=True)
  shape, images = (len(names), *grid_shape), iter(images)
  unreadable: dict[str, str] = {}
  with replacing(array) as partial:
    grids = np.lib.format.open_memmap(partial, mode="w+", dtype=np.float16, shape=shape)
    # On a full disk a write to the map would kill the process; this raises OSError instead.
    with partial.open("r+b") as file:
      os.posix_fallocate(file.fileno(), 0, partial.stat().st_size)
    with concurrent.futures.ThreadPoolExecutor(max_workers=2) as pool:
      coming = pool.submit(read_images, names[:_BATCH], images, image_side)
      for start in range(0, len(names), _BATCH):
        batch, errors = coming.result()
        # Decodes the next images during the computation.
        following = names[start + _BATCH : start + 2 * _BATCH]
        coming = pool.submit(read_images, following, images, image_side)
        unreadable |= errors
        grids[start : start + len(batch)] = checked_grids(compute(batch), len(batch), grid_shape)
        progress(start + len(batch))
    for row, name in enumerate(names):
      if name in unreadable:
        grids[row] = 0.0
    grids.flush()
    described.unlink(missing_ok=True)  # It describes the array that is replaced now.
  values = {
    "names": list(names),
    "unreadable": unreadable,
    "shape": list(shape),
    "image_side": image_side,
    "backbone": backbone,
  }
  with replacing(described) as partial:
    partial.write_text(json.dumps(values) + "\n")


def open_features(
  path: str | os.PathLike,
  names: Iterable[str],
  *,
  grid_shape: Sequence[int],
  image_side: int,
  backbone: str,
) -> GridFeatures:
  """Opens a pair of files from `write_features` and maps the grids without reading them.

  Args:
    path: path of the pair, without a suffix.
    names: images that the pair must cover; it may hold more.
    grid_shape: required (H, W, C) of the grids.
    image_side: required side of the resized images, pixels.
    backbone: required digest of the backbone.

  Raises:
    ValueError: if a file is damaged or does not meet the requirements.
  """
  array, described = _with_suffix(path, ".npy"), _with_suffix(path, ".json")
  try:
    values = json.loads(described.read_text(encoding="utf-8"))
  except (OSError, ValueError, RecursionError) as error:
    raise ValueError(f"{described}: must be a JSON object: {error}") from error
  if not isinstance(values, dict):
    raise ValueError(f"{described}: must be a JSON object; it is {values!r:.40}")
  for key, kind in _KINDS.items():
    if not isinstance(values.get(key), kind):
      raise ValueError(f"{described}: must have {key!r} as {_KIND_NAMES[kind]}")
  known, unreadable = values["names"], values["unreadable"]
  if not all(isinstance(text, str) for text in (*known, *unreadable.values())):
    raise ValueError(f"{described}: must have only strings in 'names' and 'unreadable'")
  try:
    grids = np.lib.format.open_memmap(array, mode="r")
  except Exception as error:  # The header is a Python expression, so NumPy raises many classes.
    raise ValueError(f"{array}: must be a complete NumPy array: {error}") from error
  if grids.ndim != 4:
    raise ValueError(f"{array}: must have shape [n, H, W, C]; it has {list(grids.shape)}")
  rules = (
    ("dtype", np.dtype(grids.dtype).name, "float16", array),
    ("shape", list(grids.shape), values["shape"], array),
    ("number of different names", len(set(known)), grids.shape[0], described),
    ("grid's shape", list(grids.shape[1:]), list(grid_shape), array),
    ("image_side", values["image_side"], image_side, described),
    ("digest of the backbone", values["backbone"], backbone, described),
  )
  for what, got, wanted, file in rules:
    if got != wanted:
      raise ValueError(
        f"{file}: its {what} must be {wanted}, and is {got}; give other features, or the backbone "
        "of these"
      )
  rows = {name: row for row, name in enumerate(known) if name not in unreadable}
  missing = [name for name in names if name not in rows and name not in unreadable]
  if missing:
    raise ValueError(
      f"{described}: must have a grid for every image; {first_few(missing, most=1)} have none"
    )
  return GridFeatures(grids, rows, unreadable)


def read_images(
  names: Sequence[str], images: Iterator[pathlib.Path | BinaryIO], image_side: int
) -> tuple[np.ndarray, dict[str, str]]:
  """Reads images and resizes them.

  Args:
    names: names of B images.
    images: JPEG or PNG files, as paths or open files, in the order of `names`; B are consumed.
    image_side: S, pixels; images are resized to S x S.

  Returns:
    images, float32 `[B, S, S, 3]` in 0..255, zeros for the unreadable ones; reason by name, for
    the unreadable ones.

  Raises:
    ValueError: if `images` ends early.
  """
  batch, errors = np.zeros([len(names), image_side, image_side, 3], np.float32), {}
  files = list(itertools.islice(images, len(names)))
  if len(files) != len(names):
    raise ValueError(f"images: must hold one for each name; {names[-1]} has none")
  for place, (name, file) in enumerate(zip(names, files, strict=True)):
    try:
      batch[place] = read_image(file, (image_side, image_side, 3), "resize")
    except UnreadableImageError as error:
      errors[name] = str(error)
  return batch, errors


def unreadable_images(
  names: Iterable[str], images: Iterable[pathlib.Path | BinaryIO]
) -> dict[str, str]:
  """Decodes images to find those that cannot be read.

  Args:
    names: names of the images.
    images: JPEG or PNG files, as paths or open files, in the order of `names`.

  Returns:
    reason by name, for the unreadable images.
  """
  errors = {}
  for name, file in zip(names, images, strict=True):
    try:
      check_image(file)
    except UnreadableImageError as error:
      errors[name] = str(error)
  return errors


def checked_grids(grids: np.ndarray, count: int, grid_shape: Sequence[int]) -> np.ndarray:
  """Checks computed grids and converts them to float16.

  Args:
    grids: float `[B, H, W, C]`.
    count: required B.
    grid_shape: required (H, W, C).

  Returns:
    float16 `[B, H, W, C]`.

  Raises:
    ValueError: if the shape differs, or a value exceeds the range of float16.
  """
  if grids.shape != (count, *grid_shape):
    raise ValueError(
      f"compute: must return grids of shape {(count, *grid_shape)}; it returned {grids.shape}"
    )
  with np.errstate(over="ignore"):
    halves = np.asarray(grids).astype(np.float16)
  if not np.isfinite(halves).all():
    raise ValueError("compute: must return finite numbers from -65504 to 65504, float16's range")
  return halves


def _with_suffix(path: str | os.PathLike, suffix: str) -> pathlib.Path:
  path = pathlib.Path(os.path.expanduser(path))  # Path.expanduser raises at an unknown user.
  return path.with_name(path.name + suffix)
