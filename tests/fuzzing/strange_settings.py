"""Kinds of strange arguments of the settings and the functions of Python; see `trials`."""

import dataclasses
import pathlib
from collections.abc import Mapping
from typing import Any
from unittest import mock

import numpy as np
from hypothesis import strategies as st

import wsram_tf
from tests.fuzzing import strange_bytes
from tests.fuzzing.trials import RULE, Kind
from tests.support import small_runs
from wsram_tf import captions, runs, tasks
from wsram_tf.data.images import Augmentation
from wsram_tf.runs.folder import RunFolderError

_CONFIGS = (
  *(wsram_tf.GlimpseConfig, wsram_tf.LocationConfig, wsram_tf.ModelConfig),
  *(wsram_tf.ObjectiveConfig, wsram_tf.ExplorationConfig, wsram_tf.OptimizerConfig),
  *(wsram_tf.TrainingConfig, wsram_tf.CanvasConfig, wsram_tf.MegapixelConfig),
  *(wsram_tf.CaptionModelConfig, wsram_tf.CaptionLossConfig, wsram_tf.SceneConfig),
  *(captions.DecodingConfig, tasks.CanvasEvaluationConfig, tasks.CaptionEvaluationConfig),
  *(tasks.DiagnosisConfig, tasks.DigitSourceConfig, tasks.FeatureConfig, tasks.ImageConfig),
  *(tasks.MegapixelSetConfig, tasks.NeedleConfig, tasks.PhotographConfig),
  tasks.SceneEvaluationConfig,
)
# What a caller of Python hands in by mistake.
odd_arguments = (
  strange_bytes.odd_values
  | strange_bytes.odd_texts
  | st.sampled_from(
    [
      *(0, 1, 2, 8, 100, -1, 0.5, 1.0, 1e-9, 1e39, -0.0, float("nan"), float("inf"), 2**31, 2**70),
      *(np.int64(3), np.float32(0.5), np.bool_(True), np.zeros(3), np.array("x"), b"bytes"),
      *((), (1,), (0,), (1, 2, 3), (1.5,), ("a",), [4, 4], {}, {"a": 1}, object, len, ...),
      *(1 + 2j, range(3), {1}, "wake_sleep", "normal", "keyed_grid", "lstm", "auto"),
      *(wsram_tf.GlimpseConfig(), wsram_tf.OptimizerConfig(), pathlib.Path("x")),
    ]
  )
)


def _arguments_of(config: type) -> st.SearchStrategy[tuple[type, dict[str, Any]]]:
  fields = {field.name: field for field in dataclasses.fields(config)}
  values = {
    name: st.just(field.default) | odd_arguments | _choices(field) for name, field in fields.items()
  }
  some = st.lists(st.sampled_from(sorted(fields)), min_size=1, max_size=4, unique=True)
  chosen = some.flatmap(lambda names: st.fixed_dictionaries({name: values[name] for name in names}))
  return st.tuples(st.just(config), chosen)


def _choices(field: dataclasses.Field) -> st.SearchStrategy[Any]:
  choices = field.metadata.get("choices")
  return st.sampled_from(sorted(choices)) if choices else st.integers(-3, 300)


def lay_nothing(folder: pathlib.Path, given: Any) -> None:
  """Writes nothing: the arguments are not files."""


def _read_settings(folder: pathlib.Path, given: tuple[type, dict[str, Any]]) -> None:
  config, arguments = given
  made = config(**arguments)
  hash(made)
  if hasattr(config, "from_dict") and config.from_dict(made.to_dict()) != made:
    raise AssertionError(f"{made} does not survive to_dict")


_PART = np.zeros([6, 8, 9], np.uint8), np.arange(6) % 2
_odd_images = st.sampled_from(
  [
    *(_PART[0], _PART[0][..., None], _PART[0].astype(np.float32), _PART[0][:0], _PART[0][0]),
    *(np.zeros([6, 8, 9, 3], np.uint8), np.zeros([6, 0, 9], np.uint8), np.zeros([5, 8, 9], "u1")),
    *(None, "images", [], [[1, 2], [3]], np.zeros([6, 8, 9], object), 3, {"a": 1}),
  ]
)
_odd_labels = st.sampled_from(
  [
    *(_PART[1], _PART[1].astype(np.uint8), _PART[1].tolist(), _PART[1] - 1, _PART[1] + 0.5),
    *(_PART[1][:5], _PART[1][None], None, "labels", np.array([None] * 6), [2**40] * 6, 1, []),
    *([2**31] * 6, [10**6, 0, 1, 0, 1, 0], [True, False] * 3),
  ]
)
_parts = st.just(_PART) | st.tuples(_odd_images, _odd_labels) | odd_arguments
_array_tasks = st.fixed_dictionaries(
  {"train": _parts, "validation": st.just(_PART) | _parts, "test": st.just(_PART) | _parts},
  optional={
    "class_names": odd_arguments | st.just(["a", "b"]),
    "augmentation": odd_arguments | st.just(Augmentation()),
    "model": odd_arguments | st.just(wsram_tf.ModelConfig(units=4)),
    "objective": odd_arguments,
    "exploration": odd_arguments,
    "diagnosis": odd_arguments,
    "network_options": odd_arguments,
  },
)


def _make_task(folder: pathlib.Path, given: Mapping[str, Any]) -> None:
  tasks.ArrayTask(**given).settings()


_run_dirs = st.just("run") | odd_arguments
_run_arguments = st.fixed_dictionaries(
  {"run_dir": _run_dirs},
  optional={
    "training": odd_arguments | st.just(wsram_tf.TrainingConfig(batch_size=4)),
    "optimizer": odd_arguments | st.just(wsram_tf.OptimizerConfig(updates=1000)),
    "resume": odd_arguments | st.booleans(),
    "begin_with": odd_arguments,
  },
)


def _start_run(folder: pathlib.Path, given: Mapping[str, Any]) -> None:
  with mock.patch("wsram_tf.runs.training._train"):
    runs.train(small_runs.array_task(), **given)


_names = "|".join(sorted({f.name for config in _CONFIGS for f in dataclasses.fields(config)}))

KINDS = (
  Kind(
    "settings",
    st.sampled_from(_CONFIGS).flatmap(_arguments_of),
    lay_nothing,
    _read_settings,
    (ValueError,),
    rf"\b({_names})=.*{RULE}",
  ),
  Kind(
    "array tasks",
    _array_tasks,
    lay_nothing,
    _make_task,
    (ValueError,),
    rf"(train|validation|test|class_names|augmentation|model|objective|exploration|diagnosis|"
    rf"network_options|{_names}).*{RULE}",
  ),
  Kind(
    "training arguments",
    _run_arguments,
    lay_nothing,
    _start_run,
    (ValueError, RunFolderError),
    rf"(run_dir|training|optimizer|resume|begin_with|{_names}).*({RULE}|holds no)",
  ),
)
