"""Canvases: uniform draws, clutter, and batches that depend on the seed and the step alone."""

import numpy as np
import tensorflow as tf

from wsram_tf.data.canvases import canvas_dataset, evaluation_canvases
from wsram_tf.data.canvases.config import CanvasConfig
from wsram_tf.data.digits import Digits

_HEIGHT, _WIDTH = 20, 24


def _layout(num_clutter: int = 0) -> dict:
  """Arguments of small canvases that are not square."""
  return dict(canvas=CanvasConfig(_HEIGHT, 4, 11, num_clutter), canvas_width=_WIDTH)


def _digits(count: int, side: int = 6) -> Digits:
  images = np.random.default_rng(3).integers(1, 256, [count, side, side], dtype=np.uint8)
  return Digits(images, np.arange(count, dtype=np.int32))


def _white(count: int, side: int = 6) -> Digits:
  return Digits(np.full([count, side, side], 255, np.uint8), np.arange(count, dtype=np.int32))


def _take(dataset: tf.data.Dataset, count: int) -> list[tuple[np.ndarray, np.ndarray]]:
  return list(dataset.take(count).as_numpy_iterator())


def _boxes(images: np.ndarray) -> np.ndarray:
  """Finds (top, bottom, left, right) of the lit pixels, ends exclusive: `[B, 4]`."""
  edges = []
  for axis in (2, 1):
    lit = images[..., 0].any(axis=axis)
    edges += [lit.argmax(axis=1), lit.shape[1] - lit[:, ::-1].argmax(axis=1)]
  return np.stack(edges, axis=1)


class CanvasDatasetTest(tf.test.TestCase):
  def test_elements(self):
    dataset = canvas_dataset(_digits(5), **_layout(), batch_size=7, seed=0)
    self.assertEqual(
      dataset.element_spec,
      (tf.TensorSpec([7, 20, 24, 1], tf.float32), tf.TensorSpec([7], tf.int32)),
    )
    self.assertEqual(dataset.cardinality(), tf.data.INFINITE_CARDINALITY)
    for images, _ in _take(dataset, 5):
      self.assertAllInRange(images, 0.0, 1.0)

  def test_every_epoch_visits_each_digit_once_in_another_order(self):
    # 10 epochs of 7 digits in batches of 5: epochs end inside batches.
    dataset = canvas_dataset(_digits(7), **_layout(), batch_size=5, seed=1)
    labels = np.concatenate([labels for _, labels in _take(dataset, 14)]).reshape(10, 7)
    self.assertAllEqual(np.sort(labels, axis=1), np.tile(np.arange(7), (10, 1)))
    # 10 orders out of 7! = 5,040: two of them agree by chance in 0.9% of seeds.
    self.assertLen({tuple(order) for order in labels}, 10)

  def test_orders_of_epochs_are_uncorrelated(self):
    n, epochs = 4000, 60
    digits = _digits(n, side=2)
    dataset = canvas_dataset(digits, canvas=CanvasConfig(2, 2, 2), batch_size=n, seed=0)
    labels = np.stack([labels for _, labels in _take(dataset, epochs)])
    correlations = np.corrcoef(labels)[np.triu_indices(epochs, 1)]
    # Pairs of independent orders have variance 1 / (n - 1), and 1,770 pairs give its estimate a
    # relative standard error of sqrt(2 / 1770) = 3.4%; four of them: false alarm 1 in 16,000.
    self.assertAllClose(np.mean(correlations**2) * (n - 1), 1.0, atol=4 * 0.034)

  def test_images_show_their_labels(self):
    digits = _digits(9)
    dataset = canvas_dataset(digits, canvas=CanvasConfig(6, 6, 6), batch_size=20, seed=2)
    ((images, labels),) = _take(dataset, 1)
    self.assertAllEqual(images[..., 0], digits.images[labels].astype(np.float32) / 255)

  def test_seed_and_step_determine_a_batch(self):
    make = lambda **more: canvas_dataset(  # noqa: E731
      _digits(7), **_layout(3), clutter_side=2, batch_size=5, **more
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
    # Each epoch draws the same digit anew.
    self.assertLen({image.tobytes() for x, _ in whole for image in x}, 40)

  def test_far_steps_start_at_once(self):
    make = lambda start: canvas_dataset(  # noqa: E731
      _digits(7), **_layout(), batch_size=5, seed=3, start_step=start
    )
    far = 7 * 10**9
    (labels,) = [y for _, y in _take(make(far), 1)]
    self.assertLen(set(labels), 5)
    self.assertAllEqual(_take(make(far - 1), 2)[1][1], labels)

  def test_sides_and_places_are_uniform_and_within_the_canvas(self):
    # In white digits the lit box is the digit's square.
    height, width = 9, 11
    count = 20_000
    dataset = canvas_dataset(
      _white(1000, side=4),
      canvas=CanvasConfig(height, 3, 6),
      canvas_width=width,
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
      seen[outcome] += 1  # KeyError if a digit leaves the canvas.
    chi_square = sum((seen[o] - expected[o]) ** 2 / expected[o] for o in outcomes)
    freedom = len(outcomes) - 1
    # Chi-square has mean `freedom`, variance twice that; 4 standard deviations: about 1 in 10,000.
    self.assertLess(abs(chi_square - freedom), 4 * np.sqrt(2 * freedom))
    # The rarest outcome is expected 94 times.
    self.assertGreater(min(seen.values()), 0)

  def test_digits_are_captured_not_copied_into_the_graph(self):
    digits = _digits(5000)
    dataset = canvas_dataset(digits, **_layout(2), clutter_side=3, batch_size=2, seed=0)
    mapped = dataset._input_dataset._input_dataset  # Below the options and the prefetching.
    (function,) = mapped._functions()  # Its graph has no public accessor.
    size = function.function.graph.as_graph_def().ByteSize()
    self.assertLess(size, digits.images.nbytes)

  def test_rejects(self):
    good = dict(_layout(), batch_size=2, seed=0)
    cluttered = dict(_layout(1), batch_size=2, seed=0)
    large = CanvasConfig(4096, 4, 11, 1)
    for arguments, message in (
      ({**good, "canvas_width": 10}, "canvas_width=10: must be at least largest_digit=11"),
      (cluttered, r"clutter_side=8: must be from 1 to 6, the shortest side"),
      ({**cluttered, "clutter_side": 0}, "clutter_side=0: must be from 1 to 6"),
      ({**good, "batch_size": 0}, "batch_size=0: must be at least 1"),
      (
        dict(canvas=large, clutter_side=2, batch_size=128, seed=0),
        "batch_size=128: must be at most 127 for canvases of 4096 x 4096 pixels with clutter",
      ),
      ({**good, "seed": -1}, r"seed=-1: must be from 0 to 2\*\*63 - 1"),
      ({**good, "start_step": -1}, "start_step=-1: must be at least 0"),
    ):
      with self.subTest(message), self.assertRaisesRegex(ValueError, message):
        canvas_dataset(_digits(3), **arguments)

  def test_rejects_malformed_digits(self):
    few = _digits(3)
    good = dict(_layout(), batch_size=2, seed=0)
    for digits, message in (
      (_digits(0), r"digits\.images of shape \(0, 6, 6\): must not be empty"),
      (
        Digits(few.images, few.labels[:2]),
        "length 3, digits.labels of length 2: must have the sam",
      ),
      (Digits(few.images, few.labels * 1.0), "labels of dtype float64 and .*: must be integer"),
      (Digits(few.images / 255, few.labels), "images of dtype float64 and .*: must be uint8"),
      (
        Digits(few.images[0], few.labels),
        r"images of dtype uint8 and shape \(6, 6\): must be uint",
      ),
    ):
      with self.subTest(message), self.assertRaisesRegex(ValueError, message):
        canvas_dataset(digits, **good)
    with self.assertRaisesRegex(
      ValueError, "digits of length 1: must be at least 2 where num_clut"
    ):
      canvas_dataset(_digits(1), **_layout(1), batch_size=2, seed=0, clutter_side=2)


class ClutterInDatasetTest(tf.test.TestCase):
  def _batch(self, digits: Digits, num_clutter: int, batch_size: int) -> np.ndarray:
    dataset = evaluation_canvases(
      digits,
      canvas=CanvasConfig(40, 6, 6, num_clutter),
      clutter_side=3,
      num_canvases=batch_size,
      batch_size=batch_size,
      seed=6,
    )
    ((images, _),) = _take(dataset, 1)
    return images[..., 0]

  def test_one_piece_lies_anywhere_and_comes_from_any_part_of_another_digit(self):
    # Digit i has the pixels 40 i + 1 to 40 i + 36, so a pixel shows its own origin.
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

  def test_pastes_num_clutter_pieces(self):
    digits = _white(2)
    for num_clutter in (0, 1, 4):
      lit = np.count_nonzero(self._batch(digits, num_clutter, 500), axis=(1, 2))
      # Overlaps only hide pixels, and some of 500 canvases have none.
      self.assertEqual(lit.max(), 36 + 9 * num_clutter)

  def test_never_darkens_a_digit(self):
    digits = _digits(20)
    dataset = evaluation_canvases(
      digits,
      canvas=CanvasConfig(6, 6, 6, 5),
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
      **_layout(2),
      clutter_side=3,
      num_canvases=count,
      batch_size=batch_size,
      seed=seed,
    )
    images, labels = zip(*dataset.as_numpy_iterator(), strict=True)
    self.assertTrue(all(len(image) == batch_size for image in images[:-1]))
    return np.concatenate(images), np.concatenate(labels)

  def test_digits_repeat_in_order(self):
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
    dataset = evaluation_canvases(_digits(6), **_layout(), num_canvases=10, batch_size=4, seed=0)
    first, second = (list(dataset.as_numpy_iterator()) for _ in range(2))
    for (x, y), (x_again, y_again) in zip(first, second, strict=True):
      self.assertAllEqual(x, x_again)
      self.assertAllEqual(y, y_again)

  def test_differs_from_training_under_one_seed(self):
    digits = _white(1)
    ((training, _),) = _take(canvas_dataset(digits, **_layout(), batch_size=64, seed=0), 1)
    fixed = evaluation_canvases(digits, **_layout(), num_canvases=64, batch_size=64, seed=0)
    ((evaluation, _),) = _take(fixed, 1)
    self.assertLess(np.mean(np.all(training == evaluation, axis=(1, 2, 3))), 0.1)

  def test_shapes(self):
    make = lambda batch_size: evaluation_canvases(  # noqa: E731
      _digits(6), **_layout(), num_canvases=10, batch_size=batch_size, seed=0
    )
    self.assertEqual(make(5).element_spec[0].shape, [5, 20, 24, 1])
    self.assertEqual(make(4).element_spec[0].shape.as_list(), [None, 20, 24, 1])
    self.assertEqual(make(4).cardinality(), 3)

  def test_rejects(self):
    with self.assertRaisesRegex(ValueError, "num_canvases=0: must be at least 1"):
      evaluation_canvases(_digits(6), **_layout(), num_canvases=0, batch_size=1, seed=0)
    with self.assertRaisesRegex(ValueError, "batch_size=0: must be at least 1"):
      evaluation_canvases(_digits(6), **_layout(), num_canvases=5, batch_size=0, seed=0)


if __name__ == "__main__":
  tf.test.main()
