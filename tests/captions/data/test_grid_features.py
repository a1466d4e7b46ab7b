"""Feature files: complete or absent, checked when opened, damaged images named."""

import json
import pathlib
import tempfile
import unittest

import numpy as np

from tests.support import example_photos
from wsram_tf.captions.data import computed_grids, grid_features

_DIGEST = "a1"
_SHAPE = (2, 2, 3)


def mean_colours(images: np.ndarray) -> np.ndarray:
  """Makes grids of 2 x 2 cells, each the mean colour of a quarter of the image."""
  return images.reshape(-1, 2, 16, 2, 16, 3).mean((2, 4))


class GridFeaturesTest(unittest.TestCase):
  def setUp(self):
    super().setUp()
    folder = tempfile.TemporaryDirectory()
    self.addCleanup(folder.cleanup)
    self.root = pathlib.Path(folder.name)
    # More than one batch of images.
    example_photos.write_flickr8k(self.root / "photos", train=40)
    self.photos = self.root / "photos" / "Flicker8k_Dataset"
    self.images = [self.photos / f"train_{i}.jpg" for i in range(40)]
    self.path = self.root / "made" / "features"

  def write(self, compute=mean_colours, images=None):
    grid_features.write_features(
      self.path,
      [image.name for image in self.images],
      iter(images or self.images),
      compute,
      image_side=32,
      grid_shape=_SHAPE,
      backbone=_DIGEST,
    )

  def open(self, **changed):
    names = changed.pop("names", [image.name for image in self.images])
    wanted = {"grid_shape": _SHAPE, "image_side": 32, "backbone": _DIGEST, **changed}
    return grid_features.open_features(self.path, names, **wanted)

  def test_returns_the_computed_grids(self):
    self.assertFalse(grid_features.features_exist(self.path))
    self.write()
    self.assertTrue(grid_features.features_exist(self.path))
    written = sorted(path.name for path in self.path.parent.iterdir())
    self.assertEqual(written, ["features.json", "features.npy"])
    features = self.open()
    self.assertIsInstance(features.grids, np.memmap)
    self.assertEqual((features.grids.dtype, features.grids.shape), (np.float16, (40, *_SHAPE)))
    rows = features.rows_of(["train_33.jpg", "train_1.jpg"])
    np.testing.assert_array_equal(rows, [33, 1])
    # Image 33 shows a red square that lies partly in each quarter.
    self.assertEqual(features.grids[33, ..., 0].argmax(), 0)
    self.assertGreater(features.grids[33, 0, 0, 0], 2 * features.grids[33, 0, 0, 1])
    with self.assertRaisesRegex(ValueError, "features.json: .*; x.jpg and 1 more have none"):
      self.open(names=["x.jpg", "train_1.jpg", "y.jpg"])

  def test_skips_damaged_images_and_names_them(self):
    whole = self.images[3].read_bytes()
    self.images[3].write_bytes(whole[: len(whole) // 2])
    self.images[35].write_text("no picture")
    self.write()
    features = self.open()
    self.assertEqual(set(features.unreadable), {"train_3.jpg", "train_35.jpg"})
    self.assertRegex(features.unreadable["train_3.jpg"], "(?i)truncated")
    self.assertFalse(features.grids[[3, 35]].any())
    self.assertNotIn("train_3.jpg", features.rows)
    self.assertEqual(features.rows["train_36.jpg"], 36)

  def test_computed_grids_equal_stored_grids(self):
    self.write()
    names = [image.name for image in self.images]
    grids = computed_grids.ComputedGrids(
      names,
      lambda some: [self.photos / name for name in some],
      mean_colours,
      image_side=32,
      grid_shape=_SHAPE,
    )
    rows = np.array([35, *range(34), 35])  # More than one batch, with a repeated row.
    self.assertEqual(grids.shape, (40, *_SHAPE))
    np.testing.assert_array_equal(grids[rows], self.open().grids[rows])
    self.assertEqual(grid_features.unreadable_images(names, self.images), {})
    self.images[35].write_bytes(self.images[35].read_bytes()[:300])
    with self.assertRaisesRegex(ValueError, "train_35.jpg: must be a readable image: "):
      grids[rows]
    self.assertEqual(list(grid_features.unreadable_images(names, self.images)), ["train_35.jpg"])

  def test_an_error_leaves_the_old_files(self):
    self.write()
    before = sorted((path.name, path.read_bytes()) for path in self.path.parent.iterdir())
    for compute in (lambda images: images, lambda images: mean_colours(images) * 1e6):
      with self.assertRaisesRegex(ValueError, "compute: must return"):
        self.write(compute)
    images, self.images = self.images, [*self.images, self.images[0]]
    with self.assertRaisesRegex(ValueError, "images: must hold one for each name"):
      self.write(images=images)
    after = sorted((path.name, path.read_bytes()) for path in self.path.parent.iterdir())
    self.assertEqual(before, after)

  def test_refuses_features_of_another_backbone_or_size(self):
    self.write()
    cases = {
      r"features.npy: its grid's shape must be \[2, 2, 4\]": {"grid_shape": (2, 2, 4)},
      "features.json: its image_side must be 64, and is 32": {"image_side": 64},
      "features.json: its digest of the backbone must be b2, and is a1": {"backbone": "b2"},
    }
    for message, changed in cases.items():
      with self.subTest(message), self.assertRaisesRegex(ValueError, message):
        self.open(**changed)

  def test_refuses_damaged_files(self):
    self.write()
    array = self.path.with_name("features.npy")
    described = self.path.with_name("features.json")
    values, whole = json.loads(described.read_text()), array.read_bytes()
    array.write_bytes(whole[:-10])
    with self.assertRaisesRegex(ValueError, "features.npy: must be a complete NumPy array"):
      self.open()
    np.save(array, np.zeros([40, *_SHAPE], np.float32))
    with self.assertRaisesRegex(ValueError, "features.npy: its dtype must be float16"):
      self.open()
    array.write_bytes(whole)
    described.write_text(json.dumps({**values, "names": values["names"][:-1]}))
    with self.assertRaisesRegex(ValueError, "number of different names must be 40, and is 39"):
      self.open()
    wrong = json.dumps({**values, "names": "all"})
    for text, message in (
      ("{", "JSON object"),
      ("[]", "JSON object"),
      ("{}", "have 'names'"),
      (wrong, "have 'names'"),
    ):
      described.write_text(text)
      with self.subTest(text), self.assertRaisesRegex(ValueError, f"features.json: .*{message}"):
        self.open()


if __name__ == "__main__":
  unittest.main()
