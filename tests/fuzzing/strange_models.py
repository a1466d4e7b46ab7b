"""Strange presets and `.keras` files of models; see `trials`."""

import functools
import json
import pathlib
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
from hypothesis import strategies as st

import wsram_tf
from tests.fuzzing import strange_bytes
from tests.fuzzing.trials import RULE, Kind
from wsram_tf import captions
from wsram_tf.presets import preset_names

_CONFIG, _WEIGHTS, _NAMES = "config.json", "model.weights.h5", "names.txt"


@functools.cache
def _classifier() -> dict[str, bytes]:
  """The files of a small classifier's preset, by name."""
  config = wsram_tf.ModelConfig(
    height=12, width=12, num_classes=3, num_glimpses=1, units=4, context_side=4
  )
  return _saved(wsram_tf.PredictionNetwork(config), ("one", "two", "three"))


@functools.cache
def _captioner() -> dict[str, bytes]:
  """The files of a small captioner's preset, by name."""
  names = captions.Vocabulary(["a", "dog"]).words
  config = wsram_tf.CaptionModelConfig(
    height=16, width=16, vocabulary_size=len(names), max_words=3, units=4
  )
  return _saved(wsram_tf.CaptionNetwork(config), names)


def _saved(network: Any, names: Sequence[str]) -> dict[str, bytes]:
  with tempfile.TemporaryDirectory() as folder:
    preset = pathlib.Path(folder) / "preset"
    network.save_to_preset(preset, names=names)
    return {path.name: path.read_bytes() for path in preset.iterdir()}


def _configs(whole: Mapping[str, Any]) -> st.SearchStrategy[bytes]:
  """The configuration with damage, on each level of its nested settings."""
  levels = [[], ["config"], ["config", "config"]]
  if "glimpse" in whole["config"]["config"]:
    levels.append(["config", "config", "glimpse"])

  def within(level: list[str]) -> st.SearchStrategy[bytes]:
    inner = functools.reduce(lambda values, key: values[key], level, whole)
    return strange_bytes.damaged_json(inner).map(lambda data: _replaced(whole, level, data))

  return st.one_of(*(within(level) for level in levels))


def _replaced(whole: Mapping[str, Any], level: list[str], inner: bytes) -> bytes:
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


def _changed(parts: Callable[[], dict[str, bytes]]) -> st.SearchStrategy[dict[str, bytes]]:
  """A preset's files by name; one is damaged, or missing."""
  whole = parts()
  damaged = {
    _CONFIG: _configs(json.loads(whole[_CONFIG])),
    **{name: strange_bytes.damaged([whole[name]]) for name in (_WEIGHTS, _NAMES, "metadata.json")},
  }
  changed = st.sampled_from(sorted(damaged)).flatmap(
    lambda name: damaged[name].map(lambda contents: whole | {name: contents})
  )
  missing = st.sampled_from(sorted(whole)).map(
    lambda gone: {name: contents for name, contents in whole.items() if name != gone}
  )
  return changed | changed | changed | missing


def _lay_preset(folder: pathlib.Path, given: Mapping[str, bytes]) -> None:
  preset = folder / "preset"
  shutil.rmtree(preset, ignore_errors=True)
  preset.mkdir()
  for name, contents in given.items():
    (preset / name).write_bytes(contents)


def _read_preset(folder: pathlib.Path, given: Mapping[str, bytes]) -> None:
  keras.utils.set_random_seed(1)
  preset_names(folder / "preset")
  wsram_tf.PredictionNetwork.from_preset(folder / "preset")


def _read_captioner(folder: pathlib.Path, given: Mapping[str, bytes]) -> None:
  keras.utils.set_random_seed(1)
  captions.Vocabulary.from_preset(folder / "preset")
  wsram_tf.CaptionNetwork.from_preset(folder / "preset")


def _lay_file(folder: pathlib.Path, given: Mapping[str, bytes]) -> None:
  with zipfile.ZipFile(folder / "model.keras", "w") as archive:
    for name in (_CONFIG, _WEIGHTS, "metadata.json"):
      if name in given:
        archive.writestr(name, given[name])


def _read_file(folder: pathlib.Path, given: Mapping[str, bytes]) -> None:
  wsram_tf.load_model(folder / "model.keras")


KINDS = (
  Kind(
    "presets",
    st.deferred(lambda: _changed(_classifier)),
    _lay_preset,
    _read_preset,
    (ValueError,),
    rf"preset=.*{RULE}",
  ),
  Kind(
    "captioner presets",
    st.deferred(lambda: _changed(_captioner)),
    _lay_preset,
    _read_captioner,
    (ValueError,),
    rf"(preset|words)=.*{RULE}",
  ),
  Kind(
    "model files",
    st.deferred(lambda: _changed(_classifier)),
    _lay_file,
    _read_file,
    (ValueError,),
    rf"path=.*{RULE}",
  ),
)
