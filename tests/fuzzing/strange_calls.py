"""Strange arguments of classes and functions that programs in Python call; see `trials`."""

import functools
import pathlib
from collections.abc import Callable
from typing import Any
from unittest import mock

import numpy as np
from hypothesis import strategies as st

import wsram_tf
from tests.fuzzing.strange_settings import lay_nothing, odd_arguments
from tests.fuzzing.trials import RULE, Kind
from wsram_tf import captions, runs, serving, tasks
from wsram_tf.data.canvases import canvas_dataset
from wsram_tf.data.digits import Digits

_MODEL = wsram_tf.ModelConfig(
  height=9, width=8, units=4, num_glimpses=2, glimpse=wsram_tf.GlimpseConfig(glimpse_side=4)
)
_CAPTIONS = wsram_tf.CaptionModelConfig(height=16, width=16, units=4, max_words=2)
_IMAGES = np.zeros([2, 9, 8, 1], np.float32)
_DIGITS = Digits(np.zeros([3, 28, 28], np.uint8), np.arange(3))
_WORDS = captions.Vocabulary(["a", "dog"])
# Numbers that a function would open as one of this process's files are left out of what it reads.
_PATHS = odd_arguments.filter(lambda path: not isinstance(path, int | np.integer | bool))


@functools.cache
def _network() -> wsram_tf.PredictionNetwork:
  return wsram_tf.PredictionNetwork(_MODEL)


@functools.cache
def _captioner() -> wsram_tf.CaptionNetwork:
  return wsram_tf.CaptionNetwork(_CAPTIONS)


def _save(path: Any) -> None:
  with mock.patch("builtins.open", side_effect=OSError("path: cannot be written")):
    _WORDS.save(path)


def _compare(given: Any) -> None:
  with mock.patch("wsram_tf.runs.comparison.make_runs"):
    runs.compare(given, "compared")


def _task(kind: type, name: str) -> Callable[[Any], Any]:
  return lambda given: kind(**{name: given}).settings()


CALLS: dict[str, Callable[[Any], Any]] = {
  "words": captions.Vocabulary,
  "captions": captions.Vocabulary.from_captions,
  "least_count": lambda given: captions.Vocabulary.from_captions(["a dog"], given),
  "caption": lambda given: _WORDS.encode(given, 3),
  "max_words": lambda given: _WORDS.encode("a", given),
  "numbers": _WORDS.decode,
  "path": _save,
  "scored captions": lambda given: captions.all_scores(given, [["a dog"]]),
  "references": lambda given: captions.all_scores(["a dog"], given),
  "network of a search": lambda given: captions.beam_search(given, np.zeros([1, 16, 16, 1])),
  "search": lambda given: captions.beam_search(_captioner(), np.zeros([1, 16, 16, 1], "f4"), given),
  "backbone": captions.load_backbone,
  "config": wsram_tf.PredictionNetwork,
  "config of a captioner": wsram_tf.CaptionNetwork,
  "config of its inference network": wsram_tf.CaptionInferenceNetwork,
  "model": wsram_tf.WakeSleepLearner,
  "objective": lambda given: wsram_tf.WakeSleepLearner(_MODEL, given),
  "exploration": lambda given: wsram_tf.WakeSleepLearner(_MODEL, None, given),
  "clip_norm": lambda given: wsram_tf.WakeSleepLearner(_MODEL, clip_norm=given),
  "num_evaluation_samples": lambda given: wsram_tf.WakeSleepLearner(
    _MODEL, num_evaluation_samples=given
  ),
  "seed": lambda given: wsram_tf.WakeSleepLearner(_MODEL, seed=given),
  "on_nan": lambda given: wsram_tf.WakeSleepLearner(_MODEL, on_nan=given),
  "micro_batches": lambda given: wsram_tf.WakeSleepLearner(_MODEL, micro_batches=given),
  "captioner": wsram_tf.CaptionLearner,
  "loss": lambda given: wsram_tf.CaptionLearner(_CAPTIONS, loss_config=given),
  "model file": wsram_tf.load_model,
  "preset of a name": wsram_tf.load_pretrained,
  "names": lambda given: _network().save_to_preset("preset", names=given),
  "images": lambda given: wsram_tf.show_glimpses(_network(), given),
  "labels": lambda given: wsram_tf.show_glimpses(_network(), _IMAGES, given),
  "class_names": lambda given: wsram_tf.show_glimpses(_network(), _IMAGES, class_names=given),
  "columns": lambda given: wsram_tf.show_glimpses(_network(), _IMAGES, columns=given),
  "model to show": lambda given: wsram_tf.show_glimpses(given, _IMAGES),
  "images to classify": lambda given: _network()(given),
  "images stepwise": lambda given: _network().classify_stepwise(given),
  "digits": lambda given: canvas_dataset(given, wsram_tf.CanvasConfig(), batch_size=2, seed=1),
  "canvas": lambda given: canvas_dataset(_DIGITS, given, batch_size=2, seed=1),
  "batch_size": lambda given: canvas_dataset(
    _DIGITS, wsram_tf.CanvasConfig(), batch_size=given, seed=1
  ),
  "seed of canvases": lambda given: canvas_dataset(
    _DIGITS, wsram_tf.CanvasConfig(), batch_size=2, seed=given
  ),
  "evaluation": _task(tasks.DigitTask, "evaluation"),
  "canvas of a task": _task(tasks.DigitTask, "canvas"),
  "source": _task(tasks.NeedleTask, "source"),
  "needle": _task(tasks.NeedleTask, "needle"),
  "scene": _task(tasks.SceneTask, "scene"),
  "decoding": _task(tasks.SceneTask, "decoding"),
  "task": lambda given: runs.evaluate(given, "none"),
  "run_dir": lambda given: runs.evaluate(tasks.DigitTask(), given),
  "tasks": _compare,
  "export": serving.ExportedModel,
  "manifest": serving.read_manifest,
  "exported graph": serving.LoadedModel,
  "address": lambda given: serving.RestClient(given, "digits"),
  "image file": lambda given: serving.prepare_image(given, (9, 8, 1), "resize"),
}

NAMES = (
  r"(words|captions|least_count|caption|max_words|numbers|path|references|network|config|backbone|"
  r"\w+_config|clip_norm|num_evaluation_samples|seed|on_nan|micro_batches|name|names|images|labels|"
  r"class_names|columns|model|digits|canvas|batch_size|evaluation|source|needle|scene|decoding|"
  r"task|run_dir|tasks|model_dir|address|preset_dir|x|\[Errno|NOT_FOUND)"
)


def _call(folder: pathlib.Path, given: tuple[str, Any]) -> None:
  name, argument = given
  try:
    CALLS[name](argument)
  finally:
    if pathlib.Path("preset").exists():  # Right names are no mistake.
      for path in [*pathlib.Path("preset").iterdir()]:
        path.unlink()
      pathlib.Path("preset").rmdir()


KINDS = (
  Kind(
    "functions",
    st.tuples(st.sampled_from(sorted(CALLS)), _PATHS),
    lay_nothing,
    _call,
    (ValueError, OSError, serving.ServingError),
    rf"{NAMES}.*({RULE}|holds no|too long|Not a directory|Could not find)",
  ),
)
