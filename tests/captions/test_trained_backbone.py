"""Backbones inside the caption network: equal answers when frozen, joint training when not."""

import pathlib

import keras
import numpy as np
import tensorflow as tf
from absl.testing import parameterized

import wsram_tf
from tests.support.models import caption_toy
from wsram_tf.captions.grid_network import PackedGrids
from wsram_tf.captions.vocabulary import END, PADDING

IMAGES = np.random.default_rng(0).uniform(0, 255, [3, 8, 8, 3]).astype(np.float32)
# Two words at most, since each word takes long.
CAPTIONS = np.array([[4, END], [END, PADDING], [5, END]], np.int32)
NONE = tf.zeros([2], tf.int32)
_LAYERS = ((4, 4, 3), (2, 2, 2))
_PACKED = {"height": 1, "width": 1, "channels": 4 * 4 * 3 + 2 * 2 * 2}


def make_backbone(trainable: bool) -> keras.Model:
  """Makes a network from images [B, 8, 8, 3] to the toy's grids, with batch normalisation."""
  keras.utils.set_random_seed(1)
  network = keras.Sequential(
    [
      keras.Input([8, 8, 3]),
      keras.layers.Rescaling(1 / 128, offset=-1),
      keras.layers.Conv2D(3, 4, strides=4),
      keras.layers.BatchNormalization(),
    ]
  )
  network.layers[-1].set_weights([np.array(v, np.float32) for v in np.random.rand(4, 3)])
  network.trainable = trainable
  return network


def make_layered_backbone() -> keras.Model:
  """Makes a trainable network from images [B, 8, 8, 3] to packed grids of 4 x 4 and 2 x 2 cells."""
  keras.utils.set_random_seed(1)
  images = keras.Input([8, 8, 3])
  scaled = keras.layers.Rescaling(1 / 128, offset=-1)(images)
  fine = keras.layers.Conv2D(3, 2, strides=2)(scaled)
  coarse = keras.layers.Conv2D(2, 2, strides=2)(fine)
  return keras.Model(images, PackedGrids("fine,coarse")([fine, coarse]))


def make_learner(backbone: keras.Model | None, **changes) -> wsram_tf.CaptionLearner:
  """Makes a learner of the toy; its random weights do not depend on the backbone."""
  objective = {"estimator": "wake_sleep_prior", "num_samples": 2}
  if changes.get("attention") == "soft":
    objective = {"estimator": "variational", "num_samples": 1}
  learner = wsram_tf.CaptionLearner(
    caption_toy.model_config(**{"max_words": 2, **changes}),
    wsram_tf.ObjectiveConfig(**objective),
    backbone=backbone,
    seed=3,
  )
  generator = np.random.default_rng(0)
  for weight in learner.prediction_network.weights_but_backbone:
    weight.assign(generator.normal(0, 0.7, weight.shape))
  learner.compile(keras.optimizers.SGD(0.1), run_eagerly=True)
  return learner


class TrainedBackboneTest(parameterized.TestCase, tf.test.TestCase):
  def assert_same(self, weights, others):
    self.assertAllClose(weights, others, rtol=0, atol=0)

  def test_a_frozen_backbone_equals_precomputed_features(self):
    backbone = make_backbone(trainable=False)
    grids = backbone(IMAGES, training=False).numpy()
    inside, outside = make_learner(backbone), make_learner(None)
    before = backbone.get_weights()
    inside.fit(IMAGES, CAPTIONS, batch_size=3, epochs=2, verbose=0)
    outside.fit(grids, CAPTIONS, batch_size=3, epochs=2, verbose=0)
    self.assert_same(before, backbone.get_weights())
    weights = [w.numpy() for w in inside.prediction_network.weights_but_backbone]
    self.assertAllClose(weights, outside.prediction_network.get_weights(), rtol=1e-5, atol=1e-6)
    answers = inside.predict(IMAGES, verbose=0)
    self.assertAllClose(answers, outside.predict(grids, verbose=0), rtol=1e-5, atol=1e-6)
    alone = inside.prediction_network.without_backbone()
    self.assertAllClose(alone(grids)["log_prob"], answers["log_prob"], rtol=1e-5, atol=1e-6)

  @parameterized.named_parameters(
    ("one_grid", lambda: make_backbone(trainable=True), {}),
    ("two_layers", make_layered_backbone, {**_PACKED, "layer_shapes": _LAYERS}),
  )
  def test_its_gradient_matches_finite_differences(self, make, shape):
    # With soft attention the loss is a deterministic function of the weights.
    backbone = make()
    learner = make_learner(backbone, attention="soft", max_words=3, **shape)
    captions = caption_toy.CAPTIONS
    update = learner.differentiate(IMAGES, captions)
    variables = learner.network_variables()["prediction"]
    self.assertLen([v for v in variables if any(v is w for w in backbone.weights)], 4)
    for weight in backbone.trainable_variables:
      gradient = next(
        g for v, g in zip(variables, update.gradients["prediction"], strict=True) if v is weight
      )
      self.assertGreater(np.linalg.norm(gradient), 1e-4)
      value, step = weight.numpy(), 2e-3 * gradient / np.linalg.norm(gradient)
      sides = []
      for sign in (1, -1):
        weight.assign(value + sign * step)
        loss = learner.losses(learner.look(IMAGES), captions, tf.constant(0), NONE)[0]["prediction"]
        sides.append(float(tf.reduce_mean(loss)))
      weight.assign(value)
      self.assertAllClose((sides[0] - sides[1]) / 4e-3, np.linalg.norm(gradient), rtol=5e-3)

  def test_saving_in_between_does_not_change_training(self):
    path = pathlib.Path(self.get_temp_dir()) / "learner.keras"
    arguments = {"batch_size": 3, "verbose": 0}
    whole, first = (make_learner(make_backbone(trainable=True)) for _ in range(2))
    began = make_backbone(trainable=True).get_weights()
    for learner in (whole, first):
      learner.compile(keras.optimizers.Adam(0.01), run_eagerly=True)
    whole.fit(IMAGES, CAPTIONS, epochs=2, **arguments)
    first.fit(IMAGES, CAPTIONS, epochs=1, **arguments)
    first.save(path)
    second = keras.saving.load_model(path)
    self.assertTrue(second.prediction_network.backbone.trainable)
    second.fit(IMAGES, CAPTIONS, epochs=1, **arguments)
    self.assert_same(second.get_weights(), whole.get_weights())
    learnt = second.prediction_network.backbone.get_weights()
    # Training must not change the moving means and variances.
    moved = [not np.array_equal(a, b) for a, b in zip(began, learnt, strict=True)]
    self.assertEqual(moved, [True, True, True, True, False, False])

  def test_layers_learn_are_saved_and_exported_as_features(self):
    path = pathlib.Path(self.get_temp_dir()) / "learner.keras"
    learner = make_learner(make_layered_backbone(), **_PACKED, layer_shapes=_LAYERS)
    began = make_layered_backbone().get_weights()
    learner.fit(IMAGES, CAPTIONS, batch_size=3, verbose=0)
    learner.save(path)
    second = keras.saving.load_model(path)
    backbone = second.prediction_network.backbone
    learnt = backbone.get_weights()
    self.assertTrue(
      all(np.abs(a - b).max() > 1e-6 for a, b in zip(began, learnt, strict=True)), "unchanged"
    )
    answer = learner.predict(IMAGES, verbose=0)
    self.assertAllEqual(answer["layers"], second.predict(IMAGES, verbose=0)["layers"])
    alone = second.prediction_network.without_backbone()(backbone(IMAGES, training=False))
    self.assertAllClose(alone["log_prob"], answer["log_prob"], rtol=1e-5, atol=1e-6)
    self.assertAllEqual(alone["layers"], answer["layers"])

  def test_copies_weights_between_learners(self):
    frozen, learner = make_learner(None), make_learner(make_backbone(trainable=True))
    caption_toy.randomize(frozen.prediction_network, seed=5)
    backbone = learner.prediction_network.backbone.get_weights()
    learner.take_weights(frozen)
    taken = [w.numpy() for w in learner.prediction_network.weights_but_backbone]
    self.assert_same(taken, frozen.prediction_network.get_weights())
    self.assert_same(backbone, learner.prediction_network.backbone.get_weights())
    other = make_learner(make_backbone(trainable=False))
    learner.prediction_network.backbone.set_weights([w + 1.0 for w in backbone])
    other.take_weights(learner)
    self.assert_same(other.get_weights(), learner.get_weights())

  def test_a_refused_copy_changes_nothing(self):
    learner = make_learner(None)
    before = learner.get_weights()
    with self.assertRaisesRegex(ValueError, r"prediction network must have the same shapes"):
      learner.take_weights(make_learner(None, word_units=5))
    with self.assertRaisesRegex(ValueError, "other with a backbone: must have none"):
      learner.take_weights(make_learner(make_backbone(trainable=True)))
    self.assert_same(before, learner.get_weights())

  def test_a_grid_of_another_shape_is_refused(self):
    with self.assertRaisesRegex(
      ValueError, r"backbone with grids \(2, 2, 3\): must make grids \(2, 2, 4\)"
    ):
      make_learner(make_backbone(trainable=True), channels=4)


if __name__ == "__main__":
  tf.test.main()
