"""Mixed precision: sets the compute dtype of layers, by configuration or by Keras' policy."""

import contextlib
import dataclasses
import functools
import inspect
from collections.abc import Callable, Iterator

import keras

__all__ = ["computing_in", "follows_policy", "full_precision"]


@contextlib.contextmanager
def computing_in(precision: str) -> Iterator[None]:
  """Makes new layers inside the context compute in a precision; their weights stay float32.

  Args:
    precision: `float32` or `bfloat16`.

  Example:

  >>> with computing_in("bfloat16"):
  ...   layer = keras.layers.Dense(3)
  >>> layer.compute_dtype, layer.variable_dtype
  ('bfloat16', 'float32')
  """
  before = keras.config.dtype_policy()
  if precision == "bfloat16":
    keras.config.set_dtype_policy("mixed_bfloat16")
  try:
    yield
  finally:
    keras.config.set_dtype_policy(before)


@contextlib.contextmanager
def full_precision() -> Iterator[None]:
  """Makes new layers inside the context compute in float32 under a mixed global policy.

  Example:

  >>> with computing_in("bfloat16"), full_precision():
  ...   layer = keras.layers.Dense(3)
  >>> layer.compute_dtype
  'float32'
  """
  before = keras.config.dtype_policy()
  if before.name.startswith("mixed"):
    keras.config.set_dtype_policy("float32")
  try:
    yield
  finally:
    keras.config.set_dtype_policy(before)


def follows_policy(init: Callable[..., None]) -> Callable[..., None]:
  """Decorates a model's constructor so that it follows Keras' global dtype policy.

  Under `mixed_bfloat16`, the decorator sets `precision="bfloat16"` in the configuration, the
  constructor's first argument. A saved model keeps this precision. Log-probabilities, log-weights
  and weights stay float32.

  Args:
    init: constructor; its first argument is a dataclass with a field `precision`.

  Returns:
    constructor with the same arguments. It raises ValueError under a float16 or a pure bfloat16
    policy.
  """

  signature = inspect.signature(init)
  _, config_name, *_ = signature.parameters

  @functools.wraps(init)
  def constructor(*args, **kwargs) -> None:
    given = signature.bind(*args, **kwargs)
    policy = keras.config.dtype_policy().name
    if policy in ("mixed_float16", "float16", "bfloat16"):
      raise ValueError(
        f"dtype_policy={policy!r}: must be float32 or mixed_bfloat16, because weights and "
        "log-probabilities need float32, and float16 would need loss scaling; call "
        "keras.config.set_dtype_policy before making the model"
      )
    if policy == "mixed_bfloat16":
      config = given.arguments[config_name]
      given.arguments[config_name] = dataclasses.replace(config, precision="bfloat16")
    with full_precision():
      init(*given.args, **given.kwargs)

  return constructor
