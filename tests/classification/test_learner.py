"""The learner: the gradients of its losses, its ways to run, and its saved form."""

import dataclasses
import functools
import json
import os
import subprocess
import sys
import tempfile
from unittest import mock

import keras
import numpy as np
import tensorflow as tf

import wsram_tf
from tests.classification.learners import (
  EVALUATION_METRICS,
  MODEL,
  TRAINING_METRICS,
  make_data,
  make_learner,
)
from wsram_tf import objectives

_FAMILIES = ("normal", "normal_learned_scale", "grid", "keyed_grid")


def _trained(learner: wsram_tf.WakeSleepLearner, updates: int = 3, **compile_arguments) -> dict:
  """Trains on one batch, `updates` times; returns the metrics by update."""
  compile_arguments = {"jit_compile": False, **compile_arguments}
  # Not Adam: it turns rounding in a gradient near zero into a whole step.
  learner.compile(optimizer=keras.optimizers.SGD(0.05, momentum=0.9), **compile_arguments)
  images, labels = make_data()
  return learner.fit(
    images, labels, batch_size=16, epochs=updates, shuffle=False, verbose=0
  ).history


# Counts XLA's compilations in 2 and in 8 updates.
_COMPILES = """
import json, pathlib, sys
import keras, numpy as np
import wsram_tf

learner = wsram_tf.WakeSleepLearner(
  wsram_tf.ModelConfig(
    height=12,
    width=12,
    units=4,
    num_glimpses=1,
    context_side=2,
    glimpse=wsram_tf.GlimpseConfig(glimpse_side=4, glimpse_scales=1),
  ),
  wsram_tf.ObjectiveConfig("variational", num_samples=1),  # Compiles fastest.
)
learner.compile(optimizer=keras.optimizers.SGD(0.1), jit_compile=True)
images, labels = np.ones([4, 12, 12, 1], np.float32), np.arange(4)
counts = []
for epochs in (2, 6):
  learner.fit(images, labels, batch_size=4, epochs=epochs, verbose=0)
  counts.append(len(list(pathlib.Path(sys.argv[1]).glob("*before_optimizations*"))))
"""
# Loads a learner, and answers, evaluates and trains with it.
_LOADS = """
learner = keras.models.load_model(sys.argv[2])
data = np.load(sys.argv[3])
answers = learner.predict(data["images"], verbose=0)
figures = learner.evaluate(
  data["images"], data["labels"], batch_size=8, verbose=0, return_dict=True
)
iterations = int(learner.optimizer.iterations)
history = learner.fit(
  data["images"], data["labels"], batch_size=16, shuffle=False, verbose=0
).history
print(json.dumps({
  "counts": counts,
  "answers": {name: values.tolist() for name, values in answers.items()},
  "figures": figures,
  "iterations": iterations,
  "history": history,
}))
"""


def _run(script: str, *arguments: str, **environment: str) -> dict:
  """Runs Python code in a process of its own; returns the JSON of its last line."""
  finished = subprocess.run(
    [sys.executable, "-c", script, *arguments],
    env={**os.environ, **environment},
    capture_output=True,
    text=True,
    check=False,
  )
  if finished.returncode:
    raise AssertionError(finished.stderr[-4000:])
  return json.loads(finished.stdout.splitlines()[-1])


def _losses(name: str, scored: objectives.ScoredSequences) -> dict[str, tf.Tensor]:
  """Computes an estimator's losses, `[B]` by network, from densities of samples."""
  estimator = objectives.ESTIMATORS[name]
  losses = {"prediction": estimator.prediction_loss(scored)}
  if estimator.inference_loss:
    losses["inference"] = estimator.inference_loss(scored)
  if estimator.baseline_signal:
    losses["baseline"] = estimator.baseline_loss(scored)
  return losses


class LossesTest(tf.test.TestCase):
  def test_each_loss_reaches_its_own_network_alone(self):
    images, labels = map(tf.constant, make_data(4))
    # Estimators that sample alike, with the same networks, share one draw. The loss of the phase
    # "mix" holds that of "wake".
    alike = {}
    for name, estimator in objectives.ESTIMATORS.items():
      needs = (estimator.samples_from, estimator.inference_loss, estimator.baseline_signal)
      alike.setdefault((needs[0], *map(bool, needs[1:])), []).append(name)
    cases = [("normal", "wake", names) for names in alike.values()]
    cases += [(family, "mix", ["wake_sleep"]) for family in _FAMILIES]
    for family, phase, names in cases:
      learner = make_learner(family, estimator=names[0], inference_phase=phase)
      variables = learner.network_variables()
      with tf.GradientTape(persistent=True) as tape:
        losses, _, scored = learner.losses(
          learner.look(images), labels, tf.constant(1), tf.constant([3, 1])
        )
        self.assertEqual(set(losses), set(variables))
        by_name = {names[0]: losses} | {name: _losses(name, scored) for name in names[1:]}
      for name, losses in by_name.items():
        self.assertEqual(set(losses), set(variables))
        for network, loss in losses.items():
          with self.subTest(name, family=family, phase=phase, network=network):
            gradients = tape.gradient(loss, variables)
            for other, group in variables.items():
              for variable, gradient in zip(group, gradients[other], strict=True):
                if other == network:
                  self.assertIsNotNone(gradient, variable.path)
                  if "correctness" not in name:  # By chance no sample may be right.
                    self.assertGreater(np.abs(gradient).max(), 0.0, variable.path)
                elif gradient is not None:
                  self.assertAllEqual(gradient, tf.zeros_like(gradient))

  def test_networks_are_those_that_the_estimator_needs(self):
    for name, networks in (
      ("wake_sleep", {"prediction", "inference"}),
      ("wake_sleep_prior", {"prediction"}),
      ("variational_learned_baseline", {"prediction", "baseline"}),
    ):
      self.assertEqual(set(make_learner(estimator=name).network_variables()), networks)

  def test_locations_stay_as_they_start_where_they_are_not_learned(self):
    for family in ("grid", "keyed_grid"):
      for learns in (True, False):
        learner = make_learner(
          family, estimator="wake_sleep_prior", num_samples=4, learn_locations=learns
        )
        network = learner.prediction_network
        locations = [network.location_network, network.location_keys, network.cell_network]
        where = [weight for layer in locations if layer for weight in layer.weights]
        before = {weight.path: weight.numpy() for weight in network.weights}
        _trained(learner, updates=1, run_eagerly=True)
        changed = {w.path for w in network.weights if np.any(w.numpy() != before[w.path])}
        of_locations = {weight.path for weight in where}
        with self.subTest(family=family, learns=learns):
          self.assertNotEmpty(changed - of_locations)
          self.assertEqual(bool(changed & of_locations), learns)

  def test_bonuses_are_added_by_weight_and_schedule(self):
    images, labels = map(tf.constant, make_data(4))
    learner = make_learner("normal_learned_scale", cell="relu", estimator="variational")

    @functools.cache
    def loss(step: int, **exploration: float) -> np.ndarray:
      learner.exploration_config = wsram_tf.ExplorationConfig(**exploration)
      seed = tf.constant([3, 1])
      losses, _, _ = learner.losses(learner.look(images), labels, tf.constant(step), seed)
      return losses["prediction"].numpy()

    for bonus in ("entropy_bonus", "coverage_bonus"):
      one, two = (loss(0, **{bonus: weight}) - loss(0) for weight in (1.0, 2.0))
      self.assertGreater(np.abs(one).min(), 1e-3)
      self.assertAllClose(two, 2 * one, rtol=1e-3)
      half, none = (
        loss(step, **{bonus: 2.0, f"{bonus}_updates": 10}) - loss(0) for step in (5, 10)
      )
      self.assertAllClose(half, one, rtol=1e-3)
      self.assertAllClose(none, np.zeros(4), atol=1e-6)

  def test_temperature_widens_what_is_sampled_and_falls_to_one(self):
    images, labels = map(tf.constant, make_data(4))
    learner = make_learner(cell="relu")
    view, seed = learner.look(images), tf.constant([3, 1])
    proposal = learner.sample(view, labels, tf.fill([1, 4, 2, 2], 0.5))

    def spread(step: int, **exploration: float) -> float:
      learner.exploration_config = wsram_tf.ExplorationConfig(**exploration)
      _, drawn, _ = learner.losses(view, labels, tf.constant(step), seed)
      first = drawn.sequences.locations[:, :, 0] - proposal.sequences.locations[:, :, 0]
      return float(tf.math.reduce_std(first))

    hot = {"temperature": 4.0, "temperature_updates": 10}
    self.assertAllClose(spread(0, **hot), 2 * spread(0), rtol=1e-4)
    self.assertAllClose(spread(10, **hot), spread(10), rtol=1e-4)


class TrainingTest(tf.test.TestCase):
  def test_eager_and_compiled_agree(self):
    learners = [
      make_learner(estimator="wake_sleep_mixture", inference_phase="mix", num_samples=4)
      for _ in range(2)
    ]
    eager = _trained(learners[0], updates=2, run_eagerly=True)
    compiled = _trained(learners[1], updates=2, jit_compile=True)
    self.assertEqual(set(compiled), set(eager))
    for name, values in eager.items():
      with self.subTest(name):
        self.assertAllClose(compiled[name], values, rtol=1e-4, atol=1e-5)
    for variable, expected in zip(
      learners[1].trainable_variables, learners[0].trainable_variables, strict=True
    ):
      with self.subTest(variable.path):
        self.assertAllClose(variable.numpy(), expected.numpy(), rtol=1e-4, atol=1e-5)

  def test_many_glimpses_are_cut_alike_without_xla(self):
    # So many pixels that XLA compiles their cutting alone.
    images, labels = make_data(512)
    histories = []
    for eager in (False, True):
      learner = make_learner(num_samples=16)
      learner.compile(keras.optimizers.SGD(0.1), jit_compile=False, run_eagerly=eager)
      history = learner.fit(images, labels, batch_size=512, epochs=2, shuffle=False, verbose=0)
      histories.append(history.history)
    for name, values in histories[1].items():
      with self.subTest(name):
        self.assertAllClose(histories[0][name], values, rtol=1e-4, atol=1e-5)

  def test_same_seed_gives_same_numbers(self):
    first, again, other = (
      _trained(make_learner(seed=seed, estimator="variational"), updates=2, run_eagerly=True)
      for seed in (3, 3, 4)
    )
    self.assertEqual(first, again)
    self.assertNotEqual(first["bound"], other["bound"])

  def test_metrics_are_named_and_finite_for_every_model(self):
    for family, cell, estimator in (
      ("normal", "lstm", "wake_sleep"),
      ("normal_learned_scale", "gru", "wake_sleep_mixture"),
      ("grid", "lstm", "wake_sleep_prior"),
    ):
      with self.subTest(family=family, cell=cell, estimator=estimator):
        learner = make_learner(family, cell, estimator=estimator)
        before = [variable.numpy() for variable in learner.trainable_variables]
        history = _trained(learner, updates=1, run_eagerly=True)
        self.assertEqual(set(history), TRAINING_METRICS)
        figures = learner.evaluate(*make_data(), batch_size=16, verbose=0, return_dict=True)
        self.assertEqual(set(figures), EVALUATION_METRICS)
        for values in (*history.values(), *figures.values()):
          self.assertAllInRange(values, -1e6, 1e6)  # NaN is in no range.
        for values in (history["effective_sample_size"], figures["effective_sample_size"]):
          self.assertAllInRange(values, 1.0 - 1e-5, 3.0 + 1e-5)
        for variable, old in zip(learner.trainable_variables, before, strict=True):
          self.assertNotAllEqual(variable.numpy(), old)
        if estimator == "wake_sleep_prior":
          self.assertIsNone(learner.inference_network)
          self.assertAllEqual(history["inference_gradient_norm"], [0.0])
          self.assertAllEqual(history["proposal_entropy"], history["prior_entropy"])

  def test_evaluates_the_same_twice(self):
    learner = make_learner()
    learner.compile(run_eagerly=True)
    first, again = (
      learner.evaluate(*make_data(), batch_size=8, verbose=0, return_dict=True) for _ in range(2)
    )
    self.assertEqual(first, again)

  def test_evaluates_to_plain_floats(self):
    images, labels = make_data()
    tensors = {"loss": tf.constant(0.5)}  # What Keras before 3.14 answers.
    with mock.patch.object(keras.Model, "evaluate", return_value=tensors):
      self.assertEqual(json.dumps(make_learner().evaluate(images, labels)), '{"loss": 0.5}')

  def test_learns_a_few_images_by_heart(self):
    learner = make_learner(estimator="wake_sleep_equal_likelihood")
    learner.compile(optimizer=keras.optimizers.Adam(0.01), jit_compile=False)
    images, labels = make_data(32)
    data = tf.data.Dataset.from_tensors((images, labels)).repeat()
    step = wsram_tf.WakeSleepLearner.differentiate
    with mock.patch.object(wsram_tf.WakeSleepLearner, "differentiate", autospec=True) as traced:
      traced.side_effect = step
      history = learner.fit(data, steps_per_epoch=10, epochs=10, verbose=0).history
    traced.assert_called_once()  # A step is traced once.
    self.assertGreater(history["error_percent"][0], 30.0)
    self.assertLess(history["error_percent"][-1], 10.0)
    self.assertLess(history["loss"][-1], history["loss"][0])
    self.assertGreater(history["bound"][-1], history["bound"][0])


class ConstructorTest(tf.test.TestCase):
  def test_refuses_bad_arguments(self):
    for arguments, message in (
      ({"clip_norm": 0.0}, "clip_norm=0.0: must be above 0"),
      ({"clip_norm": float("nan")}, "clip_norm=nan: must be finite"),
      ({"clip_norm": "5"}, "clip_norm='5': must be a number"),
      ({"num_evaluation_samples": 0}, "num_evaluation_samples=0: must be at least 1"),
      ({"seed": -1}, "seed=-1: must be at least 0"),
      ({"objective_config": MODEL}, "objective_config=.*: must be of the class ObjectiveConfig"),
    ):
      with self.subTest(message), self.assertRaisesRegex(ValueError, message):
        wsram_tf.WakeSleepLearner(MODEL, **arguments)

  def test_config_round_trips(self):
    learner = wsram_tf.WakeSleepLearner(
      dataclasses.replace(MODEL, cell="gru"),
      wsram_tf.ObjectiveConfig(num_samples=2, estimator="variational_learned_baseline"),
      wsram_tf.ExplorationConfig(temperature=2.0, coverage_bonus=0.5),
      clip_norm=2.0,
      num_evaluation_samples=3,
      seed=9,
    )
    config = json.loads(json.dumps(learner.get_config()))
    again = wsram_tf.WakeSleepLearner.from_config(config)
    self.assertEqual(again.get_config(), learner.get_config())
    self.assertEqual(again.model_config, learner.model_config)
    self.assertEqual(again.objective_config, learner.objective_config)
    self.assertEqual(again.exploration_config, learner.exploration_config)


class OtherProcessTest(tf.test.TestCase):
  """One process for all tests, because it takes seconds to start."""

  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    cls.images, cls.labels = make_data()
    cls.learner = make_learner()
    _trained(cls.learner, updates=1, run_eagerly=True)
    with tempfile.TemporaryDirectory() as folder:
      model, data, dump = (os.path.join(folder, name) for name in ("a.keras", "data.npz", "dump"))
      cls.learner.save(model)
      np.savez(data, images=cls.images, labels=cls.labels)
      flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_dump_to={dump}"
      cls.found = _run(_COMPILES + _LOADS, dump, model, data, XLA_FLAGS=flags)

  def test_compiles_once_for_all_updates(self):
    after_two, after_eight = self.found["counts"]
    self.assertGreater(after_two, 0)
    self.assertEqual(after_eight, after_two)

  def test_loads_in_another_process(self):
    images, labels, learner, loaded = self.images, self.labels, self.learner, self.found
    answers = learner.predict(images, verbose=0)
    figures = learner.evaluate(images, labels, batch_size=8, verbose=0, return_dict=True)
    self.assertEqual(set(loaded["answers"]), {"class_id", "probabilities", "locations"})
    self.assertAllEqual(loaded["answers"]["class_id"], answers["class_id"])
    for name in ("probabilities", "locations"):
      self.assertAllClose(loaded["answers"][name], answers[name], rtol=1e-6, atol=1e-6)
    self.assertAllClose(loaded["figures"], figures, rtol=1e-5, atol=1e-5)
    self.assertEqual(loaded["iterations"], 1)
    # The next update is the same too: momentum, samples and all.
    history = learner.fit(images, labels, batch_size=16, shuffle=False, verbose=0).history
    self.assertAllClose(loaded["history"], history, rtol=1e-5, atol=1e-5)
