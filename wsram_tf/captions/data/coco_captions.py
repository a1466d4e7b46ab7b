"""Reads COCO's captions through TensorFlow Datasets, in Karpathy's splits.

Source: T.-Y. Lin et al., Microsoft COCO: Common Objects in Context, ECCV 2014; X. Chen et al.,
Microsoft COCO Captions: Data Collection and Evaluation Server, arXiv:1504.00325, 2015; the splits:
A. Karpathy, L. Fei-Fei, Deep Visual-Semantic Alignments for Generating Image Descriptions, CVPR
2015.
"""

import io
import itertools
from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO

from wsram_tf.captions.data.captioned_images import CaptionedImages, CaptionSplits, Report
from wsram_tf.captions.vocabulary import split_words
from wsram_tf.data.tfds_images import open_tfds

__all__ = ["NAME", "load_coco_captions"]

NAME = "coco_captions/2014"
_IMAGE, _FILE, _CAPTIONS = "image", "image/filename", "captions"
# Parts of the train, validation and test splits. "restval" holds the rest of COCO's validation
# images and may be absent.
_SPLITS = (("train", "restval"), ("val",), ("test",))


def load_coco_captions(
  data_dir: str | None = None, download: bool = False, name: str = NAME
) -> tuple[CaptionSplits, Report]:
  """Reads all captions; images are read on demand.

  The training images are Karpathy's splits "train" and "restval", the validation images "val", the
  test images "test".

  Args:
    data_dir: directory that holds, or with `download` will hold, the prepared set; default: the
      directory of tensorflow_datasets.
    download: whether to download and prepare the set where it is missing.
    name: name of the set, with configuration and version if needed; any set with the same features
      and splits works.

  Returns:
    the splits, in the order of the records; a report of skipped images and captions.

  Raises:
    FileNotFoundError: if the set is not prepared and download is False.
    ValueError: if data_dir is not a directory, or the set lacks a feature or a split.

  Example:

  >>> load_coco_captions("/nowhere")
  Traceback (most recent call last):
    ...
  ValueError: data_dir='/nowhere': must be an existing directory
  """
  builder = open_tfds(name, data_dir, download)
  for what, there, needed in (
    ("features", builder.info.features, (_IMAGE, _FILE, _CAPTIONS)),
    ("splits", builder.info.splits, ("train", "val", "test")),
  ):
    missing = [one for one in needed if one not in there]
    if missing:
      raise ValueError(
        f"dataset={name!r}: must have the {what} {', '.join(needed)}; {missing[0]} is missing"
      )
  report, split_of = Report(), {}
  splits = []
  for parts in _SPLITS:
    images = CaptionedImages([], [])
    for part in parts:
      for record in _records(builder, part):
        image = record[_FILE].decode()
        written = [caption.decode().strip() for caption in record[_CAPTIONS]["text"]]
        kept = [caption for caption in written if split_words(caption)]
        for _ in range(len(written) - len(kept)):
          report.add("captions have no word", image)
        if image in split_of:
          report.add("images come a second time", image)
        elif not kept:
          report.add(f"images of {part} have no caption", image)
        else:
          split_of[image] = part
          images.names.append(image)
          images.captions.append(kept)
    if not images.names:
      raise ValueError(
        f"dataset={name!r}: split {parts[0]} must hold at least one image with a caption"
      )
    splits.append(images)

  def read(names: Sequence[str]) -> Iterator[BinaryIO]:
    for part, some in itertools.groupby(names, split_of.__getitem__):
      some = list(some)
      wanted = iter(some)
      image = next(wanted)
      for record in _records(builder, part):
        if image == record[_FILE].decode():
          yield io.BytesIO(record[_IMAGE])
          image = next(wanted, None)
          if image is None:
            break
      else:
        raise ValueError(f"names: must be in the order of the records; {image} is not")

  return CaptionSplits(*splits, read), report


def _records(builder: Any, split: str) -> Iterator[dict[str, Any]]:
  import tensorflow_datasets as tfds  # A slow import that image files do not need.

  if split not in builder.info.splits:
    return iter(())
  # Images stay encoded: captions need none, and a damaged image must not stop the reading.
  examples = builder.as_dataset(
    split=split,
    decoders={_IMAGE: tfds.decode.SkipDecoding()},
    shuffle_files=False,
    read_config=tfds.ReadConfig(try_autocache=False),
  )
  return examples.as_numpy_iterator()
