"""Mixed precision: in which numbers the layers that are made inside compute."""

import contextlib
from collections.abc import Iterator

import keras

__all__ = ["computing_in"]


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
