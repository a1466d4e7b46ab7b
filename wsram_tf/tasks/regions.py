"""Classification of large image files, of which glimpses read regions."""

import dataclasses
import os
import sys
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from wsram_tf.classification import ModelConfig, WakeSleepLearner
from wsram_tf.data import image_folder
from wsram_tf.data.orders import first_few
from wsram_tf.data.pipelines import WHOLE, Shard
from wsram_tf.data.regions.datasets import evaluation_files, training_files
from wsram_tf.data.regions.reader import shared_reader
from wsram_tf.data.regions.sets import FileSet, read_manifest, split_files
from wsram_tf.data.regions.slides import SLIDE_SUFFIXES
from wsram_tf.runs.folder import RunFolder
from wsram_tf.runs.record import Settings, stored_path
from wsram_tf.settings import given_or_default
from wsram_tf.tasks.classification import ClassificationTask
from wsram_tf.tasks.config import ImageConfig

__all__ = ["RegionTask"]

# Settings of images in memory that have no meaning for regions of files.
UNUSED = ("augment_crop", "augment_flip", "augment_brightness")
# Files that are checked at once.
CHUNK = 64


class RegionTask(ClassificationTask):
  """Classifies large files, such as pyramidal TIFF and whole slides, without loading them.

  A file that cannot be read is named and left out. Where a part of a file turns out to be damaged
  during the training, the patch is black, and the file is counted in the results.

  Args:
    image_dir: a folder that holds a folder of files for each class.
    manifest: in place of `image_dir` a CSV file with the columns path and label, and perhaps group
      and split; see `data.regions.sets.read_manifest`.
    images: color, splits and batch size of evaluations. Height and width are those of whole images
      that an export takes besides.
    model: the networks; they read `regions`.
    **options: see `ClassificationTask`.

  Raises:
    ValueError: if not exactly one of `image_dir` and `manifest` is given, or images shall change at
      random.

  Example:

  >>> from wsram_tf import tasks
  >>> task = tasks.RegionTask(image_dir="slides", images=tasks.ImageConfig(color="grey"))
  >>> task.model.observation, task.model.channels
  ('regions', 1)
  """

  name = "regions"
  observations = ("regions",)
  excludes_xla = True

  def __init__(
    self,
    *,
    image_dir: str | os.PathLike | None = None,
    manifest: str | os.PathLike | None = None,
    images: ImageConfig | None = None,
    model: ModelConfig | None = None,
    **options: Any,
  ):
    if bool(image_dir) == bool(manifest):
      raise ValueError(
        f"image_dir={image_dir!r}, manifest={manifest!r}: exactly one of them must be given"
      )
    model = given_or_default("model", model, ModelConfig)
    model = dataclasses.replace(model, observation="regions")
    super().__init__(model=model, **options)
    self.image_dir = image_dir
    self.manifest = manifest
    self.images = given_or_default("images", images, ImageConfig)
    for name in UNUSED:
      if getattr(self.images, name):
        raise ValueError(
          f"{name}={getattr(self.images, name)}: must not be given for regions of files"
        )
    self.fit_model(self.images.image_shape, self.model.num_classes)

  def configs(self) -> Iterable[Any]:
    """Returns the settings; see `Task`."""
    return [self.images, *super().configs()]

  def settings(self) -> Settings:
    """Returns the task's settings with the place of the files."""
    own = super().settings()
    places = {
      name: getattr(self, name) for name in ("image_dir", "manifest") if getattr(self, name)
    }
    extra = [f"--{name}={stored_path(os.fspath(value))}" for name, value in places.items()]
    lines = [own.lines[0], *sorted([*own.lines[1:], "--regions=true", *extra])]
    return own._replace(lines=lines, paths={**own.paths, "image_dir": bool, "manifest": bool})

  def open(self, run: RunFolder | None) -> None:
    """Finds files and classes; see `Task`."""
    if self.manifest:
      self._files = read_manifest(self.manifest)
    else:
      found = image_folder.find_images(self.image_dir, SLIDE_SUFFIXES)
      self._files = FileSet.of_files(found.paths, found.labels, found.class_names)
    self.class_names = self._files.class_names
    self.fit_model(self.images.image_shape, len(self.class_names))

  def prepare(self, run: RunFolder) -> None:
    """Opens each file once, names those that cannot be read, and splits the others; see `Task`."""
    reader, paths = shared_reader(), self._files.paths
    reader.keeps_going = True
    reader.failures.clear()
    for first in range(0, len(paths), CHUNK):
      side, channels = self.model.context_side, self.model.channels
      reader.low_resolution(paths[first : first + CHUNK].tolist(), side, channels)
    left_out = [path for path in paths if path in reader.failures]
    if left_out:
      reasons = first_few([reader.failures[path][1] for path in left_out], most=3)
      print(
        f"{len(left_out)} of {len(paths)} files cannot be read and are left out: {reasons}",
        file=sys.stderr,
        flush=True,
      )
    reader.failures.clear()
    self.splits = split_files(
      self._files.only(~np.isin(paths, left_out)),
      test_percent=self.images.test_percent,
      validation_percent=self.images.validation_percent,
      split_seed=self.images.split_seed,
    )
    self.data_figures = {
      "training_images": len(self.splits.train.labels),
      "validation_images": len(self.splits.validation.labels),
      "test_images": len(self.splits.test.labels),
      "files_left_out": left_out,
    }

  def training_data(
    self, *, batch_size: int, seed: int, start_update: int, shard: Shard = WHOLE
  ) -> tf.data.Dataset:
    """Makes endless shuffled batches of paths; see `Task`."""
    return training_files(
      self.splits.train, batch_size=batch_size, seed=seed, start_step=start_update, shard=shard
    )

  def validation_data(self) -> tf.data.Dataset:
    """Makes batches of the validation files; see `Task`."""
    return evaluation_files(self.splits.validation, self.images.evaluation_batch_size)

  def test_data(self) -> tf.data.Dataset:
    """Makes batches of the test files; see `ClassificationTask`."""
    return evaluation_files(self.splits.test, self.images.evaluation_batch_size)

  def score(self, learner: WakeSleepLearner, run: RunFolder | None = None) -> dict[str, Any]:
    """Computes the test figures, and names files with damaged parts; see `ClassificationTask`."""
    figures = super().score(learner, run)
    failures = shared_reader().failures
    if failures:
      _print_failures(failures)
    return {**figures, "failed_reads": {path: count for path, (count, _) in failures.items()}}

  def close(self) -> None:
    """Makes a file that cannot be read an error again, as outside of a run; see `Task`."""
    shared_reader().keeps_going = False


def _print_failures(failures: Mapping[str, tuple[int, str]]) -> None:
  reasons = first_few([f"{count} times {reason}" for count, reason in failures.values()], most=3)
  print(
    f"{len(failures)} files could not be read in part; these patches were black: {reasons}",
    file=sys.stderr,
    flush=True,
  )
