"""Classification of images from a folder for each class, or from TensorFlow Datasets."""

import os
import sys
from collections.abc import Iterable
from typing import Any

import tensorflow as tf

from wsram_tf.classification import ModelConfig
from wsram_tf.data import image_folder, images, tfds_images
from wsram_tf.data.orders import first_few
from wsram_tf.data.pipelines import WHOLE, Shard
from wsram_tf.runs.folder import RunFolder
from wsram_tf.runs.record import Settings, stored_path
from wsram_tf.settings import given_or_default
from wsram_tf.tasks.classification import ClassificationTask
from wsram_tf.tasks.config import ImageConfig

__all__ = ["ImageTask"]


class ImageTask(ClassificationTask):
  """Classifies images of your own, or of a set of TensorFlow Datasets.

  Args:
    image_dir: a folder that holds a folder of image files for each class.
    dataset: in place of `image_dir` the name of a classification set of TensorFlow Datasets.
    data_dir: folder of prepared TensorFlow Datasets; None for the default one.
    download: whether to fetch the set where it is not prepared.
    images: size, splits and augmentation.
    model: the networks.
    **options: see `ClassificationTask`.

  Raises:
    ValueError: if not exactly one of `image_dir` and `dataset` is given.

  Example:

  >>> from wsram_tf import tasks
  >>> task = tasks.ImageTask(
  ...   image_dir="photos", images=tasks.ImageConfig(image_height=64, image_width=64)
  ... )
  >>> task.model.image_shape
  (64, 64, 3)
  """

  name = "images"

  def __init__(
    self,
    *,
    image_dir: str | os.PathLike | None = None,
    dataset: str | None = None,
    data_dir: str | os.PathLike | None = None,
    download: bool = False,
    images: ImageConfig | None = None,
    model: ModelConfig | None = None,
    **options: Any,
  ):
    super().__init__(model=model, **options)
    if bool(image_dir) == bool(dataset):
      raise ValueError(
        f"image_dir={image_dir!r}, dataset={dataset!r}: exactly one of them must be given"
      )
    self.image_dir = image_dir
    self.dataset = dataset
    self.data_dir = data_dir
    self.download = download
    self.images = given_or_default("images", images, ImageConfig)
    self.fit_model(self.images.image_shape, self.model.num_classes)

  def configs(self) -> Iterable[Any]:
    """Returns the settings; see `Task`."""
    return [self.images, *super().configs()]

  def settings(self) -> Settings:
    """Returns the task's settings with the place of the images."""
    own = super().settings()
    extra = [f"--dataset={self.dataset}"] if self.dataset else []
    for name in ("image_dir", "data_dir"):
      value = getattr(self, name)
      if value:
        extra.append(f"--{name}={stored_path(os.fspath(value))}")
    paths = {**own.paths, "image_dir": bool, "data_dir": bool}
    return own._replace(lines=[own.lines[0], *sorted([*own.lines[1:], *extra])], paths=paths)

  def open(self, run: RunFolder | None) -> None:
    """Finds the classes; see `Task`."""
    self._source = None
    if self.dataset:
      self._source = tfds_images.open_tfds(
        self.dataset, os.fspath(self.data_dir) if self.data_dir else None, self.download
      )
      self.class_names = tfds_images.describe_tfds(self._source, self.dataset).class_names
    else:
      self.class_names = image_folder.find_images(self.image_dir).class_names
    self.fit_model(self.images.image_shape, len(self.class_names))

  def prepare(self, run: RunFolder) -> None:
    """Reads all images, and names the files that cannot be read; see `Task`."""
    config = self.images
    splitting = {
      "fit": config.fit,
      "test_percent": config.test_percent,
      "validation_percent": config.validation_percent,
      "split_seed": config.split_seed,
    }
    left_out: list[str] = []
    if self._source is not None:
      splits = tfds_images.load_tfds(self._source, self.dataset, config.image_shape, **splitting)
    else:
      splits, left_out = image_folder.load_image_folder(
        self.image_dir, config.image_shape, **splitting
      )
      if left_out:
        count = len(left_out) + sum(len(part.labels) for part in splits[:3])
        names = first_few(left_out)
        print(
          f"{len(left_out)} of {count} files cannot be read and are left out: {names}",
          file=sys.stderr,
          flush=True,
        )
    is_stored = isinstance(splits.train.images, image_folder.StoredImages)
    if is_stored:
      print("the images do not fit into memory; batches are read from their files", flush=True)
    self.splits = splits
    self.class_names = splits.class_names
    self.data_figures = {
      "training_images": len(splits.train.labels),
      "validation_images": len(splits.validation.labels),
      "test_images": len(splits.test.labels),
      "fit": config.fit,
      "images_in_memory": not is_stored,
      "files_left_out": left_out,
    }

  def training_data(
    self, *, batch_size: int, seed: int, start_update: int, shard: Shard = WHOLE
  ) -> tf.data.Dataset:
    """Makes endless shuffled, augmented batches; see `Task`."""
    config = self.images
    return images.training_dataset(
      self.splits.train,
      images.Augmentation(config.augment_crop, config.augment_flip, config.augment_brightness),
      batch_size=batch_size,
      seed=seed,
      start_step=start_update,
      shard=shard,
    )

  def validation_data(self) -> tf.data.Dataset:
    """Makes batches of the validation images; see `Task`."""
    return images.evaluation_dataset(self.splits.validation, self.images.evaluation_batch_size)

  def test_data(self) -> tf.data.Dataset:
    """Makes batches of the test images; see `ClassificationTask`."""
    return images.evaluation_dataset(self.splits.test, self.images.evaluation_batch_size)
