"""Makes inputs that a server must refuse, with the words that its refusal must hold."""

from typing import NamedTuple

import numpy as np
import PIL.Image

from wsram_tf.serving import examples, manifests
from wsram_tf.serving.looking import COUNT_AT, SCALE_AT

__all__ = ["LARGE_SIDE", "WrongInput", "large_files", "wrong_inputs"]

# Pixels; a grey PNG of this size and of one colour takes 140 kB, and 144 MB decoded.
LARGE_SIDE = 12_000

_SHAPE = ("not compatible with expected shape",)
# The runtime compares types before any operation of the graph runs, and numbers the inputs
# instead of naming them.
_TYPE = ("Expects arg[", "is provided")
_COUNT = ("seed: must hold one number for each row",)
_FORMAT = ("image_bytes: each row must be a PNG or JPEG file",)
_SIZE = ("image_bytes: each image must be", "pixels high")
_ANY_SIZE = ("image_bytes: each image must have 1 to", "pixels")
_WHOLE = ("image_bytes_must_hold_a_whole",)


class WrongInput(NamedTuple):
  """An input that a server must refuse.

  Attributes:
    what: the fault.
    value: an array to send instead of the right one.
    words: that the message must hold beside the input's name.
  """

  what: str
  value: np.ndarray
  words: tuple[str, ...]


def wrong_inputs(
  name: str, right: np.ndarray, facts: manifests.Facts, *, alone: bool
) -> list[WrongInput]:
  """Makes wrong inputs from a right one.

  Args:
    name: of the input: `images`, `features`, `low_resolution`, `patches`, `state`, `seed`,
      `threshold` or `image_bytes`.
    right: a right value of at least two rows; of files, the first is a PNG, the last a JPEG.
    facts: about the model.
    alone: whether the signature has no other input.
  """
  if name == "image_bytes":
    return _wrong_files(right, facts.largest_pixels is not None)
  if name == "seed":
    return _wrong_seeds(right)
  if name == "state":
    return _wrong_states(right, facts)
  if name == "threshold":
    return _wrong_thresholds(right)
  wrong = _wrong_arrays(name, right)
  if name == "patches" or (name == "low_resolution" and not alone):
    words = (f"{name}: must hold one row for each row of state",)
    for what, rows in (("one row too few", right[:-1]), ("one for all", right[:1])):
      wrong.append(WrongInput(what, rows, words))
  return wrong


def _wrong_arrays(name: str, right: np.ndarray) -> list[WrongInput]:
  rank = right.ndim
  return [
    *([WrongInput("scales", right[:, :-1], _SHAPE)] if rank == 5 else []),
    WrongInput("height", right[..., :-1, :, :], _SHAPE),
    WrongInput("width", right[..., :-1, :], _SHAPE),
    WrongInput(f"rank {rank - 1}", right[0], _SHAPE),
    WrongInput(f"rank {rank + 1}", right[None], _SHAPE),
    WrongInput("channels", np.concatenate([right, right, right], axis=-1), _SHAPE),
    WrongInput("dtype float64", right.astype(np.float64), _TYPE),
    WrongInput("dtype uint8", right.astype(np.uint8), _TYPE),
    *_not_finite(name, right),
  ]


def _not_finite(name: str, right: np.ndarray) -> list[WrongInput]:
  faults = {"NaN": np.nan, "infinity": np.inf, "-infinity": -np.inf}
  finite = (f"{name}: must be finite",)
  return [WrongInput(what, _with(right, -1, value), finite) for what, value in faults.items()]


def _with(right: np.ndarray, at: int, value: float) -> np.ndarray:
  """Puts a number at a place of the last row."""
  wrong = right.copy()
  wrong.reshape(len(wrong), -1)[-1, at] = value
  return wrong


def _wrong_states(right: np.ndarray, facts: manifests.Facts) -> list[WrongInput]:
  wholes = [("number of glimpses taken", COUNT_AT, facts.num_glimpses)]
  if isinstance(facts, manifests.ClassifierFacts) and facts.choose_scale:
    wholes.append(("scale", SCALE_AT, facts.glimpse_scales))
  wrong = [
    WrongInput(
      f"{what} {value}",
      _with(right, at, value),
      (f"the {what}, value {at} of a row, must be a whole number from 0 to {end - 1}",),
    )
    for what, at, end in wholes
    for value in (end, 1e9, -1, 0.5)
  ]
  return [
    *wrong,
    WrongInput("number NaN", _with(right, COUNT_AT, np.nan), ("state: must be finite",)),
    *_not_finite("state", right),
    WrongInput("a number too few", right[:, :-1], _SHAPE),
    WrongInput("a number too many", np.pad(right, [(0, 0), (0, 1)]), _SHAPE),
    WrongInput("rank 1", right[0], _SHAPE),
    WrongInput("rank 3", right[None], _SHAPE),
    WrongInput("dtype float64", right.astype(np.float64), _TYPE),
  ]


def _wrong_seeds(right: np.ndarray) -> list[WrongInput]:
  return [
    WrongInput("one too few", right[:-1], _COUNT),
    WrongInput("one too many", np.append(right, right[:1]), _COUNT),
    WrongInput("one for all", right[:1], _COUNT),
    WrongInput("none", right[:0], _COUNT),
    WrongInput("rank 0", right[0, ...].reshape([]), _SHAPE),
    WrongInput("rank 2", right[:, None], _SHAPE),
    WrongInput("dtype int32", right.astype(np.int32), _TYPE),
  ]


def _wrong_thresholds(right: np.ndarray) -> list[WrongInput]:
  count, bounds = "threshold: must hold one row for each row of images", "threshold: must be from 0"
  return [
    WrongInput("one too few", right[:-1], (count,)),
    WrongInput("one for all", right[:1], (count,)),
    WrongInput("none", right[:0], (count,)),
    WrongInput("below 0", _with(right, 0, -0.01), (bounds,)),
    WrongInput("above 1", _with(right, 0, 1.01), (bounds,)),
    *_not_finite("threshold", right),
    WrongInput("rank 0", right[0, ...].reshape([]), _SHAPE),
    WrongInput("rank 2", right[:, None], _SHAPE),
    WrongInput("dtype float64", right.astype(np.float64), _TYPE),
  ]


def _wrong_files(right: np.ndarray, any_size: bool) -> list[WrongInput]:
  png, jpeg = right[0], right[-1]
  height, width = (int.from_bytes(png[start : start + 4], "big") for start in (16, 20))
  channels = {0: 1, 2: 3}[png[25]]  # The PNG's colour type.
  if any_size:
    wrong_sizes = [
      ("no pixel", _png_with_side(png, 0), _ANY_SIZE),
      ("a side below 0", _png_with_side(png, 0xFFFFFFFF), _ANY_SIZE),
      ("the widest and highest", _png_with_side(png, 0x7FFFFFFF), _ANY_SIZE),
    ]
  else:
    wrong_side = examples.png_bytes(np.zeros([height, width + 1, channels], np.uint8))
    wrong_sizes = [("wrong side", wrong_side, _SIZE)]
  gif = b"GIF89a" + width.to_bytes(2, "little") + height.to_bytes(2, "little") + bytes(100)
  files = [
    ("an empty string", b"", _FORMAT),
    ("text", b"not an image, but long enough to be one", _FORMAT),
    ("GIF", gif, _FORMAT),
    ("a PNG's first bytes", png[:12], _FORMAT),
    ("a PNG's header", png[:33], _WHOLE),
    ("half a PNG", png[: len(png) // 2], _WHOLE),
    ("a JPEG's first bytes", jpeg[:30], _WHOLE),
    ("half a JPEG", jpeg[: len(jpeg) // 2], _WHOLE),
    *wrong_sizes,
  ]
  wrong = [
    # Between right ones, since the export must check every row.
    WrongInput(what, examples.as_bytes_array([png, contents, jpeg]), words)
    for what, contents, words in files
  ]
  numbers = np.zeros([2], np.float32)
  return [
    *wrong,
    WrongInput("rank 2", right[:, None], _SHAPE),
    WrongInput("dtype float32", numbers, _TYPE),
  ]


def large_files(jpeg: bytes, any_size: bool) -> list[WrongInput]:
  """Makes small files of LARGE_SIDE squared pixels: a PNG, and a JPEG that claims so many."""
  # One bit a pixel, because eight take a second to write.
  png = examples.png_bytes(PIL.Image.new("1", (LARGE_SIDE, LARGE_SIDE)))
  frame = jpeg.index(b"\xff\xc0")  # Marker, length (2 bytes), precision (1), height, width (2, 2).
  side = LARGE_SIDE.to_bytes(2, "big")
  claiming = jpeg[: frame + 5] + side + side + jpeg[frame + 9 :]
  words = _ANY_SIZE if any_size else _SIZE
  return [
    WrongInput("size", examples.as_bytes_array([contents]), words) for contents in (png, claiming)
  ]


def _png_with_side(png: bytes, side: int) -> bytes:
  """Makes a PNG whose header claims another height and width."""
  return png[:16] + 2 * side.to_bytes(4, "big") + png[24:]
