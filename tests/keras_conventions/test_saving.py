"""Saving, exporting and cloning a learner, and its dtype policy."""

import dataclasses
import os

import keras
import numpy as np
import tensorflow as tf

import wsram_tf
from tests.keras_conventions.learners import MODEL, make_data, make_learner


class SavingTest(tf.test.TestCase):
  def test_exports_as_it_stands(self):
    images, labels = make_data()
    learner, path = make_learner(), os.path.join(self.get_temp_dir(), "learner")
    learner.fit(images, labels, verbose=0)  # The export to LiteRT is of an untrained one.
    learner.export(path, verbose=False)
    served = tf.saved_model.load(path)
    expected = learner.predict(images, verbose=0)
    for count in (1, 4):  # The batch is open.
      found = served.serve(tf.constant(images[:count]))
      self.assertAllClose(found["probabilities"], expected["probabilities"][:count])

  def test_network_exports_too(self):
    path = os.path.join(self.get_temp_dir(), "network")
    make_learner().prediction_network.export(path, verbose=False)
    served = tf.saved_model.load(path)
    self.assertIn("probabilities", served.serve(make_data(2)[0]))

  def test_exports_to_litert(self):
    learner = make_learner()
    images, _ = make_data(1)
    path = os.path.join(self.get_temp_dir(), "learner.tflite")
    learner.export(path, format="litert", verbose=False)
    runner = tf.lite.Interpreter(path).get_signature_runner()
    (name,) = runner.get_input_details()
    found = runner(**{name: images})["probabilities"]
    self.assertAllClose(found, learner.predict(images, verbose=0)["probabilities"], 1e-4, 1e-5)

  def test_a_quantized_model_exports_and_refuses_to_be_saved(self):
    network, folder = make_learner().prediction_network, self.get_temp_dir()
    images, _ = make_data(2)
    network.quantize("int8")
    path = os.path.join(folder, "quantized")
    network.export(path, verbose=False)
    expected = network.predict(images, verbose=0)
    served = tf.saved_model.load(path)
    found = served.serve(images)
    self.assertAllClose(found["probabilities"], expected["probabilities"])
    message = "cannot hold a model quantized to int8; save it before, quantize it after loading"
    for save in (network.save, network.save_to_preset):
      path = os.path.join(folder, f"{save.__name__}.keras")
      with self.assertRaisesRegex(ValueError, f"={path!r}: {message}"):
        save(path)
      self.assertFalse(os.path.exists(path))

  def test_clones(self):
    learner = make_learner()
    clone = keras.models.clone_model(learner)
    clone.compile("sgd", run_eagerly=True)
    self.assertEqual(clone.get_config(), learner.get_config())
    clone.fit(*make_data(), verbose=0)

  def test_saves_and_loads_with_compiled_metrics(self):
    learner = make_learner(metrics=["accuracy"])
    learner.fit(*make_data(), verbose=0)
    path = os.path.join(self.get_temp_dir(), "learner.keras")
    learner.save(path)
    loaded = keras.saving.load_model(path)
    self.assertAllClose(
      loaded.evaluate(*make_data(), verbose=0, return_dict=True),
      learner.evaluate(*make_data(), verbose=0, return_dict=True),
    )
    loaded.fit(*make_data(), verbose=0)


class PolicyTest(tf.test.TestCase):
  def setUp(self):
    super().setUp()
    self.addCleanup(keras.config.set_dtype_policy, keras.config.dtype_policy())

  def test_mixed_bfloat16_is_the_precision(self):
    keras.config.set_dtype_policy("mixed_bfloat16")
    learner = make_learner()
    learner.fit(*make_data(), validation_data=make_data(), verbose=0)
    answer = learner.predict(make_data()[0], verbose=0)
    self.assertEqual(answer["probabilities"].dtype, np.float32)
    self.assertEqual({variable.dtype for variable in learner.trainable_variables}, {"float32"})
    path = os.path.join(self.get_temp_dir(), "learner.keras")
    learner.save(path)
    keras.config.set_dtype_policy("float32")
    by_name = wsram_tf.WakeSleepLearner(
      dataclasses.replace(MODEL, precision="bfloat16"), learner.objective_config
    )
    by_name.take_weights(learner)
    for other in (keras.saving.load_model(path), by_name):
      self.assertEqual(other.model_config.precision, "bfloat16")
      found = other.predict(make_data()[0], verbose=0)
      # Rounding to bfloat16 differs between eager and graph.
      self.assertAllClose(found["probabilities"], answer["probabilities"], 1e-2, 1e-2)

  def test_a_saved_learner_keeps_its_precision(self):
    path = os.path.join(self.get_temp_dir(), "learner.keras")
    learner = make_learner()
    learner.save(path)
    keras.config.set_dtype_policy("mixed_bfloat16")
    loaded = keras.saving.load_model(path)
    self.assertEqual(loaded.model_config.precision, "float32")
    images, _ = make_data()
    self.assertAllEqual(
      loaded.predict(images, verbose=0)["probabilities"],
      learner.predict(images, verbose=0)["probabilities"],
    )

  def test_float16_is_refused_by_name(self):
    for policy in ("mixed_float16", "float16", "bfloat16"):
      keras.config.set_dtype_policy(policy)
      with self.assertRaisesRegex(ValueError, f"dtype_policy='{policy}': must be float32 or mixed"):
        make_learner()


if __name__ == "__main__":
  tf.test.main()
