"""Checks the classes that the configuration of a stored model names."""

from collections.abc import Mapping
from typing import Any

import keras

__all__ = ["check_classes"]

# Parts of Keras that only compute: the first name after `keras.` or `keras.src.`.
_FUNCTIONS = frozenset(
  ("activations", "constraints", "initializers", "losses", "metrics", "ops", "regularizers")
)
_CLASSES = _FUNCTIONS | {"dtype_policies", "layers", "models", "optimizers", "quantizers", "random"}
# Classes that lie in `keras` itself.
_OF_ROOT = frozenset(
  ("DTypePolicy", "FloatDTypePolicy", "Functional", "Model", "Sequential", "Variable")
)
# The blocks of some networks of keras.applications; its public functions may download files.
_BLOCKS = "keras.src.applications."
# Marks of values that are no objects.
_VALUES = frozenset(
  ("__bytes__", "__ellipsis__", "__keras_tensor__", "__numpy__", "__slice__", "__tensor__")
)
# Layers that run code or load files which their configuration names.
_UNSAFE = frozenset(("FlaxLayer", "JaxLayer", "Lambda", "TFSMLayer", "TorchModuleWrapper"))


def check_classes(config: Any, custom_objects: Mapping[str, Any] | None = None) -> None:
  """Checks that a configuration names only classes and functions that compute.

  Allowed are those of Keras' layers, optimizers, losses and the like, and those that this package
  or the user registered with Keras. Keras has such a check too (`safe_mode`); this one does not
  depend on its version, and names what is allowed instead of what is not.

  Args:
    config: the contents of `config.json`, or a part of it.
    custom_objects: further classes and functions by name.

  Raises:
    ValueError: if it names something else, or a file.
    RecursionError: if it is nested too deeply.

  Example:

  >>> check_classes({"module": "os", "class_name": "function", "config": "system"})
  Traceback (most recent call last):
  ValueError: config.json: system of module 'os': must be a registered function, or one of Keras...
  """
  if isinstance(config, Mapping):
    if "class_name" in config:
      _check_object(config, custom_objects)
    if isinstance(config.get("vocabulary"), str):
      raise ValueError(
        f"config.json: vocabulary={config['vocabulary']!r}: must be words, not the path of a file"
      )
    config = config.values()
  elif not isinstance(config, list):
    return
  for value in config:
    check_classes(value, custom_objects)


def _check_object(config: Mapping[str, Any], custom_objects: Mapping[str, Any] | None) -> None:
  name, module, kind = config["class_name"], config.get("module"), "class"
  if isinstance(name, str) and name in _VALUES:
    return
  registered = config.get("registered_name", name)
  if name == "function":
    name, kind = config.get("config"), "function"
    registered = name
  if not isinstance(name, str):
    raise ValueError(f"config.json: class_name={name!r}: must be a name")
  if name in _UNSAFE:
    raise ValueError(
      f"config.json: class_name={name!r}: must not be a layer that runs code or loads files of its "
      "own; if you trust the file, use wsram_tf.load_model(path, safe_mode=False)"
    )
  is_registered = isinstance(registered, str) and "module" in config
  if is_registered and keras.saving.get_registered_object(registered, custom_objects):
    return
  if not isinstance(module, str) or not _is_of_keras(module, name, kind):
    raise ValueError(
      f"config.json: {name} of module {module!r}: must be a registered {kind}, or one of Keras' "
      "layers, optimizers, losses and the like; import what registers it first"
    )


def _is_of_keras(module: str, name: str, kind: str) -> bool:
  """Whether a class or a function belongs to the parts of Keras that only compute."""
  if module == "builtins":
    return kind == "function"  # Keras looks for it among its activations, losses and so on.
  if module == "keras":
    return kind == "class" and name in _OF_ROOT
  if kind == "class" and f"{module}.".startswith(_BLOCKS):
    return True
  if not module.startswith("keras."):
    return False
  part = module.removeprefix("keras.").removeprefix("src.").partition(".")[0]
  # Keras finds a function under the name of a class too.
  return part in _CLASSES and name[:1].isupper() if kind == "class" else part in _FUNCTIONS
