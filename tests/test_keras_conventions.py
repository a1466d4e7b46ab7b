"""What a Keras user expects of a learner: every form of data, callbacks, metrics, saving, layers.

Each works, or refuses with what to do instead.
"""

import dataclasses
import functools
import os

import keras
import numpy as np
import tensorflow as tf

import wsram_tf
from wsram_tf.locations import NormalLocations

_MODEL = wsram_tf.ModelConfig(
  height=12,
  width=14,
  num_classes=3,
  units=4,
  num_glimpses=1,
  context_side=4,
  glimpse=wsram_tf.GlimpseConfig(glimpse_side=5),
)
_COUNT = 6  # A batch of 4 and a smaller one.


def _learner(**compile_arguments) -> wsram_tf.WakeSleepLearner:
  keras.utils.set_random_seed(1)
  # Eager steps take far less time than their tracing would.
  compile_arguments = {"jit_compile": False, "run_eagerly": True, **compile_arguments}
  learner = wsram_tf.WakeSleepLearner(_MODEL, wsram_tf.ObjectiveConfig(num_samples=2))
  learner.compile(keras.optimizers.SGD(0.1), **compile_arguments)
  return learner


def _data(count: int = _COUNT) -> tuple[np.ndarray, np.ndarray]:
  images = np.random.default_rng(0).random([count, *_MODEL.image_shape], np.float32)
  return images, np.arange(count, dtype=np.int32) % _MODEL.num_classes


def _fit(*data, **arguments) -> list[np.ndarray]:
  """The weights after one epoch in the order of the data."""
  learner = _learner()
  learner.fit(*data, **{"shuffle": False, "verbose": 0, **arguments})
  return [variable.numpy() for variable in learner.trainable_variables]


@functools.cache
def _expected() -> list[np.ndarray]:
  return _fit(*_data(), batch_size=4)


class _Batches(keras.utils.PyDataset):
  """Batches of 4 from arrays."""

  def __init__(self, *arrays: np.ndarray):
    super().__init__()
    self.arrays = arrays
    self.epochs_ended = 0

  def __len__(self) -> int:
    return -(-len(self.arrays[0]) // 4)

  def __getitem__(self, index: int) -> tuple:
    return tuple(array[4 * index : 4 * index + 4] for array in self.arrays)

  def on_epoch_end(self) -> None:
    self.epochs_ended += 1


def _generator(*arrays: np.ndarray):
  batches = _Batches(*arrays)
  return (batches[index] for index in range(len(batches)))


def _dataset(*arrays: np.ndarray) -> tf.data.Dataset:
  return tf.data.Dataset.from_tensor_slices(arrays).batch(4)


class FitTest(tf.test.TestCase):
  def assertSameWeights(self, found: list[np.ndarray], rtol: float = 1e-5) -> None:
    for one, other in zip(found, _expected(), strict=True):
      self.assertAllClose(one, other, rtol=rtol, atol=1e-6)

  def test_forms_of_images_and_labels_train_alike(self):
    images, labels = _data()
    one_hot = keras.utils.to_categorical(labels, _MODEL.num_classes)
    for name, x, y in (
      ("lists of arrays", list(images), list(labels)),
      ("nested lists", images.tolist(), labels.tolist()),
      ("tensors", tf.constant(images), tf.constant(labels)),
      ("float64 images", images.astype(np.float64), labels),
      ("[B, 1] labels", images, labels[:, np.newaxis]),
      ("float labels", images, labels.astype(np.float32)),
      ("uint8 labels", images, labels.astype(np.uint8)),
      ("one-hot labels", images, one_hot),
      ("whole one-hot labels", images, one_hot.astype(np.int64)),
    ):
      with self.subTest(name):
        self.assertSameWeights(_fit(x, y, batch_size=4))

  def test_kinds_of_batches_train_alike(self):
    images, labels = _data()
    one_hot = keras.utils.to_categorical(labels, _MODEL.num_classes)
    for name, make, y in (
      ("dataset", _dataset, labels),
      ("dataset of [B, 1] labels", _dataset, labels[:, np.newaxis]),
      ("dataset of float labels", _dataset, labels.astype(np.float32)),
      ("dataset of one-hot labels", _dataset, one_hot),
      ("PyDataset", _Batches, labels),
      ("PyDataset of one-hot labels", _Batches, one_hot),
      ("generator", _generator, labels[:, np.newaxis]),
    ):
      with self.subTest(name):
        self.assertSameWeights(_fit(make(images, y)))

  def test_arguments_may_be_positional(self):
    learner = _learner()
    history = learner.fit(*_data(), 4, 2, 0, shuffle=False).history
    self.assertEqual(len(history["loss"]), 2)
    self.assertEqual(int(learner.optimizer.iterations), 4)

  def test_generators_need_not_end(self):
    images, labels = _data(4)

    def endless():
      while True:
        yield images, labels

    learner = _learner()
    learner.fit(endless(), steps_per_epoch=2, epochs=2, verbose=0)
    self.assertEqual(int(learner.optimizer.iterations), 4)

  def test_a_py_dataset_hears_of_epochs(self):
    plain = keras.Sequential([keras.layers.Flatten(), keras.layers.Dense(3)])
    plain.compile("sgd", "mse")
    ended = []
    for model in (plain, _learner()):
      one_hot = keras.utils.to_categorical(_data()[1])
      batches = _Batches(_data()[0], one_hot)
      model.fit(batches, epochs=2, verbose=0)
      ended.append(batches.epochs_ended)
    self.assertEqual(*ended)
    self.assertGreater(ended[0], 1)

  def test_validation_split_and_validation_data(self):
    images, labels = _data()
    one_hot = keras.utils.to_categorical(labels, _MODEL.num_classes)
    for arguments in (
      {"validation_split": 0.2},
      {"validation_data": (images, one_hot)},
      {"validation_data": _dataset(images, labels)},
      {"validation_data": _Batches(images, labels)},
      {"validation_data": (images, labels, np.ones(_COUNT))},
    ):
      with self.subTest(arguments.keys()):
        history = _learner().fit(images, one_hot, batch_size=4, verbose=0, **arguments).history
        self.assertIn("val_loss", history)

  def test_train_on_batch_and_test_on_batch(self):
    images, labels = _data(4)
    learner = _learner()
    figures = learner.train_on_batch(images, labels[:, np.newaxis], return_dict=True)
    self.assertEqual(set(figures), set(learner.training_metrics))
    self.assertEqual(int(learner.optimizer.iterations), 1)
    figures = learner.test_on_batch(images, labels, return_dict=True)
    self.assertEqual(
      figures, learner.evaluate(images, labels, batch_size=4, verbose=0, return_dict=True)
    )
    for use in (learner.train_on_batch, learner.test_on_batch):
      with self.assertRaisesRegex(ValueError, r"images must lie within 0\.\.1"):
        use(255 * images, labels)

  def test_refuses_what_has_no_meaning(self):
    images, labels = _data()
    soft, learner = np.full([_COUNT, _MODEL.num_classes], 1 / 3, np.float32), _learner()
    for x, y, message in (
      (images, soft, "labels of shape .* must be one-hot.*row 0"),
      (images, labels + 0.5, "labels must be whole numbers, got"),
      (images, np.full(_COUNT, np.nan), "labels must be whole numbers, got"),
      (images, np.array(["a"] * _COUNT), "labels of dtype <U1: must be whole numbers from 0 to 2"),
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
    images, labels = _data()
    soft = np.full([_COUNT, _MODEL.num_classes], 0.5, np.float32)
    errors, learner = (ValueError, tf.errors.InvalidArgumentError), _learner()
    for name, make in {"dataset": _dataset, "PyDataset": _Batches, "generator": _generator}.items():
      for x, y, message in (
        (images, soft, "must be one-hot"),
        (images, labels + 0.5, "labels must be whole numbers"),
        (2 * images, labels, r"images must lie within 0\.\.1"),
        (images, labels + 1, r"labels must lie within 0\.\.2"),
      ):
        for use in (learner.fit, learner.evaluate):
          with self.subTest(f"{name}: {message}"), self.assertRaisesRegex(errors, message):
            use(make(x, y), verbose=0)

  def test_batches_of_dictionaries_are_refused_with_a_remedy(self):
    images, labels = _data()
    data = tf.data.Dataset.from_tensor_slices({"image": images, "label": labels}).batch(4)
    with self.assertRaisesRegex(ValueError, r"keys \['image', 'label'\].*as_supervised=True"):
      _learner().fit(data, verbose=0)


class WeightsTest(tf.test.TestCase):
  def test_class_weight_is_the_sample_weight_of_each_class(self):
    images, labels = _data()
    class_weight = {0: 2.0, 2: 0.5}
    sample_weight = np.array([2.0, 1.0, 0.5], np.float32)[labels]
    expected = _fit(images, labels, batch_size=4, sample_weight=sample_weight)
    differences = [
      np.abs(one - other).max() for one, other in zip(expected, _expected(), strict=True)
    ]
    self.assertGreater(max(differences), 1e-3)
    for data in (
      (images, labels),
      (_dataset(images, labels),),
      (_Batches(images, labels),),
    ):
      found = _fit(*data, class_weight=class_weight, **({"batch_size": 4} if data[1:] else {}))
      for one, other in zip(found, expected, strict=True):
        self.assertAllClose(one, other, rtol=1e-5, atol=1e-6)
    for make in (_dataset, _Batches, _generator):
      for one, other in zip(_fit(make(images, labels, sample_weight)), expected, strict=True):
        self.assertAllClose(one, other, rtol=1e-5, atol=1e-6)

  def test_weights_multiply_the_losses(self):
    images, labels = map(tf.constant, _data(4))
    weights = tf.constant([0.0, 1.0, 2.0, 3.0])
    learner = _learner()
    step = tf.cast(learner.optimizer.iterations, tf.int32)
    losses, _, _ = learner.losses(
      learner.look(images), labels, step, tf.stack([learner.seed, step])
    )
    expected = {name: tf.reduce_mean(weights * loss) for name, loss in losses.items()}
    self.assertAllClose(learner.differentiate(images, labels, weights).losses, expected)

  def test_an_image_of_weight_zero_teaches_nothing(self):
    images, labels = _data(4)
    others = np.concatenate([images[:2], 1 - images[2:]]), np.concatenate([labels[:2], [0, 0]])
    weights = np.array([1.0, 1.0, 0.0, 0.0])
    for one, other in zip(
      _fit(images, labels, sample_weight=weights), _fit(*others, sample_weight=weights), strict=True
    ):
      self.assertAllEqual(one, other)

  def test_evaluation_weighs_the_loss_alone(self):
    images, labels = _data()
    learner, weights = _learner(), np.linspace(0, 2, _COUNT)
    plain, weighted = (
      learner.evaluate(images, labels, verbose=0, return_dict=True, sample_weight=weight)
      for weight in (None, weights)
    )
    self.assertNotAllClose(plain.pop("loss"), weighted.pop("loss"))
    self.assertAllClose(plain, weighted)

  def test_refuses_bad_weights(self):
    images, labels = _data()
    for arguments, message in (
      ({"class_weight": {3: 1.0}}, "keys must be classes from 0 to 2"),
      ({"class_weight": {0: -1.0}}, "weights must be finite and at least 0"),
      ({"class_weight": {0: 1.0}, "sample_weight": np.ones(_COUNT)}, "at most one of them"),
      ({"sample_weight": np.ones(3)}, r"sample_weight of shape \(3,\): must have shape \[B\]"),
      ({"sample_weight": np.full(_COUNT, np.nan)}, "sample_weight: must be finite"),
    ):
      with self.subTest(message), self.assertRaisesRegex(ValueError, message):
        _learner().fit(images, labels, verbose=0, **arguments)


class MetricsTest(tf.test.TestCase):
  def test_metrics_names_name_what_evaluate_returns(self):
    for metrics in (None, ["accuracy", keras.metrics.SparseTopKCategoricalAccuracy(2, "top2")]):
      learner = _learner(metrics=metrics)
      learner.fit(*_data(), verbose=0)
      by_name = learner.evaluate(*_data(), verbose=0, return_dict=True)
      values = learner.evaluate(*_data(), verbose=0)
      self.assertEqual(learner.metrics_names[0], "loss")
      self.assertEqual(dict(zip(learner.metrics_names, values, strict=True)), by_name)
      self.assertTrue(all(type(value) is float for value in values))

  def test_loss_of_an_evaluation_is_the_negative_log_likelihood(self):
    learner = _learner()
    figures = learner.evaluate(*_data(), verbose=0, return_dict=True)
    self.assertAllClose(figures["loss"], -figures["log_likelihood"])
    history = learner.fit(*_data(), validation_data=_data(), verbose=0).history
    self.assertAllClose(history["val_loss"], -np.array(history["val_log_likelihood"]))

  def test_compiled_metrics_are_computed(self):
    for jit_compile in (False, True):
      learner = _learner(
        metrics=["accuracy"],
        weighted_metrics=[keras.metrics.SparseCategoricalAccuracy("weighted")],
        jit_compile=jit_compile,
        run_eagerly=False,
      )
      weights = np.arange(_COUNT, dtype=np.float32)
      history = learner.fit(
        *_data(), validation_data=(*_data(), weights), sample_weight=weights, verbose=0
      ).history
      self.assertLessEqual({"accuracy", "weighted", "val_accuracy", "val_weighted"}, history.keys())
      images, labels = _data()
      right = learner.predict(images, verbose=0)["class_id"] == labels
      figures = learner.evaluate(images, labels, sample_weight=weights, verbose=0, return_dict=True)
      self.assertAllClose(figures["accuracy"], right.mean())
      self.assertAllClose(figures["accuracy"], 1 - figures["error_percent"] / 100)
      self.assertAllClose(figures["weighted"], np.average(right, weights=weights))
      self.assertAllClose(history["val_accuracy"][-1], figures["accuracy"])

  def test_a_loss_is_refused(self):
    with self.assertRaisesRegex(ValueError, "loss='mse': must be None.*estimator"):
      _learner(loss="mse")


class CallbacksTest(tf.test.TestCase):
  def test_callbacks_work_with_their_defaults(self):
    path = os.path.join(self.get_temp_dir(), "best.keras")
    learner = _learner()
    stop = keras.callbacks.EarlyStopping()
    rate = keras.callbacks.ReduceLROnPlateau(patience=1)
    save = keras.callbacks.ModelCheckpoint(path, save_best_only=True)
    history = learner.fit(
      *_data(), epochs=3, validation_data=_data(), callbacks=[stop, rate, save], verbose=0
    ).history
    self.assertTrue(os.path.exists(path))
    self.assertAllClose(stop.best, min(history["val_loss"]))
    self.assertAllClose(save.best, min(history["val_loss"]))
    self.assertIn("learning_rate", history)
    self.assertEqual(keras.saving.load_model(path).metrics_names, learner.metrics_names)

  def test_a_list_or_one_callback(self):
    for callbacks in (keras.callbacks.TerminateOnNaN(), [keras.callbacks.History()]):
      _learner().fit(*_data(), callbacks=callbacks, verbose=0)


class PredictTest(tf.test.TestCase):
  def setUp(self):
    super().setUp()
    self.learner = _learner()
    self.models = {"learner": self.learner, "network": self.learner.prediction_network}

  def test_forms_of_images(self):
    images, labels = _data()
    for name, model in self.models.items():
      expected = model.predict(images, verbose=0)
      for form, x in (
        ("list", list(images)),
        ("tensor", tf.constant(images)),
        ("dataset", _dataset(images).map(lambda x: x)),
        ("dataset with labels", _dataset(images, labels)),
        ("PyDataset", _Batches(images)),
        ("generator", _generator(images, labels)),
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
    images, _ = _data(4)
    with_nan = images.copy()
    with_nan[1, 2, 3] = np.nan
    for x, message in (
      (255 * images, r"images must lie within 0\.\.1 .*by 255"),
      (2 * images - 1, r"images must lie within 0\.\.1"),
      ((255 * images).astype(np.uint8), "floating dtype.*by 255.*got uint8"),
      (images[:, :6, :7], r"images must have shape \[B, 12, 14, 1\]"),
      (np.repeat(images, 2, axis=1), r"images must have shape \[B, 12, 14, 1\]"),
      (images[0], "one image needs a batch axis"),
      (with_nan, "images must be finite"),
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
    images, _ = _data(4)
    images.flat[:3] = -0.0, 0.0, 1.0
    self.assertLen(self.learner.predict(images, verbose=0)["class_id"], 4)
    self.assertLen(self.learner.predict(images[:, ::-1], verbose=0)["class_id"], 4)
    images.flat[3] = np.nextafter(np.float32(1), np.float32(2))
    with self.assertRaisesRegex(ValueError, "images must lie within"):
      self.learner.predict(images, verbose=0)

  def test_a_graph_checks_shape_and_dtype(self):
    for model in self.models.values():
      with self.assertRaisesRegex(ValueError, r"images must have shape \[B, 12, 14, 1\]"):
        tf.function(model).get_concrete_function(tf.TensorSpec([None, 6, 7, 1]))
      with self.assertRaisesRegex(ValueError, r"images must have shape \[B, 12, 14, 1\]"):
        model(keras.Input((6, 7, 1)))

  def test_shows_glimpses(self):
    images, labels = _data(3)
    for model in self.models.values():
      figure = wsram_tf.show_glimpses(model, images, labels, class_names=("a", "b", "c"))
      self.assertEqual(figure._repr_png_()[:4], b"\x89PNG")
    wsram_tf.show_glimpses(self.learner, images[0])
    for arguments, message in (
      ((self.learner, 255 * images), r"images must lie within 0\.\.1"),
      ((self.learner, images, labels[:2]), r"labels: must have shape \(3,\)"),
      ((self.learner, images[:0]), "images: must be 1 to 64, got 0"),
      ((keras.Sequential(), images), "model of Sequential: must be a WakeSleepLearner"),
    ):
      with self.assertRaisesRegex(ValueError, message):
        wsram_tf.show_glimpses(*arguments)


class SavingTest(tf.test.TestCase):
  def test_exports_as_it_stands(self):
    images, _ = _data()
    for name, use in {
      "fit": lambda learner: learner.fit(*_data(), verbose=0),
      "nothing": lambda learner: None,
    }.items():
      with self.subTest(name):
        learner, path = _learner(), os.path.join(self.get_temp_dir(), name)
        use(learner)
        learner.export(path, verbose=False)
        served = tf.saved_model.load(path)
        expected = learner.predict(images, verbose=0)
        for count in (1, 4):  # The batch is open.
          found = served.serve(tf.constant(images[:count]))
          self.assertAllClose(found["probabilities"], expected["probabilities"][:count])

  def test_network_exports_too(self):
    path = os.path.join(self.get_temp_dir(), "network")
    _learner().prediction_network.export(path, verbose=False)
    served = tf.saved_model.load(path)
    self.assertIn("probabilities", served.serve(_data(2)[0]))

  def test_exports_to_litert(self):
    learner = _learner()
    images, _ = _data(1)
    path = os.path.join(self.get_temp_dir(), "learner.tflite")
    learner.export(path, format="litert", verbose=False)
    runner = tf.lite.Interpreter(path).get_signature_runner()
    (name,) = runner.get_input_details()
    found = runner(**{name: images})["probabilities"]
    self.assertAllClose(found, learner.predict(images, verbose=0)["probabilities"], 1e-4, 1e-5)

  def test_clones(self):
    learner = _learner()
    clone = keras.models.clone_model(learner)
    clone.compile("sgd", jit_compile=False)
    self.assertEqual(clone.get_config(), learner.get_config())
    clone.fit(*_data(), verbose=0)

  def test_saves_and_loads_with_compiled_metrics(self):
    learner = _learner(metrics=["accuracy"])
    learner.fit(*_data(), verbose=0)
    path = os.path.join(self.get_temp_dir(), "learner.keras")
    learner.save(path)
    loaded = keras.saving.load_model(path)
    self.assertAllClose(
      loaded.evaluate(*_data(), verbose=0, return_dict=True),
      learner.evaluate(*_data(), verbose=0, return_dict=True),
    )
    loaded.fit(*_data(), verbose=0)


class PolicyTest(tf.test.TestCase):
  def setUp(self):
    super().setUp()
    self.addCleanup(keras.config.set_dtype_policy, keras.config.dtype_policy())

  def test_mixed_bfloat16_is_the_precision(self):
    keras.config.set_dtype_policy("mixed_bfloat16")
    learner = _learner()
    learner.fit(*_data(), validation_data=_data(), verbose=0)
    answer = learner.predict(_data()[0], verbose=0)
    self.assertEqual(answer["probabilities"].dtype, np.float32)
    self.assertEqual({variable.dtype for variable in learner.trainable_variables}, {"float32"})
    path = os.path.join(self.get_temp_dir(), "learner.keras")
    learner.save(path)
    keras.config.set_dtype_policy("float32")
    by_name = wsram_tf.WakeSleepLearner(
      dataclasses.replace(_MODEL, precision="bfloat16"), learner.objective_config
    )
    by_name.take_weights(learner)
    for other in (keras.saving.load_model(path), by_name):
      self.assertEqual(other.model_config.precision, "bfloat16")
      found = other.predict(_data()[0], verbose=0)
      # Rounding to bfloat16 differs between eager and graph.
      self.assertAllClose(found["probabilities"], answer["probabilities"], 1e-2, 1e-2)

  def test_a_saved_learner_keeps_its_precision(self):
    path = os.path.join(self.get_temp_dir(), "learner.keras")
    learner = _learner()
    learner.save(path)
    keras.config.set_dtype_policy("mixed_bfloat16")
    loaded = keras.saving.load_model(path)
    self.assertEqual(loaded.model_config.precision, "float32")
    images, _ = _data()
    self.assertAllEqual(
      loaded.predict(images, verbose=0)["probabilities"],
      learner.predict(images, verbose=0)["probabilities"],
    )

  def test_float16_is_refused_by_name(self):
    for policy in ("mixed_float16", "float16", "bfloat16"):
      keras.config.set_dtype_policy(policy)
      with self.assertRaisesRegex(ValueError, f"dtype_policy='{policy}': must be float32 or mixed"):
        _learner()


class StrategyTest(tf.test.TestCase):
  def test_fit_under_a_strategy_is_refused_with_a_remedy(self):
    strategy = tf.distribute.MirroredStrategy(["CPU:0"])
    outside = _learner()
    with strategy.scope():
      inside = _learner()
      with self.assertRaisesRegex(ValueError, "strategy=MirroredStrategy: .*--strategy=mirrored"):
        inside.fit(*_data(), verbose=0)
      with self.assertRaisesRegex(ValueError, "strategy=MirroredStrategy: .*--strategy=mirrored"):
        outside.fit(*_data(), verbose=0)
    with self.assertRaisesRegex(ValueError, "strategy=MirroredStrategy: .*--strategy=mirrored"):
      inside.fit(*_data(), verbose=0)
    outside.fit(*_data(), verbose=0)


class SmallImagesTest(tf.test.TestCase):
  def test_small_images_need_no_other_settings(self):
    learner = wsram_tf.WakeSleepLearner(wsram_tf.ModelConfig(height=8, width=8, units=8))
    learner.compile("adam", jit_compile=False)
    images = np.random.default_rng(0).random([4, 8, 8, 1], np.float32)
    learner.fit(images, np.arange(4), verbose=0)


class ExtensionTest(tf.test.TestCase):
  def test_an_estimator_of_ones_own_trains(self):
    def likelihood_only_loss(scored: wsram_tf.ScoredSequences) -> tf.Tensor:
      return -tf.reduce_mean(tf.reduce_sum(scored.log_likelihood, axis=-1), axis=0)

    wsram_tf.register_estimator(
      "likelihood_only",
      wsram_tf.Estimator("the likelihood alone", "prior", likelihood_only_loss, least_samples=1),
    )
    self.addCleanup(wsram_tf.objectives.ESTIMATORS.pop, "likelihood_only")
    learner = wsram_tf.WakeSleepLearner(
      _MODEL, wsram_tf.ObjectiveConfig("likelihood_only", num_samples=1)
    )
    learner.compile("sgd", jit_compile=False)
    learner.fit(*_data(), verbose=0)
    self.assertIsNone(learner.inference_network)

  def test_a_location_family_of_ones_own_trains(self):
    wsram_tf.register_location_family("wide", lambda config: NormalLocations(0.3))
    self.addCleanup(wsram_tf.location_families.LOCATION_FAMILIES.pop, "wide")
    location = wsram_tf.LocationConfig(location_distribution="wide")
    learner = wsram_tf.WakeSleepLearner(dataclasses.replace(_MODEL, location=location))
    learner.compile("sgd", jit_compile=False)
    learner.fit(*_data(), verbose=0)
    self.assertEqual(learner.prediction_network.location_distribution.scale, 0.3)

  def test_families_are_checked_when_they_are_registered(self):
    for name, make, message in (
      ("grid", lambda config: None, "name='grid': must be new"),
      ("a b", lambda config: None, "name='a b': must be 1 to 100 letters"),
      ("wide", 0.3, "make=0.3: must be a function"),
    ):
      with self.assertRaisesRegex(ValueError, message):
        wsram_tf.register_location_family(name, make)


if __name__ == "__main__":
  tf.test.main()
