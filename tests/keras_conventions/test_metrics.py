"""Metrics, compiled or the learner's own, and the callbacks that read them."""

import os

import keras
import numpy as np
import tensorflow as tf

from tests.keras_conventions.learners import COUNT, make_data, make_learner


class MetricsTest(tf.test.TestCase):
  def test_metrics_names_name_what_evaluate_returns(self):
    for metrics in (None, ["accuracy", keras.metrics.SparseTopKCategoricalAccuracy(2, "top2")]):
      learner = make_learner(metrics=metrics)
      learner.fit(*make_data(), verbose=0)
      by_name = learner.evaluate(*make_data(), verbose=0, return_dict=True)
      values = learner.evaluate(*make_data(), verbose=0)
      self.assertEqual(learner.metrics_names[0], "loss")
      self.assertEqual(dict(zip(learner.metrics_names, values, strict=True)), by_name)
      self.assertTrue(all(type(value) is float for value in values))

  def test_loss_of_an_evaluation_is_the_negative_log_likelihood(self):
    learner = make_learner()
    figures = learner.evaluate(*make_data(), verbose=0, return_dict=True)
    self.assertAllClose(figures["loss"], -figures["log_likelihood"])
    history = learner.fit(*make_data(), validation_data=make_data(), verbose=0).history
    self.assertAllClose(history["val_loss"], -np.array(history["val_log_likelihood"]))

  def test_compiled_metrics_are_computed(self):
    def make(**how):
      weighted = [keras.metrics.SparseCategoricalAccuracy("weighted")]
      return make_learner(metrics=["accuracy"], weighted_metrics=weighted, **how)

    learner, (images, labels) = make(), make_data()
    weights = np.arange(COUNT, dtype=np.float32)
    history = learner.fit(
      images, labels, validation_data=(images, labels, weights), sample_weight=weights, verbose=0
    ).history
    self.assertLessEqual({"accuracy", "weighted", "val_accuracy", "val_weighted"}, history.keys())
    right = learner(images)["class_id"].numpy() == labels
    figures = learner.evaluate(images, labels, sample_weight=weights, verbose=0, return_dict=True)
    self.assertAllClose(figures["accuracy"], right.mean())
    self.assertAllClose(figures["accuracy"], 1 - figures["error_percent"] / 100)
    self.assertAllClose(figures["weighted"], np.average(right, weights=weights))
    self.assertAllClose(history["val_accuracy"][-1], figures["accuracy"])
    compiled = make(jit_compile=True, run_eagerly=False)
    compiled = compiled.fit(images, labels, sample_weight=weights, verbose=0).history
    for name in ("accuracy", "weighted"):
      self.assertAllClose(compiled[name], history[name])

  def test_a_loss_is_refused(self):
    with self.assertRaisesRegex(ValueError, "loss='mse': must be None.*estimator"):
      make_learner(loss="mse")


class CallbacksTest(tf.test.TestCase):
  def test_callbacks_work_with_their_defaults(self):
    path = os.path.join(self.get_temp_dir(), "best.keras")
    learner = make_learner()
    stop = keras.callbacks.EarlyStopping()
    rate = keras.callbacks.ReduceLROnPlateau(patience=1)
    save = keras.callbacks.ModelCheckpoint(path, save_best_only=True)
    history = learner.fit(
      *make_data(), epochs=3, validation_data=make_data(), callbacks=[stop, rate, save], verbose=0
    ).history
    self.assertTrue(os.path.exists(path))
    self.assertAllClose(stop.best, min(history["val_loss"]))
    self.assertAllClose(save.best, min(history["val_loss"]))
    self.assertIn("learning_rate", history)
    self.assertEqual(keras.saving.load_model(path).metrics_names, learner.metrics_names)

  def test_a_list_or_one_callback(self):
    for callbacks in (keras.callbacks.TerminateOnNaN(), [keras.callbacks.History()]):
      make_learner().fit(*make_data(), callbacks=callbacks, verbose=0)


if __name__ == "__main__":
  tf.test.main()
