"""Distributions over locations and scales: sums of both log-densities, samples, temperature."""

import numpy as np
import tensorflow as tf
from scipy import special

from wsram_tf import location_families
from wsram_tf.classification import GlimpseConfig, LocationConfig, ModelConfig
from wsram_tf.locations import GridLocations, NormalLocations, ScaledLocations, action_size

SCALES = 3
TOLERANCE = 1e-10


class Wide(NormalLocations):
  """A family of a user, without an `action_size`."""


def _families() -> list:
  """Every built-in family, and a registered one, each with the family over scales too."""
  location_families.register_location_family("test_wide", lambda config: Wide(0.3))
  families = []
  for name in location_families.LOCATION_FAMILIES:
    location = LocationConfig(name, grid_rows=2, grid_columns=3)
    config = ModelConfig(
      height=20,
      width=20,
      context_side=3,
      location=location,
      glimpse=GlimpseConfig(4, SCALES, choose_scale=True),
    )
    families.append((name, location_families.make_location_distribution(config)))
  return families


class ScaledLocationsTest(tf.test.TestCase):
  def setUp(self):
    super().setUp()
    self.addCleanup(location_families.LOCATION_FAMILIES.pop, "test_wide", None)
    self.families = _families()
    generator = np.random.default_rng(0)
    self.uniforms = tf.constant(generator.uniform(0.01, 0.99, [50, 3]))
    self.scales = generator.integers(0, SCALES, [50])
    self.actions = tf.constant(np.insert(generator.uniform(-1, 1, [50, 2]), 2, self.scales, 1))

  def parts(self, family: ScaledLocations) -> tuple[tf.Tensor, tf.Tensor, np.ndarray]:
    """Parameters, those of the location, and the scales' log-probabilities."""
    parameters = np.random.default_rng(1).normal(size=[50, family.num_parameters])
    count = family.locations.num_parameters
    self.assertEqual(family.num_parameters, count + SCALES)
    log_probs = special.log_softmax(parameters[:, count:], axis=-1)
    return tf.constant(parameters), tf.constant(parameters[:, :count]), log_probs

  def test_covers_every_family(self):
    self.assertEqual(
      [name for name, _ in self.families],
      ["normal", "normal_learned_scale", "grid", "keyed_grid", "test_wide"],
    )
    for _, family in self.families:
      self.assertEqual(action_size(family), 3)
      self.assertEqual(action_size(family.locations), 2)

  def test_log_densities_and_entropies_are_sums(self):
    for name, family in self.families:
      with self.subTest(name):
        parameters, of_location, log_probs = self.parts(family)
        found = family.log_prob(parameters, self.actions)
        of_scale = log_probs[np.arange(50), self.scales]
        expected = family.locations.log_prob(of_location, self.actions[:, :2]) + of_scale
        self.assertAllClose(found, expected, 0, TOLERANCE)
        entropy = -(np.exp(log_probs) * log_probs).sum(axis=-1)
        expected = family.locations.entropy(of_location) + entropy
        self.assertAllClose(family.entropy(parameters), expected, 0, TOLERANCE)

  def test_mode_and_sample_are_those_of_both(self):
    for name, family in self.families:
      for temperature in (1.0, 2.0):
        with self.subTest(name, temperature=temperature):
          parameters, of_location, log_probs = self.parts(family)
          mode = family.mode(parameters)
          self.assertAllEqual(mode[:, :2], family.locations.mode(of_location))
          self.assertAllEqual(mode[:, 2], log_probs.argmax(axis=-1))
          sample = family.sample(parameters, self.uniforms, temperature)
          expected = family.locations.sample(of_location, self.uniforms[:, :2], temperature)
          self.assertAllEqual(sample[:, :2], expected)
          below = np.cumsum(special.softmax(log_probs / temperature, axis=-1), axis=-1)
          expected = (below <= self.uniforms.numpy()[:, 2:]).sum(axis=-1)
          self.assertAllEqual(sample[:, 2], expected)
          self.assertAllEqual(np.unique(expected), np.arange(SCALES))

  def test_temperature_is_the_density_to_a_power(self):
    for name, family in self.families:
      parameters = self.parts(family)[0][:1]
      for temperature in (0.5, 3.0):
        with self.subTest(name, temperature=temperature):
          hot = family.log_prob(parameters, self.actions, temperature)
          gap = temperature * hot - family.log_prob(parameters, self.actions)
          # Normalising adds a constant, equal for all actions.
          self.assertAllClose(gap, tf.fill(gap.shape, gap[0]), 1e-9, 1e-9)

  def test_grids_are_normalised_at_every_temperature(self):
    for name, family in self.families:
      if not isinstance(family.locations, GridLocations):
        continue
      cells = family.locations.centres(tf.range(family.locations.num_parameters), tf.float64)
      actions = [tf.pad(cells, [[0, 0], [0, 1]], constant_values=s) for s in range(SCALES)]
      parameters = self.parts(family)[0][:1]
      for temperature in (0.5, 1.0, 3.0):
        with self.subTest(name, temperature=temperature):
          log_probs = family.log_prob(parameters, tf.concat(actions, 0), temperature)
          self.assertAllClose(tf.reduce_logsumexp(log_probs), 0.0, 0, TOLERANCE)

  def test_coverage_counts_each_scale_of_a_cell(self):
    for name, family in self.families:
      with self.subTest(name):
        parameters, of_location, log_probs = self.parts(family)
        cells = family.locations.cell_probabilities(of_location).numpy()
        expected = (cells[:, :, np.newaxis] * np.exp(log_probs)[:, np.newaxis]).reshape(50, -1)
        found = family.cell_probabilities(parameters)
        self.assertEqual(found.shape, [50, cells.shape[1] * SCALES])
        self.assertAllClose(found, expected, 0, TOLERANCE)
        self.assertAllClose(tf.reduce_sum(found, axis=-1), np.ones(50), 0, TOLERANCE)

  def test_eager_graph_and_compiled_agree(self):
    # Those of `normal` are those of `test_wide`, and those of `keyed_grid` those of `grid`.
    for name, family in self.families:
      if name in ("normal", "keyed_grid"):
        continue
      with self.subTest(name):
        parameters = self.parts(family)[0]

        def everything(parameters, uniforms, family=family):
          sample = family.sample(parameters, uniforms, 2.0)
          return (
            sample,
            family.log_prob(parameters, sample),
            family.mode(parameters),
            family.entropy(parameters),
            family.cell_probabilities(parameters),
          )

        expected = everything(parameters, self.uniforms)
        specs = [tf.TensorSpec([None, n], tf.float64) for n in (family.num_parameters, 3)]
        functions = [tf.function(everything, input_signature=specs, autograph=False)]
        if name != "test_wide":  # Its density is that of a learned scale.
          functions.insert(0, tf.function(everything, jit_compile=True, autograph=False))
        for function in functions:
          for found, wanted in zip(function(parameters, self.uniforms), expected, strict=True):
            self.assertAllClose(found, wanted, TOLERANCE, TOLERANCE)
        self.assertEqual(function(parameters[:0], self.uniforms[:0])[0].shape, [0, 3])

  def test_one_scale_is_no_choice(self):
    config = ModelConfig(glimpse=GlimpseConfig(8, 1, choose_scale=True))
    family = location_families.make_location_distribution(config)
    self.assertIsInstance(family, NormalLocations)

  def test_rejects_no_scale(self):
    with self.assertRaisesRegex(ValueError, "num_scales=0: must be at least 1"):
      ScaledLocations(NormalLocations(0.1), 0)


if __name__ == "__main__":
  tf.test.main()
