"""Credit: for which parts of the target a glimpse answers."""

import numpy as np
import tensorflow as tf

from wsram_tf import objectives

_PARTS = 5


def _scored(**credit) -> objectives.ScoredSequences:
  generator = np.random.default_rng(0)
  prior, likelihood, sampling = (tf.constant(generator.normal(size=[3, 2, _PARTS])) for _ in "abc")
  return objectives.ScoredSequences(prior, likelihood, sampling, **credit)


class CreditTest(tf.test.TestCase):
  def test_horizon_counts_so_many_parts_from_the_glimpse_on(self):
    for horizon in range(7):
      scored = _scored(credit_by_part=True, credit_horizon=horizon)
      log_joint = (scored.log_prior + scored.log_likelihood - scored.log_sampling).numpy()
      until = horizon or _PARTS
      expected = np.stack(
        [log_joint[..., n : n + until].sum(axis=-1) for n in range(_PARTS)], axis=-1
      )
      self.assertAllClose(scored.log_weights, expected, rtol=1e-12, atol=1e-12)

  def test_without_credit_by_part_a_glimpse_answers_for_all(self):
    scored = _scored(credit_horizon=2)
    log_joint = (scored.log_prior + scored.log_likelihood - scored.log_sampling).numpy()
    self.assertAllClose(scored.log_weights, log_joint.sum(axis=-1, keepdims=True), rtol=1e-12)


if __name__ == "__main__":
  tf.test.main()
