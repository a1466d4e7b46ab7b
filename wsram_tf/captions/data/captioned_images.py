"""Images with several captions each, and an account of what could not be used."""

import pathlib
from collections.abc import Callable, Iterable, Sequence
from typing import BinaryIO, NamedTuple

from wsram_tf.captions.vocabulary import split_words

__all__ = [
  "CaptionSplits",
  "CaptionedImages",
  "ImageReader",
  "Report",
  "without_images",
  "without_long_captions",
]

# Gives for each of some images, by name, in turn, what `PIL.Image.open` opens. The names are in the
# order that they have in their splits, train first.
ImageReader = Callable[[Sequence[str]], Iterable[pathlib.Path | BinaryIO]]

_NAMED_AT_MOST = 3


class CaptionedImages(NamedTuple):
  """Images and what people wrote about them.

  Attributes:
    names: of n images, all different.
    captions: n lists of at least one caption each, as they were written.
  """

  names: list[str]
  captions: list[list[str]]


class CaptionSplits(NamedTuple):
  """Three sets of images that share none.

  Attributes:
    train: what the model learns from.
    validation: what weights are chosen on.
    test: what results are reported on.
    read: reads their images.
  """

  train: CaptionedImages
  validation: CaptionedImages
  test: CaptionedImages
  read: ImageReader

  @property
  def names(self) -> list[str]:
    """The names of all images, in the order that `read` takes them in."""
    return [*self.train.names, *self.validation.names, *self.test.names]


class Report:
  """Counts what was left out, by reason; the first few of each reason are named.

  Reasons are phrases that follow "N", such as "images cannot be read".
  """

  def __init__(self):
    self.counts: dict[str, int] = {}
    self._named: dict[str, list[str]] = {}

  def add(self, reason: str, name: str) -> None:
    """Counts one more case of a reason."""
    self.counts[reason] = self.counts.get(reason, 0) + 1
    named = self._named.setdefault(reason, [])
    if len(named) < _NAMED_AT_MOST:
      named.append(name)

  def messages(self) -> list[str]:
    """One line for each reason that occurred, in the order of the first cases."""
    lines = []
    for reason, count in self.counts.items():
      named = self._named[reason]
      more = f" and {count - len(named):,} more" if count > len(named) else ""
      lines.append(f"left out: {count:,} {reason}: {', '.join(named)}{more}")
    return lines


def without_long_captions(
  images: CaptionedImages, max_words: int, report: Report
) -> CaptionedImages:
  """Leaves out captions that have, with their end, more than max_words words.

  Args:
    images: the images and captions.
    max_words: words of the longest caption, its end included.
    report: counts what is left out.
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
  """Leaves out the images of these names."""
  kept = [pair for pair in zip(*images, strict=True) if pair[0] not in names]
  return CaptionedImages([name for name, _ in kept], [captions for _, captions in kept])
