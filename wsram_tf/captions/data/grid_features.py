"""Feature grids of many images in a file: computed once, then read from the disk as needed.

A file of features is a pair. `NAME.npy` is a NumPy array, float16 `[n, H, W, C]`, a grid for each
image. `NAME.json` is an object with

- `names`: n names of images, by row;
- `unreadable`: of those whose image cannot be read, and whose grid is zeros, the reason;
- `shape`: `[n, H, W, C]`;
- `image_side`: the side that images were stretched to, pixels;
- `backbone`: the digest of what computed them, from `wsram_tf.backbones`.

The JSON file is written last, so a pair without it is not finished.
"""

import concurrent.futures
import itertools
import json
import os
import pathlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import BinaryIO, NamedTuple

import numpy as np
import PIL.Image

from wsram_tf.data.images import fit_image

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
_DAMAGE = (OSError, SyntaxError, ValueError, PIL.Image.DecompressionBombError)
_BATCH = 32  # More images at once make no backbone faster on a CPU.


class GridFeatures(NamedTuple):
  """Feature grids by image.

  Attributes:
    grids: float16 `[n, H, W, C]`, mapped from the disk.
    rows: the row of each image that could be read, by name.
    unreadable: why the others could not, by name.
  """

  grids: np.ndarray
  rows: dict[str, int]
  unreadable: dict[str, str]

  def rows_of(self, names: Iterable[str]) -> np.ndarray:
    """The rows of images, int64 `[k]`.

    Raises:
      KeyError: if there is none for a name.
    """
    return np.array([self.rows[name] for name in names], np.int64)


def features_exist(path: str | os.PathLike) -> bool:
  """Whether there is a finished pair of files."""
  return os.path.exists(_with_ending(path, ".json"))


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
  """Computes the grids of images and writes them, whole or not at all.

  Args:
    path: of the pair, without an ending; its folder is made.
    names: of n images, all different.
    images: their JPEG or PNG files, open or not, in turn; no more than two batches are held.
    compute: gives grids, float `[B, H, W, C]`, of images, float32 `[B, S, S, 3]` in 0..255.
    image_side: S, pixels; images are stretched to it.
    grid_shape: (H, W, C).
    backbone: the digest of what computes.
    progress: is told how many images are done.

  Raises:
    ValueError: if there are not as many images as names, or grids have another shape or numbers
      that float16 cannot hold.
    OSError: if they cannot be written.
  """
  array, described = _with_ending(path, ".npy"), _with_ending(path, ".json")
  array.parent.mkdir(parents=True, exist_ok=True)
  aside = array.with_name(f"{array.name}.partial")
  shape, images = (len(names), *grid_shape), iter(images)
  unreadable: dict[str, str] = {}
  try:
    grids = np.lib.format.open_memmap(aside, mode="w+", dtype=np.float16, shape=shape)
    with aside.open("r+b") as file:  # Writing to a map that the disk has no room for kills.
      os.posix_fallocate(file.fileno(), 0, aside.stat().st_size)
    with concurrent.futures.ThreadPoolExecutor(max_workers=2) as pool:
      coming = pool.submit(read_images, names[:_BATCH], images, image_side)
      for start in range(0, len(names), _BATCH):
        batch, errors = coming.result()
        # The next images are decoded while these are computed.
        following = names[start + _BATCH : start + 2 * _BATCH]
        coming = pool.submit(read_images, following, images, image_side)
        unreadable |= errors
        grids[start : start + len(batch)] = checked_grids(compute(batch), len(batch), grid_shape)
        progress(start + len(batch))
    for row, name in enumerate(names):
      if name in unreadable:
        grids[row] = 0.0
    grids.flush()
    described.unlink(missing_ok=True)  # It describes what is replaced now.
    aside.replace(array)
  finally:
    aside.unlink(missing_ok=True)
  values = {
    "names": list(names),
    "unreadable": unreadable,
    "shape": list(shape),
    "image_side": image_side,
    "backbone": backbone,
  }
  aside = described.with_name(f"{described.name}.partial")
  aside.write_text(json.dumps(values) + "\n")
  aside.replace(described)


def open_features(
  path: str | os.PathLike,
  names: Iterable[str],
  *,
  grid_shape: Sequence[int],
  image_side: int,
  backbone: str,
) -> GridFeatures:
  """Opens what `write_features` wrote, without reading the grids.

  Args:
    path: of the pair, without an ending.
    names: of images that must be among them; there may be more.
    grid_shape: (H, W, C) that the grids must have.
    image_side: the side, in pixels, that images must have been stretched to.
    backbone: the digest that they must come from.

  Raises:
    ValueError: if the files are damaged or are of other images; it names the file and the rule.
  """
  array, described = _with_ending(path, ".npy"), _with_ending(path, ".json")
  try:
    values = json.loads(described.read_text(encoding="utf-8"))
  except (OSError, ValueError, RecursionError) as error:
    raise ValueError(f"{described}: must be a JSON object: {error}") from error
  if not isinstance(values, dict):
    raise ValueError(f"{described}: must be a JSON object, and is {values!r:.40}")
  for key, kind in _KINDS.items():
    if not isinstance(values.get(key), kind):
      raise ValueError(f"{described}: must have {key!r}, of JSON's kind for {kind.__name__}")
  known, unreadable = values["names"], values["unreadable"]
  if not all(isinstance(text, str) for text in (*known, *unreadable.values())):
    raise ValueError(f"{described}: must have texts alone in 'names' and in 'unreadable'")
  try:
    grids = np.lib.format.open_memmap(array, mode="r")
  except Exception as error:  # The header is a Python expression, so NumPy raises all kinds.
    raise ValueError(f"{array}: must be a whole NumPy array: {error}") from error
  if grids.ndim != 4:
    raise ValueError(f"{array}: must be of shape [n, H, W, C], and is of {list(grids.shape)}")
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
        f"{file}: its {what} must be {wanted}, and is {got}; name other features, or the backbone "
        "that made these"
      )
  rows = {name: row for row, name in enumerate(known) if name not in unreadable}
  missing = [name for name in names if name not in rows and name not in unreadable]
  if missing:
    raise ValueError(
      f"{described}: must have a grid for every image, and {len(missing):,} have none: {missing[0]}"
    )
  return GridFeatures(grids, rows, unreadable)


def read_images(
  names: Sequence[str], images: Iterator[pathlib.Path | BinaryIO], image_side: int
) -> tuple[np.ndarray, dict[str, str]]:
  """Reads images and brings them to one size.

  Args:
    names: of B images.
    images: their JPEG or PNG files, open or not, in turn; B of them are taken.
    image_side: S, pixels; images are stretched to it.

  Returns:
    images, float32 `[B, S, S, 3]` in 0..255, zeros where they cannot be read; why they cannot, by
    name.

  Raises:
    ValueError: if there are fewer than B.
  """
  batch, errors = np.zeros([len(names), image_side, image_side, 3], np.float32), {}
  files = list(itertools.islice(images, len(names)))
  if len(files) != len(names):
    raise ValueError(f"images: must be one for each of the names; there is none for {names[-1]}")
  for place, (name, file) in enumerate(zip(names, files, strict=True)):
    try:
      with PIL.Image.open(file, formats=["JPEG", "PNG"]) as image:
        batch[place] = fit_image(image, (image_side, image_side, 3), "resize")
    except _DAMAGE as error:
      errors[name] = str(error) or type(error).__name__
  return batch, errors


def unreadable_images(
  names: Iterable[str], images: Iterable[pathlib.Path | BinaryIO]
) -> dict[str, str]:
  """Decodes images to find those that cannot be read: why, by name.

  Args:
    names: of images.
    images: their JPEG or PNG files, open or not, in turn.
  """
  errors = {}
  for name, file in zip(names, images, strict=True):
    try:
      with PIL.Image.open(file, formats=["JPEG", "PNG"]) as image:
        image.load()
    except _DAMAGE as error:
      errors[name] = str(error) or type(error).__name__
  return errors


def checked_grids(grids: np.ndarray, count: int, grid_shape: Sequence[int]) -> np.ndarray:
  """The grids of so many images as they are kept, float16 `[B, H, W, C]`.

  Raises:
    ValueError: if they have another shape or numbers that float16 cannot hold.
  """
  if grids.shape != (count, *grid_shape):
    raise ValueError(
      f"compute: must give grids of shape {(count, *grid_shape)}, and gave {grids.shape}"
    )
  with np.errstate(over="ignore"):
    halves = np.asarray(grids).astype(np.float16)
  if not np.isfinite(halves).all():
    raise ValueError("compute: must give finite numbers within float16's range, -65504..65504")
  return halves


def _with_ending(path: str | os.PathLike, ending: str) -> pathlib.Path:
  path = pathlib.Path(os.path.expanduser(path))  # pathlib's raises at an unknown user.
  return path.with_name(path.name + ending)
