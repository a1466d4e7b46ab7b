"""Copies weights and optimizer states from one learner to another."""

import keras

__all__ = ["copy_state", "copy_weights"]


def copy_weights(
  source: dict[str, list[keras.Variable]], target: dict[str, list[keras.Variable]]
) -> None:
  """Copies weights between networks of equal names; other networks stay unchanged.

  Args:
    source: weights by network.
    target: weights by network.

  Raises:
    ValueError: if a network's weights have other shapes; no weight has changed then.
  """
  both = [name for name in target if name in source]
  for name in both:
    own, given = ([tuple(w.shape) for w in weights[name]] for weights in (target, source))
    if own != given:
      first = next((pair for pair in zip(own, given, strict=False) if pair[0] != pair[1]), None)
      reason = f"{len(given)} weights instead of {len(own)}"
      if first:
        reason = f"a weight of shape {first[1]} instead of {first[0]}"
      raise ValueError(f"other: {name} network must have the same shapes, but has {reason}")
  for name in both:
    for own, given in zip(target[name], source[name], strict=True):
      own.assign(given)


def copy_state(source: keras.Model, target: keras.Model) -> None:
  """Copies weights and the optimizer's state to a compiled learner of equal shapes."""
  for own, given in (
    (target.weights, source.weights),
    (target.optimizer.variables, source.optimizer.variables),
  ):
    for variable, value in zip(own, given, strict=True):
      variable.assign(value.numpy())
