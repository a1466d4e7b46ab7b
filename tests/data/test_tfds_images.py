"""Sets of TensorFlow Datasets: versions, splits and refused sets."""

import pathlib

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds

from wsram_tf.data import tfds_images

_SPLITTING = {"fit": "resize", "validation_percent": 25, "test_percent": 25, "split_seed": 1}
_FEATURES = {
  "picture": tfds.features.Image(shape=(None, None, 3)),
  "kind": tfds.features.ClassLabel(names=["cat", "dog"]),
}


class TfdsImagesTest(tf.test.TestCase):
  def _prepare(
    self, name: str, counts: dict[str, int], features=_FEATURES, version="1.0.0"
  ) -> None:
    def examples(split: str, count: int):
      for i in range(count):
        values = {"picture": np.full([5 + i, 9, 3], 10 * i, np.uint8), "kind": i % 2}
        yield f"{split}{i}", {key: values[key] for key in features}

    self.data_dir = self.get_temp_dir()
    tfds.dataset_builders.store_as_tfds_dataset(
      name=name,
      version=version,
      data_dir=self.data_dir,
      split_datasets={split: list(examples(split, n)) for split, n in counts.items()},
      features=tfds.features.FeaturesDict(features),
    )

  def _load(self, name: str):
    builder = tfds_images.open_tfds(name, self.data_dir)
    return tfds_images.load_tfds(builder, name, (4, 6, 3), **_SPLITTING)

  def test_uses_existing_splits_and_makes_the_others(self):
    for name, counts, expected in (
      ("three", {"train": 8, "validation": 4, "test": 6}, [8, 4, 6]),
      ("two", {"train": 8, "test": 6}, [6, 2, 6]),
      ("held", {"train": 8, "validation": 4}, [6, 2, 4]),
      ("one", {"train": 16}, [9, 3, 4]),
    ):
      with self.subTest(name):
        self._prepare(name, counts)
        splits = self._load(name)
        self.assertEqual([len(data.labels) for data in splits[:3]], expected)
        self.assertEqual(splits.class_names, ("cat", "dog"))
        for data in splits[:3]:
          self.assertEqual(data.images.shape[1:], (4, 6, 3))
          self.assertAllEqual(data.images[:, 0, 0, 0] // 10 % 2, data.labels)

  def test_opens_the_newest_version_or_the_given_one(self):
    for version, count in (("1.9.0", 8), ("1.10.0", 12)):
      self._prepare("versions", {"train": 4, "test": count}, version=version)
    self.assertLen(self._load("versions").test.labels, 12)
    self.assertLen(self._load("versions:1.9.0").test.labels, 8)

  def test_refuses_missing_sets_and_sets_without_labels(self):
    data_dir = self.get_temp_dir()
    with self.assertRaisesRegex(FileNotFoundError, "dataset='none': .* run once with --download"):
      tfds_images.open_tfds("none", data_dir)
    with self.assertRaisesRegex(ValueError, "data_dir='.*nowhere': must be an existing directory"):
      tfds_images.open_tfds("none", str(pathlib.Path(data_dir) / "nowhere"))
    self._prepare("unlabelled", {"train": 2}, {"picture": _FEATURES["picture"]})
    with self.assertRaisesRegex(
      ValueError, "must have an image and a class label; its features are pict"
    ):
      self._load("unlabelled")
    self._prepare("untrained", {"test": 2})
    with self.assertRaisesRegex(ValueError, "must have a split 'train'; it has test"):
      self._load("untrained")


if __name__ == "__main__":
  tf.test.main()
