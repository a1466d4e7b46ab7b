"""A network that reads lists of visible pixels, beside the same network that reads pixels."""

import dataclasses

import keras
import numpy as np
import tensorflow as tf

import wsram_tf
from tests.classification import learners
from wsram_tf.classification.inputs.forms import PixelListRules


def _lists(images: np.ndarray) -> np.ndarray:
  rows, columns = np.indices(images.shape[1:3]).astype(np.float32)
  places = np.broadcast_to(np.stack([rows, columns], axis=-1), (*images.shape[:3], 2))
  return np.concatenate([places, images], axis=-1).reshape(len(images), -1, 3)


def _learner(
  observation: str,
  choose_scale: bool = False,
  glimpses: int = 2,
  estimator: str = "variational",
  exploration: wsram_tf.ExplorationConfig | None = None,
) -> wsram_tf.WakeSleepLearner:
  keras.utils.set_random_seed(1)
  config = dataclasses.replace(
    learners.MODEL,
    observation=observation,
    cell="relu",  # Compiles fastest.
    num_glimpses=glimpses,
    glimpse=dataclasses.replace(learners.MODEL.glimpse, choose_scale=choose_scale),
  )
  return wsram_tf.WakeSleepLearner(
    config, wsram_tf.ObjectiveConfig(estimator, num_samples=2), exploration, seed=3
  )


class VisiblePixelsTest(tf.test.TestCase):
  def test_trains_and_answers_as_a_network_of_pixels(self):
    images, labels = learners.make_data()
    every_bonus = wsram_tf.ExplorationConfig(temperature=2.0, entropy_bonus=0.1, coverage_bonus=0.1)
    # Compiling takes seconds for each glimpse.
    for choose_scale, compiled, *options in (
      (False, False, 2),
      (True, True, 1, "wake_sleep_mixture", every_bonus),
    ):
      with self.subTest(choose_scale=choose_scale, compiled=compiled):
        answers, weights, histories = [], [], []
        for observation, x in (("pixels", images), ("visible_pixels", _lists(images))):
          learner = _learner(observation, choose_scale, *options)
          jit = compiled and observation == "visible_pixels"
          learner.compile(keras.optimizers.SGD(0.1), jit_compile=jit, run_eagerly=not jit)
          history = learner.fit(x, labels, batch_size=8, shuffle=False, verbose=0)
          histories.append(history.history)
          learner.compile(run_eagerly=True)
          answers.append(learner.predict(x, batch_size=8, verbose=0))
          weights.append(learner.get_weights())
        for one, other in zip(*weights, strict=True):
          self.assertAllClose(one, other, rtol=1e-4, atol=1e-5)
        self.assertAllClose(*(one["probabilities"] for one in answers), atol=1e-4)
        self.assertEqual(histories[0].keys(), histories[1].keys())
        for name, values in histories[0].items():
          self.assertAllClose(histories[1][name], values, rtol=1e-4, atol=1e-5, msg=name)

  def test_reads_pixels_with_the_same_weights(self):
    images, _ = learners.make_data()
    network = _learner("visible_pixels").prediction_network
    expected = network.predict_on_batch(_lists(images))
    answer = network.with_observation("pixels").predict_on_batch(images)
    self.assertAllClose(answer["probabilities"], expected["probabilities"], atol=1e-5)
    self.assertAllClose(answer["locations"], expected["locations"], atol=1e-5)
    self.assertIs(network.with_observation("visible_pixels"), network)

  def test_saves_and_reads_a_dataset_of_lists_of_any_length(self):
    images, labels = learners.make_data()
    learner, lists = _learner("visible_pixels"), _lists(images)
    path = f"{self.get_temp_dir()}/learner.keras"
    learner.save(path)
    again = keras.saving.load_model(path)
    self.assertAllEqual(again(lists)["class_id"], learner(lists)["class_id"])
    longer = np.pad(lists, [[0, 0], [0, 5], [0, 0]])

    def batches():
      yield lists, labels
      yield longer, labels

    specs = (tf.TensorSpec([None, None, 3]), tf.TensorSpec([None], tf.int32))
    data = tf.data.Dataset.from_generator(batches, output_signature=specs)
    learner.compile(keras.optimizers.SGD(0.1), jit_compile=False)
    learner.fit(data, epochs=1, verbose=0)
    self.assertEqual(int(learner.optimizer.iterations), 2)

  def test_refuses_by_name(self):
    rules = PixelListRules((20, 24, 1), 4)
    right = np.array([[[19.0, 23.0, 1.0]]], np.float32)
    cases = {
      "must have shape": right[0],
      "must be of a floating dtype": right.astype(int),
      "rows and columns must be whole numbers within the image, 20 x 24": right + [1.0, 0, 0],
      "rows and columns must be whole": right - [0.5, 0, 0],
      "rows and columns": right * [np.nan, 1, 1],
      "must lie within 0..1": right * [1, 1, 2],
    }
    for message, wrong in cases.items():
      with self.subTest(message), self.assertRaisesRegex(ValueError, message):
        rules.arrays(wrong, np.array([0]))
      if wrong.ndim == 3 and wrong.dtype.kind == "f":
        with self.subTest(message, graph=True), self.assertRaises(tf.errors.InvalidArgumentError):
          rules.batch(tf.constant(wrong, tf.float32), tf.constant([0]))
    with self.assertRaisesRegex(ValueError, "labels: must lie within 0..3"):
      rules.arrays(right, np.array([4]))
    with self.assertRaisesRegex(ValueError, "must be equally many"):
      rules.arrays(right, np.array([1, 2]))
    rules.batch(tf.constant(right), tf.constant([3]))


if __name__ == "__main__":
  tf.test.main()
