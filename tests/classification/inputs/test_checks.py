"""Checks: good batches pass unchanged, each broken rule is named."""

import numpy as np
import tensorflow as tf

from wsram_tf.classification.inputs.checks import check_arrays, check_batch

_SHAPE, _CLASSES = (5, 6, 1), 10


def _good(count: int = 4) -> tuple[np.ndarray, np.ndarray]:
  images = np.random.default_rng(0).random([count, *_SHAPE], np.float32)
  images.flat[:2] = 0.0, 1.0
  return images, np.arange(count, dtype=np.int32) % _CLASSES


def _with(array: np.ndarray, value: float) -> np.ndarray:
  changed = array.copy()
  changed.flat[len(changed.flat) // 2] = value
  return changed


def _bad_values() -> list[tuple[np.ndarray, np.ndarray, str]]:
  images, labels = _good()
  return [
    (_with(images, np.nan), labels, "images: must be finite"),
    (_with(images, np.inf), labels, "images: must be finite.*inf"),
    (_with(images, -np.inf), labels, "images: must be finite.*-inf"),
    (_with(images, -0.25), labels, r"images: must lie within 0\.\.1.*-0\.25"),
    (images * 255, labels, r"images: must lie within 0\.\.1 .*divide.*by 255.*255"),
    (images, _with(labels, -1), r"labels: must lie within 0\.\.9.*-1"),
    (images, _with(labels, 10), r"labels: must lie within 0\.\.9.*10"),
  ]


def _bad_forms() -> list[tuple[np.ndarray, np.ndarray, str]]:
  images, labels = _good()
  return [
    ((images * 255).astype(np.uint8), labels, "images: must be of a floating dtype.*255.*uint8"),
    (images[..., 0], labels, r"images: must have shape \[B, 5, 6, 1\], got \(4, 5, 6\)"),
    (images[:, :4], labels, r"images: must have shape \[B, 5, 6, 1\], got \(4, 4, 6, 1\)"),
    (images, labels.astype(np.float32), "labels: must be of an integer dtype, got float32"),
    (images, labels[:, np.newaxis], r"labels: must have rank 1.*got shape \(4, 1\)"),
    (images, labels[:3], "equally many, got 4 images and 3 labels"),
  ]


class CheckArraysTest(tf.test.TestCase):
  def test_passes_good_arrays(self):
    images, labels = _good()
    for dtype in (np.float16, np.float32, np.float64):
      for label_dtype in (np.uint8, np.int32, np.int64):
        check_arrays(images.astype(dtype), labels.astype(label_dtype), _SHAPE, _CLASSES)

  def test_rejects(self):
    for images, labels, message in _bad_values() + _bad_forms():
      with self.subTest(message), self.assertRaisesRegex(ValueError, message):
        check_arrays(images, labels, _SHAPE, _CLASSES)
    images, labels = _good(0)
    with self.assertRaisesRegex(ValueError, "images: must hold at least one pixel"):
      check_arrays(images, labels, _SHAPE, _CLASSES)
    with self.assertRaisesRegex(ValueError, r"image_shape: must be .* got \(5, 6\)"):
      check_arrays(*_good(), (5, 6), _CLASSES)


class CheckBatchTest(tf.test.TestCase):
  def test_is_the_identity_on_good_batches(self):
    for count in (0, 1, 4):
      images, labels = _good(4)
      images, labels = images[:count], labels[:count]
      for function in (check_batch, tf.function(check_batch)):
        checked = function(tf.constant(images), tf.constant(labels), _SHAPE, _CLASSES)
        self.assertAllEqual(checked[0], images)
        self.assertAllEqual(checked[1], labels)
        self.assertEqual(checked[0].dtype, tf.float32)

  def test_raises_while_tracing_what_is_known_then(self):
    for images, labels, message in _bad_forms():
      with self.subTest(message), self.assertRaisesRegex(ValueError, message):
        tf.function(check_batch)(tf.constant(images), tf.constant(labels), _SHAPE, _CLASSES)

  def test_raises_in_a_pipeline(self):
    for images, labels, message in _bad_values():
      dataset = tf.data.Dataset.from_tensors((images, labels))
      dataset = dataset.map(lambda x, y: check_batch(x, y, _SHAPE, _CLASSES))
      with (
        self.subTest(message),
        self.assertRaisesRegex(tf.errors.InvalidArgumentError, f"(?s){message}"),
      ):
        list(dataset)

  def test_raises_where_shapes_were_unknown(self):
    spec = [tf.TensorSpec(None, tf.float32), tf.TensorSpec(None, tf.int32)]
    compiled = tf.function(lambda x, y: check_batch(x, y, _SHAPE, _CLASSES), input_signature=spec)
    images, labels = _good()
    self.assertAllEqual(compiled(images, labels)[0], images)
    checked_spec = compiled.get_concrete_function().structured_outputs[0]
    self.assertEqual(checked_spec.shape.as_list(), [None, *_SHAPE])
    for bad_images, bad_labels, message in (
      (images[..., 0], labels, r"images: must have shape \[B, 5, 6, 1\]"),
      (images[:, :4], labels, r"images: must have shape \[B, 5, 6, 1\]"),
      (images, labels[:, np.newaxis], "labels: must have rank 1"),
      (images, labels[:3], "equally many"),
    ):
      with (
        self.subTest(message),
        self.assertRaisesRegex(tf.errors.InvalidArgumentError, f"(?s){message}"),
      ):
        compiled(bad_images, bad_labels)

  def test_half_precision_and_any_integer(self):
    images, labels = _good()
    for dtype in (tf.float16, tf.bfloat16, tf.float64):
      for label_dtype in (tf.uint8, tf.int64):
        checked = check_batch(
          tf.cast(images, dtype), tf.cast(labels, label_dtype), _SHAPE, _CLASSES
        )
        self.assertEqual((checked[0].dtype, checked[1].dtype), (dtype, label_dtype))

  def test_finds_one_bad_pixel_anywhere(self):
    images, labels = np.zeros([2, 5, 7, 1], np.float32), np.zeros([2], np.int32)
    compiled = tf.function(lambda x: check_batch(x, labels, (5, 7, 1), _CLASSES)[0])
    for place in range(images.size):
      bad = images.copy()
      bad.flat[place] = np.nan
      with self.assertRaisesRegex(tf.errors.InvalidArgumentError, "finite"):
        compiled(bad)


if __name__ == "__main__":
  tf.test.main()
