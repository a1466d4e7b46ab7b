"""The loss of the answers before the last glimpse."""

import numpy as np
import tensorflow as tf

from wsram_tf import objectives


def _repeated(values: np.ndarray, actions: np.ndarray) -> tf.Tensor:
  """Values of each of two actions for samples of them: `[M, 1, ...]`."""
  return tf.constant(values[actions][:, np.newaxis])


class StepwiseLossTest(tf.test.TestCase):
  def test_is_the_expectation_under_the_prior_wherever_samples_come_from(self):
    # Two sequences of N = 2 glimpses. The samples hold each as often as s(a) has it.
    log_prior = np.log([[0.9, 0.4], [0.8, 0.8]])
    prior = np.exp(log_prior.sum(axis=1))
    log_likelihood = np.log([[0.5, 0.7], [0.2, 0.9]])
    expected = -np.average(log_likelihood[:, 0], weights=prior)
    for counts in ((1, 1), (1, 3), (5, 2)):
      actions = np.repeat([0, 1], counts)
      sampling = np.array(counts) / sum(counts)
      log_sampling = np.stack([np.log(sampling), np.zeros(2)], axis=1)
      loss = objectives.stepwise_loss(
        *(_repeated(one, actions) for one in (log_prior, log_sampling, log_likelihood))
      )
      with self.subTest(counts=counts):
        self.assertAllClose(loss, [expected], rtol=1e-10)

  def test_is_the_mean_over_the_glimpses_before_the_last(self):
    even = tf.zeros([3, 2, 4])
    log_likelihood = tf.constant(-np.random.RandomState(1).rand(3, 2, 4).astype(np.float32))
    loss = objectives.stepwise_loss(even, even, log_likelihood)
    self.assertAllClose(loss, -tf.reduce_mean(log_likelihood[..., :3], axis=[0, 2]))

  def test_only_the_likelihood_before_the_last_glimpse_learns(self):
    numbers = -np.random.RandomState(2).rand(3, 3, 2, 3).astype(np.float32)
    log_prior, log_sampling, log_likelihood = (tf.Variable(one) for one in numbers)
    with tf.GradientTape() as tape:
      loss = objectives.stepwise_loss(log_prior, log_sampling, log_likelihood)
    gradients = tape.gradient(loss, [log_prior, log_sampling, log_likelihood])
    self.assertEqual(gradients[:2], [None, None])
    self.assertAllEqual(gradients[2][..., -1], tf.zeros([3, 2]))
    self.assertAllClose(tf.reduce_sum(gradients[2], axis=[0, 2]), -tf.ones([2]))

  def test_one_glimpse_has_none_before_it(self):
    one = tf.constant(-1.0, shape=[2, 3, 1])
    self.assertAllEqual(objectives.stepwise_loss(one, one, one), tf.zeros([3]))


if __name__ == "__main__":
  tf.test.main()
