"""Kinds of strange arguments of the functions that export; see `trials`.

They stop where the writing would begin, so a trial takes a part of a second.
"""

import functools
import pathlib
from collections.abc import Mapping
from typing import Any
from unittest import mock

from hypothesis import strategies as st

import wsram_tf
from tests.fuzzing.strange_settings import lay_nothing, odd_arguments
from tests.fuzzing.trials import RULE, Kind
from wsram_tf import captions, export

_MODELS, _NAME = "models", "digits"
_batch_sizes = odd_arguments | st.lists(st.integers(-1, 5), max_size=4)


def _wrong(
  right: Mapping[str, Any], others: Mapping[str, st.SearchStrategy]
) -> st.SearchStrategy[dict[str, Any]]:
  """Right arguments with one or two changed, or added."""
  names = st.lists(st.sampled_from(sorted(others)), min_size=1, max_size=2, unique=True)
  changes = names.flatmap(lambda chosen: st.fixed_dictionaries({n: others[n] for n in chosen}))
  return changes.map(lambda changed: {**right, **changed})


_places = {"export_dir": odd_arguments, "name": odd_arguments}
_classifiers = _wrong(
  {"export_dir": _MODELS, "name": _NAME},
  {
    **_places,
    "averaged_samples": odd_arguments,
    "allowed_batch_sizes": _batch_sizes,
    "class_names": odd_arguments,
    "source": odd_arguments,
    "extensions": odd_arguments,
    "run": odd_arguments,
  },
)
_captioners = _wrong(
  {"export_dir": _MODELS, "name": _NAME},
  {
    **_places,
    "allowed_batch_sizes": _batch_sizes,
    "decoding": odd_arguments | st.just(captions.DecodingConfig(beam_width=1)),
    "vocabulary": odd_arguments
    | st.lists(st.sampled_from(["a", "of", "dog", "<end>", ""]), max_size=3),
    "source": odd_arguments,
    "extensions": odd_arguments,
    "run": odd_arguments,
  },
)
_presets = _wrong(
  {"preset": "quickstart", "export_dir": _MODELS, "name": _NAME},
  {**_places, "preset": odd_arguments | st.sampled_from(["scenes", "quick", "models", ""])},
)


@functools.cache
def _captioner() -> tuple[wsram_tf.CaptionNetwork, captions.Vocabulary]:
  return (
    wsram_tf.CaptionNetwork.from_preset("scenes"),
    captions.Vocabulary.from_preset("scenes"),
  )


def _export_classifier(folder: pathlib.Path, given: Mapping[str, Any]) -> None:
  whole = {"run": wsram_tf.load_pretrained("quickstart"), **given}
  with mock.patch("wsram_tf.export.publishing.publish"):
    export.export_classifier(**whole)


def _export_captioner(folder: pathlib.Path, given: Mapping[str, Any]) -> None:
  network, vocabulary = _captioner()
  whole = {"run": network, "vocabulary": vocabulary if "run" not in given else None, **given}
  if isinstance(whole["vocabulary"], list):
    whole["vocabulary"] = captions.Vocabulary(whole["vocabulary"])
  with mock.patch("wsram_tf.export.publishing.publish"):
    export.export_captioner(**whole)


def _export_preset(folder: pathlib.Path, given: Mapping[str, Any]) -> None:
  with mock.patch("wsram_tf.export.publishing.publish"):
    export.export_preset(**given)


_ARGUMENTS = "run|run_dir|export_dir|name|allowed_batch_sizes|source|extensions"

KINDS = (
  Kind(
    "classifier exports",
    _classifiers,
    lay_nothing,
    _export_classifier,
    (ValueError,),
    rf"({_ARGUMENTS}|averaged_samples|class_names)\b.*({RULE}|holds no)",
  ),
  Kind(
    "captioner exports",
    _captioners,
    lay_nothing,
    _export_captioner,
    (ValueError,),
    rf"({_ARGUMENTS}|decoding|vocabulary|words)\b.*({RULE}|holds no)",
  ),
  Kind(
    "preset exports",
    _presets,
    lay_nothing,
    _export_preset,
    (ValueError,),
    rf"(preset|export_dir|name)=.*{RULE}",
  ),
)
