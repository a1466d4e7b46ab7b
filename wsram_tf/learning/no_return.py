"""Takes the probability from the cells that a sequence has looked at."""

import numpy as np
import tensorflow as tf

__all__ = ["earlier_cells", "exclude_cells", "neighbourhoods", "restrict"]

# Added to a logit. Finite, so that no product with a probability of 0 is NaN.
_EXCLUDED = -1e9


def exclude_cells(parameters: tf.Tensor, cells: tf.Tensor) -> tf.Tensor:
  """Gives cells the probability 0; the others keep their ratios.

  Args:
    parameters: float `[R, P]`, the first of them logits of cells.
    cells: int32 `[R, T]`, numbers of cells; a negative number excludes none.

  Returns:
    float `[R, P]`. The gradient passes to `parameters` unchanged.

  Example:

  >>> logits = exclude_cells(tf.zeros([1, 3]), tf.constant([[1, -1]]))
  >>> tf.nn.softmax(logits).numpy().tolist()
  [[0.5, 0.0, 0.5]]
  """
  count = cells.shape[-1]
  if not count:
    return parameters
  rows = tf.repeat(tf.range(tf.shape(cells)[0]), count)
  cells = tf.reshape(cells, [-1])
  # Few numbers change, so a scatter costs less than a mask of all cells.
  places = tf.stack([rows, tf.maximum(cells, 0)], axis=-1)
  added = tf.where(cells < 0, tf.zeros([], parameters.dtype), _EXCLUDED)
  return tf.tensor_scatter_nd_add(parameters, places, added)


def earlier_cells(cells: tf.Tensor) -> tf.Tensor:
  """Lists the cells of the glimpses before each glimpse.

  Args:
    cells: int32 `[..., N]`, numbers of cells.

  Returns:
    int32 `[..., N, N]`: for each glimpse the cells of those before it, and -1 in other places.

  Example:

  >>> earlier_cells(tf.constant([7, 5, 6])).numpy().tolist()
  [[-1, -1, -1], [7, -1, -1], [7, 5, -1]]
  """
  is_earlier = np.tri(cells.shape[-1], k=-1, dtype=bool)
  return tf.where(is_earlier, cells[..., tf.newaxis, :], -1)


def neighbourhoods(cells: tf.Tensor, side: int, radius: int) -> tf.Tensor:
  """Lists the cells around each cell of a grid, and the cell itself.

  Args:
    cells: int32 `[R, T]`, numbers of cells, row by row; a negative number stands for none.
    side: rows and columns of the grid.
    radius: how many cells around, in each direction.

  Returns:
    int32 `[R, T * (2 * radius + 1)**2]`, with -1 for none and beyond the grid.

  Example:

  >>> neighbourhoods(tf.constant([[0]]), side=3, radius=1).numpy().tolist()
  [[-1, -1, -1, -1, 0, 1, -1, 3, 4]]
  """
  steps = np.arange(-radius, radius + 1, dtype=np.int32)
  rows = (cells // side)[..., tf.newaxis, tf.newaxis] + steps[:, np.newaxis]
  columns = (cells % side)[..., tf.newaxis, tf.newaxis] + steps
  inside = (rows >= 0) & (rows < side) & (columns >= 0) & (columns < side)
  found = tf.where(inside & (cells >= 0)[..., tf.newaxis, tf.newaxis], rows * side + columns, -1)
  return tf.reshape(found, [-1, cells.shape[1] * steps.size**2])


def restrict(proposed: tf.Tensor, prior: tf.Tensor) -> tf.Tensor:
  """Gives the probability 0 to the cells that the prior's parameters exclude.

  Args:
    proposed: float `[..., P]`, parameters of the proposal.
    prior: float `[..., P]`, those of the prior, as `exclude_cells` returned them.

  Returns:
    float `[..., P]`. No gradient passes to the prior.

  Example:

  >>> prior = exclude_cells(tf.zeros([1, 3]), tf.constant([[1]]))
  >>> tf.nn.softmax(restrict(tf.zeros([1, 3]), prior)).numpy().tolist()
  [[0.5, 0.0, 0.5]]
  """
  return tf.where(prior < 0.5 * _EXCLUDED, tf.constant(_EXCLUDED, proposed.dtype), proposed)
