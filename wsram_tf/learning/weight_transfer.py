"""Weights, and all that training has made, from one learner to another."""

import keras

__all__ = ["copy_state", "copy_weights"]


def copy_weights(
  source: dict[str, list[keras.Variable]], target: dict[str, list[keras.Variable]]
) -> None:
  """Gives networks the weights of others of the same names; what only one side has stays.

  Args:
    source: weights by network.
    target: weights by network.

  Raises:
    ValueError: if a network's weights have other shapes; nothing is changed then.
  """
  both = [name for name in target if name in source]
  for name in both:
    own, given = ([tuple(w.shape) for w in weights[name]] for weights in (target, source))
    if own != given:
      first = next((pair for pair in zip(own, given, strict=False) if pair[0] != pair[1]), None)
      reason = f"{len(given)} weights, not {len(own)}"
      if first:
        reason = f"a weight of shape {first[1]} where {first[0]} is needed"
      raise ValueError(f"other: its {name} network must be of this one's form, and has {reason}")
  for name in both:
    for own, given in zip(target[name], source[name], strict=True):
      own.assign(given)


def copy_state(source: keras.Model, target: keras.Model) -> None:
  """Gives a compiled learner the weights and the optimizer's state of another of the same form."""
  for own, given in (
    (target.weights, source.weights),
    (target.optimizer.variables, source.optimizer.variables),
  ):
    for variable, value in zip(own, given, strict=True):
      variable.assign(value.numpy())
