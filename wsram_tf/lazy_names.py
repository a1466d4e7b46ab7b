"""Loads the public names of a package on first use, and its Keras classes together."""

import contextlib
import gc
import importlib
import sys
from collections.abc import Callable, Iterator
from typing import Any

import lazy_loader

__all__ = ["attach", "load_models", "load_models_beside_tensorflow", "pause_collection"]

# These modules import every class that the package registers with Keras.
MODELS = ("wsram_tf.captions.learner", "wsram_tf.classification.learner")


def attach(
  package: str, filename: str, *, with_models: bool = False
) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
  """Makes a package's `__getattr__`, `__dir__` and `__all__` from its stub file.

  Args:
    package: the package's `__name__`.
    filename: its `__file__`; the stub, with the ending `.pyi`, lies beside it.
    with_models: load all models after the first name that needs TensorFlow, so that
      `keras.saving.load_model` finds their classes.

  Returns:
    `__getattr__`, `__dir__` and `__all__`.
  """
  find_name, list_names, names = lazy_loader.attach_stub(package, filename)

  def find(name: str) -> Any:
    with pause_collection():
      return find_name(name)

  if not with_models:
    return find, list_names, names

  def find_with_models(name: str) -> Any:
    value = find(name)
    # Not for submodules: a model that is still loading imports them, and cannot load again.
    if sys.modules.get(f"{package}.{name}") is not value:
      load_models_beside_tensorflow()
    return value

  return find_with_models, list_names, names


@contextlib.contextmanager
def pause_collection() -> Iterator[None]:
  """Pauses Python's garbage collector while a block imports TensorFlow.

  An import makes a million objects that stay. The collector would visit them again and again, which
  takes a second.
  """
  collects = gc.isenabled()
  gc.disable()
  try:
    yield
  finally:
    if collects:
      gc.enable()


def load_models() -> None:
  """Registers all classes of the package with Keras."""
  for module in MODELS:
    importlib.import_module(module)


def load_models_beside_tensorflow() -> None:
  """Calls `load_models` where TensorFlow or Keras is loaded already."""
  if "tensorflow" in sys.modules or "keras" in sys.modules:
    load_models()
