"""Forms of data that `fit` takes or refuses, with a remedy in the message."""

import keras
import numpy as np
import tensorflow as tf

import wsram_tf
from tests.keras_conventions.learners import (
  COUNT,
  MODEL,
  Batches,
  expected_weights,
  fitted_weights,
  make_data,
  make_dataset,
  make_generator,
  make_learner,
)


class FitTest(tf.test.TestCase):
  def assertSameWeights(self, found: list[np.ndarray], rtol: float = 1e-5) -> None:
    for one, other in zip(found, expected_weights(), strict=True):
      self.assertAllClose(one, other, rtol=rtol, atol=1e-6)

  def test_forms_of_images_and_labels_train_alike(self):
    images, labels = make_data()
    one_hot = keras.utils.to_categorical(labels, MODEL.num_classes)
    for name, x, y in (
      ("lists of arrays, whole one-hot labels", list(images), list(one_hot.astype(np.int64))),
      ("nested lists", images.tolist(), labels.tolist()),
      ("tensors, uint8 labels", tf.constant(images), tf.constant(labels.astype(np.uint8))),
      ("float64, [B, 1] labels", images.astype(np.float64), labels[:, np.newaxis].astype(float)),
      ("one-hot labels", images, one_hot),
    ):
      with self.subTest(name):
        self.assertSameWeights(fitted_weights(x, y, batch_size=4))

  def test_kinds_of_batches_train_alike(self):
    images, labels = make_data()
    one_hot = keras.utils.to_categorical(labels, MODEL.num_classes)
    for name, make, y in (
      # Plain labels in datasets and PyDatasets: see the test of class weights.
      ("dataset of float [B, 1] labels", make_dataset, labels[:, np.newaxis].astype(np.float32)),
      ("dataset of one-hot labels", make_dataset, one_hot),
      ("PyDataset of one-hot labels", Batches, one_hot),
      ("generator", make_generator, labels[:, np.newaxis]),
    ):
      with self.subTest(name):
        self.assertSameWeights(fitted_weights(make(images, y)))

  def test_arguments_may_be_positional(self):
    learner = make_learner()
    history = learner.fit(*make_data(), 4, 2, 0, shuffle=False).history
    self.assertEqual(len(history["loss"]), 2)
    self.assertEqual(int(learner.optimizer.iterations), 4)

  def test_generators_need_not_end(self):
    images, labels = make_data(4)

    def endless():
      while True:
        yield images, labels

    learner = make_learner()
    learner.fit(endless(), steps_per_epoch=2, epochs=2, verbose=0)
    self.assertEqual(int(learner.optimizer.iterations), 4)

  def test_a_py_dataset_hears_of_epochs(self):
    plain = keras.Sequential([keras.layers.Flatten(), keras.layers.Dense(3)])
    plain.compile("sgd", "mse")
    ended = []
    for model in (plain, make_learner()):
      one_hot = keras.utils.to_categorical(make_data()[1])
      batches = Batches(make_data()[0], one_hot)
      model.fit(batches, epochs=2, verbose=0)
      ended.append(batches.epochs_ended)
    self.assertEqual(*ended)
    self.assertGreater(ended[0], 1)

  def test_validation_split_and_validation_data(self):
    images, labels = make_data()
    one_hot = keras.utils.to_categorical(labels, MODEL.num_classes)
    learner = make_learner()
    for arguments in (
      {"validation_split": 0.2},
      {"validation_data": (images, one_hot)},
      {"validation_data": make_dataset(images, labels)},
      {"validation_data": Batches(images, labels)},
      {"validation_data": (images, labels, np.ones(COUNT))},
    ):
      with self.subTest(arguments.keys()):
        history = learner.fit(images, one_hot, batch_size=COUNT, verbose=0, **arguments).history
        self.assertIn("val_loss", history)

  def test_train_on_batch_and_test_on_batch(self):
    images, labels = make_data(4)
    learner = make_learner()
    figures = learner.train_on_batch(images, labels[:, np.newaxis], return_dict=True)
    self.assertEqual(set(figures), set(learner.training_metrics))
    self.assertEqual(int(learner.optimizer.iterations), 1)
    figures = learner.test_on_batch(images, labels, return_dict=True)
    self.assertEqual(
      figures, learner.evaluate(images, labels, batch_size=4, verbose=0, return_dict=True)
    )
    for use in (learner.train_on_batch, learner.test_on_batch):
      with self.assertRaisesRegex(ValueError, r"images: must lie within 0\.\.1"):
        use(255 * images, labels)

  def test_refuses_what_has_no_meaning(self):
    images, labels = make_data()
    soft, learner = np.full([COUNT, MODEL.num_classes], 1 / 3, np.float32), make_learner()
    for x, y, message in (
      (images, soft, "labels of shape .* must be one-hot.*row 0"),
      (images, labels + 0.5, "labels: must be whole numbers, got"),
      (images, np.full(COUNT, np.nan), "labels: must be whole numbers, got"),
      (images, np.array(["a"] * COUNT), "labels of dtype <U1: must be whole numbers from 0 to 2"),
      ((255 * images).astype(np.uint8), labels, "floating dtype.*divide.*by 255.*got uint8"),
      (images[..., 0], labels, "images without channels need a channel axis"),
      ({"image": images, "label": labels}, None, "x of dict: must be an array of images"),
      ("images", labels, "x of str: must be an array of images"),
      (images, None, "labels=None: must be given with the images"),
      ([images[0], images[0, :3]], labels, "images of list: must form one array"),
    ):
      with self.subTest(message), self.assertRaisesRegex(ValueError, f"(?s){message}"):
        learner.fit(x, y, verbose=0)

  def test_refuses_bad_batches_of_every_kind(self):
    images, labels = make_data()
    soft = np.full([COUNT, MODEL.num_classes], 0.5, np.float32)
    errors, learner = (ValueError, tf.errors.InvalidArgumentError), make_learner()
    for name, make in {
      "dataset": make_dataset,
      "PyDataset": Batches,
      "generator": make_generator,
    }.items():
      for x, y, message in (
        (images, soft, "must be one-hot"),
        (images, labels + 0.5, "labels: must be whole numbers"),
        (2 * images, labels, r"images: must lie within 0\.\.1"),
        (images, labels + 1, r"labels: must lie within 0\.\.2"),
      ):
        for use in (learner.fit, learner.evaluate):
          with self.subTest(f"{name}: {message}"), self.assertRaisesRegex(errors, message):
            use(make(x, y), verbose=0)

  def test_batches_of_dictionaries_are_refused_with_a_remedy(self):
    images, labels = make_data()
    data = tf.data.Dataset.from_tensor_slices({"image": images, "label": labels}).batch(4)
    with self.assertRaisesRegex(ValueError, r"keys \['image', 'label'\].*as_supervised=True"):
      make_learner().fit(data, verbose=0)


class SmallImagesTest(tf.test.TestCase):
  def test_small_images_need_no_other_settings(self):
    learner = wsram_tf.WakeSleepLearner(wsram_tf.ModelConfig(height=8, width=8, units=8))
    learner.compile("adam", run_eagerly=True)
    images = np.random.default_rng(0).random([4, 8, 8, 1], np.float32)
    learner.fit(images, np.arange(4), verbose=0)


class StrategyTest(tf.test.TestCase):
  def test_fit_under_a_strategy_is_refused_with_a_remedy(self):
    strategy = tf.distribute.MirroredStrategy(["CPU:0"])
    outside = make_learner()
    with strategy.scope():
      inside = make_learner()
      with self.assertRaisesRegex(ValueError, "strategy=MirroredStrategy: .*--strategy=mirrored"):
        inside.fit(*make_data(), verbose=0)
      with self.assertRaisesRegex(ValueError, "strategy=MirroredStrategy: .*--strategy=mirrored"):
        outside.fit(*make_data(), verbose=0)
    with self.assertRaisesRegex(ValueError, "strategy=MirroredStrategy: .*--strategy=mirrored"):
      inside.fit(*make_data(), verbose=0)
    outside.fit(*make_data(), verbose=0)


if __name__ == "__main__":
  tf.test.main()
