"""Every estimator's loss and gradient where an action is a location and a scale, by enumeration."""

import numpy as np
import tensorflow as tf
from scipy import special

from tests.support.models.enumeration import TOLERANCE
from wsram_tf import objectives
from wsram_tf.locations import GridLocations, ScaledLocations

# One glimpse: two cells at three scales, so six actions. Its parameters are five logits.
CELLS, SCALES = 2, 3
ACTIONS = CELLS * SCALES
FAMILY = ScaledLocations(GridLocations(1, CELLS), SCALES)
PRIOR = np.array([0.2, -0.6, 0.4, -0.9, 0.1])
PROPOSAL = np.array([-0.3, 0.5, 0.8, 0.1, -0.4])
LIKELIHOOD = np.array([0.4, 1.3, -0.5, -2.2, -0.2, -0.7])
IS_CORRECT = np.array([1.0, 1.0, 0.0, 0.0, 1.0, 0.0])
BASELINE = 0.3
# Of the logit of each action, one logit of the joint distribution, with respect to the parameters.
JACOBIAN = np.array(
  [
    [*np.eye(CELLS)[cell], *np.eye(SCALES)[scale]]
    for cell in range(CELLS)
    for scale in range(SCALES)
  ]
)


def family_log_probs(parameters: tf.Tensor, temperature: float) -> tf.Tensor:
  """log p of all actions, float64 `[..., 6]`, by the family, from parameters `[..., 5]`."""
  cells = FAMILY.locations.centres(tf.repeat(tf.range(CELLS), SCALES), tf.float64)
  scales = tf.tile(tf.range(SCALES, dtype=tf.float64), [CELLS])
  actions = tf.concat([cells, scales[:, tf.newaxis]], axis=-1)
  return FAMILY.log_prob(parameters[..., tf.newaxis, :], actions, temperature)


def joint_log_probs(logits: tf.Tensor, temperature: float) -> tf.Tensor:
  """The same by one categorical distribution over the six actions, from its logits `[..., 6]`."""
  return tf.nn.log_softmax(logits / temperature)


def enumerated(name, num_samples, log_probs, prior, proposal, temperature=1.0):
  """The expected losses and gradients over all tuples of samples.

  Returns:
    the expected loss; the gradient by the prior's, likelihood's and proposal's parameters.
  """
  estimator = objectives.ESTIMATORS[name]
  tuples = np.indices([ACTIONS] * num_samples).reshape(num_samples, -1)  # [M, T]
  count = tuples.shape[1]
  variables = [tf.Variable(np.tile(x, [count, 1])) for x in (prior, LIKELIHOOD, proposal)]

  def pick(values: tf.Tensor) -> tf.Tensor:
    return tf.transpose(tf.gather(values, tuples.T, batch_dims=1))[..., tf.newaxis]

  with tf.GradientTape() as tape:
    log_prior, log_proposal = (pick(log_probs(v, 1.0)) for v in (variables[0], variables[2]))
    sampling = {
      "prior": lambda: pick(log_probs(variables[0], temperature)),
      "inference": lambda: pick(log_probs(variables[2], temperature)),
      "mixture": lambda: (
        tf.reduce_logsumexp(
          tf.stack([pick(log_probs(variables[i], temperature)) for i in (0, 2)]), axis=0
        )
        - np.log(2.0)
      ),
    }[estimator.samples_from]()
    scored = objectives.ScoredSequences(
      log_prior=log_prior,
      log_likelihood=pick(tf.math.log_sigmoid(variables[1])),
      log_sampling=sampling,
      log_proposal=log_proposal,
      is_correct=tf.constant(IS_CORRECT[tuples][..., np.newaxis]),
      baseline=tf.fill([num_samples, count, 1], tf.constant(BASELINE, tf.float64)),
    )
    loss = estimator.prediction_loss(scored)
    if estimator.inference_loss:
      loss += estimator.inference_loss(scored)
  gradients = tape.gradient(loss, variables, unconnected_gradients="zero")
  probabilities = np.exp(sampling.numpy()[..., 0].sum(axis=0))
  np.testing.assert_allclose(probabilities.sum(), 1.0, rtol=0, atol=TOLERANCE)
  return probabilities @ loss.numpy(), [probabilities @ g.numpy() for g in gradients]


class ScaledActionsTest(tf.test.TestCase):
  def test_every_estimator_equals_one_categorical_distribution_over_all_actions(self):
    joint = JACOBIAN @ PRIOR, JACOBIAN @ PROPOSAL
    for name, estimator in objectives.ESTIMATORS.items():
      for num_samples, temperature in ((2, 1.0), (3, 2.0)):
        with self.subTest(name, num_samples=num_samples, temperature=temperature):
          self.assertGreaterEqual(num_samples, estimator.least_samples)
          loss, found = enumerated(
            name, num_samples, family_log_probs, PRIOR, PROPOSAL, temperature
          )
          joint_loss, expected = enumerated(name, num_samples, joint_log_probs, *joint, temperature)
          self.assertAllClose(loss, joint_loss, 0, TOLERANCE)
          self.assertAllClose(found[0], expected[0] @ JACOBIAN, 0, TOLERANCE)
          self.assertAllClose(found[1], expected[1], 0, TOLERANCE)
          self.assertAllClose(found[2], expected[2] @ JACOBIAN, 0, TOLERANCE)

  def test_variational_gradients_are_those_of_the_bound(self):
    prior = special.softmax(JACOBIAN @ PRIOR)
    scores = JACOBIAN - prior @ JACOBIAN  # d log p(a) / d parameters
    log_likelihood = -np.logaddexp(0, -LIKELIHOOD)
    for name in objectives.ESTIMATORS:
      if name.startswith("variational"):
        signal = IS_CORRECT if "correctness" in name else log_likelihood
        _, (by_prior, by_likelihood, _) = enumerated(name, 2, family_log_probs, PRIOR, PROPOSAL)
        with self.subTest(name):
          self.assertAllClose(by_prior, -(prior * signal) @ scores, 0, TOLERANCE)
          expected = -prior / (1 + np.exp(LIKELIHOOD))
          self.assertAllClose(by_likelihood, expected, 0, TOLERANCE)

  def test_the_bias_of_wake_sleep_shrinks(self):
    prior = special.softmax(JACOBIAN @ PRIOR)
    posterior = prior * special.expit(LIKELIHOOD)
    posterior /= posterior.sum()
    exact = -posterior @ (JACOBIAN - prior @ JACOBIAN)
    for name in ("wake_sleep", "wake_sleep_prior", "wake_sleep_mixture"):
      biases = [
        np.linalg.norm(enumerated(name, m, family_log_probs, PRIOR, PROPOSAL)[1][0] - exact)
        for m in (2, 3, 4)
      ]
      with self.subTest(name):
        self.assertAllLess(np.diff(biases), 0.0)


if __name__ == "__main__":
  tf.test.main()
