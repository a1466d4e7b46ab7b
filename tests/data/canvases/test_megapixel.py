"""Megapixel MNIST: the pieces obey the description, and both forms of a canvas are its painting."""

import collections
import dataclasses
import math

import numpy as np
import tensorflow as tf

from tests.support import pixel_lists
from wsram_tf.data.canvases import MegapixelCanvases, MegapixelConfig, megapixel
from wsram_tf.data.digits import Digits

_GENERATOR = np.random.default_rng(5)
# 2 to 10 digits of each of 5 classes, half of their pixels black.
_LABELS = _GENERATOR.permutation(np.repeat(np.arange(5), [2, 4, 6, 8, 10]))
_DIGITS = Digits(
  np.maximum(_GENERATOR.integers(-255, 256, [len(_LABELS), 28, 28]), 0).astype(np.uint8), _LABELS
)
# Crowded, so that squares overlap and digits often leave no room for others.
_CROWDED = MegapixelConfig(megapixel_side=100, megapixel_noise=20)


def _set(config: MegapixelConfig = _CROWDED, num_canvases: int = 6, seed: int = 1):
  return MegapixelCanvases(_DIGITS, config, num_canvases=num_canvases, seed=seed)


def _painted(pieces: megapixel.Pieces, side: int) -> np.ndarray:
  """Paints canvases square by square, uint8 `[n, side, side]`."""
  canvases = np.zeros([len(pieces.labels), side, side], np.uint8)
  for canvas, squares, corners in zip(canvases, pieces.squares, pieces.corners, strict=True):
    for square, (row, column) in zip(squares, corners, strict=True):
      canvas[row : row + 28, column : column + 28] = pieces.bank[square]
  return canvases


class PiecesTest(tf.test.TestCase):
  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    cls.pieces = _set(num_canvases=3_000).pieces
    cls.digits, cls.corners = cls.pieces.squares[:, -5:], cls.pieces.corners[:, -5:]
    cls.classes = _LABELS[cls.digits]

  def test_three_digits_show_the_target_class_and_two_others(self):
    target = self.classes[:, :1]
    self.assertAllEqual(self.classes == target, [[True] * 3 + [False] * 2] * 3_000)
    # Binomial counts, each within 5 standard deviations: false alarm below 1e-4 for all together.
    for label in range(5):
      has = target[:, 0] == label
      self.assertAllClose(has.sum(), 600, atol=5 * math.sqrt(3_000 * 0.2 * 0.8))
      for part, choices in (
        (self.digits[has, :3], np.flatnonzero(label == _LABELS)),
        (self.digits[has, 3:], np.flatnonzero(label != _LABELS)),
      ):
        counts, share = np.bincount(part.ravel(), minlength=len(_LABELS))[choices], 1 / len(choices)
        self.assertEqual(counts.sum(), part.size)
        spread = math.sqrt(part.size * share * (1 - share))
        self.assertAllClose(counts, np.full(len(choices), part.size * share), atol=5 * spread)

  def test_digits_lie_within_the_canvas_and_do_not_overlap(self):
    self.assertEqual((self.corners.min(), self.corners.max()), (0, 72))
    apart = np.abs(self.corners[:, :, np.newaxis] - self.corners[:, np.newaxis]).max(axis=-1)
    self.assertEqual(apart[:, ~np.eye(5, dtype=bool)].min(), 28)
    # Where there is room, the first digit lies anywhere; a rounded uniform number is outermost half
    # as often.
    roomy = MegapixelConfig(megapixel_side=200, megapixel_noise=0)
    counts = np.bincount(_set(roomy, num_canvases=3_000).pieces.corners[:, 0].ravel())
    expected = np.full(173, 6_000 / 172)
    expected[[0, -1]] /= 2
    self.assertAllInRange((counts - expected) / np.sqrt(expected), -5, 5)

  def test_noise_keeps_away_from_the_borders(self):
    corners, patterns = self.pieces.corners[:, :-5], self.pieces.squares[:, :-5] - len(_LABELS)
    self.assertEqual(corners.shape, (3_000, 20, 2))
    self.assertEqual((corners.min(), corners.max()), (28, 100 - 29))
    for found in (np.bincount(corners.ravel())[28:], np.bincount(patterns.ravel(), minlength=20)):
      expected = found.sum() / len(found)
      self.assertAllInRange((found - expected) / math.sqrt(expected), -5, 5)

  def test_orders_paint_the_same_squares(self):
    noise_last = dataclasses.replace(_CROWDED, megapixel_order="noise_last")
    first, last = _set(noise_last).pieces, _set().pieces
    for one, other in ((first.squares, last.squares), (first.corners, last.corners)):
      self.assertAllEqual(one[:, :5], other[:, -5:])
      self.assertAllEqual(one[:, 5:], other[:, :-5])
    self.assertLess(last.squares[:, -5:].max(), len(_LABELS))
    self.assertGreaterEqual(last.squares[:, :-5].min(), len(_LABELS))

  def test_labels_follow_from_the_pieces(self):
    ties = 0
    for kind in ("majority", "max", "top"):
      config = dataclasses.replace(_CROWDED, megapixel_label=kind)
      labels = _set(config, num_canvases=300).pieces.labels
      for label, classes, corners in zip(labels, self.classes, self.corners, strict=False):
        rows = [row for row, _ in corners]
        ties += rows.count(min(rows)) > 1
        expected = {
          "majority": collections.Counter(classes).most_common(1)[0][0],
          "max": sorted(classes)[-1],
          "top": classes[rows.index(min(rows))],
        }
        self.assertEqual(label, expected[kind])
    self.assertGreater(ties, 0)

  def test_a_pattern_is_two_strokes(self):
    count = 300
    config = MegapixelConfig(megapixel_noise=count)
    patterns = _set(config, num_canvases=1).pieces.bank[len(_LABELS) :]
    numbers = megapixel._numbers(1, megapixel._PATTERNS, count, 4 + 28 * 28)
    strokes = np.zeros([count, 28, 28], bool)
    for stroke, number in zip(strokes, numbers[:, 0], strict=True):
      slope = math.tan(number / 2**31 * math.pi / 2.5)
      longest = min(27.49, 27.49 / slope)
      for point in range(56):
        row = longest * point / 55
        stroke[round(row), round(slope * row)] = True
    order = sorted(range(count), key=lambda one: numbers[one, 1])
    for place, pattern in enumerate(patterns):
      second = strokes[order[place]]
      for flip in numbers[place, 2:4]:
        second = second[:, ::-1] if flip < 0.33 * 2**31 else second
      self.assertAllEqual(pattern > 0, strokes[place] | second)
    greys = np.bincount(patterns[patterns > 0], minlength=256)
    self.assertEqual(greys.sum(), greys[204:255].sum())
    self.assertGreater(greys[204:255].min(), 0.7 * greys.sum() / 51)
    # A mirrored stroke begins at the right: 2 * 0.33 * 0.67 of them.
    self.assertAllClose(np.mean(patterns[:, 0, -1] > 0), 0.442, atol=4 * 0.029)


class CanvasesTest(tf.test.TestCase):
  def test_both_forms_are_the_painting_to_the_last_bit(self):
    for order in ("digits_last", "noise_last"):
      for noise in (20, 0):
        with self.subTest(order=order, noise=noise):
          config = MegapixelConfig(megapixel_side=100, megapixel_noise=noise, megapixel_order=order)
          made = _set(config)
          painted = _painted(made.pieces, 100)[..., np.newaxis].astype(np.float32) / 255
          ((images, labels),) = made.evaluation_data(batch_size=6)
          self.assertAllEqual(images, painted)
          self.assertAllEqual(labels, made.pieces.labels)
          ((pixels, labels),) = made.evaluation_data(batch_size=6, as_visible_pixels=True)
          self.assertAllEqual(pixel_lists.drawn(pixels.numpy(), 100), painted)
          self.assertAllEqual(labels, made.pieces.labels)

  def test_noise_hides_digits_where_it_is_last(self):
    whole = np.sort(_DIGITS.images.reshape(len(_LABELS), -1))
    for order, is_hidden in (("digits_last", False), ("noise_last", True)):
      made = _set(dataclasses.replace(_CROWDED, megapixel_order=order))
      canvas = _painted(made.pieces, 100)[0]
      shown = made.pieces.squares[0] < len(_LABELS)
      cut = [canvas[r : r + 28, c : c + 28] for r, c in made.pieces.corners[0][shown]]
      is_whole = np.sort(np.reshape(cut, [5, -1])) == whole[made.pieces.squares[0][shown]]
      self.assertEqual(is_whole.all(), not is_hidden)

  def test_a_canvas_depends_on_the_seed_and_its_number_alone(self):
    few, many = _set(num_canvases=3).pieces, _set(num_canvases=1_030).pieces
    for one, other in zip(few, many, strict=True):
      self.assertAllEqual(one, other[: len(one)])
    other = _set(num_canvases=1_030, seed=2).pieces
    for name in ("squares", "corners", "bank"):
      self.assertNotAllEqual(getattr(other, name), getattr(many, name))
    self.assertLen(np.unique(many.corners.reshape(1_030, -1), axis=0), 1_030)
    whole, *_ = _set().evaluation_data(batch_size=6, as_visible_pixels=True)
    parts = list(_set().evaluation_data(batch_size=4, as_visible_pixels=True))
    self.assertEqual([len(labels) for _, labels in parts], [4, 2])
    for pixels, listed in zip(
      whole[0], (pixels for part, _ in parts for pixels in part), strict=True
    ):
      self.assertAllEqual(pixels[: len(listed)], listed)
      self.assertFalse(np.any(pixels[len(listed) :]))

  def test_epochs_show_every_canvas_once_in_another_order(self):
    made = _set(num_canvases=7)
    numbers = {
      canvas.tobytes(): number
      for number, canvas in enumerate(_painted(made.pieces, 100).astype(np.float32) / 255)
    }
    take = lambda count, **options: [  # noqa: E731
      numbers[canvas.tobytes()]
      for images, _ in made.training_data(batch_size=3, **options).take(count)
      for canvas in images.numpy()
    ]
    whole = take(14, seed=4)  # Epochs end inside batches.
    epochs = np.reshape(whole, [6, 7])
    self.assertAllEqual(np.sort(epochs), [range(7)] * 6)
    self.assertLen({tuple(epoch) for epoch in epochs}, 6)
    self.assertEqual(take(2, seed=4, start_step=12), whole[36:])
    self.assertNotEqual(take(14, seed=5), whole)
    spec = made.training_data(batch_size=3, seed=4, as_visible_pixels=True).element_spec
    self.assertEqual(spec[0], tf.TensorSpec([3, None, 3], tf.float32))

  def test_training_canvases_move_as_a_whole(self):
    for wrap in (False, True):
      with self.subTest(wrap=wrap):
        self._check_movement(wrap)

  def _check_movement(self, wrap: bool):
    most = 12
    still = _set()
    moving = _set(dataclasses.replace(_CROWDED, megapixel_shift=most, megapixel_wrap=wrap))
    options = {"batch_size": 3, "seed": 4}
    first, again = (
      [images.numpy() for images, _ in moving.training_data(**options).take(4)] for _ in range(2)
    )
    self.assertAllEqual(first, again)
    (later,) = moving.training_data(start_step=3, **options).take(1)
    self.assertAllEqual(later[0], first[3])
    whole = np.concatenate([images.numpy() for images, _ in still.training_data(**options).take(4)])
    shifts = set()
    for image, unmoved in zip(np.concatenate(first), whole, strict=True):
      padded = np.pad(unmoved[..., 0], most, mode="wrap" if wrap else "constant")
      side = len(image)
      found = [
        (row, column)
        for row in range(2 * most + 1)
        for column in range(2 * most + 1)
        if np.array_equal(padded[row : row + side, column : column + side], image[..., 0])
      ]
      self.assertLen(found, 1)
      shifts.update(found)
    self.assertGreater(len(shifts), 8)
    for one, other in zip(
      still.evaluation_data(batch_size=3), moving.evaluation_data(batch_size=3), strict=True
    ):
      self.assertAllEqual(one[0], other[0])
    listed, _ = next(iter(moving.training_data(as_visible_pixels=True, **options)))
    for pixels, image in zip(listed.numpy(), first[0], strict=True):
      drawn = np.zeros_like(image[..., 0])
      pixels = pixels[pixels[:, 2] > 0]
      drawn[tuple(pixels[:, :2].T.astype(int))] = pixels[:, 2]
      self.assertAllEqual(drawn, image[..., 0])

  def test_a_huge_canvas_is_listed(self):
    made = _set(MegapixelConfig(megapixel_side=1_000_000), num_canvases=2)
    ((pixels, _),) = made.evaluation_data(batch_size=2, as_visible_pixels=True)
    for listed, squares, corners in zip(
      pixels.numpy(), made.pieces.squares, made.pieces.corners, strict=True
    ):
      # No overlap among 55 squares on such a canvas: a chance of 1 in 200,000.
      square, row, column = np.nonzero(made.pieces.bank[squares])
      places = corners[square] + np.stack([row, column], axis=1)
      expected = np.column_stack([places, made.pieces.bank[squares][square, row, column] / 255])
      self.assertAllClose(listed[: len(expected)], expected, rtol=0, atol=1e-7)

  def test_refuses_what_breaks_a_rule(self):
    one_class = Digits(_DIGITS.images, np.zeros_like(_LABELS))
    small = Digits(_DIGITS.images[:, :20, :20], _LABELS)
    for make, message in (
      (lambda: MegapixelConfig(megapixel_side=99), "megapixel_side=99: must be at least 100"),
      (
        lambda: MegapixelConfig(megapixel_side=100, megapixel_noise=52),
        "megapixel_noise=52: must be at most 51 for megapixel_side=100",
      ),
      (
        lambda: MegapixelConfig(megapixel_order="noise"),
        "megapixel_order='noise': must be one of digits_last, noise_last",
      ),
      (
        lambda: MegapixelConfig(megapixel_label="multi"),
        "megapixel_label='multi': must be one of majority, max, top",
      ),
      (
        lambda: MegapixelConfig(megapixel_wrap=True),
        "megapixel_wrap=True: must be False without megapixel_shift",
      ),
      (
        lambda: MegapixelConfig(megapixel_wrap=True, megapixel_shift=9, megapixel_label="top"),
        "megapixel_wrap=True: must be False for megapixel_label=top",
      ),
      (lambda: _set(num_canvases=0), "num_canvases=0: must be at least 1"),
      (lambda: _set(seed=-1), "seed=-1: must be from 0"),
      (
        lambda: MegapixelCanvases(one_class, _CROWDED, num_canvases=1, seed=1),
        "digits.labels, all 0: must be of at least two classes",
      ),
      (
        lambda: MegapixelCanvases(small, _CROWDED, num_canvases=1, seed=1),
        "must be of 28 x 28 pixels",
      ),
      (lambda: _set().evaluation_data(batch_size=0), "batch_size=0: must be at least 1"),
      (
        lambda: _set().training_data(batch_size=2, seed=1, start_step=-1),
        "start_step=-1: must be at least 0",
      ),
    ):
      with self.subTest(message), self.assertRaisesRegex(ValueError, message):
        make()
    MegapixelConfig(megapixel_side=100)  # The other defaults suit the smallest canvas.


if __name__ == "__main__":
  tf.test.main()
