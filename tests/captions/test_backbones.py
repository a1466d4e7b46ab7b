"""Backbones: grids from pixels, digests, preprocessing and refused networks."""

import pathlib

import keras
import numpy as np
import tensorflow as tf

from tests.support import example_photos
from wsram_tf.captions import backbones


class BackbonesTest(tf.test.TestCase):
  def setUp(self):
    super().setUp()
    self.folder = pathlib.Path(self.get_temp_dir())
    self.path = self.folder / "backbone.keras"
    example_photos.write_backbone(self.path)

  def test_loads_a_file_and_computes_grids(self):
    backbone = backbones.load_backbone(self.path)
    self.assertEqual(backbones.image_side(backbone), 32)
    self.assertEqual(backbones.grid_shape(backbone), (4, 4, 5))
    self.assertEmpty(backbone.trainable_variables)
    images = np.random.default_rng(1).uniform(0, 255, [3, 32, 32, 3]).astype(np.float32)
    grids = backbones.grid_computer(backbone)(images)
    self.assertAllClose(grids, backbone(images))

  def test_an_open_side_is_fixed(self):
    images = keras.Input([None, None, 3])
    keras.Model(images, keras.layers.Conv2D(2, 3, strides=4)(images)).save(self.path)
    self.assertEqual(backbones.grid_shape(backbones.load_backbone(self.path, 64)), (16, 16, 2))
    self.assertEqual(backbones.image_side(backbones.load_backbone(self.path)), 224)

  def test_the_digest_distinguishes_backbones(self):
    first = backbones.load_backbone(self.path)
    digest = backbones.backbone_digest(first)
    first.save(self.folder / "again.keras")
    again = backbones.load_backbone(self.folder / "again.keras")
    self.assertEqual(backbones.backbone_digest(again), digest)
    example_photos.write_backbone(self.path, seed=2)
    self.assertNotEqual(backbones.backbone_digest(backbones.load_backbone(self.path)), digest)
    # The same weights after another scaling of the pixels.
    other = keras.Sequential([keras.Input([32, 32, 3]), keras.layers.Rescaling(1 / 64, offset=-1)])
    other.add(keras.layers.Conv2D(5, 8, strides=8, activation="relu"))
    other.set_weights(first.get_weights())
    self.assertNotEqual(backbones.backbone_digest(other), digest)

  def test_preprocessing_is_added(self):
    images = np.random.default_rng(1).uniform(0, 255, [2, 32, 32, 3]).astype(np.float32)
    applications = keras.applications
    for module in (applications.vgg16, applications.mobilenet_v2, applications.densenet):
      with self.subTest(module.__name__):
        inputs = keras.Input([32, 32, 3])
        plain = keras.Model(inputs, keras.layers.Activation("linear")(inputs))
        whole = backbones.with_preprocessing(plain, module.preprocess_input)
        wanted = module.preprocess_input(images.copy())
        self.assertAllClose(whole(images), wanted, rtol=1e-5, atol=1e-4)
        whole.save(self.path)
        self.assertAllClose(backbones.load_backbone(self.path)(images), whole(images))

  def test_refuses_by_name(self):
    (self.folder / "broken.keras").write_text("no archive")
    flat = self.folder / "flat.keras"
    keras.Sequential([keras.Input([8, 8, 3]), keras.layers.Flatten()]).save(flat)
    grey = self.folder / "grey.keras"
    keras.Sequential([keras.Input([8, 8, 1]), keras.layers.Conv2D(2, 3)]).save(grey)
    cases = (
      (self.folder / "absent.keras", 0, "must be an existing file"),
      (self.folder / "broken.keras", 0, "must be a loadable Keras model: "),
      (flat, 0, r"must return grids \[B, H, W, C\]"),
      (grey, 0, r"must take images \[B, S, S, 3\]"),
      (self.path, 64, "image_side=64: must be 32"),
      ("ResNet99", 0, "backbone='ResNet99': must be a .keras file, or the name of a network"),
      ("EfficientNetV2B0", 0, "must be downloaded first; add --download"),
    )
    for backbone, side, message in cases:
      with self.subTest(message), self.assertRaisesRegex(ValueError, message):
        backbones.load_backbone(backbone, side)


if __name__ == "__main__":
  tf.test.main()
