"""Families of distributions over locations, each a thin cover of TensorFlow Probability.

A family turns a vector of parameters, which a layer emits, into a distribution over (row, column).
Keras layers exchange tensors only, so the distribution is made inside each method. Sampling is by
the inverse of the distribution function: the same uniform numbers give the same locations eagerly,
in a graph, compiled and in a server.
"""

import math
from typing import Protocol

import tensorflow as tf
import tensorflow_probability as tfp

__all__ = ["GridLocations", "LocationDistribution", "NormalLocations"]

tfd = tfp.distributions

# No learned scale falls below it, where the density of one sample would rule all weights.
SMALLEST_SCALE = 0.02


class LocationDistribution(Protocol):
  """What a family offers. P is the number of parameters; results keep the leading axes `...`."""

  num_parameters: int

  def log_prob(self, parameters: tf.Tensor, locations: tf.Tensor) -> tf.Tensor:
    """Log-density or log-probability, float `[...]`, nats, of float `[..., 2]`."""

  def mode(self, parameters: tf.Tensor) -> tf.Tensor:
    """The likeliest location, float `[..., 2]`."""

  def sample(self, parameters: tf.Tensor, uniforms: tf.Tensor) -> tf.Tensor:
    """The location, float `[..., 2]`, that uniform numbers `[..., 2]` in (0, 1) stand for."""

  def entropy(self, parameters: tf.Tensor) -> tf.Tensor:
    """Entropy, float `[...]`, nats."""


class NormalLocations:
  """A normal distribution around a squashed mean, independent in row and column.

  Samples may leave the square [-1, 1]; the glimpse sensor clips them, the density does not.

  Args:
    scale: standard deviation; with a learned scale, its value where the parameter is 0.
    learned_scale: whether the scale is a parameter too, one for each coordinate.
  """

  def __init__(self, scale: float, learned_scale: bool = False):
    if not 0 < scale < math.inf:
      raise ValueError(f"scale={scale}: must be above 0")
    if learned_scale and scale <= SMALLEST_SCALE:
      raise ValueError(f"scale={scale}: must be above {SMALLEST_SCALE} where it is learned")
    self.scale = scale
    self.learned_scale = learned_scale
    self.num_parameters = 4 if learned_scale else 2

  def _normal(self, parameters: tf.Tensor) -> tfd.Normal:
    loc = tf.tanh(parameters[..., :2])
    if not self.learned_scale:
      return tfd.Normal(loc, tf.constant(self.scale, parameters.dtype))
    start = math.log(math.expm1(self.scale - SMALLEST_SCALE))
    return tfd.Normal(loc, SMALLEST_SCALE + tf.nn.softplus(parameters[..., 2:] + start))

  def log_prob(self, parameters: tf.Tensor, locations: tf.Tensor) -> tf.Tensor:
    """See `LocationDistribution`."""
    return tfd.Independent(self._normal(parameters), 1).log_prob(locations)

  def mode(self, parameters: tf.Tensor) -> tf.Tensor:
    """See `LocationDistribution`."""
    return self._normal(parameters).mode()

  def sample(self, parameters: tf.Tensor, uniforms: tf.Tensor) -> tf.Tensor:
    """See `LocationDistribution`."""
    return self._normal(parameters).quantile(uniforms)

  def entropy(self, parameters: tf.Tensor) -> tf.Tensor:
    """See `LocationDistribution`."""
    normal = self._normal(parameters)
    return tf.reduce_sum(tf.broadcast_to(normal.entropy(), tf.shape(normal.loc)), axis=-1)


class GridLocations:
  """A categorical distribution over the centres of a grid's cells, numbered row by row.

  Args:
    rows: cells from top to bottom.
    columns: cells from left to right.
  """

  def __init__(self, rows: int, columns: int):
    if rows < 1 or columns < 1:
      raise ValueError(f"rows={rows}, columns={columns}: both must be at least 1")
    self.rows = rows
    self.columns = columns
    self.num_parameters = rows * columns

  def centres(self, cells: tf.Tensor, dtype: tf.DType = tf.float32) -> tf.Tensor:
    """Locations `[..., 2]` of the cells' centres, from their numbers, int `[...]`."""
    row = tf.cast(cells // self.columns, dtype)
    column = tf.cast(cells % self.columns, dtype)
    return tf.stack(
      [(2.0 * row + 1.0) / self.rows - 1.0, (2.0 * column + 1.0) / self.columns - 1.0], axis=-1
    )

  def cells(self, locations: tf.Tensor) -> tf.Tensor:
    """Numbers, int32 `[...]`, of the cells that hold the locations `[..., 2]`."""
    size = tf.constant([self.rows, self.columns], locations.dtype)
    index = tf.cast(tf.floor((locations + 1.0) * 0.5 * size), tf.int32)
    index = tf.clip_by_value(index, 0, tf.constant([self.rows - 1, self.columns - 1]))
    return index[..., 0] * self.columns + index[..., 1]

  def log_prob(self, parameters: tf.Tensor, locations: tf.Tensor) -> tf.Tensor:
    """See `LocationDistribution`."""
    return tfd.Categorical(logits=parameters).log_prob(self.cells(locations))

  def mode(self, parameters: tf.Tensor) -> tf.Tensor:
    """See `LocationDistribution`."""
    return self.centres(tfd.Categorical(logits=parameters).mode(), parameters.dtype)

  def sample(self, parameters: tf.Tensor, uniforms: tf.Tensor) -> tf.Tensor:
    """See `LocationDistribution`. The first of each pair of numbers is used."""
    below = tf.cumsum(tfd.Categorical(logits=parameters).probs_parameter(), axis=-1)
    below /= below[
      ..., -1:
    ]  # Else rounding leaves a gap at the end, where no cell may be possible.
    cells = tf.reduce_sum(tf.cast(below <= uniforms[..., :1], tf.int32), axis=-1)
    return self.centres(tf.minimum(cells, self.num_parameters - 1), parameters.dtype)

  def entropy(self, parameters: tf.Tensor) -> tf.Tensor:
    """See `LocationDistribution`."""
    return tfd.Categorical(logits=parameters).entropy()
