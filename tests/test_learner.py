"""The learner: whose loss reaches whom, every way to run it, saving, and what it refuses."""

import dataclasses
import itertools
import json
import os
import subprocess
import sys
import tempfile

import keras
import numpy as np
import tensorflow as tf

import wsram_tf
from tests import enumeration
from wsram_tf import learner as learner_module

_MODEL = wsram_tf.ModelConfig(
  height=20,
  width=24,
  num_classes=4,
  units=8,
  num_glimpses=2,
  context_side=4,
  glimpse=wsram_tf.GlimpseConfig(glimpse_side=6, glimpse_scales=2),
)
_FAMILIES = ("normal", "normal_learned_scale", "grid")
_TRAINING_METRICS = {
  "loss",
  "bound",
  "log_likelihood",
  "effective_sample_size",
  "prior_entropy",
  "proposal_entropy",
  "prediction_gradient_norm",
  "inference_gradient_norm",
  "error_percent",
}
_EVALUATION_METRICS = {
  "error_percent",
  "error_percent_averaged",
  "log_likelihood",
  "bound",
  "effective_sample_size",
  "prior_entropy",
  "proposal_entropy",
}


def _data(count: int = 16) -> tuple[np.ndarray, np.ndarray]:
  """A bright square in the quadrant that the label names, on a dim pattern."""
  labels = np.arange(count, dtype=np.int32) % 4
  images = 0.2 * np.abs(np.sin(np.arange(count * 20 * 24))).reshape(count, 20, 24, 1)
  for index, label in enumerate(labels):
    row, column = 2 + 10 * (label // 2) + index % 3, 3 + 12 * (label % 2) + index % 2
    images[index, row : row + 5, column : column + 5] = 1.0
  return images.astype(np.float32), labels


def _learner(
  family: str = "normal", cell: str = "lstm", seed: int = 3, **objective
) -> wsram_tf.WakeSleepLearner:
  keras.utils.set_random_seed(1)
  location = wsram_tf.LocationConfig(location_distribution=family, grid_rows=3, grid_columns=4)
  return wsram_tf.WakeSleepLearner(
    dataclasses.replace(_MODEL, cell=cell, location=location),
    wsram_tf.ObjectiveConfig(num_samples=3, **objective),
    seed=seed,
  )


def _trained(learner: wsram_tf.WakeSleepLearner, updates: int = 3, **compile_arguments) -> dict:
  """Trains on one batch, `updates` times; returns the metrics by update."""
  compile_arguments = {"jit_compile": False, **compile_arguments}
  # Not Adam: it turns rounding in a gradient near zero into a whole step.
  learner.compile(optimizer=keras.optimizers.SGD(0.05, momentum=0.9), **compile_arguments)
  images, labels = _data()
  return learner.fit(
    images, labels, batch_size=16, epochs=updates, shuffle=False, verbose=0
  ).history


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


class LossesTest(tf.test.TestCase):
  def test_each_loss_reaches_its_own_network_alone(self):
    images, labels = map(tf.constant, _data(4))
    uniforms = learner_module.stateless_uniforms([3, 4, 2, 2], tf.constant([0, 0]))
    for family, weights in itertools.product(_FAMILIES, ("importance", "equal")):
      with self.subTest(family=family, likelihood_weights=weights):
        learner = _learner(family, likelihood_weights=weights)
        prediction = learner.prediction_network.trainable_variables
        inference = learner.inference_network.trainable_variables
        with tf.GradientTape(persistent=True) as tape:
          losses = learner.losses_per_image(learner.sample(images, labels, uniforms))
        for loss, own, other in zip(
          losses, (prediction, inference), (inference, prediction), strict=True
        ):
          for gradient in tape.gradient(loss, other):
            if gradient is not None:
              self.assertAllEqual(gradient, tf.zeros_like(gradient))
          for variable, gradient in zip(own, tape.gradient(loss, own), strict=True):
            self.assertIsNotNone(gradient, variable.path)
            self.assertGreater(np.abs(gradient).max(), 0.0, variable.path)

  def test_gradients_by_log_densities_for_every_estimator(self):
    # [M, B, N], and log p(y | a, image) as [M, B].
    log_prior = np.array([[[-1.0, 0.5]], [[0.25, -2.0]], [[0.5, 0.5]]])
    log_proposal = np.array([[[0.5, -0.5]], [[-1.5, 0.25]], [[0.0, -1.0]]])
    log_likelihood = np.array([[-2.0], [-0.25], [-1.0]])
    for prior_variate, proposal_variate, weights, proposal in itertools.product(
      (True, False), (True, False), ("importance", "equal"), ("inference", "prior")
    ):
      objective = {
        "prior_control_variate": prior_variate,
        "proposal_control_variate": proposal_variate,
        "likelihood_weights": weights,
        "proposal": proposal,
      }
      with self.subTest(**objective):
        learner = _learner(**objective)
        # The prior as the proposal is the general form with q = p.
        q = log_prior if proposal == "prior" else log_proposal
        densities = [tf.Variable(table) for table in (log_prior, log_likelihood, q)]
        with tf.GradientTape(persistent=True) as tape:
          drawn = learner_module.TrainingSequences(
            wsram_tf.GlimpseSequences(None, densities[0], None, None),
            tf.convert_to_tensor(densities[2]),
            None,
            tf.convert_to_tensor(densities[1]),
          )
          prediction_loss, inference_loss = learner.losses_per_image(drawn)
        ratio = (log_prior - q).sum(axis=-1)
        w = enumeration.exact_normalized_weights(ratio + log_likelihood)
        v = enumeration.exact_normalized_weights(ratio)
        by_prior = -(w - v) if prior_variate else -w
        by_likelihood = -w if weights == "importance" else np.full([3, 1], -1 / 3)
        by_proposal = -(w - 1 / 3) if proposal_variate else -w
        both_steps = np.ones([1, 1, 2])
        self.assertAllClose(
          tape.gradient(prediction_loss, densities[:2]),
          [by_prior[..., np.newaxis] * both_steps, by_likelihood],
          rtol=0,
          atol=enumeration.TOLERANCE,
        )
        self.assertIsNone(tape.gradient(prediction_loss, densities[2]))
        self.assertEqual(tape.gradient(inference_loss, densities[:2]), [None, None])
        if proposal == "prior":
          self.assertAllEqual(inference_loss, [0.0])
        else:
          self.assertAllClose(
            tape.gradient(inference_loss, densities[2]),
            by_proposal[..., np.newaxis] * both_steps,
            rtol=0,
            atol=enumeration.TOLERANCE,
          )


class UniformsTest(tf.test.TestCase):
  def test_are_the_same_in_every_mode(self):
    for seed in ([0, 0], [3, 77]):
      eager = learner_module.stateless_uniforms([5, 16, 2, 2], tf.constant(seed))
      self.assertAllInRange(eager, 2.0**-24, 1.0 - 2.0**-24)
      for compiled in (False, True):
        traced = tf.function(
          lambda seed: learner_module.stateless_uniforms([5, 16, 2, 2], seed),
          jit_compile=compiled,
        )
        self.assertAllEqual(traced(tf.constant(seed)), eager)

  def test_depend_on_both_numbers_of_the_seed(self):
    drawn = [
      tuple(learner_module.stateless_uniforms([4], tf.constant(seed)).numpy())
      for seed in ([0, 0], [0, 1], [1, 0], [1, 1])
    ]
    self.assertLen(set(drawn), 4)


class TrainingTest(tf.test.TestCase):
  def test_eager_graph_and_compiled_agree(self):
    learners = [_learner() for _ in range(3)]
    eager = _trained(learners[0], run_eagerly=True)
    for learner, compiled in zip(learners[1:], (False, True), strict=True):
      history = _trained(learner, jit_compile=compiled)
      self.assertEqual(set(history), set(eager))
      for name, values in eager.items():
        with self.subTest(name, compiled=compiled):
          self.assertAllClose(history[name], values, rtol=1e-4, atol=1e-5)
      for variable, expected in zip(
        learner.trainable_variables, learners[0].trainable_variables, strict=True
      ):
        with self.subTest(variable.path, compiled=compiled):
          self.assertAllClose(variable.numpy(), expected.numpy(), rtol=1e-4, atol=1e-5)

  def test_same_seed_gives_same_numbers(self):
    first, again, other = (_trained(_learner(seed=seed), run_eagerly=True) for seed in (3, 3, 4))
    self.assertEqual(first, again)
    self.assertNotEqual(first["bound"], other["bound"])

  def test_metrics_are_named_and_finite_for_every_model(self):
    for family, cell, proposal in (
      ("normal", "lstm", "inference"),
      ("normal_learned_scale", "gru", "inference"),
      ("grid", "lstm", "prior"),
    ):
      with self.subTest(family=family, cell=cell, proposal=proposal):
        learner = _learner(family, cell, proposal=proposal)
        before = [variable.numpy() for variable in learner.trainable_variables]
        history = _trained(learner, updates=2, run_eagerly=True)
        self.assertEqual(set(history), _TRAINING_METRICS)
        figures = learner.evaluate(*_data(), batch_size=8, verbose=0, return_dict=True)
        self.assertEqual(set(figures), _EVALUATION_METRICS)
        for values in (*history.values(), *figures.values()):
          self.assertAllInRange(values, -1e6, 1e6)  # NaN is in no range.
        for values in (history["effective_sample_size"], figures["effective_sample_size"]):
          self.assertAllInRange(values, 1.0 - 1e-5, 3.0 + 1e-5)
        for variable, old in zip(learner.trainable_variables, before, strict=True):
          self.assertNotAllEqual(variable.numpy(), old)
        if proposal == "prior":
          self.assertIsNone(learner.inference_network)
          self.assertAllEqual(history["inference_gradient_norm"], [0.0, 0.0])
          self.assertAllEqual(history["proposal_entropy"], history["prior_entropy"])

  def test_evaluates_the_same_twice(self):
    learner = _learner()
    _trained(learner, updates=1, run_eagerly=True)
    first, again = (
      learner.evaluate(*_data(), batch_size=8, verbose=0, return_dict=True) for _ in range(2)
    )
    self.assertEqual(first, again)

  def test_learns_a_few_images_by_heart(self):
    learner = _learner(likelihood_weights="equal")
    learner.compile(optimizer=keras.optimizers.Adam(0.01), jit_compile=False)
    images, labels = _data(32)
    data = tf.data.Dataset.from_tensors((images, labels)).repeat()
    history = learner.fit(data, steps_per_epoch=50, epochs=5, verbose=0).history
    self.assertGreater(history["error_percent"][0], 30.0)
    self.assertLess(history["error_percent"][-1], 10.0)
    self.assertLess(history["loss"][-1], history["loss"][0])
    self.assertGreater(history["bound"][-1], history["bound"][0])

  def test_compiles_once_for_all_updates(self):
    script = """
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
  wsram_tf.ObjectiveConfig(num_samples=2),
)
learner.compile(optimizer=keras.optimizers.SGD(0.1), jit_compile=True)
images, labels = np.ones([4, 12, 12, 1], np.float32), np.arange(4)
counts = []
for epochs in (2, 6):
  learner.fit(images, labels, batch_size=4, epochs=epochs, verbose=0)
  counts.append(len(list(pathlib.Path(sys.argv[1]).glob("*before_optimizations*"))))
print(json.dumps(counts))
"""
    with tempfile.TemporaryDirectory() as dump:
      flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_dump_to={dump}"
      after_two, after_eight = _run(script, dump, XLA_FLAGS=flags)
    self.assertGreater(after_two, 0)
    self.assertEqual(after_eight, after_two)


class ConstructorTest(tf.test.TestCase):
  def test_refuses_bad_arguments(self):
    for arguments, message in (
      ({"clip_norm": 0.0}, "clip_norm=0.0: must be above 0"),
      ({"clip_norm": float("nan")}, "clip_norm=nan: must be above 0"),
      (
        {"num_evaluation_samples": 0},
        "num_evaluation_samples=0: must be a whole number of at least 1",
      ),
    ):
      with self.subTest(message), self.assertRaisesRegex(ValueError, message):
        wsram_tf.WakeSleepLearner(_MODEL, **arguments)

  def test_config_round_trips(self):
    learner = wsram_tf.WakeSleepLearner(
      dataclasses.replace(_MODEL, cell="gru"),
      wsram_tf.ObjectiveConfig(num_samples=2, proposal="prior", likelihood_weights="equal"),
      clip_norm=2.0,
      num_evaluation_samples=3,
      seed=9,
    )
    config = json.loads(json.dumps(learner.get_config()))
    again = wsram_tf.WakeSleepLearner.from_config(config)
    self.assertEqual(again.get_config(), learner.get_config())
    self.assertEqual(again.model_config, learner.model_config)
    self.assertEqual(again.objective_config, learner.objective_config)


class SavingTest(tf.test.TestCase):
  def test_loads_in_another_process(self):
    script = """
import json, sys
import keras, numpy as np
import wsram_tf

learner = keras.models.load_model(sys.argv[1])
data = np.load(sys.argv[2])
answers = learner.predict(data["images"], verbose=0)
figures = learner.evaluate(
  data["images"], data["labels"], batch_size=8, verbose=0, return_dict=True
)
iterations = int(learner.optimizer.iterations)
history = learner.fit(
  data["images"], data["labels"], batch_size=16, shuffle=False, verbose=0
).history
print(json.dumps({
  "answers": {name: values.tolist() for name, values in answers.items()},
  "figures": figures,
  "iterations": iterations,
  "history": history,
}))
"""
    images, labels = _data()
    learner = _learner()
    _trained(learner, run_eagerly=True)
    with tempfile.TemporaryDirectory() as folder:
      model, data = os.path.join(folder, "learner.keras"), os.path.join(folder, "data.npz")
      learner.save(model)
      np.savez(data, images=images, labels=labels)
      loaded = _run(script, model, data)
    answers = learner.predict(images, verbose=0)
    figures = learner.evaluate(images, labels, batch_size=8, verbose=0, return_dict=True)
    self.assertEqual(set(loaded["answers"]), {"class_id", "probabilities", "locations"})
    self.assertAllEqual(loaded["answers"]["class_id"], answers["class_id"])
    for name in ("probabilities", "locations"):
      self.assertAllClose(loaded["answers"][name], answers[name], rtol=1e-6, atol=1e-6)
    self.assertAllClose(loaded["figures"], figures, rtol=1e-5, atol=1e-5)
    self.assertEqual(loaded["iterations"], 3)
    # The next update is the same too: momentum, samples and all.
    history = learner.fit(images, labels, batch_size=16, shuffle=False, verbose=0).history
    self.assertAllClose(loaded["history"], history, rtol=1e-5, atol=1e-5)


class RefusalsTest(tf.test.TestCase):
  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    cls.learner = _learner()
    cls.learner.compile(optimizer="sgd", jit_compile=False)

  def _bad(self) -> list[tuple[np.ndarray, np.ndarray, str]]:
    images, labels = _data(4)
    with_nan = images.copy()
    with_nan[2, 3, 4] = np.nan
    return [
      (with_nan, labels, "images must be finite"),
      (images * 255, labels, r"images must lie within 0\.\.1"),
      (images, labels + 1, r"labels must lie within 0\.\.3"),
      (images, labels - 1, r"labels must lie within 0\.\.3"),
      (images[:, :, :20], labels, r"images must have shape \[B, 20, 24, 1\]"),
    ]

  def test_arrays(self):
    good = _data(4)
    for images, labels, message in self._bad():
      for name, use in {
        "fit": lambda x, y: self.learner.fit(x, y, verbose=0),
        "validate": lambda x, y: self.learner.fit(*good, validation_data=(x, y), verbose=0),
        "evaluate": lambda x, y: self.learner.evaluate(x, y, verbose=0),
      }.items():
        with self.subTest(f"{name}: {message}"), self.assertRaisesRegex(ValueError, message):
          use(images, labels)
    self.assertEqual(int(self.learner.optimizer.iterations), 0)

  def test_datasets(self):
    for images, labels, message in self._bad():
      # Of unknown shape, so that only running it can show what is wrong.
      signature = (tf.TensorSpec(None, tf.float32), tf.TensorSpec(None, tf.int32))
      data = tf.data.Dataset.from_generator(
        lambda images=images, labels=labels: iter([(images, labels)]), output_signature=signature
      )
      for name, use in {"fit": self.learner.fit, "evaluate": self.learner.evaluate}.items():
        with (
          self.subTest(f"{name}: {message}"),
          self.assertRaisesRegex(tf.errors.InvalidArgumentError, message),
        ):
          use(data, verbose=0)

  def test_datasets_of_wrong_shape_are_refused_before_running(self):
    images, labels = _data(4)
    data = tf.data.Dataset.from_tensors((images[:, :, :20], labels))
    with self.assertRaisesRegex(ValueError, r"images must have shape \[B, 20, 24, 1\]"):
      self.learner.fit(data, verbose=0)

  def test_good_data_passes(self):
    images, labels = _data(6)
    data = tf.data.Dataset.from_tensor_slices((images, labels)).batch(4)
    history = self.learner.fit(data, validation_data=data, verbose=0).history
    self.assertEqual(
      set(history), _TRAINING_METRICS | {f"val_{name}" for name in _EVALUATION_METRICS}
    )
    by_arrays = self.learner.evaluate(images, labels, batch_size=4, verbose=0, return_dict=True)
    by_dataset = self.learner.evaluate(data, verbose=0, return_dict=True)
    self.assertAllClose(by_arrays, by_dataset, rtol=1e-5, atol=1e-5)
    for name, value in by_dataset.items():
      self.assertAllClose(history[f"val_{name}"], [value], rtol=1e-5, atol=1e-5)
