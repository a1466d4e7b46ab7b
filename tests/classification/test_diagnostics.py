"""Diagnostics: enumeration against sequences one by one, draws against enumeration."""

import keras
import numpy as np
import tensorflow as tf

import wsram_tf
from wsram_tf.classification import diagnostics

_MODEL = wsram_tf.ModelConfig(
  height=12,
  width=12,
  num_classes=3,
  units=5,
  cell="relu",  # Of the fewest operations.
  num_glimpses=2,
  context_side=3,
  glimpse=wsram_tf.GlimpseConfig(glimpse_side=4, glimpse_scales=1),
  location=wsram_tf.LocationConfig(location_distribution="grid", grid_rows=2, grid_columns=2),
)
_SEARCH = wsram_tf.LocationConfig(
  "keyed_grid", location_filters=(), location_units=3, location_saliency=0.7, no_return=True
)
_IMAGES = tf.constant(np.random.default_rng(0).uniform(size=[3, 12, 12, 1]), tf.float32)
_LABELS = tf.constant([0, 2, 1])


def make_learner(estimator: str, num_samples: int = 3, **model) -> wsram_tf.WakeSleepLearner:
  keras.utils.set_random_seed(4)
  learner = wsram_tf.WakeSleepLearner(
    wsram_tf.ModelConfig(**{**vars(_MODEL), **model}),
    wsram_tf.ObjectiveConfig(estimator=estimator, num_samples=num_samples),
  )
  for weight in learner.weights:  # Far from the start, where all cells are alike.
    if weight.path.startswith(("prediction", "inference")):
      weight.assign_add(0.5 * keras.random.normal(weight.shape))
  return learner


class EnumerateModelTest(tf.test.TestCase):
  def test_matches_sequences_one_by_one(self):
    keyed = wsram_tf.LocationConfig("keyed_grid", location_filters=(), location_units=3)
    for location, sequences in ((_MODEL.location, 16), (keyed, 16), (_SEARCH, 12)):
      with self.subTest(location=location):
        learner = make_learner("wake_sleep", location=location, context_side=2)
        self.assertEqual(diagnostics.count_sequences(learner), sequences)
        self.check_sequences(learner)

  def check_sequences(self, learner):
    no_return = learner.model_config.location.no_return
    found = diagnostics.enumerate_model(learner, _IMAGES, _LABELS)
    network, inference = learner.prediction_network, learner.inference_network
    view = network.look(_IMAGES)
    keys = inference.keys(view.cells, view.saliency)
    distribution = learner.prediction_network.location_distribution

    @tf.function(autograph=False)
    def score(cells):
      """log p(a, y) and log q(a) of one sequence of two cells, `[B]` each."""
      proposal = []

      def choose(n, upper, prior):
        location = distribution.centres(tf.fill([3], cells[n]))
        parameters = inference(tf.one_hot(_LABELS, 3), upper, keys)
        if no_return and n:
          parameters = tf.where(tf.range(4) == cells[0], -np.inf, parameters)
        proposal.append(distribution.log_prob(parameters, location))
        return location

      one = network.unroll(view, 1, choose)
      likelihood = tf.gather(one.log_probs[0], _LABELS, batch_dims=1)
      return tf.reduce_sum(one.log_prior[0], axis=-1) + likelihood, tf.add_n(proposal)

    sequences = [cells for cells in np.ndindex(4, 4) if not no_return or cells[0] != cells[1]]
    scores = [score(tf.constant(cells)) for cells in sequences]
    log_joint, log_proposal = (np.array(part) for part in zip(*scores, strict=True))
    joint = np.exp(log_joint.astype(np.float64))
    posterior = joint / joint.sum(axis=0)
    divergence = (posterior * (np.log(posterior) - log_proposal)).sum(axis=0)
    self.assertAllClose(found.log_marginal_likelihood, np.log(joint.sum(axis=0)), 1e-4, 1e-5)
    self.assertAllClose(found.proposal_divergence, divergence, 1e-3, 1e-4)
    self.assertAllGreater(found.proposal_divergence, 0.01)

  def test_refuses_what_cannot_be_enumerated(self):
    normal = make_learner("wake_sleep", location=wsram_tf.LocationConfig())
    with self.assertRaisesRegex(ValueError, "location_distribution=normal: must be grid"):
      diagnostics.enumerate_model(normal, _IMAGES, _LABELS)
    many = make_learner("wake_sleep", num_glimpses=7)
    with self.assertRaisesRegex(ValueError, "num_glimpses=7: must give at most 4096 sequences"):
      diagnostics.enumerate_model(many, _IMAGES, _LABELS)
    with self.assertRaisesRegex(ValueError, "num_samples=4: must give at most 4096 tuples"):
      diagnostics.enumerate_gradient(make_learner("wake_sleep"), _IMAGES[0], 0, num_samples=4)
    with self.assertRaisesRegex(ValueError, "draws=1: must be at least 2"):
      diagnostics.GradientProbe(normal, _IMAGES, _LABELS, draws=1)


class EnumerateGradientTest(tf.test.TestCase):
  def test_bias_of_wake_sleep_shrinks_and_its_control_variate_takes_noise_out(self):
    biases, variances = [], {}
    two = wsram_tf.LocationConfig("grid", grid_rows=2, grid_columns=1)
    for num_samples in (2, 3):
      learner = make_learner("wake_sleep", num_glimpses=1, location=two)
      moments, exact = diagnostics.enumerate_gradient(learner, _IMAGES[0], 0, num_samples)
      self.assertEqual(set(moments), {"prediction", "inference"})
      biases.append(np.linalg.norm(moments["prediction"].mean - exact))
      plain = make_learner("wake_sleep_no_control_variate", num_glimpses=1, location=two)
      variances[num_samples] = (
        moments["prediction"].variance,
        diagnostics.enumerate_gradient(plain, _IMAGES[0], 0, num_samples)[0]["prediction"].variance,
      )
    self.assertAllLess(np.diff(biases), 0.0)
    for centred, plain in variances.values():
      self.assertLess(centred, plain)

  def test_vimco_is_unbiased_for_its_bound_by_the_prediction_network(self):
    learner = make_learner("vimco_prior", num_glimpses=1)
    moments, _ = diagnostics.enumerate_gradient(learner, _IMAGES[0], 0, num_samples=2)
    variables = [variable.value for variable in learner.prediction_network.trainable_variables]
    with tf.GradientTape() as tape:
      sequences = learner.prediction_network.unroll(
        learner.look(_IMAGES[:1]),
        4,
        lambda n, upper, prior: learner.prediction_network.location_distribution.centres(
          tf.range(4)
        ),
      )
      log_likelihood, log_prior = sequences.log_probs[:, 0, 0], sequences.log_prior[:, 0, 0]
      pairs = [(i, j) for i in range(4) for j in range(4)]
      loss = -tf.add_n(
        [
          tf.exp(log_prior[i] + log_prior[j])
          * (tf.reduce_logsumexp(tf.stack([log_likelihood[i], log_likelihood[j]])) - np.log(2.0))
          for i, j in pairs
        ]
      )
    exact = [
      tf.reshape(g, [-1]) for g in tape.gradient(loss, variables, unconnected_gradients="zero")
    ]
    self.assertAllClose(moments["prediction"].mean, tf.concat(exact, 0), 1e-4, 1e-5)

  def test_is_exact_for_sequences_without_return(self):
    learner = make_learner("variational", location=_SEARCH, context_side=2)
    moments, _ = diagnostics.enumerate_gradient(learner, _IMAGES[0], 0, num_samples=1)
    network = learner.prediction_network
    variables = [variable.value for variable in network.trainable_variables]
    pairs = np.array([(i, j) for i in range(4) for j in range(4) if i != j])
    actions = network.location_distribution.centres(tf.constant(pairs))
    with tf.GradientTape() as tape:
      view = learner.look(_IMAGES[:1])
      sequences = network.unroll(view, 12, lambda n, upper, prior: actions[:, n])
      priors = [  # Without the exclusion, which this test computes by itself.
        [network.prior(view, sequences.upper[m, :, n])[0] for n in range(2)] for m in range(12)
      ]
      probabilities = [
        tf.nn.softmax(first)[i]
        * tf.nn.softmax(tf.gather(second, [cell for cell in range(4) if cell != i]))[j - (j > i)]
        for (first, second), (i, j) in zip(priors, pairs, strict=True)
      ]
      loss = -tf.reduce_sum(tf.stack(probabilities) * sequences.log_probs[:, 0, 0])
    self.assertAllClose(sum(probabilities), 1.0)
    exact = tape.gradient(loss, variables, unconnected_gradients="zero")
    exact = tf.concat([tf.reshape(gradient, [-1]) for gradient in exact], axis=0)
    self.assertAllClose(moments["prediction"].mean, exact, 1e-4, 1e-5)


class GradientProbeTest(tf.test.TestCase):
  def test_draws_agree_with_enumeration(self):
    learner = make_learner("wake_sleep", num_samples=2, num_glimpses=1)
    exact, _ = diagnostics.enumerate_gradient(learner, _IMAGES[0], 0, num_samples=2)
    draws = 600
    probe = diagnostics.GradientProbe(learner, _IMAGES[:1], _LABELS[:1], draws)
    before = [weight.numpy() for weight in learner.weights]
    moments = probe.moments(step=0)
    self.assertEqual(set(moments), set(exact))
    for name, moment in moments.items():
      # The squared distance of the means is variance / draws on average; nine times as much for a
      # false alarm in fewer than one of ten thousand runs, were the seed not fixed.
      distance = np.square(moment.mean - exact[name].mean).sum()
      self.assertLess(distance, 9 * exact[name].variance / draws)
      self.assertAllClose(moment.variance, exact[name].variance, rtol=0.3)
    self.assertAllEqual(probe.moments(step=0)["prediction"].mean, moments["prediction"].mean)
    for weight, value in zip(learner.weights, before, strict=True):
      self.assertAllEqual(weight, value)


if __name__ == "__main__":
  tf.test.main()
