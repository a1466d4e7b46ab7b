"""Canvases: exact rendering, uniform draws, and batches that depend on seed and step alone."""

import numpy as np
import tensorflow as tf

from wsram_tf.data.canvases import (
  add_clutter,
  canvas_dataset,
  evaluation_canvases,
  render_digits,
)
from wsram_tf.data.digits import Digits

_CANVASES = dict(canvas_shape=(20, 24), smallest_digit=4, largest_digit=11)


def _digits(count: int, side: int = 6) -> Digits:
  images = np.random.default_rng(3).integers(1, 256, [count, side, side], dtype=np.uint8)
  return Digits(images, np.arange(count, dtype=np.int32))


def _white(count: int, side: int = 6) -> Digits:
  return Digits(np.full([count, side, side], 255, np.uint8), np.arange(count, dtype=np.int32))


def _take(dataset: tf.data.Dataset, count: int) -> list[tuple[np.ndarray, np.ndarray]]:
  return list(dataset.take(count).as_numpy_iterator())


def _naive_canvas(digit, side, top, left, canvas_shape) -> np.ndarray:
  """The definition in float64: one pixel of the canvas, one pixel of the digit at a time."""
  digit = digit.astype(np.float64)
  scales = [length / side for length in digit.shape]

  def weight(source, target, scale):
    center = (target + 0.5) * scale
    return max(0.0, 1.0 - abs(source + 0.5 - center) / max(1.0, scale))

  canvas = np.zeros(canvas_shape)
  for row in range(side):
    for column in range(side):
      total = norm = 0.0
      for i in range(digit.shape[0]):
        for j in range(digit.shape[1]):
          w = weight(i, row, scales[0]) * weight(j, column, scales[1])
          total, norm = total + w * digit[i, j], norm + w
      canvas[top + row, left + column] = total / norm
  return canvas


def _boxes(images: np.ndarray) -> np.ndarray:
  """(top, bottom, left, right) of what is not black, bottom and right exclusive, `[B, 4]`."""
  edges = []
  for axis in (2, 1):
    lit = images[..., 0].any(axis=axis)
    edges += [lit.argmax(axis=1), lit.shape[1] - lit[:, ::-1].argmax(axis=1)]
  return np.stack(edges, axis=1)


class RenderDigitsTest(tf.test.TestCase):
  def test_native_size_is_exact(self):
    digits = np.random.default_rng(0).random([3, 28, 28], np.float32)
    canvases = render_digits(
      tf.constant(digits), tf.fill([3], 28), [0, 5, 32], [3, 0, 12], (60, 40)
    )
    expected = np.zeros([3, 60, 40], np.float32)
    for i, (top, left) in enumerate([(0, 3), (5, 0), (32, 12)]):
      expected[i, top : top + 28, left : left + 28] = digits[i]
    self.assertAllEqual(canvases, expected)

  def test_meets_the_definition(self):
    digits = np.random.default_rng(1).random([6, 7, 9], np.float32)
    sides, tops, lefts = [1, 3, 7, 8, 15, 20], [0, 4, 2, 12, 5, 0], [21, 0, 3, 1, 6, 2]
    canvases = render_digits(tf.constant(digits), sides, tops, lefts, (20, 22))
    for i, digit in enumerate(digits):
      expected = _naive_canvas(digit, sides[i], tops[i], lefts[i], (20, 22))
      # 2**-17 of brightness is given up for headroom.
      self.assertAllClose(canvases[i], expected, atol=1e-5, rtol=0)

  def test_meets_tensorflows_own_resize(self):
    digits = np.random.default_rng(2).random([1, 28, 28], np.float32)
    for side in (9, 14, 27, 29, 56):
      canvas = render_digits(tf.constant(digits), [side], [0], [0], (side, side))
      expected = tf.image.resize(digits[..., None], (side, side), antialias=True)[..., 0]
      self.assertAllClose(canvas, expected, atol=1e-5, rtol=0)

  def test_a_named_largest_side_changes_nothing(self):
    digits = np.random.default_rng(3).random([3, 7, 7], np.float32)
    places = [2, 7, 12], [0, 5, 30], [31, 2, 20]
    expected = render_digits(digits, *places, (40, 50))
    self.assertAllEqual(render_digits(digits, *places, (40, 50), largest_side=12), expected)

  def test_shrinking_keeps_thin_strokes(self):
    # Every sixth column is white: plain interpolation to a sixth would see all of it or none.
    digits = np.zeros([6, 24, 24], np.float32)
    for shift in range(6):
      digits[shift, :, shift::6] = 1.0
    canvases = render_digits(digits, [4] * 6, [0] * 6, [0] * 6, (4, 4))
    self.assertAllClose(canvases[:, :, 1:3], np.full([6, 4, 2], 1 / 6), atol=1e-5, rtol=0)

  def test_enlarging_keeps_the_mean(self):
    digit = np.zeros([1, 12, 12], np.float32)
    digit[0, 3:9, 4:8] = np.random.default_rng(4).random([6, 4])
    for factor in (2, 3, 5):
      side = 12 * factor
      canvas = render_digits(tf.constant(digit), [side], [0], [0], (side, side))
      self.assertAllClose(np.mean(canvas), digit.mean(), rtol=1e-5)

  def test_white_stays_within_one_at_every_side(self):
    sides = np.arange(1, 101, dtype=np.int32)
    zeros = np.zeros_like(sides)
    canvases = render_digits(tf.ones([100, 28, 28]), sides, zeros, zeros, (100, 100)).numpy()
    self.assertLessEqual(canvases.max(), 1.0)
    for side, canvas in zip(sides, canvases, strict=True):
      self.assertAllClose(canvas[:side, :side], np.ones([side, side]), atol=1e-5, rtol=0)
      self.assertEqual(np.count_nonzero(canvas), side * side)

  def test_compiled_with_unknown_batch_size(self):
    spec = [tf.TensorSpec([None, 6, 6])] + [tf.TensorSpec([None], tf.int32)] * 3
    compiled = tf.function(lambda *args: render_digits(*args, (20, 24)), input_signature=spec)
    digits = tf.constant(_digits(3).images / 255.0, tf.float32)
    places = [4, 6, 11], [0, 3, 9], [13, 2, 0]
    self.assertAllClose(
      compiled(digits, *places), render_digits(digits, *places, (20, 24)), atol=2.0**-22, rtol=0
    )

  def test_rejects(self):
    with self.assertRaisesRegex(ValueError, r"canvas_shape must be .* got \(0, 5\)"):
      render_digits(tf.ones([1, 2, 2]), [1], [0], [0], (0, 5))
    with self.assertRaisesRegex(ValueError, r"digits must have shape \[B, h, w\].*\(2, 2\)"):
      render_digits(tf.ones([2, 2]), [1], [0], [0], (5, 5))


class AddClutterTest(tf.test.TestCase):
  def test_meets_a_loop(self):
    generator = np.random.default_rng(5)
    canvases = generator.random([4, 9, 11], np.float32)
    pieces = generator.random([4, 6, 3, 3], np.float32)
    tops, lefts = generator.integers(0, 7, [4, 6]), generator.integers(0, 9, [4, 6])
    expected = canvases.copy()
    for b in range(4):
      for p in range(6):
        window = expected[b, tops[b, p] : tops[b, p] + 3, lefts[b, p] : lefts[b, p] + 3]
        np.maximum(window, pieces[b, p], out=window)
    actual = add_clutter(
      tf.constant(canvases),
      tf.constant(pieces),
      tf.constant(tops, tf.int32),
      tf.constant(lefts, tf.int32),
    )
    self.assertAllEqual(actual, expected)


class CanvasDatasetTest(tf.test.TestCase):
  def test_elements(self):
    dataset = canvas_dataset(_digits(5), **_CANVASES, batch_size=7, seed=0)
    self.assertEqual(
      dataset.element_spec,
      (tf.TensorSpec([7, 20, 24, 1], tf.float32), tf.TensorSpec([7], tf.int32)),
    )
    self.assertEqual(dataset.cardinality(), tf.data.INFINITE_CARDINALITY)
    for images, _ in _take(dataset, 5):
      self.assertAllInRange(images, 0.0, 1.0)

  def test_every_epoch_visits_each_digit_once_in_another_order(self):
    # 10 epochs of 7 digits in batches of 5: epochs end inside batches.
    dataset = canvas_dataset(_digits(7), **_CANVASES, batch_size=5, seed=1)
    labels = np.concatenate([labels for _, labels in _take(dataset, 14)]).reshape(10, 7)
    self.assertAllEqual(np.sort(labels, axis=1), np.tile(np.arange(7), (10, 1)))
    # 10 orders out of 7! = 5,040: two of them agree by chance in 0.9% of seeds.
    self.assertLen({tuple(order) for order in labels}, 10)

  def test_orders_of_epochs_are_uncorrelated(self):
    n, epochs = 4000, 60
    digits = _digits(n, side=2)
    dataset = canvas_dataset(
      digits, canvas_shape=(2, 2), smallest_digit=2, largest_digit=2, batch_size=n, seed=0
    )
    labels = np.stack([labels for _, labels in _take(dataset, epochs)])
    correlations = np.corrcoef(labels)[np.triu_indices(epochs, 1)]
    # Pairs of independent orders have variance 1 / (n - 1), and 1,770 pairs give its estimate a
    # relative standard error of sqrt(2 / 1770) = 3.4%; four of them: false alarm 1 in 16,000.
    self.assertAllClose(np.mean(correlations**2) * (n - 1), 1.0, atol=4 * 0.034)

  def test_images_show_their_labels(self):
    digits = _digits(9)
    dataset = canvas_dataset(
      digits, canvas_shape=(6, 6), smallest_digit=6, largest_digit=6, batch_size=20, seed=2
    )
    ((images, labels),) = _take(dataset, 1)
    self.assertAllEqual(images[..., 0], digits.images[labels].astype(np.float32) / 255)

  def test_seed_and_step_determine_a_batch(self):
    make = lambda **more: canvas_dataset(  # noqa: E731
      _digits(7), **_CANVASES, num_clutter=3, clutter_side=2, batch_size=5, **more
    )
    whole = _take(make(seed=3), 8)
    again = _take(make(seed=3), 8)
    resumed = _take(make(seed=3, start_step=5), 3)
    self.assertAllEqual([x for x, _ in whole], [x for x, _ in again])
    self.assertAllEqual([x for x, _ in whole[5:]], [x for x, _ in resumed])
    self.assertAllEqual([y for _, y in whole[5:]], [y for _, y in resumed])
    for other_seed in (4, 3 + 2**32, 2**63 - 1):
      other = _take(make(seed=other_seed), 8)
      self.assertNotAllEqual([x for x, _ in whole], [x for x, _ in other])
      self.assertNotAllEqual([y for _, y in whole], [y for _, y in other])
    # The same digit is drawn afresh in each epoch.
    self.assertLen({image.tobytes() for x, _ in whole for image in x}, 40)

  def test_far_steps_need_no_work_before_them(self):
    make = lambda start: canvas_dataset(  # noqa: E731
      _digits(7), **_CANVASES, batch_size=5, seed=3, start_step=start
    )
    far = 7 * 10**9
    (labels,) = [y for _, y in _take(make(far), 1)]
    self.assertLen(set(labels), 5)
    self.assertAllEqual(_take(make(far - 1), 2)[1][1], labels)

  def test_sides_and_places_are_uniform_and_within_the_canvas(self):
    # White digits, so that the lit box is the digit's square.
    height, width = 9, 11
    count = 20_000
    dataset = canvas_dataset(
      _white(1000, side=4),
      canvas_shape=(height, width),
      smallest_digit=3,
      largest_digit=6,
      batch_size=count,
      seed=5,
    )
    ((images, _),) = _take(dataset, 1)
    top, bottom, left, right = _boxes(images).T
    self.assertAllEqual(bottom - top, right - left)
    sides = bottom - top
    self.assertAllInSet(sides, [3, 4, 5, 6])
    outcomes = [
      (side, row, column)
      for side in (3, 4, 5, 6)
      for row in range(height - side + 1)
      for column in range(width - side + 1)
    ]
    expected = {
      (side, row, column): count / 4 / ((height - side + 1) * (width - side + 1))
      for side, row, column in outcomes
    }
    seen = dict.fromkeys(outcomes, 0)
    for outcome in zip(sides.tolist(), top.tolist(), left.tolist(), strict=True):
      seen[outcome] += 1  # KeyError: a digit that leaves the canvas.
    chi_square = sum((seen[o] - expected[o]) ** 2 / expected[o] for o in outcomes)
    freedom = len(outcomes) - 1
    # Chi-square has mean `freedom`, variance twice that; 4 standard deviations: about 1 in 10,000.
    self.assertLess(abs(chi_square - freedom), 4 * np.sqrt(2 * freedom))
    # The rarest outcome is expected 94 times.
    self.assertGreater(min(seen.values()), 0)

  def test_digits_are_captured_not_copied_into_the_graph(self):
    digits = _digits(5000)
    dataset = canvas_dataset(
      digits, **_CANVASES, num_clutter=2, clutter_side=3, batch_size=2, seed=0
    )
    (function,) = dataset._input_dataset._functions()  # No public door leads to the map's graph.
    size = function.function.graph.as_graph_def().ByteSize()
    self.assertLess(size, digits.images.nbytes)

  def test_rejects(self):
    good = dict(_CANVASES, batch_size=2, seed=0)
    few = _digits(3)
    for change, message in (
      (dict(canvas_shape=(0, 4)), r"canvas_shape must be .* got \(0, 4\)"),
      (dict(canvas_shape=(20, 20, 1)), r"canvas_shape must be .* got \(20, 20, 1\)"),
      (dict(smallest_digit=0), "smallest_digit must be at least 1 pixel, got 0"),
      (dict(smallest_digit=12), r"largest_digit must be at least smallest_digit \(12\), got 11"),
      (dict(largest_digit=21), r"largest_digit must fit canvas_shape \(20, 24\), got 21"),
      (dict(num_clutter=-1), "num_clutter must be at least 0, got -1"),
      (dict(num_clutter=1), r"clutter_side must lie within 1\.\.6.* got 8"),
      (dict(num_clutter=1, clutter_side=0), r"clutter_side must lie within 1\.\.6.* got 0"),
      (dict(batch_size=0), "batch_size must be at least 1, got 0"),
      (
        dict(canvas_shape=(4096, 4096), batch_size=128, num_clutter=1, clutter_side=2),
        "batch_size=128: must be at most 127 for canvases of 4096 x 4096 pixels with clutter",
      ),
      (dict(seed=-1), "seed must lie within .* got -1"),
      (dict(start_step=-1), "start_step must be at least 0, got -1"),
    ):
      with self.subTest(change), self.assertRaisesRegex(ValueError, message):
        canvas_dataset(few, **{**good, **change})

  def test_rejects_malformed_digits(self):
    few = _digits(3)
    good = dict(_CANVASES, batch_size=2, seed=0)
    for digits, message in (
      (_digits(0), r"digits must not be empty, got .*\(0, 6, 6\)"),
      (Digits(few.images, few.labels[:2]), "equally many, got 3 images and 2 labels"),
      (Digits(few.images, few.labels * 1.0), "labels must be integers .* got float64"),
      (Digits(few.images / 255, few.labels), "images must be uint8 .* got float64"),
      (Digits(few.images[0], few.labels), r"images must be uint8 .* got .*\(6, 6\)"),
    ):
      with self.subTest(message), self.assertRaisesRegex(ValueError, message):
        canvas_dataset(digits, **good)
    with self.assertRaisesRegex(ValueError, "digits must number at least 2 .* got 1"):
      canvas_dataset(_digits(1), **good, num_clutter=1, clutter_side=2)


class ClutterInDatasetTest(tf.test.TestCase):
  def _batch(self, digits: Digits, num_clutter: int, batch_size: int) -> np.ndarray:
    dataset = evaluation_canvases(
      digits,
      canvas_shape=(40, 40),
      smallest_digit=6,
      largest_digit=6,
      num_clutter=num_clutter,
      clutter_side=3,
      num_canvases=batch_size,
      batch_size=batch_size,
      seed=6,
    )
    ((images, _),) = _take(dataset, 1)
    return images[..., 0]

  def test_one_piece_lies_anywhere_and_comes_from_any_part_of_another_digit(self):
    # Digit i's pixels all have the values 40 i + 1..36, so a pixel's value says where it is from.
    values = np.arange(36, dtype=np.uint8).reshape(6, 6)
    digits = Digits(np.stack([values + 40 * i + 1 for i in range(3)]), np.arange(3))
    count = 6_000
    images = np.rint(self._batch(digits, 1, count) * 255).astype(int)
    places, corners, others = [], [], []
    for own, image in zip(np.arange(count) % 3, images, strict=True):
      foreign = (image > 0) & ((image - 1) // 40 != own)
      lit = np.count_nonzero(image)
      if lit != 36 + 9:
        continue  # The piece overlaps the digit, so one of them is partly hidden.
      rows, columns = np.nonzero(foreign)
      top, left = rows[0], columns[0]
      piece = image[top : top + 3, left : left + 3] - 1
      other, first = divmod(piece[0, 0], 40)
      corner = divmod(first, 6)
      expected = values[corner[0] : corner[0] + 3, corner[1] : corner[1] + 3] + 40 * other
      self.assertAllEqual(piece, expected)
      places.append((top, left))
      corners.append(corner)
      others.append((other - own) % 3)
    self.assertGreater(len(places), 0.9 * count)
    self.assertAllEqual(np.unique(others), [1, 2])
    self.assertLess(abs(np.mean(np.array(others) == 1) - 0.5), 4 * 0.5 / np.sqrt(len(others)))
    self.assertLen(set(corners), 16)
    # 38 places a side and over 5,000 draws: a given one is missed in e**-140 of seeds.
    self.assertAllEqual(np.unique([top for top, _ in places]), np.arange(38))
    self.assertAllEqual(np.unique([left for _, left in places]), np.arange(38))

  def test_as_many_pieces_as_asked(self):
    digits = _white(2)
    for num_clutter in (0, 1, 4):
      lit = np.count_nonzero(self._batch(digits, num_clutter, 500), axis=(1, 2))
      # Overlaps only ever hide pixels, and most canvases of this size have some without any.
      self.assertEqual(lit.max(), 36 + 9 * num_clutter)

  def test_never_darkens_a_digit(self):
    digits = _digits(20)
    dataset = evaluation_canvases(
      digits,
      canvas_shape=(6, 6),
      smallest_digit=6,
      largest_digit=6,
      num_clutter=5,
      clutter_side=4,
      num_canvases=20,
      batch_size=20,
      seed=0,
    )
    ((images, _),) = _take(dataset, 1)
    clean = digits.images[..., np.newaxis].astype(np.float32) / 255
    self.assertTrue(np.all(images >= clean))
    self.assertFalse(np.all(images == clean))


class EvaluationCanvasesTest(tf.test.TestCase):
  def _images(self, count: int, batch_size: int, seed: int = 7) -> tuple[np.ndarray, np.ndarray]:
    dataset = evaluation_canvases(
      _digits(6),
      **_CANVASES,
      num_clutter=2,
      clutter_side=3,
      num_canvases=count,
      batch_size=batch_size,
      seed=seed,
    )
    images, labels = zip(*dataset.as_numpy_iterator(), strict=True)
    self.assertTrue(all(len(image) == batch_size for image in images[:-1]))
    return np.concatenate(images), np.concatenate(labels)

  def test_digits_come_in_order_again_and_again(self):
    images, labels = self._images(20, 8)
    self.assertAllEqual(labels, np.arange(20) % 6)
    self.assertLen({image.tobytes() for image in images}, 20)

  def test_canvas_depends_on_seed_and_number_alone(self):
    images, labels = self._images(1500, 500)  # More than one block of random numbers.
    for count, batch_size in ((1500, 7), (1500, 2000), (1030, 1024), (3, 1)):
      fewer, fewer_labels = self._images(count, batch_size)
      # Matrix products of other batch sizes add in another order; 2**-22 is four roundings.
      self.assertAllClose(fewer, images[:count], atol=2.0**-22, rtol=0)
      self.assertAllEqual(fewer_labels, labels[:count])
    self.assertNotAllEqual(self._images(3, 3, seed=8)[0], images[:3])

  def test_passes_are_equal(self):
    dataset = evaluation_canvases(_digits(6), **_CANVASES, num_canvases=10, batch_size=4, seed=0)
    first, second = (list(dataset.as_numpy_iterator()) for _ in range(2))
    for (x, y), (x_again, y_again) in zip(first, second, strict=True):
      self.assertAllEqual(x, x_again)
      self.assertAllEqual(y, y_again)

  def test_differs_from_training_under_one_seed(self):
    digits = _white(1)
    ((training, _),) = _take(canvas_dataset(digits, **_CANVASES, batch_size=64, seed=0), 1)
    fixed = evaluation_canvases(digits, **_CANVASES, num_canvases=64, batch_size=64, seed=0)
    ((evaluation, _),) = _take(fixed, 1)
    self.assertLess(np.mean(np.all(training == evaluation, axis=(1, 2, 3))), 0.1)

  def test_shapes(self):
    make = lambda batch_size: evaluation_canvases(  # noqa: E731
      _digits(6), **_CANVASES, num_canvases=10, batch_size=batch_size, seed=0
    )
    self.assertEqual(make(5).element_spec[0].shape, [5, 20, 24, 1])
    self.assertEqual(make(4).element_spec[0].shape.as_list(), [None, 20, 24, 1])
    self.assertEqual(make(4).cardinality(), 3)

  def test_rejects(self):
    with self.assertRaisesRegex(ValueError, "num_canvases must be at least 1, got 0"):
      evaluation_canvases(_digits(6), **_CANVASES, num_canvases=0, batch_size=1, seed=0)
    with self.assertRaisesRegex(ValueError, "batch_size must be at least 1, got 0"):
      evaluation_canvases(_digits(6), **_CANVASES, num_canvases=5, batch_size=0, seed=0)


if __name__ == "__main__":
  tf.test.main()
