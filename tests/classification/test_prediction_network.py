"""The prediction network: what may reach the class, what its answers depend on, and its shapes."""

import dataclasses
import json
import os
from unittest import mock

import keras
import numpy as np
import tensorflow as tf

from wsram_tf import layers
from wsram_tf.classification.config import GlimpseConfig, LocationConfig, ModelConfig
from wsram_tf.classification.prediction_network import PredictionNetwork
from wsram_tf.learning.sequences import samples_first, samples_last
from wsram_tf.location_families import make_location_distribution
from wsram_tf.locations import GridLocations, NormalLocations, ScaledLocations, action_size

# B, M, N, and the size of the canvas; the context copy averages blocks of 5 x 6 pixels.
IMAGES, SAMPLES, GLIMPSES = 3, 2, 3
HEIGHT, WIDTH, CONTEXT, UNITS, CLASSES = 20, 24, 4, 8, 10

PLAIN = ModelConfig(
  height=HEIGHT,
  width=WIDTH,
  units=UNITS,
  num_glimpses=GLIMPSES,
  context_side=CONTEXT,
  glimpse=GlimpseConfig(glimpse_side=6, glimpse_scales=2),
)
CONFIGS = {
  "lstm": PLAIN,
  "gru": dataclasses.replace(PLAIN, cell="gru"),
  "convolutional, 3 channels": dataclasses.replace(
    PLAIN,
    channels=3,
    glimpse=GlimpseConfig(glimpse_side=6, glimpse_scales=2, glimpse_filters=(4, 3)),
  ),
  "grid": dataclasses.replace(PLAIN, location=LocationConfig("grid", grid_rows=4, grid_columns=5)),
  "learned scale": dataclasses.replace(PLAIN, location=LocationConfig("normal_learned_scale")),
  "keyed grid": dataclasses.replace(
    PLAIN, location=LocationConfig("keyed_grid", location_filters=(3,), location_units=5)
  ),
  "relu": dataclasses.replace(PLAIN, cell="relu"),
  "chosen scale": dataclasses.replace(
    PLAIN, glimpse=GlimpseConfig(glimpse_side=3, glimpse_scales=3, choose_scale=True)
  ),
  "keyed grid, chosen scale": dataclasses.replace(
    PLAIN,
    glimpse=GlimpseConfig(glimpse_side=6, glimpse_scales=2, choose_scale=True),
    location=LocationConfig("keyed_grid", location_filters=(3,), location_units=5),
  ),
}


def _network(config: ModelConfig) -> PredictionNetwork:
  """A network whose weights, biases included, are large enough that everything matters."""
  network = PredictionNetwork(config)
  generator = np.random.default_rng(0)
  network.set_weights([generator.normal(scale=0.5, size=w.shape) for w in network.weights])
  return network


def _images(config: ModelConfig = PLAIN, count: int = IMAGES) -> tf.Tensor:
  values = np.random.default_rng(1).random([count, *config.image_shape])
  return tf.constant(values, keras.config.dtype_policy().compute_dtype)


def _uniforms(config: ModelConfig = PLAIN) -> tf.Tensor:
  numbers = action_size(make_location_distribution(config))
  values = np.random.default_rng(2).uniform(0.01, 0.99, [SAMPLES, IMAGES, GLIMPSES, numbers])
  return tf.constant(values, keras.config.dtype_policy().compute_dtype)


def _weighted_sum(tensor: tf.Tensor) -> tf.Tensor:
  """A scalar that every element moves, so that no gradient cancels."""
  return tf.reduce_sum(tensor * np.random.default_rng(3).normal(size=tensor.shape))


class PredictionNetworkTest(tf.test.TestCase):
  def setUp(self):
    super().setUp()
    # Float64 separates equal values from nearly equal ones.
    self.addCleanup(keras.config.set_dtype_policy, keras.config.dtype_policy())
    keras.config.set_dtype_policy("float64")

  def assertNoGradient(self, gradients):
    for gradient in gradients:
      if gradient is not None:
        self.assertAllEqual(gradient, tf.zeros_like(gradient))

  def assertGradient(self, gradients):
    for gradient in gradients:
      self.assertIsNotNone(gradient)
      self.assertGreater(np.abs(gradient).max(), 0.0)

  def prior(self, network, images, upper):
    """The prior's parameters, written out."""
    if not network.cell_network:
      return network.location_network(upper)
    cells = network.cell_network(network.context_network.low_resolution(images))
    return network.location_network(network.location_keys(cells), upper)

  def assertSequences(self, found, expected):
    for field, one, other in zip(found._fields, found, expected, strict=True):
      self.assertAllClose(one, other, rtol=1e-10, atol=1e-10, msg=field)


class PathsTest(PredictionNetworkTest):
  """What reaches the class, and what reaches the prior."""

  def test_low_resolution_image_reaches_the_class_through_the_locations_only(self):
    fixed = tf.constant(np.random.default_rng(4).uniform(-1, 1, [GLIMPSES, IMAGES * SAMPLES, 2]))
    for name in ("lstm", "gru", "grid", "learned scale", "keyed grid"):
      with self.subTest(name):
        network, images = _network(CONFIGS[name]), _images()
        context, core = network.context_network, network.core
        low = context.low_resolution(images)
        with (
          mock.patch.object(context, "low_resolution", return_value=low),
          tf.GradientTape(persistent=True) as tape,
        ):
          tape.watch([low, images])
          held = network.unroll(network.look(images), SAMPLES, lambda n, upper, prior: fixed[n])
          log_probs = _weighted_sum(held.log_probs)
          log_prior = _weighted_sum(held.log_prior)
          own = _weighted_sum(network.attend(network.look(images), _uniforms()).log_prior)
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
      network, images = _network(CONFIGS[name]), _images()
      low = network.context_network.low_resolution(images)
      found = []
      for copy in (low, 1.0 - low):
        with mock.patch.object(network.context_network, "low_resolution", return_value=copy):
          found.append(network.unroll(network.look(images), 1, lambda n, upper, prior: fixed[n]))
      self.assertAllEqual(found[0].log_probs, found[1].log_probs)
      self.assertAllGreater(np.abs(found[0].log_prior - found[1].log_prior), 0.0)

  def test_first_glimpse_depends_on_the_low_resolution_image_alone(self):
    images = _images().numpy()
    # Inside each block that becomes one pixel of the copy, one pixel gains what another loses.
    changed = images.copy()
    changed[:, 1 :: HEIGHT // CONTEXT, 2 :: WIDTH // CONTEXT] += 0.7
    changed[:, 3 :: HEIGHT // CONTEXT, 4 :: WIDTH // CONTEXT] -= 0.7
    for name in ("lstm", "gru", "keyed grid"):
      network = _network(CONFIGS[name])
      one = network.attend(network.look(tf.constant(images)), _uniforms())
      other = network.attend(network.look(tf.constant(changed)), _uniforms())
      self.assertAllClose(one.locations[:, :, 0], other.locations[:, :, 0], rtol=0, atol=1e-12)
      self.assertAllClose(one.log_prior[:, :, 0], other.log_prior[:, :, 0], rtol=0, atol=1e-10)
      if name != "keyed grid":  # Cells are few, and a glimpse may fall into the same one.
        self.assertAllGreater(np.abs(one.locations[:, :, 1:] - other.locations[:, :, 1:]), 1e-6)
      self.assertAllGreater(np.abs(one.log_probs - other.log_probs), 1e-6)

  def test_a_location_is_a_constant(self):
    """Scores of samples that the prior drew have the gradient of scores of given samples."""
    for name in ("lstm", "learned scale", "grid", "keyed grid"):
      with self.subTest(name):
        network, images = _network(CONFIGS[name]), _images()
        rows = samples_last(network.attend(network.look(images), _uniforms()).locations)
        gradients = []
        for attend in (
          lambda: network.attend(network.look(images), _uniforms()),  # noqa: B023
          lambda: network.unroll(network.look(images), SAMPLES, lambda n, upper, prior: rows[:, n]),  # noqa: B023
        ):
          with tf.GradientTape() as tape:
            total = _weighted_sum(attend().log_prior)
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
        found = network.attend(network.look(_images(config)), _uniforms(config))
        self.assertEqual(found.locations.shape, [SAMPLES, IMAGES, GLIMPSES, 2])
        self.assertEqual(found.log_prior.shape, [SAMPLES, IMAGES, GLIMPSES])
        self.assertEqual(found.prior_entropy.shape, [SAMPLES, IMAGES, GLIMPSES])
        self.assertEqual(found.log_probs.shape, [SAMPLES, IMAGES, CLASSES])
        self.assertEqual({tensor.dtype.name for tensor in found}, {policy})
        answer = network(_images(config))
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
    for name, config in CONFIGS.items():
      with self.subTest(name):
        network, images = _network(config), _images(config)
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
    for name, config in CONFIGS.items():
      with self.subTest(name):
        network, images = _network(config), _images(config)
        distribution = make_location_distribution(config)
        rows = samples_last(_uniforms(config))
        calls = []

        def choose(n, upper, prior, calls=calls, rows=rows, distribution=distribution):
          calls.append((n, upper, prior))
          return distribution.sample(prior, rows[:, n])

        found = network.unroll(network.look(images), SAMPLES, choose)
        self.assertSequences(network.attend(network.look(images), _uniforms(config)), found)
        self.assertEqual([n for n, _, _ in calls], list(range(GLIMPSES)))
        for n, upper, prior in calls:
          self.assertEqual(upper.shape, [IMAGES * SAMPLES, UNITS])
          self.assertAllEqual(prior, self.prior(network, images, upper))
          log_prob = distribution.log_prob(prior, samples_last(found.actions)[:, n])
          self.assertAllClose(found.log_prior[:, :, n], samples_first(log_prob, SAMPLES))
          entropy = samples_first(distribution.entropy(prior), SAMPLES)
          self.assertAllClose(found.prior_entropy[:, :, n], entropy)

  def test_unroll_matches_its_parts_step_by_step(self):
    """One image, one sample, written out: what the method's page says, in its order."""
    for cell in ("lstm", "gru"):
      network, images = _network(CONFIGS[cell]), _images(count=1)
      found = network.attend(network.look(images))
      sensor, core = network.glimpse_sensor, network.core
      upper = network.context_network(network.context_network.low_resolution(images))
      lower = [tf.zeros([1, UNITS], tf.float64) for _ in upper]
      for n in range(GLIMPSES):
        location = tf.tanh(network.location_network(upper[0]))
        self.assertAllClose(found.locations[0, :, n], location, rtol=1e-12)
        glimpse = network.glimpse_network(sensor(sensor.prepare(images), location), location)
        lower, upper = core(glimpse, layers.CoreState(lower, upper))
      self.assertAllClose(found.log_probs[0], network.classifier(lower[0]), rtol=1e-12)

  def test_a_view_serves_all_sequences(self):
    network, images = _network(CONFIGS["keyed grid"]), _images()
    expected = network.attend(network.look(images), _uniforms())
    view = network.look(images)
    with mock.patch.object(network, "look", side_effect=AssertionError("made again")):
      for _ in range(2):
        self.assertSequences(network.attend(view, _uniforms()), expected)
    plain = _network(PLAIN).look(images)
    self.assertIsNone(plain.cells)
    self.assertIsNone(plain.keys)

  def test_attend_is_a_pure_function_of_its_uniforms(self):
    network, images = _network(PLAIN), _images()
    found = network.attend(network.look(images), _uniforms())
    for one, other in zip(found, network.attend(network.look(images), _uniforms()), strict=True):
      self.assertAllEqual(one, other)
    other = network.attend(network.look(images), 1.0 - _uniforms())
    self.assertAllGreater(np.abs(found.locations - other.locations), 1e-6)

  def test_samples_together_are_samples_apart(self):
    for name in ("lstm", "convolutional, 3 channels", "grid", "keyed grid"):
      config = CONFIGS[name]
      with self.subTest(name):
        network, images, uniforms = _network(config), _images(config), _uniforms(config)
        apart = [network.attend(network.look(images), uniforms[m : m + 1]) for m in range(SAMPLES)]
        expected = [tf.concat(tensors, axis=0) for tensors in zip(*apart, strict=True)]
        self.assertSequences(network.attend(network.look(images), uniforms), expected)

  def test_an_image_does_not_see_its_neighbours(self):
    for name in ("relu", "convolutional, 3 channels", "learned scale", "keyed grid, chosen scale"):
      config = CONFIGS[name]
      with self.subTest(name):
        network, images, uniforms = _network(config), _images(config), _uniforms(config)
        apart = [
          network.attend(network.look(images[b : b + 1]), uniforms[:, b : b + 1])
          for b in reversed(range(IMAGES))
        ]
        expected = [tf.concat(tensors[::-1], axis=1) for tensors in zip(*apart, strict=True)]
        self.assertSequences(network.attend(network.look(images), uniforms), expected)


class VariationsTest(PredictionNetworkTest):
  """Graphs, unknown batches, XLA, saving."""

  def test_attend_takes_any_number_of_images(self):
    for name in ("relu", "convolutional, 3 channels", "learned scale", "keyed grid, chosen scale"):
      config = CONFIGS[name]
      with self.subTest(name):
        network, images, uniforms = _network(config), _images(config), _uniforms(config)
        batch = tf.TensorSpec([None, *config.image_shape], tf.float64)
        samples = tf.TensorSpec([SAMPLES, None, *uniforms.shape[2:]], tf.float64)
        attend = tf.function(
          lambda images, uniforms, network=network: network.attend(network.look(images), uniforms),
          input_signature=[batch, samples],
        )
        expected = network.attend(network.look(images), uniforms)
        for count in (0, 1, IMAGES):
          found = attend(images[:count], uniforms[:, :count])
          self.assertSequences(found, [tensor[:, :count] for tensor in expected])

  def test_call_takes_any_number_of_images(self):
    network, images = _network(CONFIGS["grid"]), _images()
    batch = tf.TensorSpec([None, *images.shape[1:]], tf.float64)
    call = tf.function(network, input_signature=[batch])
    for count in (1, IMAGES):
      found = call(images[:count])
      for key, value in network(images[:count]).items():
        self.assertAllClose(found[key], value, rtol=1e-10)
    nothing = call(images[:0])
    self.assertEqual(nothing["class_id"].shape, [0])
    self.assertEqual(nothing["probabilities"].shape, [0, CLASSES])
    self.assertEqual(nothing["locations"].shape, [0, GLIMPSES, 2])

  def test_compiled(self):
    for name, loops in (
      ("lstm", True),
      ("grid", False),
      ("keyed grid", True),
      ("chosen scale", True),
      ("keyed grid, chosen scale", False),
    ):
      with self.subTest(f"{name} loops={loops}"):
        network, images, uniforms = _network(CONFIGS[name]), _images(), _uniforms(CONFIGS[name])

        @tf.function(jit_compile=True)
        def attend(images, uniforms, network=network, loops=loops):
          view = network.look(images, loop_over_images=loops)
          return network.attend(view, uniforms)

        self.assertSequences(
          attend(images, uniforms), network.attend(network.look(images), uniforms)
        )

  def test_config_round_trip(self):
    for name, config in CONFIGS.items():
      with self.subTest(name):
        network = PredictionNetwork(config)
        copy = PredictionNetwork.from_config(json.loads(json.dumps(network.get_config())))
        self.assertEqual(copy.config, config)
        self.assertEqual(copy.name, network.name)
        self.assertEqual([w.shape for w in copy.weights], [w.shape for w in network.weights])

  def test_saved_and_loaded(self):
    for name in ("relu", "convolutional, 3 channels", "learned scale", "keyed grid, chosen scale"):
      config = CONFIGS[name]
      with self.subTest(name):
        network = _network(config)
        path = os.path.join(self.get_temp_dir(), "network.keras")
        network.save(path)
        loaded = keras.saving.load_model(path)
        self.assertEqual(loaded.config, config)
        for key, value in network(_images(config)).items():
          self.assertAllEqual(loaded(_images(config))[key], value)

  def test_number_of_weights(self):
    glimpse = (6 * 6 * 2 + 1) * UNITS + (2 + 1) * UNITS
    hidden = (CONTEXT * CONTEXT + 1) * UNITS
    lstm, gru = 4 * UNITS * (2 * UNITS + 1), 3 * UNITS * (2 * UNITS + 2)
    classifier = (UNITS + 1) * CLASSES
    keyed = (9 + 1) * 3 + (9 * 3 + 1) * 5 + 182 * 5 + 5 * 5 + (UNITS + 1) * 5
    for name, core, states, looking in [
      ("lstm", lstm, 2, (UNITS + 1) * 2),
      ("gru", gru, 1, (UNITS + 1) * 2),
      ("grid", lstm, 2, (UNITS + 1) * 4 * 5),
      ("learned scale", lstm, 2, (UNITS + 1) * 4),
      ("keyed grid", lstm, 2, keyed),
      ("relu", UNITS * (2 * UNITS + 1), 1, (UNITS + 1) * 2),
      ("keyed grid, chosen scale", lstm, 2, keyed + (UNITS + 1) * 2),
    ]:
      context = hidden + (UNITS + 1) * UNITS * states
      # One patch in place of two, and two more numbers for the scale.
      less = (6 * 6 - 2) * UNITS if "chosen" in name else 0
      expected = glimpse - less + 2 * core + context + looking + classifier
      network = PredictionNetwork(CONFIGS[name])
      self.assertEqual(network.count_params(), expected, name)
      self.assertLen(network.trainable_weights, len(network.weights))


class MakeLocationDistributionTest(tf.test.TestCase):
  def test_names_every_family(self):
    grid = make_location_distribution(CONFIGS["grid"])
    self.assertIsInstance(grid, GridLocations)
    self.assertEqual((grid.rows, grid.columns), (4, 5))
    keyed = make_location_distribution(CONFIGS["keyed grid"])
    self.assertIsInstance(keyed, GridLocations)
    self.assertEqual((keyed.rows, keyed.columns), (CONTEXT, CONTEXT))
    for name, learned in {"lstm": False, "learned scale": True}.items():
      normal = make_location_distribution(CONFIGS[name])
      self.assertIsInstance(normal, NormalLocations)
      self.assertEqual((normal.scale, normal.learned_scale), (0.1, learned))
    scaled = make_location_distribution(CONFIGS["chosen scale"])
    self.assertIsInstance(scaled, ScaledLocations)
    self.assertIsInstance(scaled.locations, NormalLocations)
    self.assertEqual(scaled.num_scales, 3)


if __name__ == "__main__":
  tf.test.main()
