"""Answers after each glimpse: of the network, in training and in the evaluation."""

import dataclasses

import keras
import numpy as np
import tensorflow as tf

import wsram_tf
from tests.classification.learners import EVALUATION_METRICS, MODEL, make_data, make_learner
from tests.support import small_runs
from wsram_tf import objectives
from wsram_tf.classification.views import glimpses_until
from wsram_tf.runs.folder import RunFolder

_SEED = (3, 1)


def _losses(learner):
  images, labels = map(tf.constant, make_data(4))
  return learner.losses(learner.look(images), labels, tf.constant(1), tf.constant(_SEED))


class NetworkTest(tf.test.TestCase):
  def test_each_answer_is_that_of_a_network_of_so_many_glimpses(self):
    images, _ = make_data(4)
    for choose_scale in (False, True):
      glimpse = dataclasses.replace(MODEL.glimpse, choose_scale=choose_scale)
      config = dataclasses.replace(MODEL, num_glimpses=3, glimpse=glimpse)
      network = wsram_tf.PredictionNetwork(config)
      stepwise = network.classify_stepwise(images)
      self.assertEqual(stepwise.keys(), network(images).keys())
      for count in (1, 2, 3):
        shorter = wsram_tf.PredictionNetwork(dataclasses.replace(config, num_glimpses=count))
        shorter.set_weights(network.get_weights())
        expected = shorter(images)
        with self.subTest(choose_scale=choose_scale, count=count):
          self.assertAllEqual(stepwise["class_id"][:, count - 1], expected["class_id"])
          self.assertAllClose(stepwise["probabilities"][:, count - 1], expected["probabilities"])
          for name in expected.keys() - {"class_id", "probabilities"}:
            self.assertAllClose(stepwise[name][:, :count], expected[name])


class GlimpsesUntilTest(tf.test.TestCase):
  def test_is_the_first_answer_that_reaches_the_threshold(self):
    probabilities = np.random.RandomState(5).dirichlet(np.ones(3), [40, 4]).astype(np.float32)
    threshold = np.linspace(0, 1, 40, dtype=np.float32)
    threshold[7] = probabilities[7, 1].max()  # Reached exactly.
    reached = probabilities.max(axis=-1) >= threshold[:, np.newaxis]
    reached[:, -1] = True
    found = glimpses_until(probabilities, threshold)
    self.assertAllEqual(found, 1 + reached.argmax(axis=1))
    self.assertEqual(found.dtype, tf.int64)
    self.assertAllEqual(np.unique(found), [1, 2, 3, 4])


class TrainingTest(tf.test.TestCase):
  def test_the_loss_is_added_by_weight_and_reaches_the_likelihood_alone(self):
    for estimator in ("wake_sleep", "variational"):
      plain, weighted = (
        make_learner(estimator=estimator, stepwise_weight=weight) for weight in (0.0, 0.5)
      )
      with tf.GradientTape() as tape:
        before, _, _ = _losses(plain)
      expected = tape.gradient(before["prediction"], plain.network_variables()["prediction"])
      with tf.GradientTape() as tape:
        losses, drawn, scored = _losses(weighted)
      found = tape.gradient(losses["prediction"], weighted.network_variables()["prediction"])
      log_probs = weighted.prediction_network.log_probs_by_glimpse(drawn.sequences).numpy()
      log_likelihood = np.take_along_axis(log_probs, make_data(4)[1][None, :, None, None], -1)
      extra = objectives.stepwise_loss(
        scored.log_prior, scored.log_sampling, tf.constant(log_likelihood[..., 0])
      )
      with self.subTest(estimator):
        self.assertGreater(np.abs(extra).min(), 0.1)
        self.assertAllClose(losses["prediction"], before["prediction"] + 0.5 * extra)
        for name in losses.keys() - {"prediction"}:
          self.assertAllEqual(losses[name], before[name])
        for variable, one, other in zip(
          weighted.network_variables()["prediction"], found, expected, strict=True
        ):
          # The state before the first of the two glimpses is zero.
          learns = "recurrent" not in variable.path and any(
            part in variable.path for part in ("classifier", "lower", "glimpse_network")
          )
          same = np.allclose(one, other, rtol=1e-5, atol=1e-7)
          self.assertEqual(same, not learns, variable.path)

  def test_the_evaluation_counts_the_errors_of_each_answer(self):
    images, _ = make_data()
    for count in (1, 3):
      config = dataclasses.replace(MODEL, num_glimpses=count)
      objective = wsram_tf.ObjectiveConfig(num_samples=2, stepwise_weight=1.0)
      learner = wsram_tf.WakeSleepLearner(config, objective)
      for seed, weight in enumerate(learner.prediction_network.weights):
        weight.assign_add(keras.random.normal(weight.shape, seed=seed))
      answers = learner.prediction_network.classify_stepwise(images)["class_id"].numpy()
      labels = answers[:, count // 2]  # Those after the middle glimpse are right.
      errors = 100 * np.mean(answers != labels[:, np.newaxis], axis=0)
      self.assertLen(np.unique(errors), count)
      learner.compile(jit_compile=False, run_eagerly=True)
      figures = learner.evaluate(images, labels, verbose=0, return_dict=True)
      earlier = [f"error_percent_after_{n}" for n in range(1, count)]
      self.assertEqual(set(figures), {*EVALUATION_METRICS, *earlier})
      self.assertAllClose([figures[name] for name in (*earlier, "error_percent")], errors)

  def test_results_list_the_error_after_each_glimpse(self):
    model = wsram_tf.ModelConfig(
      units=4, num_glimpses=2, glimpse=wsram_tf.GlimpseConfig(glimpse_side=4)
    )
    for weight in (0.0, 0.5):
      objective = wsram_tf.ObjectiveConfig(stepwise_weight=weight)
      task = small_runs.array_task(model=model, objective=objective)
      folder = RunFolder(self.get_temp_dir())
      task.open(None)
      task.prepare(folder)
      learner = task.make_learner(clip_norm=1.0, seed=1)
      learner.compile(jit_compile=False, run_eagerly=True)
      results = task.score(learner)
      errors = results.get("test_error_percent_by_glimpse")
      if not weight:
        self.assertIsNone(errors)
        # Thresholds make the list for every model.
        results = task.evaluate(learner, thresholds=[0.0, 1.0])
        errors = results["test_error_percent_by_glimpse"]
        stops = [tuple(stop.values()) for stop in results["early_stop"]]
        self.assertAllClose(stops, [(0.0, 1.0, errors[0]), (1.0, 2.0, errors[1])])
        self.assertAllClose(errors[-1], results["test_error_percent"])
      else:
        self.assertEqual(errors[-1], results["test_error_percent"])
      self.assertLen(errors, 2)
      answers, labels = [], []
      for images, these in task.test_data():
        answers.append(learner.prediction_network.classify_stepwise(images)["class_id"].numpy())
        labels.append(these.numpy())
      wrong = np.concatenate(answers) != np.concatenate(labels)[:, np.newaxis]
      self.assertAllClose(errors, 100 * wrong.mean(axis=0))


if __name__ == "__main__":
  tf.test.main()
