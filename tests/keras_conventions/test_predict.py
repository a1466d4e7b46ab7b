"""Forms of images that `predict` and a call take or refuse, and pictures of glimpses."""

import keras
import numpy as np
import tensorflow as tf

import wsram_tf
from tests.keras_conventions.learners import (
  Batches,
  make_data,
  make_dataset,
  make_generator,
  make_learner,
)


class PredictTest(tf.test.TestCase):
  def setUp(self):
    super().setUp()
    self.learner = make_learner()
    self.models = {"learner": self.learner, "network": self.learner.prediction_network}

  def test_forms_of_images(self):
    images, labels = make_data()
    for name, model in self.models.items():
      expected = model.predict(images, verbose=0)
      for form, x in (
        ("list", list(images)),
        ("tensor", tf.constant(images)),
        ("dataset", make_dataset(images).map(lambda x: x)),
        ("dataset with labels", make_dataset(images, labels)),
        ("PyDataset", Batches(images)),
        ("generator", make_generator(images, labels)),
      ):
        with self.subTest(form, model=name):
          found = model.predict(x, verbose=0)
          self.assertAllEqual(found["class_id"], expected["class_id"])
          self.assertAllClose(found["probabilities"], expected["probabilities"])
      called = model(list(images))
      self.assertAllClose(called["probabilities"], expected["probabilities"])
      self.assertAllClose(
        model.predict_on_batch(images)["probabilities"], expected["probabilities"]
      )

  def test_refuses_what_fit_refuses(self):
    images, _ = make_data(4)
    with_nan = images.copy()
    with_nan[1, 2, 3] = np.nan
    for x, message in (
      (255 * images, r"images: must lie within 0\.\.1 .*by 255"),
      (2 * images - 1, r"images: must lie within 0\.\.1"),
      ((255 * images).astype(np.uint8), "floating dtype.*by 255.*got uint8"),
      (images[:, :6, :7], r"images: must have shape \[B, 12, 14, 1\]"),
      (np.repeat(images, 2, axis=1), r"images: must have shape \[B, 12, 14, 1\]"),
      (images[0], "one image needs a batch axis"),
      (with_nan, "images: must be finite"),
    ):
      for name, model in self.models.items():
        for use, call in {
          "predict": lambda x, model=model: model.predict(x, verbose=0),
          "predict_on_batch": model.predict_on_batch,
          "call": model,
          "call on a tensor": lambda x, model=model: model(tf.constant(x)),
          "generator": lambda x, model=model: model.predict(iter([(x,)]), verbose=0),
        }.items():
          with (
            self.subTest(f"{name}: {use}: {message}"),
            self.assertRaisesRegex(ValueError, f"(?s){message}"),
          ):
            call(x)
        with (
          self.subTest(f"{name}: dataset: {message}"),
          self.assertRaisesRegex((ValueError, tf.errors.InvalidArgumentError), f"(?s){message}"),
        ):
          model.predict(tf.data.Dataset.from_tensors(x), verbose=0)

  def test_minus_zero_and_the_bounds_are_good(self):
    images, _ = make_data(4)
    images.flat[:3] = -0.0, 0.0, 1.0
    self.assertLen(self.learner.predict(images, verbose=0)["class_id"], 4)
    self.assertLen(self.learner.predict(images[:, ::-1], verbose=0)["class_id"], 4)
    images.flat[3] = np.nextafter(np.float32(1), np.float32(2))
    with self.assertRaisesRegex(ValueError, "images: must lie within"):
      self.learner.predict(images, verbose=0)

  def test_a_graph_checks_shape_and_dtype(self):
    for model in self.models.values():
      with self.assertRaisesRegex(ValueError, r"images: must have shape \[B, 12, 14, 1\]"):
        tf.function(model).get_concrete_function(tf.TensorSpec([None, 6, 7, 1]))
      with self.assertRaisesRegex(ValueError, r"images: must have shape \[B, 12, 14, 1\]"):
        model(keras.Input((6, 7, 1)))

  def test_shows_glimpses(self):
    images, labels = make_data(3)
    for model in self.models.values():
      figure = wsram_tf.show_glimpses(model, images, labels, class_names=("a", "b", "c"))
      self.assertEqual(figure._repr_png_()[:4], b"\x89PNG")
    wsram_tf.show_glimpses(self.learner, images[0])
    for arguments, message in (
      ((self.learner, 255 * images), r"images: must lie within 0\.\.1"),
      ((self.learner, images, labels[:2]), r"labels of .* shape \(2,\): must be integer \(3,\)"),
      ((self.learner, images, labels / 2), r"labels of dtype float.*: must be integer \(3,\)"),
      ((self.learner, images, labels + 9), "labels=.*: must be from 0 to 2"),
      ((self.learner, 0.5), r"images of shape \(\): must have 4 axes"),
      ((self.learner, None), "images of NoneType: must form one array of numbers"),
      ((self.learner, images[:0]), "images of length 0: must be 1 to 64"),
      ((keras.Sequential(), images), "model of Sequential: must be a WakeSleepLearner"),
    ):
      with self.assertRaisesRegex(ValueError, message):
        wsram_tf.show_glimpses(*arguments)
    for given, message in (
      ({"class_names": ["a"]}, r"class_names=\['a'\]: must be 3 names, or empty"),
      ({"columns": 0}, "columns=0: must be at least 1"),
    ):
      with self.assertRaisesRegex(ValueError, message):
        wsram_tf.show_glimpses(self.learner, images, **given)


if __name__ == "__main__":
  tf.test.main()
