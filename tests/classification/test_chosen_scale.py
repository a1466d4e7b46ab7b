"""Learners that choose a scale: gradients, one scale, saving, pictures.

The test of visible pixels compiles them.
"""

import dataclasses
import itertools
import os

import keras
import numpy as np
import tensorflow as tf
from matplotlib.figure import Figure

import wsram_tf
from wsram_tf import drawing, objectives
from wsram_tf.classification import diagnostics
from wsram_tf.locations import NormalLocations

_FAMILIES = ("normal", "normal_learned_scale", "grid", "keyed_grid", "test_chosen")
_GLIMPSE = wsram_tf.GlimpseConfig(glimpse_side=3, glimpse_scales=3, choose_scale=True)
_MODEL = wsram_tf.ModelConfig(
  height=20, width=24, num_classes=4, units=8, num_glimpses=2, context_side=4, glimpse=_GLIMPSE
)
_EXPLORATION = wsram_tf.ExplorationConfig(temperature=2.0, entropy_bonus=0.1, coverage_bonus=0.1)


def _data(count: int = 8) -> tuple[np.ndarray, np.ndarray]:
  images = np.random.default_rng(0).uniform(size=[count, 20, 24, 1]).astype(np.float32)
  return images, np.arange(count, dtype=np.int32) % 4


def _learner(
  family: str = "normal",
  glimpse: wsram_tf.GlimpseConfig = _GLIMPSE,
  cell: str = "lstm",
  glimpses: int = 2,
  **objective,
) -> wsram_tf.WakeSleepLearner:
  keras.utils.set_random_seed(1)
  location = wsram_tf.LocationConfig(family, grid_rows=2, grid_columns=2)
  changes = {"glimpse": glimpse, "location": location, "cell": cell, "num_glimpses": glimpses}
  return wsram_tf.WakeSleepLearner(
    dataclasses.replace(_MODEL, **changes),
    wsram_tf.ObjectiveConfig(num_samples=3, **objective),
    _EXPLORATION,
    seed=3,
  )


def _trained(learner: wsram_tf.WakeSleepLearner, **compile_arguments) -> dict:
  learner.compile(optimizer=keras.optimizers.SGD(0.05), **compile_arguments)
  return learner.fit(*_data(), batch_size=8, epochs=2, shuffle=False, verbose=0).history


@keras.saving.register_keras_serializable("test_chosen_scale")
class Flat(keras.layers.Layer):
  """A glimpse network of a user; records the shapes that it was built with."""

  def build(self, patches_shape, locations_shape):
    self.shapes = (tuple(patches_shape), tuple(locations_shape))
    self.dense = keras.layers.Dense(8)
    self.dense.build((None, int(np.prod(patches_shape[1:])) + locations_shape[-1]))

  def call(self, patches, locations):
    flat = tf.reshape(patches, [-1, int(np.prod(patches.shape[1:]))])
    return self.dense(tf.concat([flat, locations], axis=-1))


class ChosenScaleTest(tf.test.TestCase):
  def setUp(self):
    super().setUp()
    wsram_tf.register_location_family("test_chosen", lambda config: NormalLocations(0.3))
    self.addCleanup(wsram_tf.location_families.LOCATION_FAMILIES.pop, "test_chosen", None)
    self.addCleanup(keras.config.set_dtype_policy, keras.config.dtype_policy())

  def test_each_loss_reaches_its_own_network_alone(self):
    images, labels = map(tf.constant, _data())
    # The loss of the phase "mix" holds that of "wake".
    for family, phase in (("normal", "wake"), *((family, "mix") for family in _FAMILIES)):
      with self.subTest(family, phase=phase):
        learner = _learner(family, estimator="wake_sleep_mixture", inference_phase=phase)
        variables = learner.network_variables()
        with tf.GradientTape(persistent=True) as tape:
          losses, drawn, _ = learner.losses(
            learner.look(images), labels, tf.constant(1), tf.constant([3, 1])
          )
        self.assertAllEqual(np.unique(drawn.sequences.scales), [0, 1, 2])
        for network, loss in losses.items():
          gradients = tape.gradient(loss, variables)
          for other, group in variables.items():
            for variable, gradient in zip(group, gradients[other], strict=True):
              if other == network:
                self.assertIsNotNone(gradient, variable.path)
                self.assertGreater(np.abs(gradient).max(), 0.0, variable.path)
              elif gradient is not None:
                self.assertAllEqual(gradient, tf.zeros_like(gradient))

  def test_with_one_scale_the_model_is_the_one_without_a_choice(self):
    one = wsram_tf.GlimpseConfig(glimpse_side=3, glimpse_scales=1)
    learners = [
      _learner("keyed_grid", glimpse=dataclasses.replace(one, choose_scale=choose))
      for choose in (False, True)
    ]
    histories = [_trained(learner, run_eagerly=True) for learner in learners]
    self.assertEqual(*histories)
    for weight, other in zip(*(learner.weights for learner in learners), strict=True):
      self.assertAllEqual(weight, other)
    answers = [learner.predict(_data()[0], verbose=0) for learner in learners]
    self.assertEqual(answers[0].keys(), answers[1].keys())
    for name, values in answers[0].items():
      self.assertAllEqual(values, answers[1][name])

  def test_saved_and_loaded(self):
    learner = _learner("keyed_grid", cell="relu")
    _trained(learner, run_eagerly=True)
    path = os.path.join(self.get_temp_dir(), "learner.keras")
    learner.save(path)
    loaded = keras.saving.load_model(path)
    self.assertEqual(loaded.model_config, learner.model_config)
    images, labels = _data()
    answers, again = (model.predict(images, verbose=0) for model in (learner, loaded))
    self.assertEqual(answers["scales"].dtype, np.int64)
    for name, values in answers.items():
      self.assertAllEqual(again[name], values)
    figures = [m.evaluate(images, labels, verbose=0, return_dict=True) for m in (learner, loaded)]
    self.assertEqual(*figures)

  def test_the_network_sees_the_patch_of_the_chosen_scale_and_which_it_is(self):
    learner = wsram_tf.WakeSleepLearner(_MODEL, glimpse_network=Flat())
    network, images = learner.prediction_network, tf.constant(_data()[0])
    self.assertEqual(network.glimpse_network.shapes, ((None, 1, 3, 3, 1), (None, 2 + 3)))
    seen = []
    learner.prediction_network.glimpse_network.call = lambda patches, locations: (
      seen.append((patches, locations)) or tf.zeros([8, 8])
    )
    scales = np.arange(8) % 3
    at = np.random.default_rng(1).uniform(-1, 1, [8, 2]).astype(np.float32)
    actions = tf.constant(np.insert(at, 2, scales, axis=1))
    sequences = network.unroll(network.look(images), 1, lambda n, upper, prior: actions)
    self.assertAllEqual(sequences.scales[0, :, 0], scales)
    self.assertAllEqual(sequences.locations[0, :, 0], at)
    every = wsram_tf.PredictionNetwork(
      dataclasses.replace(_MODEL, glimpse=dataclasses.replace(_GLIMPSE, choose_scale=False))
    )
    whole = every.patches(images, at[:, np.newaxis])[:, 0]  # [B, S, G, G, C]
    patches, where = seen[0]
    self.assertAllEqual(patches[:, 0], tf.gather(whole, scales, batch_dims=1))
    self.assertAllEqual(where, np.concatenate([at, np.eye(3)[scales]], axis=1))
    shown = network.patches(images, at[:, np.newaxis], scales[:, np.newaxis])
    self.assertAllEqual(shown[:, 0], patches)

  def test_evaluation_reports_the_share_of_each_scale(self):
    images, labels = _data()
    learner = _learner()
    learner.compile("adam", run_eagerly=True)
    bias = learner.prediction_network.location_network.weights[-1]
    for logits, shares in (([0.0, 0.0, 0.0], None), ([0.0, 99.0, 0.0], [0, 100, 0])):
      bias.assign([*bias.numpy()[:2], *logits])
      figures = learner.evaluate(images, labels, batch_size=8, verbose=0, return_dict=True)
      found = [figures[f"scale_{scale}_percent"] for scale in range(3)]
      self.assertAllClose(sum(found), 100.0)
      if shares is not None:
        self.assertAllClose(found, shares)
      else:
        self.assertAllGreater(found, 10.0)
      self.assertContainsSubset([f"scale_{scale}_percent" for scale in range(3)], figures)
    all_scales = _learner(glimpse=dataclasses.replace(_GLIMPSE, choose_scale=False))
    self.assertFalse([name for name in all_scales.metrics_names if name.startswith("scale_")])

  def test_pictures_show_the_squares_of_the_chosen_scales(self):
    axes = Figure().subplots()
    locations = np.zeros([3, 2])
    drawing.draw_glimpse_squares(axes, np.zeros([20, 24, 1]), locations, 3, 3, np.array([2, 0, 1]))
    self.assertEqual([patch.get_width() for patch in axes.patches], [12, 3, 6])
    figure = wsram_tf.show_glimpses(_learner().prediction_network, _data(2)[0])
    image, seen = figure.axes[:2]
    self.assertLen(image.patches, 2)
    self.assertLen(seen.images, 2)


class EnumeratedTest(tf.test.TestCase):
  """All sequences of locations and scales, through the networks, in float64."""

  def setUp(self):
    super().setUp()
    self.addCleanup(keras.config.set_dtype_policy, keras.config.dtype_policy())
    keras.config.set_dtype_policy("float64")
    self.images = tf.constant(_data(2)[0], tf.float64)
    self.labels = tf.constant([1, 3])

  def learner(self, estimator: str, family: str = "grid", glimpses: int = 2):
    keras.utils.set_random_seed(4)
    glimpse = wsram_tf.GlimpseConfig(glimpse_side=4, glimpse_scales=2, choose_scale=True)
    location = wsram_tf.LocationConfig(
      family, grid_rows=2, grid_columns=1, location_filters=(), location_units=3
    )
    learner = wsram_tf.WakeSleepLearner(
      dataclasses.replace(
        _MODEL, glimpse=glimpse, location=location, num_glimpses=glimpses, context_side=2
      ),
      wsram_tf.ObjectiveConfig(estimator=estimator, num_samples=2),
    )
    for weight in learner.weights:  # Far from the start, where all actions are alike.
      if weight.path.startswith(("prediction", "inference")):
        weight.assign_add(0.5 * keras.random.normal(weight.shape, dtype="float64"))
    return learner

  def test_model_matches_sequences_one_by_one(self):
    for family, cells in (("grid", 2), ("keyed_grid", 4)):
      learner = self.learner("wake_sleep", family, glimpses=1)
      self.assertEqual(diagnostics.count_sequences(learner), cells * 2)
      found = diagnostics.enumerate_model(learner, self.images, self.labels)
      network = learner.prediction_network
      distribution = network.location_distribution
      joint, proposal = [], []
      view = network.look(self.images)
      target = tf.one_hot(self.labels, 4, dtype=tf.float64)
      upper = view.context[0]
      parameters = learner.inference_network(
        target, upper, learner.inference_network.keys(view.cells)
      ).numpy()
      prior = network.prior(view, upper).numpy()

      def log_probs(of, cell, scale, cells=cells):
        tables = np.log(np.exp(of[:, :cells]) / np.exp(of[:, :cells]).sum(axis=1, keepdims=True))
        scales = np.log(np.exp(of[:, cells:]) / np.exp(of[:, cells:]).sum(axis=1, keepdims=True))
        return tables[:, cell] + scales[:, scale]

      for cell in range(cells):
        for scale in range(2):
          location = distribution.locations.centres(tf.fill([2], cell), tf.float64)
          action = tf.pad(location, [[0, 0], [0, 1]], constant_values=scale)
          one = network.unroll(view, 1, lambda n, upper, prior, action=action: action)
          likelihood = one.log_probs[0].numpy()[np.arange(2), self.labels.numpy()]
          joint.append(log_probs(prior, cell, scale) + likelihood)
          proposal.append(log_probs(parameters, cell, scale))
      joint, proposal = np.exp(joint), np.array(proposal)
      posterior = joint / joint.sum(axis=0)
      divergence = (posterior * (np.log(posterior) - proposal)).sum(axis=0)
      self.assertAllClose(found.log_marginal_likelihood, np.log(joint.sum(axis=0)), 0, 1e-10)
      self.assertAllClose(found.proposal_divergence, divergence, 0, 1e-10)

  def test_gradients_of_all_estimators_through_the_networks(self):
    """The mean gradient of all pairs of sequences, against the exact gradient of the bound."""
    for name in objectives.ESTIMATORS:
      if not name.startswith("variational") or "correctness" in name:
        continue
      # Two glimpses make 256 pairs, one makes 16.
      glimpses = 2 if name == "variational_leave_one_out" else 1
      learner = self.learner(name, glimpses=glimpses)
      moments, _ = diagnostics.enumerate_gradient(learner, self.images[0], 1, num_samples=2)
      variables = [v.value for v in learner.prediction_network.trainable_variables]
      with tf.GradientTape() as tape:
        network, view = learner.prediction_network, learner.look(self.images[:1])
        family = network.location_distribution
        cells = family.locations.centres(tf.range(2), tf.float64)
        one = np.array([[*cell, scale] for cell in cells.numpy() for scale in range(2)])
        every = tf.constant([list(a) for a in itertools.product(one, repeat=glimpses)])  # [., N, A]
        sequences = network.unroll(
          view, len(every), lambda n, upper, prior, every=every: every[:, n]
        )
        log_prior = tf.reduce_sum(sequences.log_prior[:, 0], axis=-1)
        loss = -tf.reduce_sum(tf.exp(log_prior) * sequences.log_probs[:, 0, 1])
      exact = tape.gradient(loss, variables, unconnected_gradients="zero")
      exact = tf.concat([tf.reshape(gradient, [-1]) for gradient in exact], axis=0)
      with self.subTest(name):
        self.assertAllClose(moments["prediction"].mean, exact, 0, 1e-10)


class ReluTest(tf.test.TestCase):
  def test_learns_a_few_images_by_heart(self):
    keras.utils.set_random_seed(1)
    glimpse = wsram_tf.GlimpseConfig(glimpse_side=6, glimpse_scales=2)
    learner = wsram_tf.WakeSleepLearner(
      dataclasses.replace(_MODEL, cell="relu", glimpse=glimpse),
      wsram_tf.ObjectiveConfig(num_samples=3, estimator="variational_leave_one_out"),
    )
    learner.compile(optimizer=keras.optimizers.Adam(0.02), jit_compile=False)
    images, labels = _data(16)
    for index, label in enumerate(labels):
      row, column = 2 + 10 * (label // 2), 3 + 12 * (label % 2)
      images[index] *= 0.2
      images[index, row : row + 5, column : column + 5] = 1.0
    data = tf.data.Dataset.from_tensors((images, labels)).repeat()
    errors = learner.fit(data, steps_per_epoch=10, epochs=8, verbose=0).history["error_percent"]
    self.assertGreater(errors[0], 30.0)
    self.assertLess(errors[-1], 10.0)


if __name__ == "__main__":
  tf.test.main()
