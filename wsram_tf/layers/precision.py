"""Mixed precision: the numbers that layers compute in, by configuration or by Keras' policy."""

import contextlib
import dataclasses
import functools
import inspect
from collections.abc import Callable, Iterator

import keras

__all__ = ["computing_in", "follows_policy", "full_precision"]


@contextlib.contextmanager
def computing_in(precision: str) -> Iterator[None]:
  """Layers made inside compute in this precision; their weights are float32 all the same.

  Args:
    precision: `float32` or `bfloat16`.
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
  """Layers made inside compute in float32 where Keras' global policy is a mixed one."""
  before = keras.config.dtype_policy()
  if before.name.startswith("mixed"):
    keras.config.set_dtype_policy("float32")
  try:
    yield
  finally:
    keras.config.set_dtype_policy(before)


def follows_policy(init: Callable[..., None]) -> Callable[..., None]:
  """Decorates the constructor of a model so that it obeys Keras' global dtype policy.

  Under `mixed_bfloat16` the configuration, the constructor's first argument, gets
  `precision="bfloat16"`, which a saved model keeps. What must stay float32 does.

  Raises:
    ValueError: from the constructor, under a float16 or a pure bfloat16 policy.
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
        "log-probabilities need float32 and float16 would need loss scaling; call "
        "keras.config.set_dtype_policy before you make the model"
      )
    if policy == "mixed_bfloat16":
      config = given.arguments[config_name]
      given.arguments[config_name] = dataclasses.replace(config, precision="bfloat16")
    with full_precision():
      init(*given.args, **given.kwargs)

  return constructor
