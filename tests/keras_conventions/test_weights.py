"""Class weights and sample weights."""

import numpy as np
import tensorflow as tf

from tests.keras_conventions.learners import (
  COUNT,
  Batches,
  expected_weights,
  fitted_weights,
  make_data,
  make_dataset,
  make_generator,
  make_learner,
)


class WeightsTest(tf.test.TestCase):
  def test_class_weight_is_the_sample_weight_of_each_class(self):
    images, labels = make_data()
    class_weight = {0: 2.0, 2: 0.5}
    sample_weight = np.array([2.0, 1.0, 0.5], np.float32)[labels]
    expected = fitted_weights(images, labels, batch_size=4, sample_weight=sample_weight)
    differences = [
      np.abs(one - other).max() for one, other in zip(expected, expected_weights(), strict=True)
    ]
    self.assertGreater(max(differences), 1e-3)
    for data in (
      (images, labels),
      (make_dataset(images, labels),),
      (Batches(images, labels),),
    ):
      found = fitted_weights(
        *data, class_weight=class_weight, **({"batch_size": 4} if data[1:] else {})
      )
      for one, other in zip(found, expected, strict=True):
        self.assertAllClose(one, other, rtol=1e-5, atol=1e-6)
    for make in (make_dataset, Batches, make_generator):
      for one, other in zip(
        fitted_weights(make(images, labels, sample_weight)), expected, strict=True
      ):
        self.assertAllClose(one, other, rtol=1e-5, atol=1e-6)

  def test_weights_multiply_the_losses(self):
    images, labels = map(tf.constant, make_data(4))
    weights = tf.constant([0.0, 1.0, 2.0, 3.0])
    learner = make_learner("wake_sleep")
    step = tf.cast(learner.optimizer.iterations, tf.int32)
    losses, _, _ = learner.losses(
      learner.look(images), labels, step, tf.stack([learner.seed, step])
    )
    expected = {name: tf.reduce_mean(weights * loss) for name, loss in losses.items()}
    self.assertAllClose(learner.differentiate(images, labels, weights).losses, expected)

  def test_an_image_of_weight_zero_teaches_nothing(self):
    images, labels = make_data(4)
    others = np.concatenate([images[:2], 1 - images[2:]]), np.concatenate([labels[:2], [0, 0]])
    weights = np.array([1.0, 1.0, 0.0, 0.0])
    for one, other in zip(
      fitted_weights(images, labels, sample_weight=weights),
      fitted_weights(*others, sample_weight=weights),
      strict=True,
    ):
      self.assertAllEqual(one, other)

  def test_evaluation_weighs_the_loss_alone(self):
    images, labels = make_data()
    learner, weights = make_learner(), np.linspace(0, 2, COUNT)
    plain, weighted = (
      learner.evaluate(images, labels, verbose=0, return_dict=True, sample_weight=weight)
      for weight in (None, weights)
    )
    self.assertNotAllClose(plain.pop("loss"), weighted.pop("loss"))
    self.assertAllClose(plain, weighted)

  def test_refuses_bad_weights(self):
    images, labels = make_data()
    for arguments, message in (
      ({"class_weight": {3: 1.0}}, "keys must be classes from 0 to 2"),
      ({"class_weight": {0: -1.0}}, "weights must be finite and at least 0"),
      ({"class_weight": {0: 1.0}, "sample_weight": np.ones(COUNT)}, "must not both be given"),
      ({"sample_weight": np.ones(3)}, r"sample_weight of shape \(3,\): must have shape \[B\]"),
      ({"sample_weight": np.full(COUNT, np.nan)}, "sample_weight: must be finite"),
    ):
      with self.subTest(message), self.assertRaisesRegex(ValueError, message):
        make_learner().fit(images, labels, verbose=0, **arguments)


if __name__ == "__main__":
  tf.test.main()
