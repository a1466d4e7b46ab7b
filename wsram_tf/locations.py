"""Families of distributions over locations and scales, on top of TensorFlow Probability.

A family maps a vector of parameters, the output of a layer, to a distribution over actions. An
action is a location, (row, column), or a location and a scale, (row, column, scale). A
temperature other than 1 raises the density to 1 / temperature and normalises it; a higher
temperature widens the distribution. Keras layers exchange tensors only, so each method makes its
distribution object. Samples come from the inverse distribution function: equal uniform numbers give
equal locations eagerly, in a graph, compiled and in a server.
"""

import math
from collections.abc import Sequence
from typing import Protocol

import tensorflow as tf
import tensorflow_probability as tfp

from wsram_tf import numerics

__all__ = [
  "GridLocations",
  "LayeredGridLocations",
  "LocationDistribution",
  "NormalLocations",
  "ScaledLocations",
  "action_size",
  "location_map",
  "locations_to_pixels",
]

tfd = tfp.distributions

# Lower bound of a learned scale. Below it the density of one sample would dominate all weights.
SMALLEST_SCALE = 0.02
# Cells along each side of the image, for the coverage of a normal distribution.
COVERAGE_CELLS = 8
# Cells along each side of the image, for the map of a distribution that is no grid.
MAP_CELLS = 32


class LocationDistribution(Protocol):
  """The interface of a family. P is the number of parameters; `...` are any leading axes.

  `ScaledLocations`, over locations and scales, and `LayeredGridLocations` have 3 in place of 2.
  """

  num_parameters: int

  def log_prob(
    self, parameters: tf.Tensor, locations: tf.Tensor, temperature: float | tf.Tensor = 1.0
  ) -> tf.Tensor:
    """Log-density or log-probability, float `[...]`, nats, of float `[..., 2]`."""

  def mode(self, parameters: tf.Tensor) -> tf.Tensor:
    """The likeliest location, float `[..., 2]`."""

  def sample(
    self, parameters: tf.Tensor, uniforms: tf.Tensor, temperature: float | tf.Tensor = 1.0
  ) -> tf.Tensor:
    """Locations, float `[..., 2]`, from uniform numbers `[..., 2]` in (0, 1)."""

  def entropy(self, parameters: tf.Tensor) -> tf.Tensor:
    """Entropy, float `[...]`, nats."""

  def cell_probabilities(self, parameters: tf.Tensor) -> tf.Tensor:
    """Probability of each cell of a grid over the image, float `[..., L]`."""


class NormalLocations:
  """A normal distribution around the tanh of a parameter, independent in row and column.

  Samples may leave the square [-1, 1]; the glimpse sensor clips them, the density does not.

  Args:
    scale: standard deviation; with a learned scale, its value where the parameter is 0.
    learned_scale: make the scale a parameter too, one for each coordinate.

  Example:

  >>> import tensorflow as tf
  >>> NormalLocations(scale=0.1).mode(tf.zeros([1, 2])).numpy().tolist()
  [[0.0, 0.0]]
  """

  def __init__(self, scale: float, learned_scale: bool = False):
    if not 0 < scale < math.inf:
      raise ValueError(f"scale={scale}: must be above 0 and finite")
    if learned_scale and scale <= SMALLEST_SCALE:
      raise ValueError(f"scale={scale}: must be above {SMALLEST_SCALE} with learned_scale")
    self.scale = scale
    self.learned_scale = learned_scale
    self.num_parameters = 4 if learned_scale else 2

  def _normal(self, parameters: tf.Tensor, temperature: float | tf.Tensor = 1.0) -> tfd.Normal:
    loc = tf.tanh(parameters[..., :2])
    if self.learned_scale:
      start = math.log(math.expm1(self.scale - SMALLEST_SCALE))
      scale = SMALLEST_SCALE + tf.nn.softplus(parameters[..., 2:] + start)
    else:
      scale = tf.constant(self.scale, parameters.dtype)
    return tfd.Normal(loc, scale * tf.sqrt(tf.cast(temperature, parameters.dtype)))

  def log_prob(
    self, parameters: tf.Tensor, locations: tf.Tensor, temperature: float | tf.Tensor = 1.0
  ) -> tf.Tensor:
    """See `LocationDistribution`."""
    return tfd.Independent(self._normal(parameters, temperature), 1).log_prob(locations)

  def mode(self, parameters: tf.Tensor) -> tf.Tensor:
    """See `LocationDistribution`."""
    return self._normal(parameters).mode()

  def sample(
    self, parameters: tf.Tensor, uniforms: tf.Tensor, temperature: float | tf.Tensor = 1.0
  ) -> tf.Tensor:
    """See `LocationDistribution`."""
    return self._normal(parameters, temperature).quantile(uniforms)

  def entropy(self, parameters: tf.Tensor) -> tf.Tensor:
    """See `LocationDistribution`."""
    normal = self._normal(parameters)
    return tf.reduce_sum(tf.broadcast_to(normal.entropy(), tf.shape(normal.loc)), axis=-1)

  def cell_probabilities(self, parameters: tf.Tensor) -> tf.Tensor:
    """See `LocationDistribution`; mass outside the image counts for the nearest cell."""
    normal = self._normal(parameters[..., tf.newaxis, :])
    edges = tf.linspace(tf.constant(-1.0, parameters.dtype), 1.0, COVERAGE_CELLS + 1)[1:-1]
    below = normal.cdf(edges[:, tf.newaxis])  # [..., cells - 1, 2]
    zeros = tf.zeros_like(below[..., :1, :])
    upper, lower = tf.concat([below, zeros + 1.0], -2), tf.concat([zeros, below], -2)
    rows, columns = tf.unstack(upper - lower, axis=-1)
    cells = rows[..., :, tf.newaxis] * columns[..., tf.newaxis, :]
    return tf.reshape(cells, tf.concat([tf.shape(cells)[:-2], [COVERAGE_CELLS**2]], axis=0))


def _categorical(logits: tf.Tensor, temperature: float | tf.Tensor = 1.0) -> tfd.Categorical:
  return tfd.Categorical(logits=logits / tf.cast(temperature, logits.dtype))


def _sample_categorical(categorical: tfd.Categorical, uniforms: tf.Tensor) -> tf.Tensor:
  """Samples, int32 `[...]`, from uniform numbers `[...]` in (0, 1)."""
  return numerics.sample_categories(categorical.probs_parameter(), uniforms)


class GridLocations:
  """A categorical distribution over the centres of a grid's cells, numbered row by row.

  Args:
    rows: cells from top to bottom.
    columns: cells from left to right.

  Example:

  >>> import tensorflow as tf
  >>> GridLocations(rows=1, columns=2).centres(tf.constant([0, 1])).numpy().tolist()
  [[0.0, -0.5], [0.0, 0.5]]
  """

  def __init__(self, rows: int, columns: int):
    if rows < 1 or columns < 1:
      raise ValueError(f"rows={rows}, columns={columns}: must both be at least 1")
    self.rows = rows
    self.columns = columns
    self.num_parameters = rows * columns

  def centres(self, cells: tf.Tensor, dtype: tf.DType = tf.float32) -> tf.Tensor:
    """Centres of cells, float `[..., 2]`, from their numbers, int `[...]`."""
    row = tf.cast(cells // self.columns, dtype)
    column = tf.cast(cells % self.columns, dtype)
    return tf.stack(
      [(2.0 * row + 1.0) / self.rows - 1.0, (2.0 * column + 1.0) / self.columns - 1.0], axis=-1
    )

  def cells(self, locations: tf.Tensor) -> tf.Tensor:
    """Numbers, int32 `[...]`, of the cells that contain locations `[..., 2]`."""
    size = tf.constant([self.rows, self.columns], locations.dtype)
    index = tf.cast(tf.floor((locations + 1.0) * 0.5 * size), tf.int32)
    index = tf.clip_by_value(index, 0, tf.constant([self.rows - 1, self.columns - 1]))
    return index[..., 0] * self.columns + index[..., 1]

  def log_prob(
    self, parameters: tf.Tensor, locations: tf.Tensor, temperature: float | tf.Tensor = 1.0
  ) -> tf.Tensor:
    """See `LocationDistribution`."""
    return _categorical(parameters, temperature).log_prob(self.cells(locations))

  def mode(self, parameters: tf.Tensor) -> tf.Tensor:
    """See `LocationDistribution`."""
    return self.centres(_categorical(parameters).mode(), parameters.dtype)

  def sample(
    self, parameters: tf.Tensor, uniforms: tf.Tensor, temperature: float | tf.Tensor = 1.0
  ) -> tf.Tensor:
    """See `LocationDistribution`. Only the first of each pair of numbers counts."""
    cells = _sample_categorical(_categorical(parameters, temperature), uniforms[..., 0])
    return self.centres(cells, parameters.dtype)

  def entropy(self, parameters: tf.Tensor) -> tf.Tensor:
    """See `LocationDistribution`."""
    return _categorical(parameters).entropy()

  def cell_probabilities(self, parameters: tf.Tensor) -> tf.Tensor:
    """See `LocationDistribution`; the cells are those of the grid."""
    return _categorical(parameters).probs_parameter()


class LayeredGridLocations(GridLocations):
  """A categorical distribution over the cells of several grids over the same image.

  The cells are numbered grid by grid. An action is (row, column, layer), where the layer is the
  number of the grid, from 0.

  Args:
    shapes: rows and columns of each grid.

  Example:

  >>> import tensorflow as tf
  >>> family = LayeredGridLocations([(2, 2), (1, 1)])
  >>> family.centres(tf.constant([1, 4])).numpy().tolist()
  [[-0.5, 0.5, 0.0], [0.0, 0.0, 1.0]]
  """

  action_size = 3

  def __init__(self, shapes: Sequence[tuple[int, int]]):
    if not shapes:
      raise ValueError(f"shapes={shapes}: must hold at least one grid")
    self.grids = [GridLocations(rows, columns) for rows, columns in shapes]
    counts = [grid.num_parameters for grid in self.grids]
    self.firsts = [sum(counts[:layer]) for layer in range(len(counts))]
    self.num_parameters = sum(counts)

  def centres(self, cells: tf.Tensor, dtype: tf.DType = tf.float32) -> tf.Tensor:
    """Actions at the centres of cells, float `[..., 3]`, from their numbers, int `[...]`."""
    passed = cells[..., tf.newaxis] >= tf.constant(self.firsts, cells.dtype)
    layers = tf.reduce_sum(tf.cast(passed, cells.dtype), axis=-1) - 1
    found = tf.zeros([], dtype)
    for layer, (grid, first) in enumerate(zip(self.grids, self.firsts, strict=True)):
      here = tf.cast(layers == layer, dtype)[..., tf.newaxis]
      found += here * grid.centres(tf.maximum(cells - first, 0), dtype)
    return _joined(found, layers)

  def cells(self, locations: tf.Tensor) -> tf.Tensor:
    """Numbers, int32 `[...]`, of the cells that contain actions `[..., 3]`."""
    layers = tf.cast(locations[..., 2], tf.int32)
    found = tf.zeros_like(layers)
    for layer, (grid, first) in enumerate(zip(self.grids, self.firsts, strict=True)):
      found += tf.where(layers == layer, first + grid.cells(locations[..., :2]), 0)
    return found


class ScaledLocations:
  """A family over locations and, independent of them, a categorical distribution over scales.

  The parameters are those of the location, then one logit a scale. An action is (row, column,
  scale), where the scale is a whole number from 0 to S - 1.

  Args:
    locations: the family of the locations.
    num_scales: S.

  Source: J. Ba, R. Grosse, R. Salakhutdinov, B. Frey, Learning Wake-Sleep Recurrent Attention
    Models, NIPS 2015, the actions of the prediction network, arXiv 1509.06812.

  Example:

  >>> import tensorflow as tf
  >>> family = ScaledLocations(NormalLocations(scale=0.1), num_scales=3)
  >>> family.mode(tf.constant([0.0, 0.0, -1.0, -2.0, 5.0])).numpy().tolist()
  [0.0, 0.0, 2.0]
  """

  action_size = 3

  def __init__(self, locations: LocationDistribution, num_scales: int):
    if num_scales < 1:
      raise ValueError(f"num_scales={num_scales}: must be at least 1")
    self.locations = locations
    self.num_scales = num_scales
    self.num_parameters = locations.num_parameters + num_scales

  def _split(self, parameters: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    count = self.locations.num_parameters
    return parameters[..., :count], parameters[..., count:]

  def log_prob(
    self, parameters: tf.Tensor, locations: tf.Tensor, temperature: float | tf.Tensor = 1.0
  ) -> tf.Tensor:
    """See `LocationDistribution`: the sum of both log-densities, for actions `[..., 3]`."""
    of_location, of_scale = self._split(parameters)
    scales = tf.cast(locations[..., 2], tf.int32)
    return self.locations.log_prob(of_location, locations[..., :2], temperature) + _categorical(
      of_scale, temperature
    ).log_prob(scales)

  def mode(self, parameters: tf.Tensor) -> tf.Tensor:
    """See `LocationDistribution`: the mode of both, float `[..., 3]`."""
    of_location, of_scale = self._split(parameters)
    return _joined(self.locations.mode(of_location), _categorical(of_scale).mode())

  def sample(
    self, parameters: tf.Tensor, uniforms: tf.Tensor, temperature: float | tf.Tensor = 1.0
  ) -> tf.Tensor:
    """See `LocationDistribution`: actions `[..., 3]`; the third number determines the scale."""
    of_location, of_scale = self._split(parameters)
    location = self.locations.sample(of_location, uniforms[..., :2], temperature)
    scales = _sample_categorical(_categorical(of_scale, temperature), uniforms[..., 2])
    return _joined(location, scales)

  def entropy(self, parameters: tf.Tensor) -> tf.Tensor:
    """See `LocationDistribution`: the sum of both entropies."""
    of_location, of_scale = self._split(parameters)
    return self.locations.entropy(of_location) + _categorical(of_scale).entropy()

  def cell_probabilities(self, parameters: tf.Tensor) -> tf.Tensor:
    """See `LocationDistribution`; a cell is a cell of the locations at one scale."""
    of_location, of_scale = self._split(parameters)
    cells = self.locations.cell_probabilities(of_location)[..., tf.newaxis]
    both = cells * _categorical(of_scale).probs_parameter()[..., tf.newaxis, :]
    return tf.reshape(both, tf.concat([tf.shape(both)[:-2], [both.shape[-2] * both.shape[-1]]], 0))


def _joined(locations: tf.Tensor, scales: tf.Tensor) -> tf.Tensor:
  return tf.concat([locations, tf.cast(scales, locations.dtype)[..., tf.newaxis]], axis=-1)


def action_size(distribution: LocationDistribution) -> int:
  """Numbers an action: 2 for a location, 3 for a location and a scale or a layer.

  Example:

  >>> action_size(GridLocations(rows=2, columns=2))
  2
  """
  return getattr(distribution, "action_size", 2)  # Registered families need not name it.


def location_map(distribution: LocationDistribution, parameters: tf.Tensor) -> tf.Tensor:
  """Probabilities of the cells of a grid over the image, for pictures.

  The cells are those of a family of cells; another family has 32 x 32 cells, each with the density
  at its centre, normalised. Probabilities of a family with scales are summed over the scales.

  Args:
    distribution: the family.
    parameters: float `[..., P]`.

  Returns:
    float `[..., R, C]`, row by row; the sum over all cells is 1.

  Example:

  >>> location_map(GridLocations(rows=1, columns=2), tf.zeros([1, 2])).numpy().tolist()
  [[[0.5, 0.5]]]
  """
  family = getattr(distribution, "locations", distribution)
  parameters = parameters[..., : family.num_parameters]
  if isinstance(family, GridLocations):
    rows, columns = family.rows, family.columns
    probabilities = family.cell_probabilities(parameters)
  else:
    rows = columns = MAP_CELLS
    centres = GridLocations(rows, columns).centres(tf.range(rows * columns), parameters.dtype)
    density = family.log_prob(parameters[..., tf.newaxis, :], centres)
    probabilities = tf.nn.softmax(density)
  return tf.reshape(probabilities, tf.concat([tf.shape(parameters)[:-1], [rows, columns]], axis=0))


def locations_to_pixels(
  locations: tf.Tensor, height: int | tf.Tensor, width: int | tf.Tensor
) -> tf.Tensor:
  """Converts locations to pixel coordinates; no other code does.

  Pixel (i, j) covers the square from (i, j) to (i + 1, j + 1). Location -1 is the outer edge of the
  first pixel, 0 the middle of the canvas, 1 the outer edge of the last pixel. Locations outside
  [-1, 1] are clipped.

  Args:
    locations: float `[..., 2]`, (row, column).
    height: canvas height, pixels; an integer, or an integer scalar or `[...]` that is known in the
      graph only.
    width: canvas width, likewise.

  Returns:
    float `[..., 2]`, (row, column) in pixels, from (0, 0) to (height, width).

  Example:

  >>> import tensorflow as tf
  >>> locations_to_pixels(tf.constant([0.0, 1.0]), height=20, width=40).numpy().tolist()
  [10.0, 40.0]
  """
  if tf.is_tensor(height):
    size = tf.cast(tf.stack([height, width], axis=-1), locations.dtype)
  else:
    size = tf.constant([height, width], locations.dtype)
  return (tf.clip_by_value(locations, -1.0, 1.0) + 1.0) * 0.5 * size
