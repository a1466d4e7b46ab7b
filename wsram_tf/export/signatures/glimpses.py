"""The signatures that take glimpses of images that only their client has: `begin` and `look`."""

from collections.abc import Callable, Mapping

import numpy as np
import tensorflow as tf

from wsram_tf.classification.prediction_network import PredictionNetwork
from wsram_tf.classification.views import View
from wsram_tf.export.inputs import (
  checked,
  checked_array,
  finite_rule,
  row_rule,
  same_rows_rule,
  shaped,
)
from wsram_tf.export.lent_weights import LentWeights
from wsram_tf.layers import CoreState
from wsram_tf.locations import action_size
from wsram_tf.serving.looking import COUNT_AT, PLACE_AT, SCALE_AT

__all__ = ["glimpse_functions"]

# Functions to export, with the specs of their inputs, by name.
_Functions = dict[str, tuple[Callable[..., Mapping[str, tf.Tensor]], list[tf.TensorSpec]]]


def glimpse_functions(
  network: PredictionNetwork,
  weights: LentWeights,
  answer: Callable[[tf.Tensor], dict[str, tf.Tensor]],
) -> _Functions:
  """Makes `begin` and `look`, which take glimpses of images that only their client has.

  The state between two calls, float32 `[B, D]`, is the number of glimpses taken, the place of the
  next one, with `no_return` the cells of those taken, and the states of both recurrent layers. It
  leaves out the keys of a `keyed_grid`: they are larger than the low-resolution copy that they come
  from, so `look` takes the copy again.

  Args:
    network: gives the shapes and the glimpses, at its prior's mode.
    weights: of the network.
    answer: makes the outputs about the class from log-probabilities `[B, K]`.
  """
  config, distribution = network.config, network.location_distribution
  glimpse, size = config.glimpse, action_size(distribution)
  copy_shape = [config.context_side, config.context_side, config.channels]
  patches_shape = [glimpse.patches, glimpse.glimpse_side, glimpse.glimpse_side, config.channels]
  no_return = config.location.no_return
  part_sizes = [1, size, config.num_glimpses if no_return else 0, *network.core.state_size]
  state_shape = [sum(part_sizes)]
  copy_spec = tf.TensorSpec([None, *copy_shape], tf.float32, "low_resolution")
  state_spec = tf.TensorSpec([None, *state_shape], tf.float32, "state")
  patches_spec = tf.TensorSpec([None, *patches_shape], tf.float32, "patches")

  def next_state(count, cells, core, view):
    taken = tf.cast(tf.round(cells), tf.int32) if no_return else None
    action = distribution.mode(network.prior(view, core.upper[0], taken))
    # The contract does not depend on the network's precision.
    parts = [tf.cast(part, tf.float32) for part in (count, action, cells, *core.lower, *core.upper)]
    return tf.concat(parts, axis=-1)

  def with_cell(cells, count, action):
    if not no_return:
      return cells
    # A client that changes its state gets another answer, but no error of a kernel.
    cells = tf.clip_by_value(cells, -1.0, config.context_side**2 - 1.0)
    cell = tf.cast(network.cells(action), tf.float32)[:, tf.newaxis]
    return tf.where(tf.range(config.num_glimpses, dtype=tf.float32) == count, cell, cells)

  def place(state):
    scale = {"scale": tf.cast(state[:, SCALE_AT], tf.int64)} if size > 2 else {}
    left = config.num_glimpses - tf.cast(state[:, COUNT_AT], tf.int64)
    return {"glimpses_left": left, "location": state[:, PLACE_AT : PLACE_AT + 2], **scale}

  def begin(low_resolution):
    low_resolution = checked_array(low_resolution, copy_shape, "low_resolution")
    rows = tf.shape(low_resolution)[0]
    low_resolution = _some_rows(low_resolution, rows)

    def start():
      context = network.context_network(low_resolution)
      view = View(None, context, *network.cells_and_keys(low_resolution))
      count = tf.zeros([tf.maximum(rows, 1), 1])
      cells = tf.fill([tf.maximum(rows, 1), part_sizes[2]], -1.0)
      return next_state(count, cells, network.begin(view), view)

    state = weights.call(start)[:rows]
    return {"state": state, **place(state)}

  def look_with_copy(state, patches, low_resolution):
    state, patches = shaped(state, state_shape), shaped(patches, patches_shape)
    copies = [] if low_resolution is None else [shaped(low_resolution, copy_shape)]
    rules = [finite_rule(state, "state"), *_state_rules(state, network)]
    named = [(patches, "patches"), *((copy, "low_resolution") for copy in copies)]
    for array, name in named:
      rules += [finite_rule(array, name), same_rows_rule(array, name, state, "state")]
    state, patches, *copies = checked(rules, state, patches, *copies)
    rows = tf.shape(state)[0]
    state, patches, *copies = (_some_rows(array, rows) for array in (state, patches, *copies))

    def step():
      count, action, taken, *parts = tf.split(state, part_sizes, axis=-1)
      half = len(parts) // 2
      core = network.step(CoreState(parts[:half], parts[half:]), action, patches)
      cells = network.cells_and_keys(*copies) if copies else (None, None)
      log_probs = network.classifier(core.lower[0])
      taken = with_cell(taken, count, action)
      return next_state(count + 1.0, taken, core, View(None, [], *cells)), log_probs

    following, log_probs = weights.call(step)
    following = following[:rows]
    return {"state": following, **place(following), **answer(log_probs[:rows])}

  def look(state, patches):
    return look_with_copy(state, patches, None)

  looking = (look, [state_spec, patches_spec])
  if network.cell_network:
    looking = (look_with_copy, [state_spec, patches_spec, copy_spec])
  return {"begin": (begin, [copy_spec]), "look": looking}


def _some_rows(array, rows):
  """Adds a row of zeros to an input without rows, for which some kernels of a server fail.

  `tf.cond` would pass each weight through two more operations, which take time for a single row.
  """
  missing = tf.cast(tf.equal(rows, 0), tf.int32)
  first_axis = np.zeros([array.shape.rank, 2], np.int32)
  first_axis[0, 1] = 1
  return tf.ensure_shape(tf.pad(array, first_axis * missing), array.shape)


def _state_rules(state, network):
  """Makes the rules that a call answered the state and that a glimpse may follow."""
  glimpses, scales = network.config.num_glimpses, network.config.glimpse.glimpse_scales
  parts = [(COUNT_AT, glimpses, f"the number of glimpses taken, value {COUNT_AT} of a row")]
  if network.config.glimpse.chooses_scale:
    parts.append((SCALE_AT, scales, f"the scale, value {SCALE_AT} of a row"))
  for at, end, what in parts:
    values = state[:, at]
    is_right = (values >= 0.0) & (values < float(end)) & (values == tf.floor(values))
    message = f"state: {what}, must be a whole number from 0 to {end - 1}; rows and values are:"
    yield row_rule(is_right, message, values)
