"""Drawing sequences: from which distribution, scored by which, and the same in every mode."""

import keras
import numpy as np
import tensorflow as tf

import wsram_tf
from wsram_tf.classification.sampling import draw_sequences, dream, label_proposal
from wsram_tf.learning import sampling

_CONFIG = wsram_tf.ModelConfig(
  height=20,
  width=24,
  num_classes=4,
  units=8,
  num_glimpses=2,
  context_side=4,
  glimpse=wsram_tf.GlimpseConfig(glimpse_side=6),
)


def networks(family: str = "normal") -> tuple:
  """A prediction and an inference network that disagree on where to look."""
  keras.utils.set_random_seed(2)
  location = wsram_tf.LocationConfig(
    location_distribution=family, grid_rows=2, grid_columns=3, location_units=5
  )
  prediction = wsram_tf.PredictionNetwork(
    wsram_tf.ModelConfig(**{**vars(_CONFIG), "location": location})
  )
  inference = wsram_tf.InferenceNetwork(
    prediction.location_distribution.num_parameters,
    units=8,
    target_size=4,
    state_size=8,
    location_units=5 if family == "keyed_grid" else 0,
  )
  for weight in prediction.weights + inference.weights:
    weight.assign_add(0.2 * keras.random.normal(weight.shape))
  return prediction, inference


def images(count: int = 3) -> tf.Tensor:
  return tf.constant(np.random.default_rng(0).uniform(size=[count, 20, 24, 1]), tf.float32)


def draw(prediction, inference, samples_from, uniforms, **sampler):
  target = tf.one_hot([0, 3, 1], 4)
  return draw_sequences(
    prediction,
    inference,
    prediction.look(images()),
    target,
    uniforms,
    sampling.Sampler(samples_from, **sampler),
  )


class UniformsTest(tf.test.TestCase):
  def test_are_the_same_in_every_mode(self):
    for seed in ([0, 0], [3, 77], [-4, 77]):
      eager = sampling.stateless_uniforms([5, 16, 2, 2], tf.constant(seed))
      self.assertAllInRange(eager, 2.0**-24, 1.0 - 2.0**-24)
      for compiled in (False, True):
        traced = tf.function(
          lambda seed: sampling.stateless_uniforms([5, 16, 2, 2], seed),
          jit_compile=compiled,
          autograph=False,
        )
        self.assertAllEqual(traced(tf.constant(seed)), eager)

  def test_depend_on_both_numbers_of_the_seed(self):
    drawn = [
      tuple(sampling.stateless_uniforms([4], tf.constant(seed)).numpy())
      for seed in ([0, 0], [0, 1], [1, 0], [1, 1], [-1, 0])
    ]
    self.assertLen(set(drawn), 5)


class DrawSequencesTest(tf.test.TestCase):
  def setUp(self):
    super().setUp()
    self.uniforms = sampling.stateless_uniforms([4, 3, 2, 3], tf.constant([1, 2]))

  def test_each_source_is_scored_by_itself(self):
    for family in ("normal", "grid", "keyed_grid"):
      prediction, inference = networks(family)
      distribution = prediction.location_distribution
      for temperature in (1.0, 2.0) if family == "normal" else (2.0,):
        prior = draw(prediction, None, "prior", self.uniforms, temperature=temperature)
        self.assertIsNone(prior.log_proposal)
        tempered = distribution.log_prob(
          prior.sequences.prior_parameters, prior.sequences.locations, temperature
        )
        self.assertAllClose(prior.log_sampling, tempered)
        known = draw(prediction, inference, "prior", self.uniforms, temperature=temperature)
        self.assertAllEqual(known.sequences.locations, prior.sequences.locations)
        own = draw(prediction, inference, "inference", self.uniforms, temperature=temperature)
        self.assertNotAllClose(own.sequences.locations, prior.sequences.locations)
        same = np.allclose(own.log_sampling, own.log_proposal)
        self.assertEqual(same, temperature == 1.0)
        self.assertNotAllClose(own.log_proposal, own.sequences.log_prior)

  def test_mixture_lies_between_and_meets_its_ends(self):
    prediction, inference = networks()
    prior = draw(prediction, inference, "prior", self.uniforms)
    own = draw(prediction, inference, "inference", self.uniforms)
    for fraction, expected in ((1e-6, own), (1 - 1e-6, prior)):
      drawn = draw(prediction, inference, "mixture", self.uniforms, prior_fraction=fraction)
      self.assertAllClose(drawn.sequences.locations, expected.sequences.locations)
      self.assertAllClose(drawn.log_sampling, expected.log_sampling, rtol=1e-3, atol=1e-3)
    drawn = draw(prediction, inference, "mixture", self.uniforms, prior_fraction=0.25)
    exact = np.log(0.25 * np.exp(drawn.sequences.log_prior) + 0.75 * np.exp(drawn.log_proposal))
    self.assertAllClose(drawn.log_sampling, exact, rtol=1e-5, atol=1e-5)
    # The first glimpse depends on no other, so each is one or the other's.
    first = [x.sequences.locations[:, :, 0].numpy() for x in (drawn, prior, own)]
    from_prior = (first[0] == first[1]).all(axis=-1)
    self.assertAllEqual(from_prior, self.uniforms[:, :, 0, 2] < 0.25)
    self.assertTrue(((first[0] == first[2]).all(axis=-1) | from_prior).all())

  def test_the_label_reaches_the_proposal_alone(self):
    prediction, inference = networks()
    uniforms = self.uniforms[..., :2]
    for samples_from, differs in (("prior", False), ("inference", True)):
      drawn = [
        draw_sequences(
          prediction,
          inference,
          prediction.look(images()),
          tf.one_hot(labels, 4),
          uniforms,
          sampling.Sampler(samples_from),
        )
        for labels in ([0, 1, 2], [1, 2, 3])
      ]
      same = np.allclose(drawn[0].sequences.locations, drawn[1].sequences.locations)
      self.assertEqual(same, not differs)
      if samples_from == "prior":  # The same places, scored by two proposals.
        self.assertNotAllClose(drawn[0].log_proposal, drawn[1].log_proposal)


class ProposalTest(tf.test.TestCase):
  """What sequences are scored by is what they were drawn from, glimpse by glimpse."""

  def test_parameters_along_sequences_draw_them_again(self):
    uniforms = sampling.stateless_uniforms([4, 3, 2, 2], tf.constant([1, 2]))
    target = tf.tile(tf.one_hot([0, 3, 1], 4)[tf.newaxis], [4, 1, 1])
    for family in ("normal", "grid", "keyed_grid"):
      with self.subTest(family):
        prediction, inference = networks(family)
        distribution = prediction.location_distribution
        view = prediction.look(images())
        drawn = draw(prediction, inference, "inference", uniforms)
        parameters = label_proposal(prediction, inference, view, target).along(drawn.sequences)
        again = distribution.sample(parameters, uniforms)
        self.assertAllClose(again, drawn.sequences.locations, rtol=1e-5, atol=1e-5)
        log_proposal = distribution.log_prob(parameters, drawn.sequences.locations)
        self.assertAllClose(log_proposal, drawn.log_proposal, rtol=1e-5, atol=1e-5)
        drawn = draw(prediction, inference, "prior", uniforms)
        again = distribution.sample(drawn.sequences.prior_parameters, uniforms)
        self.assertAllClose(again, drawn.sequences.locations, rtol=1e-5, atol=1e-5)


class DreamTest(tf.test.TestCase):
  def test_labels_come_from_the_likelihood_of_the_dreamt_glimpses(self):
    for family in ("grid", "keyed_grid"):
      with self.subTest(family):
        self.check_labels(*networks(family))

  def check_labels(self, prediction, inference):
    view = prediction.look(images())
    keys = inference.keys(view.cells)
    if keys is not None:  # Each row its own keys, since here samples lead.
      keys = tf.tile(keys, [2, 1, 1])
    uniforms = sampling.stateless_uniforms([2, 3, 2, 2], tf.constant([5, 5]))
    sequences = prediction.attend(view, uniforms)
    probabilities = np.exp(sequences.log_probs)
    for numbers in (np.full([2, 3], 0.001), np.full([2, 3], 0.6), np.full([2, 3], 0.999)):
      labels = [
        [np.searchsorted(np.cumsum(p), u) for p, u in zip(row, us, strict=True)]
        for row, us in zip(probabilities, numbers, strict=True)
      ]
      expected = [
        prediction.location_distribution.log_prob(
          inference(tf.reshape(tf.one_hot(labels, 4), [6, 4]), tf.reshape(upper, [6, 8]), keys),
          tf.reshape(locations, [6, 2]),
        )
        for upper, locations in zip(
          tf.unstack(sequences.upper, axis=2), tf.unstack(sequences.locations, axis=2), strict=True
        )
      ]
      found = dream(prediction, inference, view, uniforms, tf.constant(numbers, tf.float32))
      self.assertAllClose(tf.reshape(found, [6, 2]), tf.stack(expected, axis=1), 1e-5, 1e-5)

  def test_teaches_the_inference_network_alone(self):
    for family in ("normal", "keyed_grid"):
      with self.subTest(family):
        self.check_gradients(*networks(family))

  def check_gradients(self, prediction, inference):
    uniforms = sampling.stateless_uniforms([1, 3, 2, 2], tf.constant([5, 5]))
    with tf.GradientTape(persistent=True) as tape:
      view = prediction.look(images())
      loss = tf.reduce_sum(dream(prediction, inference, view, uniforms, tf.fill([1, 3], 0.5)))
    for gradient in tape.gradient(loss, prediction.trainable_variables):
      if gradient is not None:
        self.assertAllEqual(gradient, tf.zeros_like(gradient))
    for gradient in tape.gradient(loss, inference.trainable_variables):
      self.assertGreater(np.abs(gradient).max(), 0.0)


if __name__ == "__main__":
  tf.test.main()
