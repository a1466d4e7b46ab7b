"""Images with several captions each, and reports of unusable images and captions."""

import pathlib
from collections.abc import Callable, Iterable, Sequence
from typing import BinaryIO, NamedTuple

from wsram_tf.captions.vocabulary import split_words
from wsram_tf.data.orders import first_few

__all__ = [
  "CaptionSplits",
  "CaptionedImages",
  "ImageReader",
  "Report",
  "without_images",
  "without_long_captions",
]

# Takes names of images, in the order of the splits, train first; returns their paths or open files.
ImageReader = Callable[[Sequence[str]], Iterable[pathlib.Path | BinaryIO]]

_SHOWN = 3


class CaptionedImages(NamedTuple):
  """Images and their captions.

  Attributes:
    names: names of n images, all different.
    captions: n lists, each of at least one caption, in their original spelling.
  """

  names: list[str]
  captions: list[list[str]]


class CaptionSplits(NamedTuple):
  """Three disjoint sets of images.

  Attributes:
    train: images to train on.
    validation: images to choose weights on.
    test: images to report results on.
    read: reads image files by name.
  """

  train: CaptionedImages
  validation: CaptionedImages
  test: CaptionedImages
  read: ImageReader

  @property
  def names(self) -> list[str]:
    """Names of all images, in the order that `read` requires."""
    return [*self.train.names, *self.validation.names, *self.test.names]


class Report:
  """Counts skipped items by reason, and names the first few of each reason.

  Attributes:
    counts: number of items by reason. A reason is a phrase that follows a number, for instance
      "images cannot be read".

  Example:

  >>> report = Report()
  >>> for name in ("a.jpg", "b.jpg"):
  ...   report.add("images cannot be read", name)
  >>> report.messages()
  ['left out: 2 images cannot be read: a.jpg, b.jpg']
  """

  def __init__(self):
    self.counts: dict[str, int] = {}
    self._named: dict[str, list[str]] = {}

  def add(self, reason: str, name: str) -> None:
    """Counts one item.

    Args:
      reason: phrase that follows a number.
      name: name of the item.
    """
    self.counts[reason] = self.counts.get(reason, 0) + 1
    named = self._named.setdefault(reason, [])
    if len(named) < _SHOWN:
      named.append(name)

  def messages(self) -> list[str]:
    """Returns one line per reason, in the order of their first items."""
    return [
      f"left out: {count:,} {reason}: {first_few(self._named[reason], count, _SHOWN)}"
      for reason, count in self.counts.items()
    ]


def without_long_captions(
  images: CaptionedImages, max_words: int, report: Report
) -> CaptionedImages:
  """Removes captions of more than max_words words, and images without a remaining caption.

  Args:
    images: images and their captions.
    max_words: words of the longest caption, its end included.
    report: counts the removed captions.

  Example:

  >>> images = CaptionedImages(["1.jpg"], [["A dog .", "A dog runs on the grass ."]])
  >>> without_long_captions(images, 4, Report()).captions
  [['A dog .']]
  """
  names, captions = [], []
  for name, written in zip(*images, strict=True):
    kept = [caption for caption in written if len(split_words(caption)) < max_words]
    for _ in range(len(written) - len(kept)):
      report.add(f"captions are longer than max_words={max_words}, the end included", name)
    if kept:
      names.append(name)
      captions.append(kept)
  return CaptionedImages(names, captions)


def without_images(images: CaptionedImages, names: set[str]) -> CaptionedImages:
  """Removes the named images.

  Args:
    images: images and their captions.
    names: names of the images to remove.
  """
  kept = [pair for pair in zip(*images, strict=True) if pair[0] not in names]
  return CaptionedImages([name for name, _ in kept], [captions for _, captions in kept])
