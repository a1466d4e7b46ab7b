"""Skips non-finite updates, reports which loss or gradient failed, and checks the weights."""

import math
from collections.abc import Iterable, Mapping, Sequence

import keras
import tensorflow as tf

__all__ = [
  "ON_NAN",
  "NonFiniteUpdateError",
  "NonFiniteWeightsError",
  "UpdateGuard",
  "WatchUpdates",
  "check_weights",
  "non_finite",
]

# The reactions to a non-finite update: end the training, or go on with the next update.
ON_NAN = ("stop", "skip")


class NonFiniteUpdateError(ArithmeticError):
  """A loss or a gradient is NaN or infinite; the weights are those before that update.

  Attributes:
    step: the number of updates before this one.
    terms: the value of each loss and of each gradient's norm.

  Example:

  >>> error = NonFiniteUpdateError(7, {"prediction_loss": float("nan"), "inference_loss": 1.5})
  >>> error.bad_terms
  ['prediction_loss']
  """

  def __init__(self, step: int, terms: Mapping[str, float]):
    self.step = step
    self.terms = dict(terms)
    super().__init__(
      f"update {step}: {', '.join(f'{n} is {self.terms[n]}' for n in self.bad_terms)}; the weights "
      "are those before it"
    )

  @property
  def bad_terms(self) -> list[str]:
    """The terms that are not finite."""
    return [name for name, value in self.terms.items() if not math.isfinite(value)]


class NonFiniteWeightsError(ArithmeticError):
  """Weights are NaN or infinite although all losses and gradients were finite.

  The step of the optimizer made them so. A loss may stay finite with such weights, because on some
  devices a rectifier makes zero of NaN.

  Attributes:
    step: the number of updates made before the check.
    weights: paths of the weights.

  Example:

  >>> error = NonFiniteWeightsError(7, ["prediction_network/core/kernel"], "adafactor")
  >>> error.weights
  ['prediction_network/core/kernel']
  """

  def __init__(self, step: int, weights: Sequence[str], optimizer: str):
    self.step = step
    self.weights = list(weights)
    super().__init__(
      f"after update {step}: {', '.join(self.weights)}: NaN or infinite, while all losses and "
      f"gradients were finite; the optimizer, {optimizer}, made them so: give it other settings"
    )


def non_finite(variables: Iterable[keras.Variable]) -> list[str]:
  """Lists the paths of the variables of a floating-point type that hold NaN or infinity.

  Example:

  >>> non_finite([keras.Variable([1.0]), keras.Variable([1.0, float("inf")], name="kernel")])
  ['kernel']
  """
  return [
    variable.path
    for variable in variables
    if keras.backend.is_float_dtype(variable.dtype)
    and not bool(tf.reduce_all(tf.math.is_finite(tf.convert_to_tensor(variable))))
  ]


def check_weights(learner: keras.Model) -> None:
  """Checks that the trained weights of a compiled model are finite.

  Raises:
    NonFiniteWeightsError: if they are not.
  """
  wrong = non_finite(learner.trainable_variables)
  if wrong:
    optimizer = learner.optimizer
    raise NonFiniteWeightsError(int(optimizer.iterations), wrong, optimizer.name)


class UpdateGuard:
  """Decides which updates to apply, and records the first that it rejects.

  Its state consists of variables, because many updates run between returns to Python. The weights
  of the model do not include them.

  Args:
    networks: names of the networks; each has a loss and a gradient.

  Attributes:
    skipped: int64, updates rejected since `reset`.
  """

  def __init__(self, networks: Sequence[str]):
    self.names = [f"{n}_{what}" for what in ("loss", "gradient_norm") for n in networks]
    # Not int32: on a GPU it would lie in the host's memory, out of reach for compiled steps.
    self.skipped = tf.Variable(0, dtype=tf.int64, trainable=False)
    self._first_step = tf.Variable(-1, dtype=tf.int64, trainable=False)
    self._first_values = tf.Variable(tf.zeros([len(self.names)]), trainable=False)

  def admits(
    self,
    losses: Mapping[str, tf.Tensor],
    norms: Mapping[str, tf.Tensor],
    step: tf.Tensor,
    skip: bool,
    *,
    records: bool = True,
  ) -> tf.Tensor:
    """Returns whether to apply an update, bool, and records the first rejected one.

    Args:
      losses: float scalars, by network.
      norms: norms of the gradients, float scalars, by network. One NaN makes its norm NaN.
      step: int64, updates made before.
      skip: apply later updates after a rejected one; else reject all later updates.
      records: whether to record; False on further devices, which apply the same update.
    """
    values = tf.stack([tf.cast(v, tf.float32) for v in (*losses.values(), *norms.values())])
    finite = tf.reduce_all(tf.math.is_finite(values))
    unharmed = self._first_step < 0
    admitted = finite if skip else finite & unharmed
    if not records:
      return admitted
    first = unharmed & ~finite
    self._first_step.assign(tf.where(first, tf.cast(step, tf.int64), self._first_step))
    self._first_values.assign(tf.where(first, values, self._first_values))
    self.skipped.assign_add(tf.cast(~admitted, tf.int64))
    return admitted

  def reset(self) -> None:
    """Forgets rejected updates."""
    self.skipped.assign(0)
    self._first_step.assign(-1)

  def first_error(self) -> NonFiniteUpdateError | None:
    """The first rejected update since `reset`; None where there is none."""
    step = int(self._first_step)
    if step < 0:
      return None
    values = self._first_values.numpy().tolist()
    return NonFiniteUpdateError(step, dict(zip(self.names, values, strict=True)))


class WatchUpdates(keras.callbacks.Callback):
  """Stops a training after a non-finite update, or counts them; checks the weights each epoch.

  Args:
    guard: the learner's guard.
    skip: count and go on; each epoch then reports `skipped_updates`.
  """

  def __init__(self, guard: UpdateGuard, skip: bool):
    super().__init__()
    self.guard = guard
    self.skip = skip
    self._counted = 0

  def on_train_begin(self, logs=None):
    """Resets the guard and the count."""
    self.guard.reset()
    self._counted = 0

  def on_train_batch_end(self, batch, logs=None):
    """Raises `NonFiniteUpdateError`, unless the guard skips non-finite updates."""
    error = None if self.skip else self.guard.first_error()
    if error:
      raise error

  def on_epoch_end(self, epoch, logs=None):
    """Reports the count of this epoch; raises `NonFiniteWeightsError`."""
    check_weights(self.model)
    if self.skip and logs is not None:
      skipped = int(self.guard.skipped)
      logs["skipped_updates"] = float(skipped - self._counted)
      self._counted = skipped
