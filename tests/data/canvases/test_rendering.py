"""Rendering: exact pixels, resizing against a naive definition and TensorFlow, clutter."""

import numpy as np
import tensorflow as tf

from wsram_tf.data.canvases.rendering import add_clutter, cut_pieces, render_digits


def _naive_canvas(digit, side, top, left, canvas_shape) -> np.ndarray:
  """Computes the definition in float64, pixel by pixel."""
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

  def test_matches_the_definition(self):
    digits = np.random.default_rng(1).random([6, 7, 9], np.float32)
    sides, tops, lefts = [1, 3, 7, 8, 15, 20], [0, 4, 2, 12, 5, 0], [21, 0, 3, 1, 6, 2]
    canvases = render_digits(tf.constant(digits), sides, tops, lefts, (20, 22))
    for i, digit in enumerate(digits):
      expected = _naive_canvas(digit, sides[i], tops[i], lefts[i], (20, 22))
      # Headroom lowers the brightness by 2**-17.
      self.assertAllClose(canvases[i], expected, atol=1e-5, rtol=0)

  def test_matches_tensorflows_resize(self):
    digits = np.random.default_rng(2).random([1, 28, 28], np.float32)
    for side in (9, 14, 27, 29, 56):
      canvas = render_digits(tf.constant(digits), [side], [0], [0], (side, side))
      expected = tf.image.resize(digits[..., None], (side, side), antialias=True)[..., 0]
      self.assertAllClose(canvas, expected, atol=1e-5, rtol=0)

  def test_largest_side_changes_no_pixel(self):
    digits = np.random.default_rng(3).random([3, 7, 7], np.float32)
    places = [2, 7, 12], [0, 5, 30], [31, 2, 20]
    expected = render_digits(digits, *places, (40, 50))
    self.assertAllEqual(render_digits(digits, *places, (40, 50), largest_side=12), expected)

  def test_shrinking_keeps_thin_strokes(self):
    # Every sixth column is white: interpolation without averaging would copy it or skip it.
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
    digits = np.random.default_rng(3).random([3, 6, 6], np.float32)
    places = [4, 6, 11], [0, 3, 9], [13, 2, 0]
    self.assertAllClose(
      compiled(digits, *places), render_digits(digits, *places, (20, 24)), atol=2.0**-22, rtol=0
    )

  def test_rejects(self):
    with self.assertRaisesRegex(ValueError, r"canvas_shape=\(0, 5\): must be \(height, width\)"):
      render_digits(tf.ones([1, 2, 2]), [1], [0], [0], (0, 5))
    with self.assertRaisesRegex(
      ValueError, r"digits of shape \(2, 2\): must have shape \[B, h, w\]"
    ):
      render_digits(tf.ones([2, 2]), [1], [0], [0], (5, 5))


class AddClutterTest(tf.test.TestCase):
  def test_matches_a_loop(self):
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


class CutPiecesTest(tf.test.TestCase):
  def test_pieces_come_from_other_digits_at_every_place(self):
    # Digit i has the pixels 12 i to 12 i + 11, row by row, so a pixel shows its own origin.
    images = tf.reshape(tf.range(36, dtype=tf.int32), [3, 3, 4])
    numbers = np.indices([2, 2, 3]).reshape(3, 1, -1)  # Every other digit, row and column.
    others, tops, lefts = tf.constant(numbers, tf.int32)
    for own in range(3):
      pieces = cut_pieces(tf.cast(images, tf.uint8), tf.constant([own]), others, tops, lefts, 2)
      found = np.rint(pieces.numpy()[0] * 255).astype(int)
      digits, offsets = np.divmod(found[:, 0, 0], 12)
      self.assertAllEqual(np.unique(digits), [i for i in range(3) if i != own])
      self.assertLen(set(zip(digits, offsets, strict=True)), 12)
      self.assertAllEqual(found - found[:, :1, :1], np.tile([[0, 1], [4, 5]], [12, 1, 1]))


if __name__ == "__main__":
  tf.test.main()
