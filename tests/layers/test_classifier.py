"""The classifier: normalised log-probabilities, accurate where probabilities underflow."""

import numpy as np
import tensorflow as tf
from scipy import special

from wsram_tf.layers import Classifier


class ClassifierTest(tf.test.TestCase):
  def test_matches_numpy_at_moderate_and_extreme_scores(self):
    lower = np.random.default_rng(0).normal(size=[3, 4]).astype(np.float32)
    classifier = Classifier(5)
    for scale in (1.0, 1000.0):
      found = classifier(lower * scale)
      kernel, bias = classifier.logits.kernel.numpy(), classifier.logits.bias.numpy()
      logits = (lower * scale).astype(np.float64) @ kernel.astype(np.float64) + bias
      self.assertAllClose(found, special.log_softmax(logits, axis=-1), rtol=1e-4, atol=1e-5)
      self.assertAllClose(tf.reduce_logsumexp(found, axis=-1), np.zeros(3), atol=1e-5)


if __name__ == "__main__":
  tf.test.main()
