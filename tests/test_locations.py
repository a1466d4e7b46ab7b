"""Location distributions: densities against SciPy, samples from lattices of uniforms."""

import numpy as np
import tensorflow as tf
from scipy import special, stats

from wsram_tf.locations import (
  GridLocations,
  NormalLocations,
  ScaledLocations,
  location_map,
)

SCALE, SMALLEST_SCALE = 0.15, 0.02


def _parameters(count: int) -> np.ndarray:
  return np.random.default_rng(0).normal(size=[5, 3, count])


def _locations() -> np.ndarray:
  return np.random.default_rng(1).uniform(-1.5, 1.5, size=[5, 3, 2])


def _expected_normal(family: NormalLocations, parameters: np.ndarray):
  loc, scale = np.tanh(parameters[..., :2]), SCALE
  if family.learned_scale:
    start = np.log(np.exp(SCALE - SMALLEST_SCALE) - 1)
    scale = SMALLEST_SCALE + np.log1p(np.exp(parameters[..., 2:] + start))
  return stats.norm(loc, np.broadcast_to(scale, loc.shape))


class NormalLocationsTest(tf.test.TestCase):
  def setUp(self):
    super().setUp()
    self.families = [NormalLocations(SCALE), NormalLocations(SCALE, learned_scale=True)]

  def test_matches_scipy(self):
    for family in self.families:
      with self.subTest(learned_scale=family.learned_scale):
        parameters, locations = _parameters(family.num_parameters), _locations()
        expected = _expected_normal(family, parameters)
        uniforms = np.random.default_rng(2).uniform(0.001, 0.999, size=[5, 3, 2])
        for found, wanted in [
          (family.log_prob(parameters, locations), expected.logpdf(locations).sum(axis=-1)),
          (family.entropy(parameters), expected.entropy().sum(axis=-1)),
          (family.mode(parameters), expected.mean()),
          (family.sample(tf.constant(parameters), tf.constant(uniforms)), expected.ppf(uniforms)),
        ]:
          self.assertEqual(found.dtype, tf.float64)
          self.assertAllClose(found, wanted, rtol=1e-10, atol=1e-10)

  def test_mode_maximises(self):
    for family in self.families:
      parameters = tf.constant(_parameters(family.num_parameters))
      mode = family.mode(parameters)
      best = family.log_prob(parameters, mode)
      for step in ([0.01, 0.0], [-0.01, 0.0], [0.0, 0.01], [0.0, -0.01]):
        self.assertAllLess(family.log_prob(parameters, mode + step) - best, 0.0)

  def test_sample_is_monotone_and_finite(self):
    uniforms = np.linspace(2.0**-24, 1 - 2.0**-24, 101, dtype=np.float32)
    for family in self.families:
      parameters = tf.zeros([101, family.num_parameters])
      samples = family.sample(parameters, np.stack([uniforms, uniforms[::-1]], axis=-1))
      self.assertAllInRange(samples, -6 * SCALE, 6 * SCALE)
      self.assertAllGreater(np.diff(samples[:, 0]), 0.0)
      self.assertAllLess(np.diff(samples[:, 1]), 0.0)

  def test_learned_scale_starts_at_the_scale_and_has_a_floor(self):
    family = NormalLocations(SCALE, learned_scale=True)
    at = tf.constant([0.0, 0.0, 0.0, 0.0], tf.float64)
    self.assertAllClose(
      family.entropy(at), 2 * stats.norm(scale=SCALE).entropy(), rtol=1e-12, atol=1e-12
    )
    floor = 2 * stats.norm(scale=SMALLEST_SCALE).entropy()
    for parameter in (-5.0, -50.0, -1e4):
      entropy = family.entropy(tf.constant([0.0, 0.0, parameter, parameter], tf.float64))
      self.assertAllGreaterEqual(entropy, floor - 1e-12)
    self.assertAllClose(entropy, floor, rtol=1e-12, atol=1e-12)

  def test_learned_scale_is_one_for_each_coordinate(self):
    family = NormalLocations(SCALE, learned_scale=True)
    parameters = tf.constant([0.0, 0.0, -50.0, 3.0], tf.float64)
    row, column = family.sample(parameters, tf.constant([0.8, 0.8], tf.float64))
    self.assertLess(float(row), float(column))

  def test_rejects_bad_scales(self):
    for scale in (0.0, -1.0, np.inf, np.nan):
      with self.assertRaisesRegex(ValueError, f"scale={scale}: must be above 0"):
        NormalLocations(scale)
    with self.assertRaisesRegex(ValueError, f"must be above {SMALLEST_SCALE} with learned_scale"):
      NormalLocations(SMALLEST_SCALE, learned_scale=True)
    NormalLocations(SMALLEST_SCALE)


class TemperatureTest(tf.test.TestCase):
  def setUp(self):
    super().setUp()
    self.families = [
      NormalLocations(SCALE),
      NormalLocations(SCALE, learned_scale=True),
      GridLocations(3, 4),
    ]
    self.uniforms = tf.constant(np.random.default_rng(4).uniform(0.01, 0.99, size=[5, 3, 2]))

  def test_one_changes_nothing(self):
    locations = tf.constant(_locations())
    for family in self.families:
      parameters = tf.constant(_parameters(family.num_parameters))
      for one in (1.0, tf.constant(1.0)):
        self.assertAllEqual(
          family.sample(parameters, self.uniforms, one), family.sample(parameters, self.uniforms)
        )
        self.assertAllEqual(
          family.log_prob(parameters, locations, one), family.log_prob(parameters, locations)
        )

  def test_is_the_density_to_a_power(self):
    locations = tf.constant(_locations())
    for family in self.families:
      parameters = tf.constant(_parameters(family.num_parameters)[:1, :1])
      for temperature in (0.5, 3.0):
        # Normalising adds a constant, whatever the location.
        gap = temperature * family.log_prob(parameters, locations, temperature) - family.log_prob(
          parameters, locations
        )
        self.assertAllClose(gap, tf.fill(gap.shape, gap[0, 0]), 1e-9, 1e-9)

  def test_scores_what_is_sampled(self):
    # The log-density of a normal's quantile is that of its standard score.
    family = NormalLocations(SCALE)
    parameters = tf.constant(_parameters(2))
    sample = family.sample(parameters, self.uniforms, 4.0)
    score = (sample - family.mode(parameters)) / (2 * SCALE)
    self.assertAllClose(score, stats.norm.ppf(self.uniforms), 1e-9, 1e-9)
    self.assertAllClose(
      family.log_prob(parameters, sample, 4.0),
      stats.norm(scale=2 * SCALE).logpdf(2 * SCALE * score).sum(axis=-1),
      1e-9,
      1e-9,
    )
    grid = GridLocations(1, 3)
    logits = tf.constant(np.log([[0.64, 0.04, 0.32]] * 7))
    uniforms = tf.constant(np.repeat((np.arange(7)[:, None] + 0.5) / 7, 2, axis=1))
    cells = grid.cells(grid.sample(logits, uniforms, 2.0)).numpy()
    probs = np.sqrt([0.64, 0.04, 0.32])
    self.assertAllEqual(cells, np.searchsorted(np.cumsum(probs / probs.sum()), uniforms[:, 0]))


class CellProbabilitiesTest(tf.test.TestCase):
  def test_of_a_grid_are_its_own(self):
    family = GridLocations(3, 4)
    parameters = _parameters(12)
    self.assertAllClose(
      family.cell_probabilities(tf.constant(parameters)), special.softmax(parameters, axis=-1)
    )

  def test_of_a_normal_add_up_and_lie_where_it_lies(self):
    for learned in (False, True):
      family = NormalLocations(SCALE, learned_scale=learned)
      parameters = tf.constant(_parameters(family.num_parameters))
      cells = family.cell_probabilities(parameters).numpy()
      self.assertAllClose(cells.sum(axis=-1), np.ones([5, 3]), 1e-12, 1e-12)
      uniforms = np.random.default_rng(5).uniform(size=[40_000, 1, 2])
      locations = family.sample(parameters[:1, :1], tf.constant(uniforms))
      counts = np.bincount(GridLocations(8, 8).cells(locations).numpy().ravel(), minlength=64)
      # Six standard errors: a false alarm in fewer than one in a million runs.
      error = 6 * np.sqrt(cells[0, 0] * (1 - cells[0, 0]) / 40_000) + 1e-4
      self.assertAllLessEqual(np.abs(counts / 40_000 - cells[0, 0]) - error, 0.0)


class GridLocationsTest(tf.test.TestCase):
  def test_centres_and_cells_round_trip(self):
    for rows, columns in [(1, 1), (2, 3), (7, 7), (8, 8), (13, 1), (1, 49), (60, 41)]:
      for dtype in (tf.float32, tf.float64):
        family = GridLocations(rows, columns)
        cells = tf.range(rows * columns)
        centres = family.centres(cells, dtype)
        self.assertEqual(centres.dtype, dtype)
        self.assertAllInRange(centres, -1, 1, open_lower_bound=True, open_upper_bound=True)
        self.assertAllEqual(family.cells(centres), cells)

  def test_numbers_cells_row_by_row(self):
    family = GridLocations(2, 4)
    self.assertAllClose(
      family.centres(tf.constant([0, 3, 4])), [[-0.5, -0.75], [-0.5, 0.75], [0.5, -0.75]]
    )
    # Edges belong to the cell that they begin; what lies outside to the nearest cell.
    locations = tf.constant([[-1.0, -1.0], [0.0, 0.0], [1.0, 1.0], [-3.0, 0.6], [5.0, -9.0]])
    self.assertAllEqual(family.cells(locations), [0, 6, 7, 3, 4])

  def test_matches_scipy(self):
    family = GridLocations(3, 4)
    parameters, locations = _parameters(12), _locations()
    log_probs = special.log_softmax(parameters, axis=-1)
    cells = family.cells(tf.constant(locations)).numpy()
    expected = np.take_along_axis(log_probs, cells[..., None], axis=-1)[..., 0]
    found = family.log_prob(tf.constant(parameters), tf.constant(locations))
    self.assertEqual(found.dtype, tf.float64)
    self.assertAllClose(found, expected, rtol=1e-12, atol=1e-12)
    entropy = [
      [stats.entropy(row) for row in rows] for rows in special.softmax(parameters, axis=-1)
    ]
    self.assertAllClose(family.entropy(tf.constant(parameters)), entropy, rtol=1e-12, atol=1e-12)

  def test_all_cells_sum_to_one_and_the_mode_is_the_likeliest(self):
    family = GridLocations(3, 4)
    parameters = tf.constant(_parameters(12)[0])
    centres = family.centres(tf.range(12), tf.float64)
    log_probs = family.log_prob(parameters[:, None], centres[None])  # [3, 12]
    self.assertAllClose(tf.reduce_sum(tf.exp(log_probs), axis=-1), np.ones(3), rtol=1e-12)
    best = family.log_prob(parameters, family.mode(parameters))
    self.assertAllEqual(best, tf.reduce_max(log_probs, axis=-1))

  def test_sample_inverts_the_distribution_function(self):
    family = GridLocations(2, 3)
    logits = np.array([-2.0, -3.0, -4.0, -np.inf, -1.0, -4.0]) * np.log(2)
    count = 64
    uniforms = tf.constant((np.arange(count) + 0.5) / count)
    parameters = tf.constant(np.tile(logits, [count, 1]))
    samples = family.sample(parameters, tf.stack([uniforms, 1 - uniforms], axis=-1))
    cells = family.cells(samples).numpy()
    self.assertAllGreaterEqual(np.diff(cells), 0)
    self.assertAllEqual(np.bincount(cells, minlength=6), [16, 8, 4, 0, 32, 4])

  def test_impossible_cells_are_never_sampled(self):
    uniforms = np.array([0.0, 2.0**-24, 0.5, 1 - 2.0**-24], np.float32)
    for cells in (np.arange(12), np.array([3, 4, 7]), np.array([5])):
      for shift in range(20):
        logits = np.full(14, -np.inf, np.float32)
        # The first and the last cell are impossible, where rounding could still reach them.
        logits[1 + cells] = np.random.default_rng(shift).normal(size=len(cells))
        family = GridLocations(2, 7)
        samples = family.sample(
          tf.constant(np.tile(logits, [4, 1])), tf.constant(np.stack([uniforms] * 2, axis=-1))
        )
        self.assertTrue(np.isfinite(logits[family.cells(samples)]).all(), f"{logits}")

  def test_eager_graph_and_compiled_agree(self):
    grid, normal = GridLocations(2, 6), NormalLocations(SCALE, learned_scale=True)
    uniforms = np.random.default_rng(3).uniform(size=[5, 3, 2])
    for family in (grid, normal):
      parameters = tf.constant(_parameters(family.num_parameters))

      def everything(parameters, uniforms, family=family):
        sample = family.sample(parameters, uniforms)
        log_prob = family.log_prob(parameters, sample)
        return sample, log_prob, family.mode(parameters), family.entropy(parameters)

      expected = everything(parameters, tf.constant(uniforms))
      specs = [tf.TensorSpec([None, 3, n], tf.float64) for n in (family.num_parameters, 2)]
      for function in (
        tf.function(everything, jit_compile=True, autograph=False),
        tf.function(everything, autograph=False),
        tf.function(everything, input_signature=specs, autograph=False),
      ):
        for found, wanted in zip(function(parameters, uniforms), expected, strict=True):
          self.assertAllClose(found, wanted, rtol=1e-10, atol=1e-10)
      self.assertEqual(function(parameters[:0], uniforms[:0])[1].shape, [0, 3])

  def test_rejects_an_empty_grid(self):
    with self.assertRaisesRegex(ValueError, "rows=0, columns=3: must both be at least 1"):
      GridLocations(0, 3)


class LocationMapTest(tf.test.TestCase):
  def test_normal_is_its_density_at_the_cells_centres(self):
    for family in (NormalLocations(SCALE), NormalLocations(SCALE, learned_scale=True)):
      with self.subTest(learned_scale=family.learned_scale):
        parameters = _parameters(family.num_parameters)
        maps = location_map(family, parameters).numpy()
        self.assertEqual(maps.shape, (5, 3, 32, 32))
        middles = (np.arange(32) + 0.5) / 16 - 1
        expected = _expected_normal(family, parameters[..., np.newaxis, :])
        along = expected.pdf(middles[:, np.newaxis])  # [5, 3, 32, 2]
        density = along[..., :, np.newaxis, 0] * along[..., np.newaxis, :, 1]
        self.assertAllClose(maps, density / density.sum(axis=(-2, -1), keepdims=True))

  def test_a_family_of_cells_keeps_its_cells(self):
    parameters = _parameters(6)
    expected = special.softmax(parameters, axis=-1).reshape(5, 3, 2, 3)
    self.assertAllClose(location_map(GridLocations(2, 3), parameters), expected)
    # The scales are independent of the locations.
    scaled = np.concatenate([parameters, _parameters(4)], axis=-1)
    self.assertAllClose(location_map(ScaledLocations(GridLocations(2, 3), 4), scaled), expected)


if __name__ == "__main__":
  tf.test.main()
