"""Classification of images in memory."""

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from wsram_tf.classification import ModelConfig
from wsram_tf.data import images
from wsram_tf.data.pipelines import WHOLE, Shard
from wsram_tf.runs.folder import RunFolder
from wsram_tf.runs.record import Settings
from wsram_tf.settings import check_instance
from wsram_tf.tasks.classification import ClassificationTask

__all__ = ["ArrayTask"]

EVALUATION_BATCH_SIZE = 500

# Images uint8 [n, H, W, C] or [n, H, W], and labels, integers [n].
Labelled = tuple[np.ndarray, np.ndarray]


class ArrayTask(ClassificationTask):
  """Classifies images that are arrays in memory.

  Args:
    train: images, uint8 `[n, H, W, C]` or `[n, H, W]` in 0..255, and labels, integers `[n]` from
      0 on.
    validation: images and labels that choose the weights.
    test: images and labels for the results.
    class_names: K names by label; None where classes have no names.
    augmentation: random changes of training images; None for none.
    model: the networks.
    **options: see `ClassificationTask`.

  Raises:
    ValueError: if shapes, types or labels do not fit.

  Example:

  >>> import numpy as np
  >>> from wsram_tf import tasks
  >>> images, labels = np.zeros([20, 32, 32], np.uint8), np.arange(20) % 2
  >>> part = images, labels
  >>> task = tasks.ArrayTask(train=part, validation=part, test=part, class_names=["cat", "dog"])
  >>> task.model.image_shape, task.model.num_classes
  ((32, 32, 1), 2)
  """

  name = "arrays"

  def __init__(
    self,
    *,
    train: Labelled,
    validation: Labelled,
    test: Labelled,
    class_names: Sequence[str] | None = None,
    augmentation: images.Augmentation | None = None,
    model: ModelConfig | None = None,
    **options: Any,
  ):
    super().__init__(model=model, **options)
    names = () if class_names is None else class_names
    if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
      raise ValueError(f"class_names={class_names!r:.200}: must be a list of names")
    parts = {"train": train, "validation": validation, "test": test}
    self.splits = {name: _checked(name, part) for name, part in parts.items()}
    shape = self.splits["train"].images.shape[1:]
    for name, part in self.splits.items():
      if part.images.shape[1:] != shape:
        raise ValueError(
          f"{name}: its images must have the shape of the training images, {shape}; got "
          f"{part.images.shape[1:]}"
        )
    largest = max(int(part.labels.max()) for part in self.splits.values())
    num_classes = len(class_names) if class_names else max(largest + 1, 2)
    if largest >= num_classes:
      raise ValueError(
        f"class_names: must hold a name for each label; there are {num_classes} names, and the "
        f"largest label is {largest}"
      )
    self.class_names = tuple(class_names or ())
    self.augmentation = images.Augmentation() if augmentation is None else augmentation
    check_instance("augmentation", self.augmentation, images.Augmentation)
    self.fit_model(shape, num_classes)
    self.data_figures = {
      "training_images": len(self.splits["train"].labels),
      "validation_images": len(self.splits["validation"].labels),
      "test_images": len(self.splits["test"].labels),
    }

  def settings(self) -> Settings:
    """Returns the task's settings and a digest of the arrays, which a resumed run must share."""
    digest = hashlib.sha256()
    for part in self.splits.values():
      for array in part:
        digest.update(str((array.dtype, array.shape)).encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    own = super().settings()
    extra = [f"--arrays_sha256={digest.hexdigest()}", f"--augmentation={tuple(self.augmentation)}"]
    return own._replace(lines=[*own.lines, *extra])

  def prepare(self, run: RunFolder) -> None:
    """Does nothing, since the images are in memory; see `Task`."""

  def training_data(
    self, *, batch_size: int, seed: int, start_update: int, shard: Shard = WHOLE
  ) -> tf.data.Dataset:
    """Makes endless shuffled, augmented batches; see `Task`."""
    return images.training_dataset(
      self.splits["train"],
      self.augmentation,
      batch_size=batch_size,
      seed=seed,
      start_step=start_update,
      shard=shard,
    )

  def validation_data(self) -> tf.data.Dataset:
    """Makes batches of the validation images; see `Task`."""
    return images.evaluation_dataset(self.splits["validation"], EVALUATION_BATCH_SIZE)

  def test_data(self) -> tf.data.Dataset:
    """Makes batches of the test images; see `ClassificationTask`."""
    return images.evaluation_dataset(self.splits["test"], EVALUATION_BATCH_SIZE)


def _checked(name: str, part: Labelled) -> images.LabelledImages:
  try:
    pixels, labels = (np.asarray(array) for array in part)
  except (TypeError, ValueError) as error:
    raise ValueError(f"{name}: must be two arrays, of images and of labels") from error
  if pixels.dtype != np.uint8:
    raise ValueError(f"{name}: its images must be uint8 in 0..255; got {pixels.dtype}")
  if pixels.ndim == 3:
    pixels = pixels[..., np.newaxis]
  if pixels.ndim != 4 or not len(pixels):
    raise ValueError(
      f"{name}: its images must have the shape [n, H, W, C] or [n, H, W], n at least 1; got "
      f"{list(pixels.shape)}"
    )
  if labels.shape != (len(pixels),) or not np.issubdtype(labels.dtype, np.integer):
    raise ValueError(
      f"{name}: its labels must be integers [{len(pixels)}], one for each image; got "
      f"{labels.dtype} {list(labels.shape)}"
    )
  if labels.min() < 0:
    raise ValueError(f"{name}: its labels must be 0 or above; got {labels.min()}")
  return images.LabelledImages(pixels, labels.astype(np.int32))
