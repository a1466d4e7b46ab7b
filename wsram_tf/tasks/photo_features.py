"""Feature grids of photographs: the backbone that computes them, and the files that hold them."""

import pathlib
from collections.abc import Iterable, Sequence
from typing import BinaryIO

import keras
import numpy as np

from wsram_tf.captions import backbones
from wsram_tf.captions.data import computed_grids, grid_features
from wsram_tf.captions.data.captioned_images import CaptionSplits
from wsram_tf.runs.folder import BACKBONE, RunFolder
from wsram_tf.tasks.config import FeatureConfig

__all__ = ["FeatureMaker"]

FEATURES = "features"


class FeatureMaker:
  """Computes, keeps and opens the feature grids of photographs.

  Args:
    config: the backbone, and whether grids are kept.
    dataset: the name of the set.
    download: whether to fetch a backbone's weights.
    run: the run that is resumed or evaluated, whose backbone is used; None for a new one.

  Attributes:
    grid_shape: (H, W, C) of a photograph's grid, or of its packed grids.
    layer_shapes: (H, W, C) of each layer's grid; empty for one grid.

  Raises:
    ValueError: if there is no backbone, or settings contradict each other.
  """

  def __init__(self, config: FeatureConfig, dataset: str, *, download: bool, run: RunFolder | None):
    self.config = config
    if not config.backbone:
      raise ValueError(f"backbone: must be given for dataset={dataset}")
    if not config.keep_features and dataset != "flickr8k":
      raise ValueError(
        f"keep_features=false: must be true for dataset={dataset}, because its records can only be "
        "read in their order"
      )
    # A resumed run keeps its backbone, wherever the file came from.
    kept = None if run is None else run.path / BACKBONE
    if kept is not None and kept.exists():
      self.backbone = backbones.load_backbone(kept, config.image_side)
    else:
      names = [name.strip() for name in config.backbone_layers.split(",") if name.strip()]
      self.backbone = backbones.load_backbone(config.backbone, config.image_side, download, names)
    self.grid_shape = backbones.grid_shape(self.backbone)
    self.layer_shapes = backbones.layer_shapes(self.backbone)
    self.image_side = backbones.image_side(self.backbone)
    self.digest = backbones.backbone_digest(self.backbone)

  def make_trained(self) -> keras.Model | None:
    """Copies the backbone for training; None where it stays fixed."""
    if not self.config.train_backbone:
      return None
    copy = keras.models.clone_model(self.backbone)
    copy.set_weights(self.backbone.get_weights())
    copy.trainable = True
    return copy

  def check(self, splits: CaptionSplits) -> None:
    """Checks existing files that a setting names.

    Raises:
      ValueError: see `grid_features.open_features`.
    """
    if self.config.features and grid_features.features_exist(self.config.features):
      self._open_files(splits, self.config.features)

  def compute(self, splits: CaptionSplits, run: RunFolder) -> None:
    """Saves the backbone with the run, and computes missing features that are to be kept.

    Raises:
      ValueError: if they cannot be written, or another process must compute them.
    """
    path = self._path(run)
    if self.config.keep_features and not grid_features.features_exist(path):
      if not run.is_writer:
        raise ValueError(
          f"features={path}: must exist before several workers train and before an evaluation; a "
          "short run with strategy=none computes them"
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
    if run.is_writer and not (run.path / BACKBONE).exists():
      run.save_learner(run.path / BACKBONE, self.backbone)

  def open(self, splits: CaptionSplits, run: RunFolder) -> grid_features.GridFeatures:
    """Opens the features of all images, from files or computed when they are used.

    A backbone that learns takes the images themselves, in 0..255, in place of features.

    Raises:
      ValueError: see `grid_features.open_features`.
    """
    if self.config.keep_features:
      return self._open_files(splits, self._path(run))
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
    """Reads images for a picture, float `[k, S, S, 3]` in 0..1."""
    return grid_features.read_images(names, iter(files), self.image_side)[0] / 255.0

  def _path(self, run: RunFolder) -> str | pathlib.Path:
    return self.config.features or run.path / FEATURES

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
