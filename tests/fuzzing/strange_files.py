"""Kinds of strange data files, and the functions of the package that read them; see `trials`."""

import json
import os
import pathlib
import shutil
import warnings
from io import BytesIO
from typing import Any

import numpy as np
import PIL.Image
from hypothesis import strategies as st

from tests.fuzzing import strange_bytes
from tests.fuzzing.trials import RULE, Kind
from wsram_tf.captions.data import flickr8k, grid_features
from wsram_tf.captions.vocabulary import Vocabulary
from wsram_tf.data import image_folder
from wsram_tf.serving import prepare_image


def _encoded(mode: str, size: tuple[int, int] = (7, 5), **options: Any) -> bytes:
  pixels = np.random.default_rng(1).integers(0, 256, [size[1], size[0], 4]).astype(np.uint8)
  image = PIL.Image.fromarray(pixels).convert("L" if mode == "I;16" else mode)
  if mode == "I;16":
    image = PIL.Image.fromarray(np.asarray(image).astype(np.uint16) * 257)
  if options.pop("turned", False):
    exif = PIL.Image.Exif()
    exif[0x0112] = 6
    options["exif"] = exif
  file = BytesIO()
  image.save(file, **options)
  return file.getvalue()


IMAGES = (
  *(_encoded(mode, format="PNG") for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")),
  _encoded("RGB", format="PNG", turned=True),
  _encoded("RGB", (16, 16), format="PNG"),
  *(_encoded(mode, format="JPEG") for mode in ("L", "RGB", "CMYK")),
  _encoded("RGB", format="JPEG", turned=True),
  _encoded("RGB", (16, 16), format="JPEG", progressive=True),
  *(_encoded("RGB", format=other) for other in ("GIF", "BMP", "WEBP", "TIFF")),
)


def _lay_image(folder: pathlib.Path, given: tuple[bytes, Any, Any, Any, Any]) -> None:
  (folder / "image.png").write_bytes(given[0])


def _read_image(folder: pathlib.Path, given: tuple[bytes, Any, Any, Any, Any]) -> None:
  _, reader, shape, fit, invert = given
  path = folder / "image.png"
  if reader == "predict":
    prepare_image(path, shape, fit, invert=invert)
    return
  files = image_folder.ImageFiles([path], np.zeros(1, np.int32), ("a",))
  data, _ = image_folder.read_images(files, shape, "pad" if fit == "pad" else "resize")
  if data.images.shape != (1, *shape) or data.images.dtype != np.uint8:
    raise AssertionError(f"images of shape {data.images.shape}")


_LISTS = (*flickr8k.SPLITS,)
_NAMES = ("a.jpg", "b.jpg", "c.jpg", "d.jpg")
_TOKENS = "".join(f"{name}#{i}\tA red square {i} .\n" for name in _NAMES for i in range(2))
_caption_lines = st.builds(
  lambda name, mark, number, tab, caption: f"{name}{mark}{number}{tab}{caption}",
  st.sampled_from(_NAMES) | strange_bytes.odd_texts,
  st.sampled_from(["#", "", "##"]),
  strange_bytes.odd_texts,
  st.sampled_from(["\t", " ", "", "\t\t"]),
  strange_bytes.odd_texts | st.just("A dog runs ."),
)


_token_files = strange_bytes.damaged([_TOKENS.encode()]) | st.lists(_caption_lines, max_size=6).map(
  lambda lines: _TOKENS.encode() + strange_bytes.as_bytes(lines)
)
_split_lists = st.just(None) | (
  strange_bytes.damaged([b"a.jpg\nb.jpg\n", b"\xef\xbb\xbfc.jpg\r\n"])
  | st.lists(st.sampled_from(_NAMES) | strange_bytes.odd_texts, max_size=3).map(
    strange_bytes.as_bytes
  )
)


def _lay_tokens(folder: pathlib.Path, given: tuple[bytes, ...]) -> None:
  photos = folder / flickr8k.IMAGES
  if not photos.exists():
    photos.mkdir()
    for name in _NAMES:
      (photos / name).write_bytes(IMAGES[-5])
  tokens, *lists = given
  (folder / flickr8k.CAPTIONS).write_bytes(tokens)
  for name, usual, listed in zip(_LISTS, (b"a.jpg\nb.jpg", b"c.jpg", b"d.jpg"), lists, strict=True):
    (folder / name).write_bytes(usual if listed is None else listed)


def _read_tokens(folder: pathlib.Path, given: tuple[bytes, ...]) -> None:
  splits, report = flickr8k.load_flickr8k(folder)
  report.messages()
  words = Vocabulary.from_captions(
    caption for written in splits.train.captions for caption in written
  )
  for written in splits.train.captions:
    for caption in written:
      words.encode(caption, 10_000)


_GRIDS = np.arange(2 * 3 * 4 * 5).reshape([2, 3, 4, 5]).astype(np.float16)
_DESCRIBED = {
  "names": ["a.jpg", "b.jpg"],
  "unreadable": {"b.jpg": "cut off"},
  "shape": [2, 3, 4, 5],
  "image_side": 32,
  "backbone": "digest",
}


def _saved(array: np.ndarray) -> bytes:
  file = BytesIO()
  np.save(file, array, allow_pickle=True)
  return file.getvalue()


def _zipped() -> bytes:
  file = BytesIO()
  np.savez(file, _GRIDS)
  return file.getvalue()


_arrays = st.just(_saved(_GRIDS)) | strange_bytes.damaged(
  [
    _saved(_GRIDS),
    _saved(_GRIDS.astype(np.float32)),
    _saved(np.array(1.0, np.float16)),
    _saved(np.array([None, {}], dtype=object)),
    _zipped(),
  ]
)


def _lay_features(folder: pathlib.Path, given: tuple[bytes, bytes]) -> None:
  (folder / "features.npy").unlink(missing_ok=True)  # What is mapped must not change.
  (folder / "features.npy").write_bytes(given[0])
  (folder / "features.json").write_bytes(given[1])


def _read_features(folder: pathlib.Path, given: tuple[bytes, bytes]) -> None:
  names = ["a.jpg", "b.jpg"]
  features = grid_features.open_features(
    folder / "features", names, grid_shape=(3, 4, 5), image_side=32, backbone="digest"
  )
  kept = [name for name in names if name not in features.unreadable]
  np.asarray(features.grids[features.rows_of(kept)])


_entry_names = st.sampled_from(
  [
    *("a", "b", "A", ".hidden", "two words", "é", "e\u0301", "-x", "1", "con", "a\nb", "\udcff"),
    *("1.png", "2.JPG", "3.jpeg", "4.gif", ".png", "png", "5.png.txt", "\udcff.png", "x" * 250),
  ]
) | st.text(st.characters(exclude_characters="/\0"), min_size=1, max_size=6)
_entries = st.tuples(
  st.lists(_entry_names, min_size=1, max_size=3),
  st.sampled_from(["file", "file", "file", "folder", "loop", "dangling", "up", "pipe", "shut"]),
  st.sampled_from(IMAGES) | st.sampled_from([b"", b"no image", IMAGES[0][:30]]),
)
_USUAL = [([name, f"{i}.png"], "file", IMAGES[i]) for name in ("one", "two") for i in range(4)]
_trees = st.tuples(st.booleans(), st.lists(_entries, max_size=6)).map(
  lambda given: (_USUAL if given[0] else []) + given[1]
)


def _lay_tree(folder: pathlib.Path, given: list[tuple[list[str], str, bytes]]) -> None:
  shutil.rmtree(folder / "images", ignore_errors=True)
  (folder / "images").mkdir()
  for parts, what, contents in given:
    try:
      path = folder / "images" / "/".join(parts)
      path.parent.mkdir(parents=True, exist_ok=True)
      if what in ("file", "shut"):
        with path.open("xb") as file:  # Never into a pipe that lies there, which would wait.
          file.write(contents)
        path.chmod(0o000 if what == "shut" else 0o644)
      elif what == "folder":
        path.mkdir()
      elif what == "pipe":
        os.mkfifo(path)
      else:
        path.symlink_to({"loop": path, "dangling": "nowhere.png", "up": folder / "images"}[what])
    except (OSError, ValueError):  # Some names are taken, or none of a file.
      continue


def _read_tree(folder: pathlib.Path, given: list[tuple[list[str], str, bytes]]) -> None:
  image_folder.load_image_folder(
    folder / "images",
    (4, 5, 3),
    fit="resize",
    validation_percent=20,
    test_percent=20,
    split_seed=1,
  )


KINDS = (
  Kind(
    "image file",
    st.tuples(
      strange_bytes.damaged(IMAGES),
      st.sampled_from(["predict", "image_folder"]),
      st.sampled_from([(8, 9, 1), (8, 9, 3), (5, 7, 3)]),
      st.sampled_from(["resize", "pad", "any size"]),
      st.booleans(),
    ),
    _lay_image,
    _read_image,
    (ValueError, OSError),
    rf"(image\.png|image_dir).*{RULE}",
  ),
  Kind(
    "token file and split lists",
    st.tuples(_token_files, *[_split_lists] * 3),
    _lay_tokens,
    _read_tokens,
    (ValueError,),
    rf"data_dir=.*{RULE}",
  ),
  Kind(
    "feature files",
    st.tuples(_arrays, st.just(json.dumps(_DESCRIBED).encode()))
    | st.tuples(st.just(_saved(_GRIDS)), strange_bytes.damaged_json(_DESCRIBED)),
    _lay_features,
    _read_features,
    (ValueError,),
    rf"features\.(npy|json).*{RULE}",
  ),
  Kind(
    "class folders",
    _trees,
    _lay_tree,
    _read_tree,
    (ValueError,),
    rf"(image_dir|test_percent|validation_percent).*{RULE}",
  ),
)

# What Pillow warns of, it also refuses where it is bad enough.
warnings.filterwarnings("ignore", category=PIL.Image.DecompressionBombWarning)
