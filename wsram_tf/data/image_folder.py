"""Reads a folder of image files, with one subfolder per class, at one size."""

import concurrent.futures
import os
import pathlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from wsram_tf.data.fitting import IMAGE_SUFFIXES, UnreadableImageError, read_image
from wsram_tf.data.images import ImageSplits, LabelledImages, split_images
from wsram_tf.data.orders import first_few
from wsram_tf.files import found_in

__all__ = ["ImageFiles", "StoredImages", "find_images", "load_image_folder", "read_images"]

# Of free memory, that images may take.
_SHARE_OF_MEMORY = 0.7
# Copies of all images that exist at once: as read, split, and as tensors of the pipeline.
_COPIES = 3
# Images that must fit into memory in any case.
_BATCH = 100


class ImageFiles(NamedTuple):
  """Image files by class.

  Attributes:
    paths: n files.
    labels: int32 `[n]`, within 0..K - 1.
    class_names: names of the K subfolders, sorted.
  """

  paths: list[pathlib.Path]
  labels: np.ndarray
  class_names: tuple[str, ...]


def find_images(
  image_dir: str | os.PathLike, suffixes: Sequence[str] = IMAGE_SUFFIXES
) -> ImageFiles:
  """Lists the image files of a folder that has one subfolder per class.

  Files may lie deeper in a class' folder. Names that begin with a dot and files with other suffixes
  are ignored.

  Args:
    image_dir: the folder; `~` is expanded.
    suffixes: of image files, in lower case.

  Raises:
    ValueError: if the folder or a subfolder does not exist, is not readable, or holds no images.

  Example:

  >>> import tempfile
  >>> import PIL.Image
  >>> with tempfile.TemporaryDirectory() as folder:
  ...   for name in ("cats", "dogs"):
  ...     path = pathlib.Path(folder, name, "1.png")
  ...     path.parent.mkdir()
  ...     PIL.Image.new("RGB", (8, 8)).save(path)
  ...   files = find_images(folder)
  >>> files.class_names, files.labels.tolist()
  (('cats', 'dogs'), [0, 1])
  """
  root = pathlib.Path(os.path.expanduser(image_dir))  # Path.expanduser raises at an unknown user.
  kinds = ", ".join(suffixes)
  rule = f"must be a folder that holds a folder of image files ({kinds}) for each class"
  if not os.path.isdir(root):
    raise ValueError(f"image_dir={str(image_dir)!r}: {rule}; this folder does not exist")
  try:
    folders = sorted(
      path for path in root.iterdir() if path.is_dir() and not path.name.startswith(".")
    )
    files = [found_in(folder, suffixes) for folder in folders]
  except OSError as error:
    raise ValueError(f"image_dir={str(image_dir)!r}: must be readable: {error}") from error
  for folder in folders:
    if not folder.name.isprintable():
      raise ValueError(
        f"image_dir={str(image_dir)!r}: class names must be printable; {folder.name!r} is not"
      )
  empty = [folder for folder, found in zip(folders, files, strict=True) if not found]
  if len(folders) < 2:
    raise ValueError(
      f"image_dir={str(image_dir)!r}: {rule}, and at least 2 classes; it holds {len(folders)}"
    )
  if empty:
    raise ValueError(
      f"image_dir={str(image_dir)!r}: {rule}; no file found in "
      f"{first_few([folder.name for folder in empty])}"
    )
  # Such as train/cat and test/cat: not classes, but splits of all classes.
  inner, *others = (
    {path.relative_to(folder).parts[0] for path in found}
    for folder, found in zip(folders, files, strict=True)
  )
  nested = all((folder / name).is_dir() for folder in folders for name in inner)
  if nested and all(other == inner for other in others):
    raise ValueError(
      f"image_dir={str(image_dir)!r}: {rule}; its folders hold folders of the same names, "
      f"{first_few(sorted(inner))}: give the folder directly above the classes"
    )
  return ImageFiles(
    paths=[path for found in files for path in found],
    labels=np.repeat(np.arange(len(files)), [len(found) for found in files]).astype(np.int32),
    class_names=tuple(folder.name for folder in folders),
  )


class StoredImages:
  """Images that are read from their files whenever they are needed, in place of an array.

  Args:
    paths: of n files, objects.
    image_shape: (H, W, C), pixels.
    fit: see `fitting.fit_image`.

  Attributes:
    shape: (n, H, W, C).
  """

  def __init__(self, paths: np.ndarray, image_shape: Sequence[int], fit: str):
    self.paths = paths
    self.fit = fit
    self.shape = (len(paths), *image_shape)
    self._pool = concurrent.futures.ThreadPoolExecutor()

  def __len__(self) -> int:
    return len(self.paths)

  def __getitem__(self, chosen: np.ndarray) -> "StoredImages":
    """Returns some of the images, still in their files."""
    return StoredImages(self.paths[chosen], self.shape[1:], self.fit)

  def read(self, indices: np.ndarray) -> np.ndarray:
    """Reads images, uint8 `[B, H, W, C]`.

    Raises:
      UnreadableImageError: if a file cannot be read any more; the message names it.
    """

    def read(path: pathlib.Path) -> np.ndarray:
      try:
        return read_image(path, self.shape[1:], self.fit)
      except UnreadableImageError as error:
        raise UnreadableImageError(f"{path}: {error}") from error

    images = list(self._pool.map(read, self.paths[indices]))
    return np.stack(images) if images else np.zeros([0, *self.shape[1:]], np.uint8)


def read_images(
  files: ImageFiles, image_shape: Sequence[int], fit: str
) -> tuple[LabelledImages, list[str]]:
  """Reads image files and leaves out those that cannot be read.

  Images that would take too much memory stay in their files.

  Args:
    files: files to read.
    image_shape: (H, W, C), pixels; C is 1 (grey) or 3 (colour).
    fit: see `fitting.fit_image`.

  Returns:
    the images, an array or `StoredImages`; the names of the files left out, CLASS/FILE.

  Raises:
    ValueError: if not even a batch of images fits into memory, or all files of a class are damaged.
  """
  count, one = len(files.paths), int(np.prod(image_shape))
  free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
  usable = _SHARE_OF_MEMORY * free
  if one * _BATCH > usable:
    raise ValueError(
      f"image_shape={tuple(image_shape)}: {_BATCH} images of this shape take "
      f"{_BATCH * one / 1e9:.1f} GB of memory; they must take at most {usable / 1e9:.1f} GB"
    )
  images = np.empty([count, *image_shape], np.uint8) if count * one * _COPIES <= usable else None

  def read(index: int) -> str | None:
    try:
      image = read_image(files.paths[index], image_shape, fit)
    except UnreadableImageError as error:
      return str(error)
    if images is not None:
      images[index] = image
    return None

  with concurrent.futures.ThreadPoolExecutor() as pool:
    errors = list(pool.map(read, range(count)))
  whole = np.array([error is None for error in errors])
  lost = np.setdiff1d(files.labels, files.labels[whole])
  if lost.size:
    names = [files.class_names[label] for label in lost]
    first = errors[int(np.flatnonzero(files.labels == lost[0])[0])]
    raise ValueError(
      f"image_dir: every class must have a readable file; {first_few(names)} has none; the error "
      f"of its first file: {first}"
    )
  if images is None:
    paths = np.array([*files.paths, None], object)[:-1]  # Of objects, also where there is one.
    images = StoredImages(paths, image_shape, fit)
  if whole.all():
    return LabelledImages(images, files.labels), []
  left_out = [
    f"{files.class_names[files.labels[index]]}/{files.paths[index].name}"
    for index in np.flatnonzero(~whole)
  ]
  return LabelledImages(images[whole], files.labels[whole]), left_out


def load_image_folder(
  image_dir: str | os.PathLike,
  image_shape: Sequence[int],
  *,
  fit: str,
  validation_percent: int,
  test_percent: int,
  split_seed: int,
) -> tuple[ImageSplits, list[str]]:
  """Reads a folder with one subfolder per class and splits it, each class in proportion.

  Args:
    image_dir: the folder; see `find_images`.
    image_shape: (H, W, C), pixels; C is 1 (grey) or 3 (colour).
    fit: see `fitting.fit_image`.
    validation_percent: share of the images that are not test images.
    test_percent: share of all images.
    split_seed: seed of the splits, which depend on it and the files alone.

  Returns:
    the splits; the names of the files that cannot be read and are left out, CLASS/FILE.

  Raises:
    ValueError: if the folder, its files or a percentage break a rule.

  Example:

  >>> import tempfile
  >>> import PIL.Image
  >>> sizes = {"fit": "pad", "validation_percent": 25, "test_percent": 20, "split_seed": 1}
  >>> with tempfile.TemporaryDirectory() as folder:
  ...   for name in ("cats", "dogs"):
  ...     pathlib.Path(folder, name).mkdir()
  ...     for number in range(5):
  ...       PIL.Image.new("RGB", (30, 20)).save(pathlib.Path(folder, name, f"{number}.png"))
  ...   splits, left_out = load_image_folder(folder, (16, 24, 3), **sizes)
  >>> splits.class_names, splits.train.images.shape, splits.test.images.shape
  (('cats', 'dogs'), (6, 16, 24, 3), (2, 16, 24, 3))
  """
  files = find_images(image_dir)
  data, left_out = read_images(files, image_shape, fit)
  splits = split_images(
    data,
    files.class_names,
    test_percent=test_percent,
    validation_percent=validation_percent,
    split_seed=split_seed,
  )
  return splits, left_out
