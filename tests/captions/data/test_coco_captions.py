"""COCO's captions: splits, images on demand and refused sets, on a small set of the same form."""

import pathlib
import tempfile
import unittest

import numpy as np
import PIL.Image

from tests.support import example_photos
from wsram_tf.captions.data import grid_features
from wsram_tf.captions.data.coco_captions import load_coco_captions


class CocoCaptionsTest(unittest.TestCase):
  def setUp(self):
    super().setUp()
    folder = tempfile.TemporaryDirectory()
    self.addCleanup(folder.cleanup)
    self.root = pathlib.Path(folder.name)

  def test_reads_captions_and_images_of_the_splits(self):
    example_photos.write_coco_captions(
      self.root,
      {"train": 4, "restval": 2, "val": 3, "test": 4},
      damaged=("val_1.jpg",),
      train_2=[" . "],
      test_0=["A dog .", "?"],
    )
    splits, report = load_coco_captions(str(self.root))
    # TensorFlow Datasets shuffles the records.
    self.assertEqual(
      [sorted(images.names) for images in splits[:3]],
      [
        ["restval_0.jpg", "restval_1.jpg", "train_0.jpg", "train_1.jpg", "train_3.jpg"],
        ["val_0.jpg", "val_1.jpg", "val_2.jpg"],
        ["test_0.jpg", "test_1.jpg", "test_2.jpg", "test_3.jpg"],
      ],
    )
    captions = dict(zip(*splits.test, strict=True))
    self.assertEqual(captions["test_0.jpg"], ["A dog ."])
    self.assertEqual(captions["test_1.jpg"], ["A green square .", "There is a green square here ."])
    self.assertEqual(
      report.counts, {"captions have no word": 2, "images of train have no caption": 1}
    )
    # Some of the images, across splits.
    names = [name for name in splits.names if name not in ("train_1.jpg", "val_0.jpg")]
    files = list(splits.read(names))
    self.assertEqual(len(files), 10)
    for name, file in zip(names, files, strict=True):
      if name != "val_1.jpg":
        colour = list(example_photos.COLOURS.values())[int(name[-5]) % 3]
        with PIL.Image.open(file) as image:
          np.testing.assert_allclose(np.asarray(image)[0, 0], colour, atol=6)
    with self.assertRaisesRegex(ValueError, "names: must be in the order of the records"):
      list(splits.read(splits.test.names[::-1]))
    self.write_features(splits)

  def write_features(self, splits):
    grid_features.write_features(
      self.root / "features",
      splits.names,
      splits.read(splits.names),
      lambda images: images[:, :1, :1],
      image_side=8,
      grid_shape=(1, 1, 3),
      backbone="a",
    )
    features = grid_features.open_features(
      self.root / "features", splits.names, grid_shape=(1, 1, 3), image_side=8, backbone="a"
    )
    self.assertEqual(list(features.unreadable), ["val_1.jpg"])
    red = features.grids[features.rows_of(["test_3.jpg"])]
    np.testing.assert_allclose(red[0, 0, 0], example_photos.COLOURS["red"], atol=6)

  def test_refuses_missing_sets_and_splits(self):
    with self.assertRaisesRegex(FileNotFoundError, "coco_captions.* once with --download"):
      load_coco_captions(str(self.root))
    with self.assertRaisesRegex(ValueError, "must be an existing directory"):
      load_coco_captions("/nowhere")
    example_photos.write_coco_captions(self.root, {"train": 1, "test": 1})
    with self.assertRaisesRegex(ValueError, "have the splits train, val, test; val is missing"):
      load_coco_captions(str(self.root))


if __name__ == "__main__":
  unittest.main()
