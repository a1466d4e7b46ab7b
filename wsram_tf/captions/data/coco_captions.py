"""COCO's captions through TensorFlow Datasets, in the splits that captioning is reported on.

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
# By what they are for here. The last of the first is what is left of COCO's validation images, and
# may be absent.
_SPLITS = (("train", "restval"), ("val",), ("test",))


def load_coco_captions(
  data_dir: str | None = None, download: bool = False, name: str = NAME
) -> tuple[CaptionSplits, Report]:
  """Reads all captions, and says how images are read.

  Learning is from the splits "train" and "restval", weights are chosen on "val", and results are of
  "test": Karpathy's splits, which the set has, and all of which have captions.

  Args:
    data_dir: directory that holds, or with `download` will hold, the prepared set; None means
      tensorflow_datasets' own.
    download: whether the set may be fetched where it is missing.
    name: of the set, with its configuration and version where they matter; it may be any set with
      the same features and splits.

  Returns:
    the splits, in the records' order; what was left out of them.

  Raises:
    FileNotFoundError: if the set is not prepared and download is False.
    ValueError: if data_dir is no directory, or the set has not the features and splits.
  """
  builder = open_tfds(name, data_dir, download)
  for what, there, needed in (
    ("features", builder.info.features, (_IMAGE, _FILE, _CAPTIONS)),
    ("splits", builder.info.splits, ("train", "val", "test")),
  ):
    missing = [one for one in needed if one not in there]
    if missing:
      raise ValueError(
        f"dataset={name!r}: must have the {what} {', '.join(needed)}; there is no {missing[0]}"
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
      raise ValueError(f"dataset={name!r}: its split {parts[0]} must have an image with a caption")
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
        raise ValueError(f"names: must be in the records' order, and {image} is not")

  return CaptionSplits(*splits, read), report


def _records(builder: Any, split: str) -> Iterator[dict[str, Any]]:
  import tensorflow_datasets as tfds  # Costs an import that photographs in files do without.

  if split not in builder.info.splits:
    return iter(())
  # Encoded images: reading captions needs none, and a damaged one must not end the reading.
  examples = builder.as_dataset(
    split=split,
    decoders={_IMAGE: tfds.decode.SkipDecoding()},
    shuffle_files=False,
    read_config=tfds.ReadConfig(try_autocache=False),
  )
  return examples.as_numpy_iterator()
