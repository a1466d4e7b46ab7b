"""Strange presets and `.keras` files of models; see `trials`."""

import functools
import json
import pathlib
import shutil
import tempfile
import zipfile

import keras
from hypothesis import strategies as st

import wsram_tf
from tests.fuzzing import strange_bytes
from tests.fuzzing.trials import RULE, Kind
from wsram_tf.presets import preset_names

_CONFIG, _WEIGHTS, _NAMES = "config.json", "model.weights.h5", "names.txt"


@functools.cache
def _parts() -> dict[str, bytes]:
  """The files of a small preset, by name."""
  network = wsram_tf.PredictionNetwork(
    wsram_tf.ModelConfig(
      height=12, width=12, num_classes=3, num_glimpses=1, units=4, context_side=4
    )
  )
  with tempfile.TemporaryDirectory() as folder:
    preset = pathlib.Path(folder) / "preset"
    network.save_to_preset(preset, names=("one", "two", "three"))
    return {path.name: path.read_bytes() for path in preset.iterdir()}


def _configs() -> st.SearchStrategy[bytes]:
  """The configuration with damage, on each level of its nested settings."""
  whole = json.loads(_parts()[_CONFIG])
  levels = [[], ["config"], ["config", "config"], ["config", "config", "glimpse"]]

  def within(level: list[str]) -> st.SearchStrategy[bytes]:
    inner = functools.reduce(lambda values, key: values[key], level, whole)
    return strange_bytes.damaged_json(inner).map(lambda data: _replaced(whole, level, data))

  return st.one_of(*(within(level) for level in levels))


def _replaced(whole: dict, level: list[str], inner: bytes) -> bytes:
  try:
    values = json.loads(inner)
  except (ValueError, RecursionError):
    return inner
  if not level:
    return json.dumps(values).encode()
  copy = json.loads(json.dumps(whole))
  parent = functools.reduce(lambda found, key: found[key], level[:-1], copy)
  parent[level[-1]] = values
  return json.dumps(copy).encode()


def _changes() -> st.SearchStrategy[dict[str, bytes | None]]:
  """What differs from a whole preset: the contents of files, None for one that is missing."""
  parts = _parts()
  of_file = {
    _CONFIG: _configs(),
    _WEIGHTS: strange_bytes.damaged([parts[_WEIGHTS]]),
    _NAMES: strange_bytes.damaged([parts[_NAMES]]),
    "metadata.json": strange_bytes.damaged([parts["metadata.json"]]),
  }
  changed = st.sampled_from(sorted(of_file)).flatmap(
    lambda name: st.fixed_dictionaries({name: of_file[name]})
  )
  missing = st.sampled_from(sorted(parts)).map(lambda name: {name: None})
  return changed | changed | changed | missing


def _lay_preset(folder: pathlib.Path, given: dict[str, bytes | None]) -> None:
  preset = folder / "preset"
  shutil.rmtree(preset, ignore_errors=True)
  preset.mkdir()
  for name, contents in (_parts() | given).items():
    if contents is not None:
      (preset / name).write_bytes(contents)


def _read_preset(folder: pathlib.Path, given: dict[str, bytes | None]) -> None:
  keras.utils.set_random_seed(1)
  preset_names(folder / "preset")
  wsram_tf.PredictionNetwork.from_preset(folder / "preset")


def _lay_file(folder: pathlib.Path, given: dict[str, bytes | None]) -> None:
  with zipfile.ZipFile(folder / "model.keras", "w") as archive:
    for name, contents in (_parts() | given).items():
      if contents is not None and name in (_CONFIG, _WEIGHTS, "metadata.json"):
        archive.writestr(name, contents)


def _read_file(folder: pathlib.Path, given: dict[str, bytes | None]) -> None:
  wsram_tf.load_model(folder / "model.keras")


KINDS = (
  Kind(
    "presets",
    st.deferred(_changes),
    _lay_preset,
    _read_preset,
    (ValueError,),
    rf"preset=.*{RULE}",
  ),
  Kind(
    "model files",
    st.deferred(_changes),
    _lay_file,
    _read_file,
    (ValueError,),
    rf"path=.*{RULE}",
  ),
)
