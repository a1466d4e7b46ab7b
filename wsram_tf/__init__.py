"""Wake-sleep recurrent attention models in TensorFlow and Keras.

Each name loads on first use, so that programs which only read settings start without TensorFlow.
"""

import importlib.metadata
import os
from typing import TYPE_CHECKING, Any

from wsram_tf import lazy_names

if TYPE_CHECKING:
  import keras

__getattr__, __dir__, __all__ = lazy_names.attach(__name__, __file__, with_models=True)
__all__ += ["__version__", "load_model"]

try:
  __version__ = importlib.metadata.version("wsram_tf")
except importlib.metadata.PackageNotFoundError:  # A checkout that is not installed.
  __version__ = "0+unknown"


def load_model(path: str | os.PathLike, **kwargs: Any) -> "keras.Model":
  """Loads a model from a `.keras` file, after registering the classes of this package with Keras.

  A file of somebody else can do no harm: see SECURITY.md.

  Args:
    path: the file.
    **kwargs: more arguments of `keras.saving.load_model`. `safe_mode=False` trusts the file, which
      may then run code.

  Returns:
    the model: a learner, or a network that was saved alone.

  Raises:
    ValueError: if there is no such file, or it holds anything but what Keras writes for a model.

  Example:

  ```python
  learner = wsram_tf.load_model("runs/quickstart/model.keras")
  ```
  """
  lazy_names.load_models()
  from wsram_tf.model_files import loading

  return loading.load_model(path, **kwargs)


# Keras finds a custom class by its registered name alone, and cannot load it on first use.
lazy_names.load_models_beside_tensorflow()
