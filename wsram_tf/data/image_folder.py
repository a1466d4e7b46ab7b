"""A folder of image files, with a folder for each class, read into memory at one size."""

import concurrent.futures
import os
import pathlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import PIL.Image

from wsram_tf.data.images import ImageSplits, LabelledImages, fit_image, hold_out

__all__ = ["ImageFiles", "find_images", "load_image_folder", "read_images"]

SUFFIXES = (".jpg", ".jpeg", ".png")
_NAMED_AT_MOST = 5
_SHARE_OF_MEMORY = 0.7
_DAMAGE = (OSError, SyntaxError, ValueError, PIL.Image.DecompressionBombError)


class ImageFiles(NamedTuple):
  """Image files by class.

  Attributes:
    paths: of n files.
    labels: int32 `[n]`, within 0..K - 1.
    class_names: the K folders' names, sorted.
  """

  paths: list[pathlib.Path]
  labels: np.ndarray
  class_names: tuple[str, ...]


def find_images(image_dir: str | os.PathLike) -> ImageFiles:
  """Lists the JPEG and PNG files of a folder whose folders are classes.

  What begins with a dot, and files with other endings, are passed over.

  Raises:
    ValueError: if it is no such folder; the message names it and says what is wrong.
  """
  root = pathlib.Path(os.path.expanduser(image_dir))  # pathlib's raises at an unknown user.
  rule = "must be a folder that holds a folder of JPEG or PNG files for each class"
  if not os.path.isdir(root):
    raise ValueError(f"image_dir={str(image_dir)!r}: {rule}; there is no such folder")
  try:
    folders = sorted(
      path for path in root.iterdir() if path.is_dir() and not path.name.startswith(".")
    )
    files = [_image_files(folder) for folder in folders]
  except OSError as error:
    raise ValueError(f"image_dir={str(image_dir)!r}: must be readable: {error}") from error
  for folder in folders:
    if not folder.name.isprintable():
      raise ValueError(
        f"image_dir={str(image_dir)!r}: a class must have a printable name, and "
        f"{folder.name!r} is none"
      )
  empty = [folder for folder, found in zip(folders, files, strict=True) if not found]
  if len(folders) < 2:
    raise ValueError(f"image_dir={str(image_dir)!r}: {rule}; it holds {len(folders)} folders")
  if empty:
    nested = any(path.is_dir() for folder in empty for path in folder.iterdir())
    hint = "; they hold folders: name the folder right above the classes" if nested else ""
    raise ValueError(
      f"image_dir={str(image_dir)!r}: {rule}; there is no such file in "
      f"{_some([folder.name for folder in empty])}{hint}"
    )
  return ImageFiles(
    paths=[path for found in files for path in found],
    labels=np.repeat(np.arange(len(files)), [len(found) for found in files]).astype(np.int32),
    class_names=tuple(folder.name for folder in folders),
  )


def read_images(
  files: ImageFiles, image_shape: Sequence[int], fit: str
) -> tuple[LabelledImages, str]:
  """Reads files, leaving out those that cannot be read.

  Args:
    files: what `find_images` found.
    image_shape: (H, W, C), pixels; C is 1 (grey) or 3 (colour).
    fit: see `fit_image`.

  Returns:
    the images; a message that counts and names the files left out, or an empty string.

  Raises:
    ValueError: if they do not fit into memory, or no image of some class can be read.
  """
  count = len(files.paths)
  taken = count * int(np.prod(image_shape))
  free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
  if taken > _SHARE_OF_MEMORY * free:
    raise ValueError(
      f"image_shape={tuple(image_shape)}: {count:,} images of this size take {taken / 1e9:.1f} GB "
      f"of memory, and must take at most {_SHARE_OF_MEMORY * free / 1e9:.1f} GB"
    )
  images = np.empty([count, *image_shape], np.uint8)

  def read(index: int) -> str | None:
    try:
      with PIL.Image.open(files.paths[index], formats=["JPEG", "PNG"]) as image:
        images[index] = fit_image(image, image_shape, fit)
    except _DAMAGE as error:
      return str(error) or type(error).__name__
    return None

  with concurrent.futures.ThreadPoolExecutor() as pool:
    errors = list(pool.map(read, range(count)))
  whole = np.array([error is None for error in errors])
  lost = np.setdiff1d(files.labels, files.labels[whole])
  if lost.size:
    names = [files.class_names[label] for label in lost]
    first = errors[int(np.flatnonzero(files.labels == lost[0])[0])]
    raise ValueError(f"image_dir: no file of {_some(names)} can be read; the first: {first}")
  if whole.all():
    return LabelledImages(images, files.labels), ""
  broken = [files.paths[index] for index in np.flatnonzero(~whole)]
  names = _some([f"{path.parent.name}/{path.name}" for path in broken])
  message = f"{len(broken)} of {count} files cannot be read and are left out: {names}"
  return LabelledImages(images[whole], files.labels[whole]), message


def load_image_folder(
  image_dir: str | os.PathLike,
  image_shape: Sequence[int],
  *,
  fit: str,
  validation_percent: int,
  test_percent: int,
  split_seed: int,
) -> tuple[ImageSplits, str]:
  """Reads a folder of classes and splits it, each class in proportion.

  Args:
    image_dir: holds a folder for each class; see `find_images`.
    image_shape: (H, W, C), pixels; C is 1 (grey) or 3 (colour).
    fit: see `fit_image`.
    validation_percent: of the images that are not test images.
    test_percent: of all images.
    split_seed: of the splits, which depend on it and the files alone.

  Returns:
    the splits; a message on files left out, or an empty string.

  Raises:
    ValueError: if the folder, its files or a percentage will not do.
  """
  files = find_images(image_dir)
  data, message = read_images(files, image_shape, fit)
  named = {"class_names": files.class_names, "counts": np.bincount(data.labels)}
  learning, test = hold_out(data, test_percent, split_seed, "test_percent", **named)
  train, validation = hold_out(
    learning, validation_percent, split_seed, "validation_percent", **named
  )
  return ImageSplits(train, validation, test, files.class_names), message


def _image_files(folder: pathlib.Path) -> list[pathlib.Path]:
  return sorted(
    path
    for path in folder.iterdir()
    if path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file()
  )


def _some(names: list[str]) -> str:
  more = len(names) - _NAMED_AT_MOST
  return ", ".join(names[:_NAMED_AT_MOST]) + (f" and {more} more" if more > 0 else "")
