"""Reads patches and low-resolution copies of large image files. Loads no TensorFlow."""

import collections
import concurrent.futures
import functools
import os
import threading
from collections.abc import Callable, Hashable, Sequence
from typing import Any, NamedTuple

import numpy as np

from wsram_tf.data.regions.slides import RegionError, Slide

__all__ = ["PatchShape", "RegionReader", "shared_reader"]

# Side of the largest region that several scales share, in pixels of a level: so small that it
# touches few tiles, whose decoding takes most of the time of a read.
SHARED_SIDE = 64
# Files that are open at once, and the memory of their decoded tiles and of copies, bytes.
MOST_OPEN = 128
TILE_BYTES = 2**27
COPY_BYTES = 2**27


class PatchShape(NamedTuple):
  """The patches of a glimpse, as `GlimpseSensor` describes them.

  Attributes:
    side: G, pixels.
    scales: S.
    channels: 1 (grey) or 3 (colour).
  """

  side: int
  scales: int
  channels: int

  @property
  def extent(self) -> int:
    """Side of the widest patch, in pixels of level 0."""
    return self.side * 2 ** (self.scales - 1)

  @property
  def insets(self) -> list[int]:
    """From the first pixel of the widest patch to that of each scale, in pixels of level 0."""
    return [(self.extent - self.side * 2**scale) // 2 for scale in range(self.scales)]

  def groups(self) -> list[list[int]]:
    """Groups scales that share one region: it is small, and holds whole pixels of each scale.

    Example:

    >>> PatchShape(side=28, scales=6, channels=1).groups()
    [[0, 1], [2, 3], [4, 5]]
    """
    groups: list[list[int]] = []
    for scale, inset in enumerate(self.insets):
      group = groups[-1] if groups else []
      first = group[0] if group else 0
      small = self.side * 2 ** (scale - first) <= SHARED_SIDE
      aligned = all((self.insets[other] - inset) % 2**first == 0 for other in group)
      if group and small and aligned:
        group.append(scale)
      else:
        groups.append([scale])
    return groups


class RegionReader:
  """Reads regions of many files, with several threads and bounded memory.

  A patch of scale s averages blocks of 2**s x 2**s pixels. The reader takes them from the coarsest
  level whose pixels are not wider, and from one region for all scales that fit into one. From level
  0 they are the averages of the pixels, as of an image in memory. A coarser level has averaged
  pixels already, at places of its own, so that the reader interpolates linearly between them: this
  is exact where the image is constant within each pixel of the level. Pixels beyond the image are
  zero.

  Args:
    threads: that read at once; None for one a processor.
    keeps_going: whether patches of files that cannot be read are zero, and the files are counted in
      `failures`; otherwise an error is raised.

  Attributes:
    keeps_going: as given.
    failures: for each file that could not be read the number of failed reads and the first error.

  Example:

  >>> import tempfile
  >>> import numpy as np
  >>> from wsram_tf.data.regions import pyramids
  >>> with tempfile.TemporaryDirectory() as folder:
  ...   pyramids.write_array(f"{folder}/grey.tif", np.full([300, 400, 1], 51, np.uint8))
  ...   reader = RegionReader()
  ...   copy = reader.low_resolution([f"{folder}/grey.tif"], side=2, channels=1)
  ...   sizes = reader.sizes([f"{folder}/grey.tif"])
  >>> sizes.tolist(), copy[0, ..., 0].astype(float).round(3).tolist()
  ([[300, 400]], [[0.2, 0.2], [0.2, 0.2]])
  """

  def __init__(self, *, threads: int | None = None, keeps_going: bool = False):
    self.keeps_going = keeps_going
    self.failures: dict[str, tuple[int, str]] = {}
    self._lock = threading.Lock()
    self._pool = concurrent.futures.ThreadPoolExecutor(threads or os.cpu_count())
    self._slides = _Recent(MOST_OPEN, size=lambda slide: 1)
    self._copies = _Recent(COPY_BYTES, size=lambda copy: copy.nbytes)
    self._tiles: Any = None

  def sizes(self, paths: Sequence[str]) -> np.ndarray:
    """Returns height and width of files in pixels of level 0, int64 `[B, 2]`.

    Raises:
      RegionError: if a file cannot be read, unless the reader keeps going; then 1 x 1 pixels.
    """

    def size(path: str, open_slide: Callable[[], Slide]) -> np.ndarray:
      slide = open_slide()
      return np.array([slide.height, slide.width], np.int64)

    return np.stack(self._for_each(paths, size, np.ones([2], np.int64)))

  def low_resolution(self, paths: Sequence[str], side: int, channels: int) -> np.ndarray:
    """Averages each file over `side` x `side` equal areas.

    Args:
      paths: B files.
      side: pixels of the result.
      channels: 1 or 3.

    Returns:
      float32 `[B, side, side, C]` in 0..1.

    Raises:
      RegionError: if a file cannot be read, unless the reader keeps going; then zeros.
    """

    def copy(path: str, open_slide: Callable[[], Slide]) -> np.ndarray:
      key = path, side, channels
      with self._lock:
        found = self._copies.get(key)
      if found is None:
        found = open_slide().low_resolution(side, channels)
        with self._lock:
          self._copies.put(key, found)
      return found

    return np.stack(self._for_each(paths, copy, np.zeros([side, side, channels], np.float32)))

  def patches(
    self,
    paths: Sequence[str],
    first: np.ndarray,
    shape: PatchShape,
    scales: np.ndarray | None = None,
  ) -> np.ndarray:
    """Reads the patches of one glimpse a row. Equal rows are read once.

    Args:
      paths: R files, one a row.
      first: int `[R, 2]`, row and column of the first pixel of each widest patch, in pixels of
        level 0; it may lie outside the image.
      shape: of the patches.
      scales: int `[R]`, the one scale of each row; None for all scales.

    Returns:
      float32 `[R, S, G, G, C]` in 0..1; with `scales` `[R, 1, G, G, C]`.

    Raises:
      RegionError: if a file cannot be read, unless the reader keeps going; then zeros.
    """
    chosen = [None] * len(paths) if scales is None else [int(scale) for scale in scales]
    rows = list(zip(paths, *first.T.tolist(), chosen, strict=True))
    different = list(dict.fromkeys(rows))
    count = shape.scales if scales is None else 1
    missing = np.zeros([count, shape.side, shape.side, shape.channels], np.float32)

    def read(row: tuple[str, int, int, int | None], open_slide: Callable[[], Slide]) -> np.ndarray:
      _, top, left, scale = row
      groups = shape.groups() if scale is None else [[scale]]
      slide = open_slide()
      return np.concatenate([_read_group(slide, top, left, shape, group) for group in groups])

    found = dict(
      zip(different, self._for_each(different, read, missing, lambda row: row[0]), strict=True)
    )
    return np.stack([found[row] for row in rows]) if rows else np.zeros([0, *missing.shape])

  def _for_each(
    self,
    items: Sequence[Any],
    read: Callable[[Any, Callable[[], Slide]], np.ndarray],
    missing: np.ndarray,
    path_of: Callable[[Any], str] = lambda item: item,
  ) -> list[np.ndarray]:
    """Reads items with all threads, in order; `read` opens the slide that it needs."""

    def attempt(item: Any) -> np.ndarray:
      path = path_of(item)
      try:
        return read(item, lambda: self._slide(path))
      except RegionError:
        self._close(path)
      try:
        # An open file fails for ever after an error, perhaps one of another thread's region.
        return read(item, lambda: Slide(path))
      except RegionError as error:
        self._count(path, error)
        if not self.keeps_going:
          raise
        return missing

    return list(self._pool.map(attempt, items)) if len(items) else []

  def _count(self, path: str, error: RegionError) -> None:
    with self._lock:
      count, first = self.failures.get(path, (0, str(error)))
      self.failures[path] = count + 1, first

  def _close(self, path: str) -> None:
    with self._lock:
      self._slides.remove(path)

  def _slide(self, path: str) -> Slide:
    with self._lock:
      slide = self._slides.get(path)
    if slide is None:
      slide = Slide(path)
      with self._lock:
        self._tiles = self._tiles or slide.make_tile_cache(TILE_BYTES)
        slide.share_tiles(self._tiles)
        self._slides.put(path, slide)
    return slide


@functools.cache
def shared_reader() -> RegionReader:
  """Returns the reader of this process, which networks read files through."""
  return RegionReader()


def _read_group(
  slide: Slide, top: int, left: int, shape: PatchShape, scales: list[int]
) -> np.ndarray:
  """Reads float32 `[len(scales), G, G, C]` from one region, from the widest patch's first pixel."""
  level = slide.level_for(scales[0])
  widest = shape.insets[scales[-1]]
  side = shape.side * 2 ** (scales[-1] - level)
  pixels = slide.region(top + widest, left + widest, level, side, shape.channels)
  patches = []
  for scale in scales:
    inset = (shape.insets[scale] - widest) >> level
    size = shape.side * 2 ** (scale - level)
    patch = pixels[inset : inset + size, inset : inset + size]
    for _ in range(scale - level):
      patch = _halve(patch)
    patches.append(patch)
  return np.stack(patches)


def _halve(patch: np.ndarray) -> np.ndarray:
  """Averages float32 `[H, W, C]` over blocks of 2 x 2, in the order of `GlimpseSensor`."""
  rows = patch[::2] + patch[1::2]
  return (rows[:, ::2] + rows[:, 1::2]) * np.float32(0.25)


class _Recent:
  """Keeps the values that were used last, up to a total size; not safe for threads by itself."""

  def __init__(self, most: int, size: Callable[[Any], int]):
    self._most = most
    self._size = size
    self._total = 0
    self._values: collections.OrderedDict[Hashable, Any] = collections.OrderedDict()

  def get(self, key: Hashable) -> Any:
    if key in self._values:
      self._values.move_to_end(key)
    return self._values.get(key)

  def put(self, key: Hashable, value: Any) -> None:
    self.remove(key)
    self._values[key] = value
    self._total += self._size(value)
    while self._total > self._most and len(self._values) > 1:
      self.remove(next(iter(self._values)))

  def remove(self, key: Hashable) -> None:
    if key in self._values:
      self._total -= self._size(self._values.pop(key))
