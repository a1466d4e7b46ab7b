"""Bad images and labels, as arrays and as datasets: the learner refuses them; good ones pass."""

import numpy as np
import tensorflow as tf

from tests.classification.learners import (
  EVALUATION_METRICS,
  TRAINING_METRICS,
  make_data,
  make_learner,
)


class RefusalsTest(tf.test.TestCase):
  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    cls.learner = make_learner()
    cls.learner.compile(optimizer="sgd", run_eagerly=True)

  def _bad(self) -> list[tuple[np.ndarray, np.ndarray, str]]:
    images, labels = make_data(4)
    with_nan = images.copy()
    with_nan[2, 3, 4] = np.nan
    return [
      (with_nan, labels, "images: must be finite"),
      (images * 255, labels, r"images: must lie within 0\.\.1"),
      (images, labels + 1, r"labels: must lie within 0\.\.3"),
      (images, labels - 1, r"labels: must lie within 0\.\.3"),
      (images[:, :, :20], labels, r"images: must have shape \[B, 20, 24, 1\]"),
    ]

  def test_arrays(self):
    good = make_data(4)
    for images, labels, message in self._bad():
      for name, use in {
        "fit": lambda x, y: self.learner.fit(x, y, verbose=0),
        "validate": lambda x, y: self.learner.fit(*good, validation_data=(x, y), verbose=0),
        "evaluate": lambda x, y: self.learner.evaluate(x, y, verbose=0),
      }.items():
        with self.subTest(f"{name}: {message}"), self.assertRaisesRegex(ValueError, message):
          use(images, labels)
    self.assertEqual(int(self.learner.optimizer.iterations), 0)

  def test_datasets(self):
    for images, labels, message in self._bad():
      # Of unknown shape, so that only running it can show what is wrong.
      signature = (tf.TensorSpec(None, tf.float32), tf.TensorSpec(None, tf.int32))
      data = tf.data.Dataset.from_generator(
        lambda images=images, labels=labels: iter([(images, labels)]), output_signature=signature
      )
      for name, use in {"fit": self.learner.fit, "evaluate": self.learner.evaluate}.items():
        with (
          self.subTest(f"{name}: {message}"),
          self.assertRaisesRegex(tf.errors.InvalidArgumentError, message),
        ):
          use(data, verbose=0)

  def test_datasets_of_wrong_shape_are_refused_before_running(self):
    images, labels = make_data(4)
    data = tf.data.Dataset.from_tensors((images[:, :, :20], labels))
    with self.assertRaisesRegex(ValueError, r"images: must have shape \[B, 20, 24, 1\]"):
      self.learner.fit(data, verbose=0)

  def test_good_data_passes(self):
    images, labels = make_data(6)
    data = tf.data.Dataset.from_tensor_slices((images, labels)).batch(4)
    history = self.learner.fit(data, validation_data=data, verbose=0).history
    self.assertEqual(
      set(history), TRAINING_METRICS | {f"val_{name}" for name in EVALUATION_METRICS}
    )
    by_arrays = self.learner.evaluate(images, labels, batch_size=4, verbose=0, return_dict=True)
    by_dataset = self.learner.evaluate(data, verbose=0, return_dict=True)
    self.assertAllClose(by_arrays, by_dataset, rtol=1e-5, atol=1e-5)
    for name, value in by_dataset.items():
      self.assertAllClose(history[f"val_{name}"], [value], rtol=1e-5, atol=1e-5)


if __name__ == "__main__":
  tf.test.main()
