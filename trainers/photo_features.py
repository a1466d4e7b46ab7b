"""Feature grids of photographs: the backbone that makes them, and where they are kept."""

import dataclasses
import pathlib
from collections.abc import Iterable, Sequence
from typing import BinaryIO

import flag_groups
import keras
import numpy as np
from absl import flags
from run_folder import RunFolder

from wsram_tf.captions import backbones
from wsram_tf.captions.data import computed_grids, grid_features
from wsram_tf.captions.data.captioned_images import CaptionSplits
from wsram_tf.settings import check_settings, setting

__all__ = ["FeatureMaker", "define_flags"]


@dataclasses.dataclass(frozen=True)
class FeatureConfig:
  """What makes the feature grid of a photograph, and whether it is kept."""

  backbone: str = setting(
    "",
    "for photographs: what makes the feature grid, a .keras file from RGB [B, S, S, 3] in 0..255 "
    "to [B, H, W, C], or the name of a network of keras.applications (with --download)",
  )
  features: str = setting(
    "",
    "for photographs: files of feature grids, without an ending, made where they are not there; "
    "default RUN_DIR/features",
  )
  keep_features: bool = setting(
    True,
    "for photographs: compute features once and keep them in files; otherwise photographs are "
    "decoded and go through the backbone in every update, slow but without files (flickr8k alone)",
  )
  train_backbone: bool = setting(
    False,
    "for photographs: the backbone learns with the rest, from photographs as they are read (give "
    "keep_features=false, begin_with=RUN of a run that it did not learn in, a low learning_rate)",
  )
  image_side: int = setting(
    0,
    "for photographs: side that they are stretched to, in pixels; 0: the backbone's own, or 224",
    minimum=0,
  )

  def __post_init__(self):
    check_settings(self)


def define_flags() -> None:
  """Defines the flags of features."""
  flag_groups.define(
    FeatureConfig,
    paths={
      "backbone": flag_groups.PathParser(is_name=lambda value: not value.endswith(".keras")),
      "features": flag_groups.PathParser(),
    },
  )


class FeatureMaker:
  """Makes, keeps and opens the feature grids of photographs, by the flags.

  Args:
    run: the run that goes on or is evaluated, whose backbone is taken; None for a new one.

  Attributes:
    grid_shape: (H, W, C) of a photograph's grid.

  Raises:
    ValueError: if there is no backbone, or flags contradict each other.
  """

  def __init__(self, run: RunFolder | None):
    self.config = flag_groups.read(FeatureConfig)
    dataset = flags.FLAGS.dataset
    if not self.config.backbone:
      raise ValueError(f"backbone: must be given for dataset={dataset}")
    if self.config.train_backbone and self.config.keep_features:
      raise ValueError(
        "keep_features=true: must be false with train_backbone=true, since features change"
      )
    if not self.config.keep_features:
      if self.config.features:
        raise ValueError("features: must not be given with keep_features=false")
      if dataset != "flickr8k":
        raise ValueError(
          f"keep_features=false: must be true for dataset={dataset}, whose records are read in "
          "their order alone"
        )
    self.backbone = backbones.load_backbone(
      # A run goes on with what it began with, wherever that was from.
      run.backbone if run is not None and run.backbone.exists() else self.config.backbone,
      self.config.image_side,
      flags.FLAGS.download,
    )
    self.grid_shape = backbones.grid_shape(self.backbone)
    self.image_side = backbones.image_side(self.backbone)
    self.digest = backbones.backbone_digest(self.backbone)

  def make_trained(self) -> keras.Model | None:
    """A copy of the backbone that is to learn; None where it stays as it is."""
    if not self.config.train_backbone:
      return None
    copy = keras.models.clone_model(self.backbone)
    copy.set_weights(self.backbone.get_weights())
    copy.trainable = True
    return copy

  def check(self, splits: CaptionSplits) -> None:
    """Refuses files named by a flag that are there and will not do.

    Raises:
      ValueError: see `grid_features.open_features`.
    """
    if self.config.features and grid_features.features_exist(self.config.features):
      self._open_files(splits, self.config.features)

  def compute(self, splits: CaptionSplits, run: RunFolder) -> None:
    """Keeps the backbone with the run, and computes the features if they are to be kept.

    Raises:
      ValueError: if they cannot be written, or are another worker's to compute.
    """
    path = self.config.features or run.features
    if self.config.keep_features and not grid_features.features_exist(path):
      if not run.is_writer:
        raise ValueError(
          f"features={path}: must be there before several workers train; compute them by a short "
          "run with strategy=none"
        )
      names = splits.names
      print(f"computing the features of {len(names):,} images", flush=True)
      try:
        grid_features.write_features(
          path,
          names,
          splits.read(names),
          backbones.grid_computer(self.backbone),
          image_side=self.image_side,
          grid_shape=self.grid_shape,
          backbone=self.digest,
        )
      except OSError as error:
        raise ValueError(f"features={path}: cannot be written, {error.strerror}") from error
    if run.is_writer and not run.backbone.exists():
      run.save_learner(run.backbone, self.backbone)

  def open(self, splits: CaptionSplits, run: RunFolder) -> grid_features.GridFeatures:
    """The features of all images, from files or computed as they are asked for.

    In place of features a backbone that learns is given the images themselves, in 0..255.

    Raises:
      ValueError: see `grid_features.open_features`.
    """
    if self.config.keep_features:
      return self._open_files(splits, self.config.features or run.features)
    names = splits.names
    learns, side = self.config.train_backbone, self.image_side
    grids = computed_grids.ComputedGrids(
      names,
      splits.read,
      (lambda images: images) if learns else backbones.grid_computer(self.backbone),
      image_side=side,
      grid_shape=(side, side, 3) if learns else self.grid_shape,
    )
    unreadable = grid_features.unreadable_images(names, splits.read(names))
    rows = {name: row for row, name in enumerate(names) if name not in unreadable}
    return grid_features.GridFeatures(grids, rows, unreadable)

  def pixels(self, names: Sequence[str], files: Iterable[pathlib.Path | BinaryIO]) -> np.ndarray:
    """Images for a picture, float `[k, S, S, 3]` in 0..1."""
    return grid_features.read_images(names, iter(files), self.image_side)[0] / 255.0

  def _open_files(
    self, splits: CaptionSplits, path: str | pathlib.Path
  ) -> grid_features.GridFeatures:
    return grid_features.open_features(
      path,
      splits.names,
      grid_shape=self.grid_shape,
      image_side=self.image_side,
      backbone=self.digest,
    )
