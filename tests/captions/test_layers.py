"""Captions over several layers: one layer, cells, backbones, what q reads."""

import os
import pathlib

import keras
import numpy as np
import tensorflow as tf

import wsram_tf
from tests.support import example_photos
from tests.support.models import caption_toy
from wsram_tf.captions import backbones
from wsram_tf.captions.grid_network import PackedGrids, unpack_grids
from wsram_tf.captions.inference_network import CaptionInferenceNetwork
from wsram_tf.captions.vocabulary import END, PADDING
from wsram_tf.locations import GridLocations, LayeredGridLocations

# Two words at most, since each word takes long.
_CAPTIONS = np.array([[4, END], [END, PADDING], [5, END]], np.int32)
# Four cells in all, as in the toy of one grid.
_TWO = {"height": 1, "width": 1, "channels": 13, "layer_shapes": ((1, 3, 3), (1, 1, 4))}


class LayersTest(tf.test.TestCase):
  def test_packing_is_reversed(self):
    generator = np.random.default_rng(1)
    shapes = ((4, 4, 3), (2, 1, 5))
    grids = [generator.normal(size=[2, *shape]).astype(np.float32) for shape in shapes]
    packed = PackedGrids()(grids)
    for grid, found in zip(grids, unpack_grids(packed, shapes), strict=True):
      self.assertAllEqual(grid, found)

  def test_one_layer_is_one_grid(self):
    plain = caption_toy.learner(max_words=2)
    shape = {"height": 1, "width": 1, "channels": 12, "layer_shapes": ((2, 2, 3),)}
    layered = caption_toy.learner(max_words=2, **shape)
    grids = caption_toy.grids()
    packed = grids.reshape([3, 1, 1, 12])
    captions = tf.constant(_CAPTIONS)
    uniforms = np.random.default_rng(2).uniform(size=[2, 3, 2, 3]).astype(np.float32)
    found = []
    for learner, images, numbers in (
      (plain, grids, uniforms[..., :2]),
      (layered, packed, uniforms),
    ):
      learner.uniforms = lambda *_, numbers=numbers: tf.constant(numbers)
      view = learner.look(tf.constant(images))
      losses, _, _ = learner.losses(view, captions, tf.constant(0), tf.constant([3, 0]))
      found.append((losses, learner.predict_on_batch(images)))
    (losses, answer), (of_layer, layer_answer) = found
    self.assertEqual(losses.keys(), of_layer.keys())
    for name, loss in losses.items():
      self.assertAllEqual(loss, of_layer[name])
    self.assertFalse(layer_answer.pop("layers").any())
    for name, values in answer.items():
      self.assertAllEqual(values, layer_answer[name])

  def test_cells_are_numbered_layer_by_layer(self):
    family = LayeredGridLocations([(2, 3), (1, 2), (1, 1)])
    cells = tf.range(family.num_parameters)
    actions = family.centres(cells)
    self.assertAllEqual(family.cells(actions), cells)
    self.assertAllEqual(actions[:, 2], [0] * 6 + [1] * 2 + [2])
    self.assertAllClose(actions[:6, :2], GridLocations(2, 3).centres(tf.range(6)))
    self.assertAllClose(actions[6:8, :2], GridLocations(1, 2).centres(tf.range(2)))
    logits = tf.constant(np.random.default_rng(3).normal(size=[9]), tf.float32)
    self.assertAllClose(
      family.log_prob(tf.tile(logits[tf.newaxis], [9, 1]), actions), tf.nn.log_softmax(logits)
    )
    self.assertAllEqual(family.mode(logits), actions[int(tf.argmax(logits))])
    # A cell's share of the numbers in (0, 1) is its probability.
    numbers = (tf.range(20_000, dtype=tf.float32) + 0.5) / 20_000
    drawn = family.sample(
      tf.tile(logits[tf.newaxis], [20_000, 1]), tf.tile(numbers[:, tf.newaxis], [1, 3])
    )
    counts = np.bincount(family.cells(drawn), minlength=9) / 20_000
    self.assertAllClose(counts, tf.nn.softmax(logits), atol=1e-4)

  def test_trains_saves_and_reads_every_layer(self):
    learner = caption_toy.learner(max_words=2, **_TWO)
    images = np.random.default_rng(4).normal(size=[6, 1, 1, 13]).astype(np.float32)
    captions = np.tile(_CAPTIONS, [2, 1])
    learner.compile("adam", run_eagerly=True)
    learner.fit(images, captions, batch_size=6, verbose=0)
    path = os.path.join(self.get_temp_dir(), "learner.keras")
    learner.save(path)
    again = wsram_tf.load_model(path)
    answer, other = learner.predict(images, verbose=0), again.predict(images, verbose=0)
    for name, values in answer.items():
      self.assertAllEqual(values, other[name])
    # Each grid reaches the words through the cells that are chosen from it.
    view = learner.look(tf.constant(images))
    for cell in range(4):
      centre = learner.prediction_network.location_distribution.centres(tf.constant([cell]))

      def likelihood(images, centre=centre):
        view = learner.look(images)
        sequences = learner.prediction_network.unroll(
          view, tf.constant(captions), 1, lambda n, upper, prior: tf.repeat(centre, 6, axis=0)
        )
        return tf.reduce_sum(sequences.log_probs[:, :, 0])

      inputs = tf.constant(images)
      with tf.GradientTape() as tape:
        tape.watch(inputs)
        value = likelihood(inputs)
      moved = np.abs(tape.gradient(value, inputs)[:, 0, 0])
      fine = moved[:, :9].reshape([6, 3, 3]).sum(axis=(0, 2))
      read = [*(fine > 0), moved[:, 9:].sum() > 0]
      self.assertEqual(read, [number == cell for number in range(4)])
    self.assertEqual(view.features.shape, (6, 4, 4))

  def test_settings_that_contradict_each_other_are_refused(self):
    shapes = ((1, 3, 3), (1, 1, 4))
    with self.assertRaisesRegex(ValueError, "grid_filters=.*: must be empty where"):
      caption_toy.model_config(
        height=1, width=1, channels=13, layer_shapes=shapes, grid_filters=(2,)
      )
    with self.assertRaisesRegex(ValueError, r"layer_shapes=.*and make 13 numbers"):
      caption_toy.model_config(height=1, width=1, channels=12, layer_shapes=shapes)


class BackboneLayersTest(tf.test.TestCase):
  def setUp(self):
    super().setUp()
    self.folder = pathlib.Path(self.get_temp_dir())
    self.path = self.folder / "backbone.keras"
    example_photos.write_layered_backbone(self.path)

  def test_layers_of_a_file_are_packed_in_the_given_order(self):
    backbone = backbones.load_backbone(self.path, layers=["coarse", "fine"])
    self.assertEqual(backbones.layer_shapes(backbone), ((2, 2, 6), (4, 4, 5)))
    self.assertEqual(backbones.grid_shape(backbone), (1, 1, 2 * 2 * 6 + 4 * 4 * 5))
    images = np.random.default_rng(1).uniform(0, 255, [2, 32, 32, 3]).astype(np.float32)
    coarse, fine = unpack_grids(backbone(images), backbones.layer_shapes(backbone))
    loaded = keras.saving.load_model(self.path)
    fine_alone = keras.Model(loaded.inputs, loaded.get_layer("fine").output)
    self.assertAllClose(fine, fine_alone(images))
    self.assertEqual(coarse.shape, (2, 2, 2, 6))
    # Saved with a run, it is the same backbone, with the same layers.
    backbone.save(self.folder / "again.keras")
    again = backbones.load_backbone(self.folder / "again.keras")
    self.assertEqual(backbones.layer_shapes(again), backbones.layer_shapes(backbone))
    self.assertEqual(backbones.backbone_digest(again), backbones.backbone_digest(backbone))
    self.assertAllEqual(again(images), backbone(images))
    other = backbones.load_backbone(self.path, layers=["fine", "coarse"])
    self.assertNotEqual(backbones.backbone_digest(other), backbones.backbone_digest(backbone))

  def test_unknown_layers_are_refused_with_those_that_exist(self):
    for name in ("nowhere", "flat"):
      with self.assertRaisesRegex(
        ValueError, rf"backbone_layers='{name}': must be a layer .*fine \(4, 4, 5\), coarse"
      ):
        backbones.load_backbone(self.path, layers=["fine", name])


class InferenceReadsTest(tf.test.TestCase):
  def test_a_proposal_depends_on_the_words_that_it_may_read(self):
    length = 4
    captions = np.array([[4, 5, 6, 4]])
    reach = {
      "caption": lambda word, place: True,
      "prefix": lambda word, place: word < place,
      "previous_word": lambda word, place: word == place - 1,
    }
    for reads, expected in reach.items():
      network = CaptionInferenceNetwork(
        caption_toy.model_config(max_words=length, inference_reads=reads)
      )
      caption_toy.randomize(network)
      before = network.encode(tf.constant(captions)).numpy()
      for word in range(length):
        changed = captions.copy()
        changed[0, word] = 5 if captions[0, word] != 5 else 6
        moved = np.abs(network.encode(tf.constant(changed)).numpy() - before).sum(axis=-1)[0] > 0
        wanted = [expected(word, place) for place in range(length)]
        self.assertEqual(moved.tolist(), wanted, f"{reads}, word {word}")

  def test_every_choice_trains_and_is_saved(self):
    for reads in ("prefix", "previous_word"):
      learner = caption_toy.learner(inference_reads=reads, max_words=2)
      learner.compile("adam", run_eagerly=True)
      images, captions = caption_toy.grids(), _CAPTIONS
      before = [weight.numpy() for weight in learner.inference_network.trainable_weights]
      learner.fit(images, captions, batch_size=3, epochs=1, verbose=0)
      for old, new in zip(before, learner.inference_network.trainable_weights, strict=True):
        self.assertNotAllEqual(old, new)
      path = os.path.join(self.get_temp_dir(), f"{reads}.keras")
      learner.save(path)
      again = wsram_tf.load_model(path)
      for old, new in zip(learner.weights, again.weights, strict=True):
        self.assertAllEqual(old, new)


if __name__ == "__main__":
  tf.test.main()
