"""Scenes: canvases with up to three digits of two sizes, and captions that describe them.

Every batch is a pure function of the seed and the step. Each digit lies in its own quarter of the
canvas, so no two digits touch.
"""

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from wsram_tf.captions.data.scene_language import (
  DIGIT_WORDS,
  MOST_DIGITS,
  NUM_WORDINGS,
  REVERSED_WORDINGS,
  SIZE_WORDS,
  VOCABULARY,
  Scene,
  caption_templates,
)
from wsram_tf.data.canvases.rendering import render_digits
from wsram_tf.data.digits import Digits
from wsram_tf.data.pipelines import (
  EVALUATION_STREAM,
  TRAINING_STREAM,
  WHOLE,
  Shard,
  map_in_order,
  on_host,
  random_integers,
  stream_key,
)

__all__ = ["SceneSet", "check_layout", "evaluation_scenes", "scene_dataset"]

_EVALUATION_BLOCK = 500
# By number of digits: every set of quarters, numbered row by row, that the digits can lie in, in
# reading order.
_QUARTERS = {
  count: np.array(
    [
      [q for q in range(4) if bits & 1 << q] + [0] * (MOST_DIGITS - count)
      for bits in range(16)
      if bits.bit_count() == count
    ],
    np.int32,
  )
  for count in range(1, MOST_DIGITS + 1)
}
# Random numbers per scene: count, quarters, wording; per digit: index, size, side, row, column.
_NUMBERS = 3 + 5 * MOST_DIGITS


class SceneSet(NamedTuple):
  """One fixed set of scenes.

  Attributes:
    images: float32 `[n, side, side, 1]` in 0..1.
    captions: int32 `[n, wordings, T]`, all wordings of each scene.
    scenes: the digits of each canvas.
  """

  images: np.ndarray
  captions: np.ndarray
  scenes: list[Scene]


def scene_dataset(
  digits: Digits,
  *,
  canvas_side: int = 64,
  small: tuple[int, int] = (12, 15),
  large: tuple[int, int] = (22, 28),
  most_digits: int = MOST_DIGITS,
  batch_size: int,
  seed: int,
  start_step: int = 0,
  shard: Shard = WHOLE,
) -> tf.data.Dataset:
  """Makes endless training batches of new scenes, each with one of its wordings.

  Args:
    digits: images uint8 `[n, h, w]`, labels integer `[n]`.
    canvas_side: pixels, even.
    small: pixels, smallest and largest side of a digit that captions call small.
    large: pixels, the same for large; at most half the canvas.
    most_digits: 1 to 3; the number of digits is uniform from 1 to most_digits.
    batch_size: scenes per batch, B.
    seed: 0 to 2**63 - 1; with the step, determines a batch.
    start_step: the step of the first batch: the number of batches to leave out.
    shard: the rows of each batch to draw.

  Returns:
    dataset of (images float32 `[B, side, side, 1]` in 0..1, captions int32 `[B, T]`: words of
    `VOCABULARY`, then its end, then padding).

  Raises:
    ValueError: if a size or most_digits breaks a rule; see `check_layout`.

  Example:

  >>> digits = Digits(np.full([10, 28, 28], 255, np.uint8), np.arange(10))
  >>> images, captions = next(iter(scene_dataset(digits, batch_size=2, seed=1)))
  >>> tuple(images.shape), tuple(captions.shape)
  ((2, 64, 64, 1), (2, 18))
  """
  draw = _drawer(digits, canvas_side, small, large, most_digits)
  key = stream_key(seed, TRAINING_STREAM)

  def draw_batch(step: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    scene = draw(shard.of(random_integers(key, step, [batch_size, _NUMBERS])))
    return scene["images"], scene["caption"]

  steps = tf.data.Dataset.counter(start=start_step)
  return map_in_order(steps, draw_batch)


def evaluation_scenes(
  digits: Digits,
  *,
  canvas_side: int = 64,
  small: tuple[int, int] = (12, 15),
  large: tuple[int, int] = (22, 28),
  most_digits: int = MOST_DIGITS,
  num_scenes: int,
  seed: int,
) -> SceneSet:
  """Makes one fixed set of scenes; scene i depends on the seed and i alone.

  Args:
    digits: as `scene_dataset` takes them.
    canvas_side: as `scene_dataset` takes it.
    small: as `scene_dataset` takes it.
    large: as `scene_dataset` takes it.
    most_digits: as `scene_dataset` takes it.
    num_scenes: number of scenes in the set.
    seed: 0 to 2**63 - 1.

  Raises:
    ValueError: as `scene_dataset`.

  Example:

  >>> digits = Digits(np.full([10, 28, 28], 255, np.uint8), np.arange(10))
  >>> scenes = evaluation_scenes(digits, num_scenes=5, seed=1)
  >>> scenes.images.shape, len(scenes.scenes)
  ((5, 64, 64, 1), 5)
  """
  if num_scenes < 1:
    raise ValueError(f"num_scenes={num_scenes}: must be at least 1")
  draw = tf.function(_drawer(digits, canvas_side, small, large, most_digits), autograph=False)
  key = stream_key(seed, EVALUATION_STREAM)
  blocks = [
    tf.nest.map_structure(
      lambda tensor: tensor.numpy(),
      draw(random_integers(key, block, [_EVALUATION_BLOCK, _NUMBERS])),
    )
    for block in range(-(-num_scenes // _EVALUATION_BLOCK))
  ]
  drawn = {name: np.concatenate([b[name] for b in blocks])[:num_scenes] for name in blocks[0]}
  parts = zip(drawn["count"], drawn["labels"], drawn["is_large"], drawn["boxes"], strict=True)
  scenes = [Scene(*(values[:count] for values in rest)) for count, *rest in parts]
  return SceneSet(drawn["images"], drawn["captions"], scenes)


def check_layout(
  canvas_side: int, small: tuple[int, int], large: tuple[int, int], most_digits: int
) -> None:
  """Checks the layout of scenes; see `scene_dataset` for the arguments.

  Raises:
    ValueError: if the canvas is odd, a digit does not fit a quarter of it, the sizes called large
      begin less than 25% above those called small, or most_digits is not from 1 to 3.
  """
  if not 1 <= most_digits <= MOST_DIGITS:
    raise ValueError(f"most_digits={most_digits}: must be from 1 to {MOST_DIGITS}")
  if canvas_side < 2 or canvas_side % 2:
    raise ValueError(
      f"canvas_side={canvas_side}: must be even, because each digit lies in a quarter of the canvas"
    )
  for name, (least, most) in (("small", small), ("large", large)):
    if not 1 <= least <= most <= canvas_side // 2:
      raise ValueError(
        f"{name}={(least, most)}: must be a range of pixels from 1 to half the canvas, "
        f"{canvas_side // 2}"
      )
  if large[0] < 1.25 * small[1]:
    raise ValueError(
      f"large={large}: must begin at least 25% above the end of small={small}, so that the sizes "
      "are distinguishable"
    )


def _drawer(
  digits: Digits,
  canvas_side: int,
  small: tuple[int, int],
  large: tuple[int, int],
  most_digits: int,
):
  """Makes a function from random numbers int32 `[B, _NUMBERS]` to scenes, tensors by name."""
  check_layout(canvas_side, small, large, most_digits)
  if not len(digits.images):
    raise ValueError("digits of length 0: must hold at least one digit")
  pixels, classes = on_host(*digits)
  with tf.device("/CPU:0"):
    templates = tf.constant(caption_templates(most_digits))
    words = {word: number for number, word in enumerate(VOCABULARY.words)}
    size_words = tf.constant([words[word] for word in SIZE_WORDS])
    digit_words = tf.constant([words[word] for word in DIGIT_WORDS])

  def draw(numbers: tf.Tensor) -> dict[str, tf.Tensor]:
    count = 1 + numbers[:, 0] % most_digits
    wording = numbers[:, 2] % NUM_WORDINGS
    which, size, extent, row, column = tf.split(numbers[:, 3:], 5, axis=1)  # [B, 3] each
    choices = [tf.gather(q, numbers[:, 1] % len(q)) for q in _QUARTERS.values()]
    quarters = tf.gather(tf.stack(choices, axis=1), count - 1, batch_dims=1)
    is_large = size % 2
    least, most = (
      tf.gather(tf.constant(pair), is_large) for pair in zip(small, large, strict=True)
    )
    sides = least + extent % (most - least + 1)
    half = canvas_side // 2
    tops = quarters // 2 * half + row % (half - sides + 1)
    lefts = quarters % 2 * half + column % (half - sides + 1)
    which %= len(digits.images)
    labels = tf.gather(classes, which)
    chosen = tf.cast(tf.gather(pixels, tf.reshape(which, [-1])), tf.float32) / 255.0
    layers = render_digits(
      chosen, *(tf.reshape(t, [-1]) for t in (sides, tops, lefts)), (canvas_side, canvas_side)
    )
    layers = tf.reshape(layers, [-1, MOST_DIGITS, canvas_side, canvas_side])
    present = tf.sequence_mask(count, MOST_DIGITS, tf.float32)
    images = tf.reduce_max(layers * present[..., tf.newaxis, tf.newaxis], axis=1)[..., tf.newaxis]
    boxes = tf.stack([tops, lefts, sides], axis=-1)
    captions = [
      _captions(
        templates,
        count,
        tf.fill(tf.shape(count), w),
        boxes,
        tf.gather(size_words, is_large),
        tf.gather(digit_words, labels),
        reverse=w in REVERSED_WORDINGS,
      )
      for w in range(NUM_WORDINGS)
    ]
    captions = tf.stack(captions, axis=1)  # [B, wordings, T]
    return {
      "images": images,
      "captions": captions,
      "caption": tf.gather(captions, wording, batch_dims=1),
      "count": count,
      "labels": labels,
      "is_large": tf.cast(is_large, tf.bool),
      "boxes": boxes,
    }

  return draw


def _captions(
  templates: tf.Tensor,
  count: tf.Tensor,
  wording: tf.Tensor,
  boxes: tf.Tensor,
  sizes: tf.Tensor,
  names: tf.Tensor,
  reverse: bool,
) -> tf.Tensor:
  """Writes captions int32 `[B, T]` in one wording, from digits `[B, 3]` in reading order."""
  if reverse:
    boxes, sizes, names = (tf.reverse_sequence(t, count, seq_axis=1) for t in (boxes, sizes, names))
  centres = 2 * boxes[..., :2] + boxes[..., 2:]  # In half pixels, so that they stay integers.
  apart = centres[:, 1:] - centres[:, :-1]  # [B, 2, 2]
  rows, columns = apart[..., 0], apart[..., 1]
  sideways = tf.where(columns > 0, 0, 1)  # left of, right of
  upright = tf.where(rows > 0, 2, 3)  # above, below
  relations = tf.where(tf.abs(columns) >= tf.abs(rows), sideways, upright)
  place = tf.stack([count - 1, wording, relations[:, 0], relations[:, 1]], axis=-1)
  template = tf.gather_nd(templates, place)
  fillings = tf.concat([sizes, names], axis=1)  # [B, 6]
  filled = tf.gather(fillings, tf.maximum(-1 - template, 0), batch_dims=1)
  return tf.where(template < 0, filled, template)
