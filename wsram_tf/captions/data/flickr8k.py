"""Reads Flickr8k: five captions for each of 8,000 photographs, in the official splits.

Source: M. Hodosh, P. Young, J. Hockenmaier, Framing Image Description as a Ranking Task, Journal of
Artificial Intelligence Research 47, 2013. The data set is not part of this package.
"""

import os
import pathlib
from collections.abc import Iterator

from wsram_tf.captions.data.captioned_images import CaptionedImages, CaptionSplits, Report
from wsram_tf.captions.vocabulary import split_words

__all__ = ["load_flickr8k"]

IMAGES = "Flicker8k_Dataset"  # The spelling of the data set.
CAPTIONS = "Flickr8k.token.txt"
SPLITS = ("Flickr_8k.trainImages.txt", "Flickr_8k.devImages.txt", "Flickr_8k.testImages.txt")


def load_flickr8k(data_dir: str | os.PathLike) -> tuple[CaptionSplits, Report]:
  """Reads the names of the photographs, their captions and the official splits.

  Args:
    data_dir: folder that holds the folder Flicker8k_Dataset with the photographs, the file
      Flickr8k.token.txt with lines `NAME.jpg#0`, a tab, a caption, and the lists
      Flickr_8k.trainImages.txt, Flickr_8k.devImages.txt and Flickr_8k.testImages.txt.

  Returns:
    the splits, in the order of the lists; a report of skipped images and captions.

  Raises:
    ValueError: if a file is missing, a split is empty, or an image is in two splits.

  Example:

  >>> load_flickr8k("/nowhere")
  Traceback (most recent call last):
    ...
  ValueError: data_dir='/nowhere': must hold Flickr8k in its own layout; no folder Flicker8k_Dataset
  """
  root = pathlib.Path(os.path.expanduser(data_dir))  # Path.expanduser raises at an unknown user.
  for name in (IMAGES, CAPTIONS, *SPLITS):
    found = os.path.isdir(root / name) if name == IMAGES else os.path.isfile(root / name)
    if not found:
      raise ValueError(
        f"data_dir={str(data_dir)!r}: must hold Flickr8k in its own layout; no "
        f"{'folder' if name == IMAGES else 'file'} {name}"
      )
  report = Report()
  captions = _read_captions(root / CAPTIONS, report)
  splits, taken = [], {}
  for name in SPLITS:
    images = CaptionedImages([], [])
    for image in dict.fromkeys(line.strip() for _, line in _lines(root / name, report)):
      if not image:
        continue
      if image in taken:
        raise ValueError(
          f"data_dir={str(data_dir)!r}: its splits must be disjoint; {image} is in "
          f"{taken[image]} and in {name}"
        )
      taken[image] = name
      if os.path.basename(image) != image or image in (".", ".."):
        report.add(f"lines of {name} are no names of files in {IMAGES}", image)
        continue
      if image not in captions:
        report.add(f"images of {name} have no caption", image)
      elif not os.path.isfile(root / IMAGES / image):  # Path.is_file raises at overlong names.
        report.add(f"images of {name} are missing from {IMAGES}", image)
      else:
        images.names.append(image)
        images.captions.append(captions[image])
    if not images.names:
      raise ValueError(
        f"data_dir={str(data_dir)!r}: {name} must list at least one existing image with a caption"
      )
    splits.append(images)
  for image in sorted(captions.keys() - taken.keys()):
    report.add("images with captions are in no split", image)
  return CaptionSplits(*splits, lambda names: [root / IMAGES / name for name in names]), report


def _read_captions(path: pathlib.Path, report: Report) -> dict[str, list[str]]:
  captions: dict[str, list[str]] = {}
  for number, line in _lines(path, report):
    image, tab, caption = line.partition("\t")
    name, mark, _ = image.rpartition("#")
    if not (tab and mark and name.strip()):
      if line.strip():
        report.add(f"lines of {path.name} are not NAME#NUMBER, a tab, a caption", f"line {number}")
    elif not split_words(caption):
      report.add("captions have no word", f"line {number}")
    else:
      captions.setdefault(name.strip(), []).append(caption.strip())
  return captions


def _lines(path: pathlib.Path, report: Report) -> Iterator[tuple[int, str]]:
  for number, line in enumerate(path.read_bytes().splitlines(), start=1):
    try:
      yield number, line.decode("utf-8-sig" if number == 1 else "utf-8")
    except UnicodeDecodeError:
      report.add(f"lines of {path.name} are not UTF-8", f"line {number}")
