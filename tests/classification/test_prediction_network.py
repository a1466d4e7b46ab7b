"""The prediction network: the paths of information to the class, and its sequences."""

import dataclasses
from unittest import mock

import keras
import numpy as np
import tensorflow as tf

from tests.support.models.networks import (
  CLASSES,
  CONFIGS,
  CONTEXT,
  GLIMPSES,
  HEIGHT,
  IMAGES,
  PLAIN,
  SAMPLES,
  UNITS,
  WIDTH,
  PredictionNetworkTest,
  make_images,
  make_network,
  make_uniforms,
  weighted_sum,
)
from wsram_tf import layers
from wsram_tf.classification.prediction_network import PredictionNetwork
from wsram_tf.learning.sequences import samples_first, samples_last
from wsram_tf.location_families import make_location_distribution
from wsram_tf.observations import PixelObservation, area_means

# The cells of `gru` and `relu` do not change how a network looks.
_LOOKING = [name for name in CONFIGS if name not in ("gru", "relu")]


class PathsTest(PredictionNetworkTest):
  """What reaches the class, and what reaches the prior."""

  def test_low_resolution_image_reaches_the_class_through_the_locations_only(self):
    fixed = tf.constant(np.random.default_rng(4).uniform(-1, 1, [GLIMPSES, IMAGES * SAMPLES, 2]))
    for name in ("lstm", "gru", "grid", "learned scale", "keyed grid"):
      with self.subTest(name):
        network, images = make_network(CONFIGS[name]), make_images()
        context, core = network.context_network, network.core
        low = area_means(images, CONTEXT)
        with (
          mock.patch.object(PixelObservation, "low_resolution", return_value=low),
          tf.GradientTape(persistent=True) as tape,
        ):
          tape.watch([low, images])
          held = network.unroll(network.look(images), SAMPLES, lambda n, upper, prior: fixed[n])
          log_probs = weighted_sum(held.log_probs)
          log_prior = weighted_sum(held.log_prior)
          own = weighted_sum(network.attend(network.look(images), make_uniforms()).log_prior)
        to_context = [low, *context.weights]
        for layer in (network.cell_network, network.location_keys):
          to_context += layer.weights if layer else []
        self.assertNoGradient(tape.gradient(log_probs, to_context))
        looking = [*core.upper.weights, *network.location_network.weights]
        self.assertNoGradient(tape.gradient(log_probs, looking))
        seeing = [images, *network.glimpse_network.weights, *core.lower.weights]
        self.assertGradient(tape.gradient(log_probs, [*seeing, *network.classifier.weights]))
        self.assertGradient(tape.gradient(log_prior, [*to_context, *looking]))
        self.assertGradient(tape.gradient(own, [*to_context, *looking]))
        self.assertNoGradient(tape.gradient(log_prior, network.classifier.weights))

  def test_class_ignores_the_low_resolution_image_at_held_locations(self):
    fixed = tf.constant(np.random.default_rng(4).uniform(-1, 1, [GLIMPSES, IMAGES, 2]))
    for name in ("lstm", "gru", "keyed grid"):
      network, images = make_network(CONFIGS[name]), make_images()
      low = area_means(images, CONTEXT)
      found = []
      for copy in (low, 1.0 - low):
        with mock.patch.object(PixelObservation, "low_resolution", return_value=copy):
          found.append(network.unroll(network.look(images), 1, lambda n, upper, prior: fixed[n]))
      self.assertAllEqual(found[0].log_probs, found[1].log_probs)
      self.assertAllGreater(np.abs(found[0].log_prior - found[1].log_prior), 0.0)

  def test_first_glimpse_depends_on_the_low_resolution_image_alone(self):
    images = make_images().numpy()
    # Inside each block that becomes one pixel of the copy, one pixel gains what another loses.
    changed = images.copy()
    changed[:, 1 :: HEIGHT // CONTEXT, 2 :: WIDTH // CONTEXT] += 0.7
    changed[:, 3 :: HEIGHT // CONTEXT, 4 :: WIDTH // CONTEXT] -= 0.7
    for name in ("lstm", "gru", "keyed grid"):
      network = make_network(CONFIGS[name])
      one = network.attend(network.look(tf.constant(images)), make_uniforms())
      other = network.attend(network.look(tf.constant(changed)), make_uniforms())
      self.assertAllClose(one.locations[:, :, 0], other.locations[:, :, 0], rtol=0, atol=1e-12)
      self.assertAllClose(one.log_prior[:, :, 0], other.log_prior[:, :, 0], rtol=0, atol=1e-10)
      if name != "keyed grid":  # Cells are few, and a glimpse may fall into the same one.
        self.assertAllGreater(np.abs(one.locations[:, :, 1:] - other.locations[:, :, 1:]), 1e-6)
      self.assertAllGreater(np.abs(one.log_probs - other.log_probs), 1e-6)

  def test_a_location_is_a_constant(self):
    """Scores of samples that the prior drew have the gradient of scores of given samples."""
    for name in ("lstm", "learned scale", "grid", "keyed grid"):
      with self.subTest(name):
        network, images = make_network(CONFIGS[name]), make_images()
        rows = samples_last(network.attend(network.look(images), make_uniforms()).locations)
        gradients = []
        for attend in (
          lambda: network.attend(network.look(images), make_uniforms()),  # noqa: B023
          lambda: network.unroll(network.look(images), SAMPLES, lambda n, upper, prior: rows[:, n]),  # noqa: B023
        ):
          with tf.GradientTape() as tape:
            total = weighted_sum(attend().log_prior)
          gradients.append(tape.gradient(total, network.location_network.weights))
        self.assertGradient(gradients[0])
        for one, other in zip(*gradients, strict=True):
          self.assertAllClose(one, other, rtol=1e-10, atol=1e-10)


class SequencesTest(PredictionNetworkTest):
  """What `unroll`, `attend` and the call return."""

  def test_shapes_and_dtypes(self):
    policies = [(name, "float32") for name in CONFIGS] + [("lstm", "float64")]
    for name, policy in policies:
      with self.subTest(f"{name} {policy}"):
        keras.config.set_dtype_policy(policy)
        config = CONFIGS[name]
        network = PredictionNetwork(config)
        found = network.attend(network.look(make_images(config)), make_uniforms(config))
        self.assertEqual(found.locations.shape, [SAMPLES, IMAGES, GLIMPSES, 2])
        self.assertEqual(found.log_prior.shape, [SAMPLES, IMAGES, GLIMPSES])
        self.assertEqual(found.prior_entropy.shape, [SAMPLES, IMAGES, GLIMPSES])
        self.assertEqual(found.log_probs.shape, [SAMPLES, IMAGES, CLASSES])
        self.assertEqual({tensor.dtype.name for tensor in found}, {policy})
        answer = network(make_images(config))
        self.assertEqual(answer["class_id"].dtype, tf.int64)
        self.assertEqual(answer["class_id"].shape, [IMAGES])
        self.assertEqual(answer["probabilities"].dtype.name, policy)
        self.assertEqual(answer["locations"].shape, [IMAGES, GLIMPSES, 2])
        self.assertEqual("scales" in answer, "chosen" in name)
        if "scales" in answer:
          self.assertEqual(answer["scales"].dtype, tf.int64)
          self.assertEqual(answer["scales"].shape, [IMAGES, GLIMPSES])
          self.assertEqual(found.scales.shape, [SAMPLES, IMAGES, GLIMPSES])

  def test_call_is_the_sequence_at_the_mode(self):
    for name in _LOOKING:
      config = CONFIGS[name]
      with self.subTest(name):
        network, images = make_network(config), make_images(config)
        answer, sequences = network(images), network.attend(network.look(images))
        self.assertAllEqual(answer["locations"], sequences.locations[0])
        self.assertAllEqual(answer["probabilities"], tf.exp(sequences.log_probs[0]))
        self.assertAllEqual(answer["class_id"], np.argmax(answer["probabilities"], axis=-1))
        self.assertAllClose(
          tf.reduce_sum(answer["probabilities"], axis=-1), np.ones(IMAGES), rtol=1e-12
        )
        # A step away from the mode, no glimpse is likelier.
        rows = sequences.actions[0] + np.array([0.0, 0.3, 0.0])[: sequences.actions.shape[-1]]
        first = network.unroll(network.look(images), 1, lambda n, upper, prior: rows[:, n])  # noqa: B023
        self.assertAllLessEqual(first.log_prior[0, :, 0] - sequences.log_prior[0, :, 0], 0.0)

  def test_log_prior_and_entropy_are_those_of_the_distribution(self):
    for name in _LOOKING:
      config = CONFIGS[name]
      with self.subTest(name):
        network, images = make_network(config), make_images(config)
        distribution = make_location_distribution(config)
        rows = samples_last(make_uniforms(config))
        calls = []

        def choose(n, upper, prior, calls=calls, rows=rows, distribution=distribution):
          calls.append((n, upper, prior))
          return distribution.sample(prior, rows[:, n])

        found = network.unroll(network.look(images), SAMPLES, choose)
        self.assertSequences(network.attend(network.look(images), make_uniforms(config)), found)
        self.assertEqual([n for n, _, _ in calls], list(range(GLIMPSES)))
        for n, upper, prior in calls:
          self.assertEqual(upper.shape, [IMAGES * SAMPLES, UNITS])
          expected = self.prior(network, images, upper).numpy()
          if config.location.no_return:
            taken = network.cells(samples_last(found.actions)[:, :n])
            for row, cells in enumerate(taken.numpy()):
              expected[row, cells] -= 1e9
          self.assertAllEqual(prior, expected)
          log_prob = distribution.log_prob(prior, samples_last(found.actions)[:, n])
          self.assertAllClose(found.log_prior[:, :, n], samples_first(log_prob, SAMPLES))
          entropy = samples_first(distribution.entropy(prior), SAMPLES)
          self.assertAllClose(found.prior_entropy[:, :, n], entropy)

  def test_unroll_matches_its_parts_step_by_step(self):
    """One image, one sample, written out: what the method's page says, in its order."""
    for cell in ("lstm", "gru"):
      config = dataclasses.replace(CONFIGS[cell], num_glimpses=3)
      network, images = make_network(config), make_images(count=1)
      found = network.attend(network.look(images))
      sensor, core = network.glimpse_sensor, network.core
      upper = network.context_network(area_means(images, CONTEXT))
      lower = [tf.zeros([1, UNITS], tf.float64) for _ in upper]
      for n in range(3):
        location = tf.tanh(network.location_network(upper[0]))
        self.assertAllClose(found.locations[0, :, n], location, rtol=1e-12)
        glimpse = network.glimpse_network(sensor(sensor.prepare(images), location), location)
        lower, upper = core(glimpse, layers.CoreState(lower, upper))
      self.assertAllClose(found.log_probs[0], network.classifier(lower[0]), rtol=1e-12)

  def test_a_view_serves_all_sequences(self):
    network, images = make_network(CONFIGS["keyed grid"]), make_images()
    expected = network.attend(network.look(images), make_uniforms())
    view = network.look(images)
    with mock.patch.object(network, "look", side_effect=AssertionError("made again")):
      for _ in range(2):
        self.assertSequences(network.attend(view, make_uniforms()), expected)
    plain = make_network(PLAIN).look(images)
    self.assertIsNone(plain.cells)
    self.assertIsNone(plain.keys)

  def test_attend_is_a_pure_function_of_its_uniforms(self):
    network, images = make_network(PLAIN), make_images()
    found = network.attend(network.look(images), make_uniforms())
    for one, other in zip(
      found, network.attend(network.look(images), make_uniforms()), strict=True
    ):
      self.assertAllEqual(one, other)
    other = network.attend(network.look(images), 1.0 - make_uniforms())
    self.assertAllGreater(np.abs(found.locations - other.locations), 1e-6)

  def test_samples_together_are_samples_apart(self):
    for name in ("lstm", "convolutional, 3 channels", "grid", "keyed grid"):
      config = CONFIGS[name]
      with self.subTest(name):
        network, images, uniforms = make_network(config), make_images(config), make_uniforms(config)
        apart = [network.attend(network.look(images), uniforms[m : m + 1]) for m in range(SAMPLES)]
        expected = [tf.concat(tensors, axis=0) for tensors in zip(*apart, strict=True)]
        self.assertSequences(network.attend(network.look(images), uniforms), expected)

  def test_an_image_does_not_see_its_neighbours(self):
    for name in ("relu", "convolutional, 3 channels", "learned scale", "keyed grid, chosen scale"):
      config = CONFIGS[name]
      with self.subTest(name):
        network, images, uniforms = make_network(config), make_images(config), make_uniforms(config)
        apart = [
          network.attend(network.look(images[b : b + 1]), uniforms[:, b : b + 1])
          for b in reversed(range(IMAGES))
        ]
        expected = [tf.concat(tensors[::-1], axis=1) for tensors in zip(*apart, strict=True)]
        self.assertSequences(network.attend(network.look(images), uniforms), expected)


if __name__ == "__main__":
  tf.test.main()
