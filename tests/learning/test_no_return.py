"""Sequences that look at no cell twice: exact probabilities of prior and proposal."""

import dataclasses

import keras
import numpy as np
import tensorflow as tf
from scipy import special

import wsram_tf
from wsram_tf.classification.sampling import draw_sequences, dream, label_proposal
from wsram_tf.learning import sampling
from wsram_tf.learning.no_return import earlier_cells, exclude_cells, neighbourhoods, restrict

# As many glimpses as cells, so that the last glimpse has one cell left.
_CELLS = _GLIMPSES = 4
_MODEL = wsram_tf.ModelConfig(
  height=20,
  width=24,
  num_classes=4,
  units=8,
  num_glimpses=_GLIMPSES,
  context_side=2,
  glimpse=wsram_tf.GlimpseConfig(glimpse_side=6, glimpse_scales=2, choose_scale=True),
  location=wsram_tf.LocationConfig(
    "keyed_grid", location_filters=(), location_units=3, location_saliency=0.7, no_return=True
  ),
)


def _learner(no_return: bool = True, **objective) -> wsram_tf.WakeSleepLearner:
  keras.utils.set_random_seed(2)
  location = dataclasses.replace(_MODEL.location, no_return=no_return)
  learner = wsram_tf.WakeSleepLearner(
    dataclasses.replace(_MODEL, location=location), wsram_tf.ObjectiveConfig(**objective)
  )
  for weight in learner.weights:
    if weight.path.startswith(("prediction", "inference")):
      weight.assign_add(0.1 * keras.random.normal(weight.shape))
  return learner


def _images() -> tf.Tensor:
  return tf.constant(np.random.default_rng(0).uniform(size=[3, 20, 24, 1]), tf.float32)


def _log_probs(logits: np.ndarray, cells: np.ndarray, scales: np.ndarray) -> np.ndarray:
  """Log-probabilities of glimpses by NumPy, from logits without exclusions, `[M, B, N]`."""
  result = np.zeros(cells.shape)
  for m, b, n in np.ndindex(cells.shape):
    of_cells = logits[m, b, n, :_CELLS].astype(np.float64)
    of_cells[cells[m, b, :n]] = -np.inf
    of_scales = special.log_softmax(logits[m, b, n, _CELLS:].astype(np.float64))
    result[m, b, n] = (of_cells - special.logsumexp(of_cells))[cells[m, b, n]]
    result[m, b, n] += of_scales[scales[m, b, n]]
  return result


class ExcludeCellsTest(tf.test.TestCase):
  def test_excluded_cells_have_probability_0_and_the_rest_keep_their_ratios(self):
    logits = tf.constant(np.random.default_rng(0).normal(size=[3, 6]))
    excluded = [[2, 5], [-1, -1], [4, 4]]
    found = tf.nn.softmax(exclude_cells(logits, tf.constant(excluded))).numpy()
    for row, cells in enumerate(excluded):
      expected = np.exp(logits[row].numpy())
      expected[[cell for cell in cells if cell >= 0]] = 0.0
      self.assertAllClose(found[row], expected / expected.sum(), rtol=1e-12)
      self.assertAllEqual(found[row] == 0.0, expected == 0.0)

  def test_earlier_cells(self):
    found = earlier_cells(tf.constant([[3, 1, 2]]))
    self.assertAllEqual(found, [[[-1, -1, -1], [3, -1, -1], [3, 1, -1]]])

  def test_neighbourhoods(self):
    side, radius = 5, 2
    cells = np.array([[0, 7], [24, -1]])
    found = neighbourhoods(tf.constant(cells), side, radius).numpy()
    self.assertEqual(found.shape, (2, 2 * 25))
    for row, taken in zip(found, cells, strict=True):
      expected = {
        other
        for other in range(side**2)
        for cell in taken
        if cell >= 0
        and max(abs(other // side - cell // side), abs(other % side - cell % side)) <= radius
      }
      self.assertEqual(set(row.tolist()) - {-1}, expected)

  def test_a_proposal_is_restricted_without_a_gradient_to_the_prior(self):
    prior, proposed = tf.constant([[0.1, 0.2, 0.3]]), tf.constant([[1.0, 2.0, 3.0]])
    with tf.GradientTape() as tape:
      tape.watch([prior, proposed])
      excluded = exclude_cells(prior, tf.constant([[0]]))
      loss = tf.reduce_sum(tf.nn.log_softmax(restrict(proposed, excluded))[:, 1:])
    to_prior, to_proposed = tape.gradient(loss, [prior, proposed])
    self.assertIsNone(to_prior)
    self.assertEqual(to_proposed[0, 0], 0.0)
    self.assertAllClose(tf.exp(loss), np.prod(special.softmax([2.0, 3.0])))


class SequencesTest(tf.test.TestCase):
  def setUp(self):
    super().setUp()
    self.learner = _learner()
    self.network = self.learner.prediction_network
    self.view = self.network.look(_images())
    self.target = tf.one_hot([0, 3, 1], 4)

  def check_no_return(self, actions: tf.Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Asserts that each sequence visits every cell once; returns the cells and the scales."""
    cells, scales = self.network.cells(actions).numpy(), actions[..., 2].numpy().astype(int)
    self.assertAllEqual(np.sort(cells, axis=-1), np.broadcast_to(np.arange(_CELLS), cells.shape))
    return cells, scales

  def unrestricted(self, sequences) -> tuple[np.ndarray, np.ndarray]:
    """Logits of prior and proposal without exclusions, from the same states."""
    free = _learner(no_return=False)
    free.set_weights(self.learner.get_weights())
    upper = sequences.upper
    samples = upper.shape[0]
    targets = tf.repeat(self.target[tf.newaxis], samples, axis=0)
    proposal = label_proposal(free.prediction_network, free.inference_network, self.view, targets)
    prior = [
      [
        [
          self.network.prior(_one(self.view, b), upper[m, b, n : n + 1])[0]
          for n in range(_GLIMPSES)
        ]
        for b in range(3)
      ]
      for m in range(samples)
    ]
    return np.array(prior), proposal.along(sequences).numpy()

  def test_densities_match_numpy_and_no_sequence_returns(self):
    for samples_from in ("prior", "inference", "mixture"):
      with self.subTest(samples_from):
        sampler = sampling.Sampler(samples_from, action_size=3)
        numbers = sampling.stateless_uniforms(
          [2, 3, _GLIMPSES, sampler.numbers_a_glimpse], tf.constant([1, 2])
        )
        drawn = draw_sequences(
          self.network, self.learner.inference_network, self.view, self.target, numbers, sampler
        )
        cells, scales = self.check_no_return(drawn.sequences.actions)
        self.assertGreater(len(np.unique(cells.reshape(-1, _CELLS), axis=0)), 3)
        prior, proposal = self.unrestricted(drawn.sequences)
        self.assertAllClose(drawn.sequences.log_prior, _log_probs(prior, cells, scales), 1e-4, 1e-5)
        self.assertAllClose(drawn.log_proposal, _log_probs(proposal, cells, scales), 1e-4, 1e-5)
        probabilities = self.network.location_distribution.cell_probabilities(
          drawn.sequences.prior_parameters
        ).numpy()
        probabilities = probabilities.reshape(2, 3, _GLIMPSES, _CELLS, 2).sum(axis=-1)
        self.assertAllClose(probabilities.sum(axis=-1), np.ones([2, 3, _GLIMPSES]))
        for n in range(_GLIMPSES):
          earlier = np.take_along_axis(probabilities[:, :, n], cells[:, :, :n], axis=-1)
          self.assertAllEqual(earlier, np.zeros_like(earlier))
        # One cell is left for the last glimpse: the entropy is that of the scales.
        of_scales = special.entr(special.softmax(prior[:, :, -1, _CELLS:], axis=-1)).sum(axis=-1)
        self.assertAllClose(drawn.sequences.prior_entropy[:, :, -1], of_scales, 1e-4, 1e-5)

  def test_modes_and_dreams_do_not_return(self):
    self.check_no_return(self.network.attend(self.view).actions)
    numbers = sampling.stateless_uniforms([5, 3, _GLIMPSES, 3], tf.constant([3, 4]))
    sequences = self.network.attend(self.view, numbers)
    self.check_no_return(sequences.actions)
    log_proposal = dream(
      self.network, self.learner.inference_network, self.view, numbers, tf.zeros([5, 3])
    )
    self.assertAllInRange(log_proposal, -100.0, 0.0)

  def test_neither_prior_nor_proposal_returns_to_the_neighbourhood(self):
    side, location = 5, dataclasses.replace(_MODEL.location, no_return_radius=1)
    model = dataclasses.replace(_MODEL, context_side=side, num_glimpses=3, location=location)
    learner = wsram_tf.WakeSleepLearner(model)
    network = learner.prediction_network
    view = network.look(_images())
    for samples_from in ("prior", "inference", "mixture"):
      with self.subTest(samples_from):
        sampler = sampling.Sampler(samples_from, action_size=3)
        numbers = sampling.stateless_uniforms(
          [20, 3, 3, sampler.numbers_a_glimpse], tf.constant([1, 2])
        )
        drawn = draw_sequences(
          network, learner.inference_network, view, self.target, numbers, sampler
        )
        cells = network.cells(drawn.sequences.actions).numpy()
        places = np.stack(np.divmod(cells, side), axis=-1)
        for one, other in ((0, 1), (0, 2), (1, 2)):
          apart = np.abs(places[..., one, :] - places[..., other, :]).max(axis=-1)
          self.assertAllGreater(apart, 1)
        self.assertGreater(len(np.unique(cells)), 20)
    # The second glimpse's probabilities are those of the cells that are left.
    probabilities = network.location_distribution.cell_probabilities(
      drawn.sequences.prior_parameters
    ).numpy()
    left = probabilities.reshape(20, 3, 3, side**2, 2).sum(axis=-1)[:, :, 1]
    around = neighbourhoods(tf.constant(cells[:, :, 0].reshape(-1, 1)), side, 1).numpy()
    for row, taken in zip(left.reshape(-1, side**2), around, strict=True):
      self.assertAllEqual(np.flatnonzero(row == 0.0), np.unique(taken[taken >= 0]))
    self.assertAllClose(left.sum(axis=-1), np.ones([20, 3]))

  def test_trains_compiled_and_each_loss_reaches_its_own_network(self):
    learner = _learner(estimator="wake_sleep_mixture", num_samples=3, inference_phase="mix")
    with tf.GradientTape(persistent=True) as tape:
      losses, _, _ = learner.losses(
        learner.look(_images()), tf.constant([0, 3, 1]), tf.constant(1), tf.constant([3, 1])
      )
    for network, loss in losses.items():
      for other, group in learner.network_variables().items():
        for variable, gradient in zip(group, tape.gradient(loss, group), strict=True):
          if other == network:
            self.assertGreater(np.abs(gradient).max(), 0.0, variable.path)
            self.assertTrue(np.isfinite(gradient).all(), variable.path)
          elif gradient is not None:
            self.assertAllEqual(gradient, tf.zeros_like(gradient))


def _one(view, b: int):
  """The view of image b alone."""
  return view._replace(keys=view.keys[b : b + 1])


if __name__ == "__main__":
  tf.test.main()
