"""Presets: folders that hold a trained model, by the conventions of KerasHub.

A preset holds `config.json` (the class and its configuration), `model.weights.h5`, `metadata.json`,
`README.md` (a model card), and `names.txt` where classes or words have names, one a line.
"""

import datetime
import importlib.metadata
import json
import os
import pathlib
import shutil
import zipfile
from collections.abc import Mapping, Sequence
from typing import Any

import keras

from wsram_tf import files
from wsram_tf.model_files import loading
from wsram_tf.model_files.classes import check_classes
from wsram_tf.settings import check_instance, check_path

__all__ = ["SHIPPED_DIR", "ShippedPresets", "load_preset", "preset_names", "save_preset", "shipped"]

# The presets of the package, a folder each.
SHIPPED_DIR = pathlib.Path(__file__).parent
CONFIG_FILE, METADATA_FILE, NAMES_FILE = "config.json", "metadata.json", "names.txt"
WEIGHTS_FILE, CARD_FILE = "model.weights.h5", "README.md"


class ShippedPresets:
  """A class attribute: the presets of the package for this class, descriptions by name."""

  def __get__(self, model: Any, model_class: type) -> dict[str, str]:
    return shipped(model_class)


def shipped(model_class: type) -> dict[str, str]:
  """Returns the descriptions of the package's presets for a class of models, by name.

  Args:
    model_class: `keras.Model` for all presets.
  """
  found = {}
  for folder in sorted(path.parent for path in SHIPPED_DIR.glob(f"*/{CONFIG_FILE}")):
    name = _read_json(folder / CONFIG_FILE)["registered_name"]
    # A class that nobody has imported is not registered, and is no other class's preset.
    own = keras.saving.get_registered_object(name)
    if model_class is keras.Model or (own is not None and issubclass(own, model_class)):
      found[folder.name] = _read_json(folder / METADATA_FILE)["description"]
  return found


def save_preset(
  model: keras.Model,
  preset_dir: str | os.PathLike,
  *,
  names: Sequence[str] = (),
  description: str = "",
  card: str | None = None,
) -> None:
  """Saves a model as a preset; see `CheckedModel.save_to_preset`."""
  check_path("preset_dir", preset_dir)
  check_instance("description", description, str)
  if card is not None:
    check_instance("card", card, str)
  folder = pathlib.Path(preset_dir)
  if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
    raise ValueError(f"preset_dir={folder}: must be a new or an empty folder")
  count = _number_of_names(model)
  are_names = isinstance(names, list | tuple) and all(
    isinstance(name, str) and name.splitlines() == [name] for name in names
  )
  if not are_names or len(names) not in (0, count):
    raise ValueError(f"names={names!r:.200}: must be a list of {count} names of one line each")
  partial = folder.with_name(f"{files.PARTIAL}{folder.name}")
  shutil.rmtree(partial, ignore_errors=True)  # Of a save that was stopped.
  partial.mkdir(parents=True)
  try:
    # On a full disk `save_weights` ends the process, because HDF5 fails as it closes the file. A
    # .keras file is made in memory.
    whole = partial / "model.keras"
    model.save(whole)
    with zipfile.ZipFile(whole) as archive:
      archive.extract(WEIGHTS_FILE, partial)
      config = json.loads(archive.read(CONFIG_FILE))
    whole.unlink()
    _write_json(partial / CONFIG_FILE, config)
    metadata = {
      "description": description,
      "keras_version": keras.__version__,
      "wsram_tf_version": _version(),
      "parameter_count": model.count_params(),
      "date_saved": datetime.datetime.now().strftime("%Y-%m-%d@%H:%M:%S"),
    }
    _write_json(partial / METADATA_FILE, metadata)
    card = _default_card(model, metadata) if card is None else card
    (partial / CARD_FILE).write_text(card, encoding="utf-8")
    if names:
      text = "".join(f"{name}\n" for name in names)
      (partial / NAMES_FILE).write_text(text, encoding="utf-8")
    partial.replace(folder)
  except BaseException:
    shutil.rmtree(partial, ignore_errors=True)
    raise


def load_preset(model_class: type, preset: str | os.PathLike, *, load_weights: bool = True) -> Any:
  """Loads a model from a preset; see `CheckedModel.from_preset`."""
  folder = _folder_of(model_class, preset)
  try:
    config = _read_json(folder / CONFIG_FILE)
    found = _class_of(config)
  except (ValueError, OSError, RecursionError) as error:
    raise ValueError(f"preset={os.fspath(preset)!r}: is damaged: {error}") from error
  if not issubclass(found, model_class):
    raise ValueError(
      f"preset={os.fspath(preset)!r}: must hold a {model_class.__name__}; it holds a "
      f"{found.__name__}"
    )
  try:
    check_classes(config)
    model = keras.saving.deserialize_keras_object(config, safe_mode=True)
    if load_weights:
      loading.load_weights(model, folder / WEIGHTS_FILE)
  except (
    *(ValueError, TypeError, KeyError, IndexError, AttributeError),
    *(OSError, RecursionError),
  ) as error:
    raise ValueError(f"preset={os.fspath(preset)!r}: is damaged: {error}") from error
  return model


def preset_names(preset: str | os.PathLike) -> list[str]:
  """Returns the names of a preset's classes or words, by label; empty where they have none.

  Args:
    preset: name of a preset of the package, or a folder.

  Raises:
    ValueError: if there is no such preset.

  Example:

  >>> preset_names("quickstart")
  []
  """
  path = _folder_of(keras.Model, preset) / NAMES_FILE
  try:
    return path.read_text(encoding="utf-8").splitlines() if path.exists() else []
  except (ValueError, OSError) as error:
    raise ValueError(f"preset={os.fspath(preset)!r}: is damaged: {path.name}: {error}") from error


def _folder_of(model_class: type, preset: str | os.PathLike) -> pathlib.Path:
  if not isinstance(preset, str | os.PathLike):
    raise ValueError(f"preset={preset!r:.200}: must be a name or a folder")
  folder = pathlib.Path(preset)
  names = shipped(model_class)
  if os.fspath(preset) in shipped(keras.Model):  # Of another class, too, for a clear error.
    return SHIPPED_DIR / os.fspath(preset)
  if not os.path.isfile(folder / CONFIG_FILE):  # Also a name that is too long is none.
    of_package = f"one of {', '.join(names)}, or " if names else ""
    raise ValueError(
      f"preset={os.fspath(preset)!r}: must be {of_package}a folder that save_to_preset wrote"
    )
  files.check_links(folder, f"preset={os.fspath(preset)!r}")
  return folder


def _class_of(config: Mapping[str, Any]) -> type:
  """Returns the registered class of a configuration.

  Raises:
    ValueError: if there is none.
  """
  name = config.get("registered_name")
  found = keras.saving.get_registered_object(name) if isinstance(name, str) else None
  if not isinstance(found, type):
    raise ValueError(f"registered_name={name!r}: must be a registered class of models")
  return found


def _version() -> str:
  try:
    return importlib.metadata.version("wsram_tf")
  except importlib.metadata.PackageNotFoundError:  # Sources that are not installed.
    return "0+unknown"


def _number_of_names(model: Any) -> int:
  return getattr(model.config, "num_classes", None) or model.config.vocabulary_size


def _read_json(path: pathlib.Path) -> dict[str, Any]:
  values = json.loads(path.read_text(encoding="utf-8"))
  if not isinstance(values, dict):
    raise ValueError(f"{path.name}: must hold a JSON object")
  return values


def _write_json(path: pathlib.Path, values: Mapping[str, Any]) -> None:
  path.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")


def _default_card(model: keras.Model, metadata: Mapping[str, Any]) -> str:
  kind = type(model).__name__
  return f"""# {metadata["description"] or kind}

A `{kind}` of `wsram_tf` with {metadata["parameter_count"]:,} parameters.

    import wsram_tf
    model = wsram_tf.{kind}.from_preset("{{this folder}}")

Add here: the data, the figures and the command that measured them, the limits, the licence.
"""
