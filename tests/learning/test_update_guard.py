"""Updates that are not finite: the weights stay, the step and the term are named, data go on."""

import dataclasses
import itertools
import pathlib

import keras
import numpy as np
import tensorflow as tf

import wsram_tf

_MODEL = wsram_tf.ModelConfig(
  height=12,
  width=12,
  num_classes=3,
  units=4,
  cell="relu",  # Of the fewest operations.
  num_glimpses=1,
  context_side=3,
  glimpse=wsram_tf.GlimpseConfig(glimpse_side=4, glimpse_scales=1),
)
_BAD = 2


def _learner(on_nan: str, **objective) -> wsram_tf.WakeSleepLearner:
  keras.utils.set_random_seed(1)
  return wsram_tf.WakeSleepLearner(
    _MODEL, wsram_tf.ObjectiveConfig(num_samples=2, **objective), seed=3, on_nan=on_nan
  )


def _batches(count: int, bad: int | None = None, value: float = np.nan) -> tf.data.Dataset:
  """Batches of 4; a pixel of number `bad` is `value`, slipped past the checks of the input."""
  images = np.random.default_rng(0).uniform(size=[count, 4, 12, 12, 1]).astype(np.float32)
  if bad is not None:
    images[bad, 0] = value
  labels = np.arange(count * 4, dtype=np.int32).reshape(count, 4) % 3
  return tf.data.Dataset.from_tensor_slices((images, labels))


def _fit(learner, data, updates: int, **compile_arguments):
  compile_arguments = {"jit_compile": False, **compile_arguments}
  learner.compile(keras.optimizers.Adam(0.01), steps_per_execution=updates, **compile_arguments)
  # Else the input's own rule stops a NaN before the guard.
  learner.checked = lambda x, y, *weights: (x, y, None)
  return learner.fit(data, steps_per_epoch=updates, epochs=1, verbose=0).history


def _weights(learner) -> list[np.ndarray]:
  return [variable.numpy() for variable in learner.trainable_variables]


def _flat(arrays) -> np.ndarray:
  return np.concatenate([tf.convert_to_tensor(array).numpy().ravel() for array in arrays])


class UpdateGuardTest(tf.test.TestCase):
  def test_a_finite_update_is_applied_to_the_bit_as_it_is(self):
    guarded, plain = _learner("stop"), _learner("stop")
    for learner in (guarded, plain):
      learner.compile(keras.optimizers.Adam(0.01), run_eagerly=True)
    for step, (images, labels) in enumerate(_batches(2)):
      guarded.train_on_batch(images, labels)
      groups = plain.network_variables()
      with tf.GradientTape() as tape:
        losses, _, _ = plain.losses(
          plain.look(images), labels, tf.constant(step), tf.constant([3, step])
        )
        loss = tf.reduce_mean(tf.add_n(list(losses.values())))
      gradients = tape.gradient(loss, list(groups.values()))
      for group in gradients:
        group[:], _ = tf.clip_by_global_norm(group, plain.clip_norm)
      plain.optimizer.apply([*itertools.chain(*gradients)], [*itertools.chain(*groups.values())])
    for mine, theirs in zip(_weights(guarded), _weights(plain), strict=True):
      self.assertAllClose(mine, theirs, rtol=0, atol=0)

  def test_stops_at_the_weights_before_and_names_step_and_terms(self):
    # Traces fastest.
    learner, before = (_learner("stop", estimator="variational") for _ in range(2))
    # Five updates in one execution: nobody looks before the last.
    with self.assertRaisesRegex(
      wsram_tf.NonFiniteUpdateError, "update 2: prediction_.* is nan.*weights are those before"
    ) as caught:
      _fit(learner, _batches(5, _BAD), 5)
    self.assertEqual(caught.exception.step, _BAD)
    # Its loss need not be: on some devices a rectifier makes zero of NaN.
    self.assertIn("prediction_gradient_norm", caught.exception.bad_terms)
    self.assertEqual(int(learner.optimizer.iterations), _BAD)
    _fit(before, _batches(_BAD), _BAD)
    for mine, theirs in zip(_weights(learner), _weights(before), strict=True):
      self.assertAllClose(mine, theirs, rtol=1e-6, atol=1e-7)
    for values in learner.optimizer.variables:
      self.assertTrue(np.isfinite(values.numpy()).all(), values.path)

  def test_skips_counts_and_goes_on_with_the_next_data_and_samples(self):
    learner = _learner("skip", estimator="variational")  # Compiles fastest.
    history = _fit(learner, _batches(5, _BAD), 5, jit_compile=True)
    self.assertEqual(history["skipped_updates"], [1.0])
    self.assertEqual(int(learner.optimizer.iterations), 5)
    for name, values in history.items():
      self.assertAllInRange(values, -1e6, 1e6)  # NaN is in no range.
      self.assertLen(values, 1, name)
    for mine in _weights(learner):
      self.assertTrue(np.isfinite(mine).all())

  def test_accumulated_gradients_are_of_other_draws_and_skip_a_bad_batch(self):
    (images, labels), (bad, _) = _batches(2, bad=1)
    for name, second, applied in (("two good", images, 2), ("one bad", bad, 1)):
      with self.subTest(name):
        learner, gradients = _learner("skip", estimator="variational"), []
        before = _flat(learner.trained_variables())
        sgd = keras.optimizers.SGD(0.1, gradient_accumulation_steps=2)
        learner.compile(sgd, jit_compile=False)
        learner.checked = lambda x, y, *weights: (x, y, None)
        for batch in (images, second):
          update = learner.differentiate(images, labels).with_sums(learner.network_variables())
          clipped, _ = learner.clip(update.gradients)
          gradients.append(_flat(itertools.chain(*clipped.values())))
          learner.train_on_batch(batch, labels)
        self.assertNotAllClose(*gradients)
        moved = before - _flat(learner.trained_variables())
        self.assertAllClose(moved, 0.1 * sum(gradients[:applied]) / 2, atol=1e-6)
        self.assertEqual(int(learner.optimizer.iterations), 1)

  def test_a_bad_gradient_behind_a_finite_loss_is_seen(self):
    learner = _learner("stop")
    scale = learner.prediction_network.location_distribution
    scale.entropy = lambda parameters: tf.sqrt(0.0 * parameters[..., 0])  # Its slope is infinite.
    learner.exploration_config = dataclasses.replace(learner.exploration_config, entropy_bonus=1.0)
    with self.assertRaises(wsram_tf.NonFiniteUpdateError) as caught:
      _fit(learner, _batches(1), 1, run_eagerly=True)
    self.assertEqual(caught.exception.bad_terms, ["prediction_gradient_norm"])

  def test_an_optimizer_that_breaks_the_weights_is_named_before_they_are_saved(self):
    learner = _learner("skip", estimator="variational")
    # A step this long makes weights infinite; losses and gradients before it are finite.
    learner.compile(keras.optimizers.SGD(3e38, name="too_fast"), run_eagerly=True)
    images, labels = next(iter(_batches(1)))
    path = f"{self.get_temp_dir()}/broken.keras"
    saved = keras.callbacks.ModelCheckpoint(path)
    with self.assertRaisesRegex(
      wsram_tf.NonFiniteWeightsError,
      "after update 1: prediction_network/.*: NaN or infinite.*the optimizer, too_fast, made",
    ) as caught:
      learner.fit(images, labels, callbacks=[saved], verbose=0)
    broken = [v.path for v in learner.trainable_variables if not np.isfinite(v.numpy()).all()]
    self.assertEqual(caught.exception.weights, broken)
    self.assertFalse(pathlib.Path(path).exists())

  def test_such_an_optimizer_is_named_after_a_single_batch_too(self):
    learner = _learner("skip", estimator="variational")
    learner.compile(keras.optimizers.SGD(3e38, name="too_fast"), run_eagerly=True)
    with self.assertRaisesRegex(
      wsram_tf.NonFiniteWeightsError, "after update 1: .*, too_fast, made"
    ):
      learner.train_on_batch(*next(iter(_batches(1))))

  def test_what_is_saved_sees_it_again(self):
    learner = _learner("stop")
    with self.assertRaises(wsram_tf.NonFiniteUpdateError) as caught:
      _fit(learner, _batches(4, _BAD), 4, run_eagerly=True)
    path = f"{self.get_temp_dir()}/learner.keras"
    learner.save(path)
    again = keras.saving.load_model(path)
    images, labels = list(_batches(4, _BAD))[caught.exception.step]
    norms = again.clip(again.differentiate(images, labels).gradients)[1]
    self.assertTrue(np.isnan(norms["prediction"]))
    images, labels = list(_batches(4))[caught.exception.step]
    norms = again.clip(again.differentiate(images, labels).gradients)[1]
    self.assertTrue(np.isfinite(norms["prediction"]))

  def test_refuses_other_words(self):
    with self.assertRaisesRegex(ValueError, "on_nan='ignore': must be one of stop, skip"):
      _learner("ignore")


if __name__ == "__main__":
  tf.test.main()
