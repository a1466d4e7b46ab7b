"""bfloat16: layers compute in bfloat16; log-probabilities, weights and losses stay float32."""

import keras
import numpy as np
import tensorflow as tf

import wsram_tf
from tests.support.models import caption_toy


def _learner(precision: str) -> wsram_tf.WakeSleepLearner:
  keras.utils.set_random_seed(1)
  model = wsram_tf.ModelConfig(
    height=16,
    width=16,
    num_classes=3,
    units=16,
    cell="relu",  # Compiles fastest.
    num_glimpses=1,
    context_side=4,
    glimpse=wsram_tf.GlimpseConfig(glimpse_side=6, glimpse_scales=1, glimpse_filters=(4,)),
    precision=precision,
  )
  return wsram_tf.WakeSleepLearner(model, wsram_tf.ObjectiveConfig(num_samples=4), seed=3)


def _batch() -> tuple[tf.Tensor, tf.Tensor]:
  images = np.random.default_rng(0).uniform(size=[32, 16, 16, 1]).astype(np.float32)
  return tf.constant(images), tf.range(32) % 3


def _update(learner, images, targets, compiled: bool):
  learner.compile(keras.optimizers.Adam(0.01), jit_compile=compiled)
  differentiate = learner.differentiate
  if compiled:
    differentiate = tf.function(differentiate, jit_compile=True, autograph=False)
  return differentiate(images, targets)


class PrecisionTest(tf.test.TestCase):
  def _check(self, exact, rounded, images, targets, compiled: bool):
    expected = _update(exact, images, targets, compiled=False)
    update = _update(rounded, images, targets, compiled)
    for name, loss in update.losses.items():
      self.assertEqual(loss.dtype, tf.float32, name)
      self.assertAllClose(loss, expected.losses[name], rtol=0.05, atol=0.05, msg=name)
      # Equal losses would mean that nothing was computed in bfloat16.
      self.assertNotEqual(float(loss), float(expected.losses[name]))
    norms = rounded.clip(update.gradients)[1]
    for name, norm in exact.clip(expected.gradients)[1].items():
      self.assertAllClose(norms[name], norm, rtol=0.3, msg=name)
    for variable in rounded.trainable_variables:
      self.assertEqual(variable.dtype, "float32")
    seed = tf.constant([3, 0])
    _, drawn, scored = rounded.losses(rounded.look(images), targets, tf.constant(0), seed)
    for name in ("locations", "prior_parameters", "log_prior", "prior_entropy", "log_probs"):
      self.assertEqual(getattr(drawn.sequences, name).dtype, tf.float32, name)
    for name in ("log_weights", "log_likelihood", "log_sampling", "log_proposal"):
      self.assertEqual(getattr(scored, name).dtype, tf.float32, name)
    self.assertEqual(drawn.sequences.upper.dtype, tf.bfloat16)

  def test_classifiers(self):
    self._check(_learner("float32"), _learner("bfloat16"), *_batch(), compiled=True)

  def test_captions(self):
    images, words = tf.constant(caption_toy.grids()), tf.constant(caption_toy.CAPTIONS)
    learners = [caption_toy.learner(precision=one) for one in ("float32", "bfloat16")]
    self._check(*learners, images, words, compiled=False)

  def test_trains_and_loads_from_a_file(self):
    learner, (images, labels) = _learner("bfloat16"), _batch()
    learner.compile(keras.optimizers.Adam(0.01), run_eagerly=True)
    history = learner.fit(images, labels, batch_size=32, epochs=2, verbose=0).history
    self.assertTrue(np.isfinite(history["loss"]).all())
    path = f"{self.get_temp_dir()}/learner.keras"
    learner.save(path)
    again = keras.saving.load_model(path)
    self.assertEqual(again.model_config.precision, "bfloat16")
    answer = learner(images)
    for name, values in again(images).items():
      self.assertAllEqual(values, answer[name], name)
    self.assertEqual(answer["probabilities"].dtype, tf.float32)
    self.assertEqual(keras.config.dtype_policy().name, "float32")


if __name__ == "__main__":
  tf.test.main()
