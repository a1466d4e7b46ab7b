"""The sleep phase, by enumeration: it fits the proposal to the model's own posterior."""

import numpy as np
import tensorflow as tf

from tests.support.models import enumeration
from wsram_tf import objectives


class SleepTest(tf.test.TestCase):
  def test_gradient_vanishes_at_the_posterior_and_is_unbiased(self):
    toy = enumeration.TOY
    prior = np.exp(enumeration.log_probs(toy.prior).numpy())
    right = 1 / (1 + np.exp(-toy.likelihood))
    # For each label of the toy: the joint of sequences and label, and the exact posterior.
    for joint in (prior * right, prior * (1 - right)):
      posterior = enumeration.parameters_of(joint / joint.sum())
      for parameters in (toy.proposal, posterior):
        copies = tf.Variable(np.tile(parameters, [enumeration.NUM_SEQUENCES, 1]))
        with tf.GradientTape() as tape:
          log_proposal = tf.linalg.diag_part(enumeration.log_probs(copies))
          loss = objectives.sleep_proposal_loss(log_proposal[tf.newaxis])
        mean = joint @ tape.gradient(loss, copies).numpy() / joint.sum()
        exact = -(joint / joint.sum()) @ enumeration.scores(parameters)
        self.assertAllClose(mean, exact, 0, enumeration.TOLERANCE)
        if parameters is posterior:
          self.assertAllClose(mean, np.zeros_like(mean), 0, enumeration.TOLERANCE)
        else:
          self.assertGreater(np.abs(mean).max(), 0.01)

  def test_averages_over_samples(self):
    loss = objectives.sleep_proposal_loss(tf.constant([[-1.0, 2.0], [-3.0, 0.0]]))
    self.assertAllClose(loss, [2.0, -1.0])


if __name__ == "__main__":
  tf.test.main()
