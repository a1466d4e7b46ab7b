"""The grid network: turns an image or a grid of features into one feature vector per cell."""

from collections.abc import Sequence
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

__all__ = [
  "Grid",
  "GridNetwork",
  "PackedGrids",
  "flip_grids",
  "mix_cells",
  "read_cells",
  "unpack_grids",
]


class Grid(NamedTuple):
  """Feature grids of a batch of images.

  Attributes:
    features: float `[B, L, D]`, one feature vector per cell, layer by layer and row by row.
    rows: float `[B * L, D]`, the same vectors, image after image; glimpses read from these.
    keys: float `[B, L, K]`, keys of the cells for the prior.
    context: list of floats `[B, D]`, the upper layer's first state.
  """

  features: tf.Tensor
  rows: tf.Tensor
  keys: tf.Tensor
  context: list[tf.Tensor]


def read_cells(rows: tf.Tensor, chosen: tf.Tensor, cells: int) -> tf.Tensor:
  """Reads one cell per glimpse.

  Args:
    rows: float `[B * L, F]`, of all cells of B images.
    chosen: int32 `[B * M]`, the number of a cell of the image; the glimpses of an image are
      consecutive.
    cells: L.

  Returns:
    float `[B * M, F]`.
  """
  images = tf.shape(rows)[0] // cells
  samples = tf.shape(chosen)[0] // tf.maximum(images, 1)
  # All words gather from one tensor, so its gradient is accumulated only once.
  return tf.gather(rows, tf.repeat(cells * tf.range(images), samples) + chosen)


def mix_cells(rows: tf.Tensor, shares: tf.Tensor) -> tf.Tensor:
  """Reads the weighted mean of all cells of an image per row.

  Args:
    rows: float `[B * L, F]`, of all cells of B images.
    shares: float `[B * M, L]`, the weights; the rows of an image are consecutive.

  Returns:
    float `[B * M, F]`.
  """
  cells, width = shares.shape[-1], rows.shape[-1]
  images = tf.reshape(rows, [-1, cells, width])
  samples = tf.shape(shares)[0] // tf.maximum(tf.shape(images)[0], 1)
  shares = tf.reshape(tf.cast(shares, rows.dtype), tf.stack([tf.shape(images)[0], samples, cells]))
  return tf.reshape(tf.matmul(shares, images), [-1, width])


@keras.saving.register_keras_serializable("wsram_tf")
class GridNetwork(keras.layers.Layer):
  """Makes the feature grid, what(image) + where(cell). A glimpse is one cell of the grid.

  Args:
    units: D, length of a cell's feature vector.
    filters: filters of each 3 x 3 convolution, each followed by 2 x 2 max pooling; empty if the
      input is already a grid.
    reach: side of the last convolution's kernel, cells.
    places: form of where(cell): "own", a vector for each cell, or "smooth", a linear map of row,
      column (-1 to 1) and their squares, with which no cell differs sharply from its neighbours.

  Call arguments:
    images: float `[B, H, W, C]`.

  Returns:
    float `[B, rows, columns, D]`.

  Raises:
    ValueError: if `places` is neither "own" nor "smooth".

  Source: K. Xu et al., Show, Attend and Tell, ICML 2015, the encoder, arXiv 1502.03044. where(cell)
    is an addition: words for spatial relations need the places of the cells.

  Example:

  >>> tuple(GridNetwork(units=16, filters=(8, 8))(tf.zeros([2, 32, 48, 1])).shape)
  (2, 8, 12, 16)
  """

  def __init__(
    self,
    units: int,
    filters: tuple[int, ...] = (),
    reach: int = 1,
    places: str = "own",
    **kwargs,
  ):
    super().__init__(**kwargs)
    if places not in ("own", "smooth"):
      raise ValueError(f"places={places!r}: must be one of own, smooth")
    self.places = places
    self.units = units
    self.filters = tuple(filters)
    self.reach = reach
    # Layer normalisation, because thin strokes on black give features too weak to learn from.
    arguments = {"padding": "same", "kernel_initializer": "he_normal"}
    self.convolutions = [
      keras.layers.Conv2D(count, 3, name=f"convolution_{i}", **arguments)
      for i, count in enumerate(self.filters)
    ]
    self.pooling = keras.layers.MaxPooling2D(2)
    self.what = keras.layers.Conv2D(units, reach, name="what", **arguments)
    self.normalizations = [
      keras.layers.LayerNormalization(name=f"normalization_{i}")
      for i in range(len(self.filters) + 1)
    ]

  def build(self, images_shape):
    """Creates the weights for images of this static shape."""
    shape = tuple(images_shape)
    for convolution, normalization in zip(self.convolutions, self.normalizations, strict=False):
      convolution.build(shape)
      shape = self.pooling.compute_output_shape(convolution.compute_output_shape(shape))
      normalization.build(shape)
    self.what.build(shape)
    self.normalizations[-1].build((*shape[:-1], self.units))
    is_own = self.places == "own"
    self.where = self.add_weight(
      shape=(*(shape[1:3] if is_own else (4,)), self.units),
      initializer=keras.initializers.RandomNormal(stddev=0.1 if is_own else 0.3),
      name="where",
    )

  def call(self, images: tf.Tensor) -> tf.Tensor:
    """Makes one grid per image; see the class."""
    features = images
    for convolution, normalization in zip(self.convolutions, self.normalizations, strict=False):
      features = tf.nn.relu(normalization(self.pooling(convolution(features))))
    what = tf.nn.relu(self.normalizations[-1](self.what(features)))
    where = tf.convert_to_tensor(self.where)
    if self.places == "smooth":
      where = tf.tensordot(tf.constant(coordinates(*what.shape[1:3]), where.dtype), where, 1)
    return what + where

  def get_config(self):
    """Returns the constructor's arguments."""
    return {
      **super().get_config(),
      "units": self.units,
      "filters": self.filters,
      "reach": self.reach,
      "places": self.places,
    }


def coordinates(rows: int, columns: int) -> np.ndarray:
  """Computes row and column of each cell, from -1 to 1, and their squares: `[rows, columns, 4]`."""
  ranges = (np.linspace(-1.0, 1.0, count) for count in (rows, columns))
  places = np.stack(np.meshgrid(*ranges, indexing="ij"), axis=-1)
  return np.concatenate([places, places**2], axis=-1)


@keras.saving.register_keras_serializable("wsram_tf")
class PackedGrids(keras.layers.Layer):
  """Packs grids of several layers of a backbone into one tensor, as features are kept.

  Args:
    names: names of the layers, separated by commas; two backbones that pack other layers differ.

  Call arguments:
    grids: list of floats `[B, H, W, C]`, each with its own H, W and C.

  Returns:
    float `[B, 1, 1, F]`, where F is the sum of all H * W * C.

  Example:

  >>> tuple(PackedGrids()([tf.zeros([2, 4, 4, 3]), tf.zeros([2, 2, 2, 8])]).shape)
  (2, 1, 1, 80)
  """

  def __init__(self, names: str = "", **kwargs):
    super().__init__(**kwargs)
    self.names = names

  def build(self, grids_shape):
    """Records the shapes of the grids."""
    self.shapes = tuple(tuple(shape[1:]) for shape in grids_shape)

  def call(self, grids: Sequence[tf.Tensor]) -> tf.Tensor:
    """Packs the grids of a batch; see the class."""
    flat = [tf.reshape(grid, [-1, 1, 1, int(np.prod(grid.shape[1:]))]) for grid in grids]
    return tf.concat(flat, axis=-1)

  def compute_output_shape(self, grids_shape):
    """Returns (B, 1, 1, F)."""
    return grids_shape[0][0], 1, 1, sum(int(np.prod(shape[1:])) for shape in grids_shape)

  def get_config(self):
    """Returns the constructor's arguments."""
    return {**super().get_config(), "names": self.names}


def unpack_grids(packed: tf.Tensor, shapes: Sequence[tuple[int, int, int]]) -> list[tf.Tensor]:
  """Reverses `PackedGrids`: returns a float `[B, H, W, C]` for each shape (H, W, C)."""
  sizes = [height * width * channels for height, width, channels in shapes]
  parts = tf.split(packed, sizes, axis=-1)
  return [tf.reshape(part, [-1, *shape]) for part, shape in zip(parts, shapes, strict=True)]


def flip_grids(grids: tf.Tensor, shapes: Sequence[tuple[int, int, int]] = ()) -> tf.Tensor:
  """Mirrors grids left to right.

  Args:
    grids: float `[B, H, W, C]`, of one layer, or packed by `PackedGrids`.
    shapes: (H, W, C) of each packed grid; empty for one layer.

  Returns:
    float of the shape of `grids`.

  Example:

  >>> grids = tf.constant([1.0, 2.0, 3.0, 4.0, 5.0, 6.0])[tf.newaxis, tf.newaxis, tf.newaxis]
  >>> flip_grids(grids, [(1, 2, 2), (1, 2, 1)]).numpy().ravel().tolist()
  [3.0, 4.0, 1.0, 2.0, 6.0, 5.0]
  """
  if not shapes:
    return tf.reverse(grids, [2])
  return PackedGrids()([tf.reverse(grid, [2]) for grid in unpack_grids(grids, shapes)])
