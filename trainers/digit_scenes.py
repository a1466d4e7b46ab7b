"""Scenes of digits as a source of captions: how they are made, judged and drawn."""

import dataclasses
from typing import Any

import captions
import flag_groups
import keras
import numpy as np
import tensorflow as tf
from absl import flags
from digit_source import TEST_SEED, VALIDATION_SEED, DigitSourceConfig, load_splits
from matplotlib.figure import Figure
from run_folder import RunFolder

import wsram_tf
from wsram_tf import drawing
from wsram_tf.captions.data import scene_language, scenes
from wsram_tf.locations import locations_to_pixels
from wsram_tf.settings import check_settings, setting

__all__ = ["DigitScenes", "define_flags", "judge"]


@dataclasses.dataclass(frozen=True)
class DigitSceneConfig:
  """How many scenes evaluations see."""

  validation_scenes: int = setting(500, "fixed scenes made from the validation digits", minimum=1)
  test_scenes: int = setting(1_000, "fixed scenes made from the test digits", minimum=1)

  def __post_init__(self):
    check_settings(self)


def define_flags() -> None:
  """Defines the flags of scenes."""
  flag_groups.define(DigitSourceConfig)
  flag_groups.define(DigitSceneConfig)
  flag_groups.define(wsram_tf.SceneConfig)


class DigitScenes(captions.CaptionSource):
  """Scenes made on the fly from the flags; see `captions.CaptionSource`."""

  vocabulary = scene_language.VOCABULARY
  chosen_by = "val_scenes_correct_percent"

  def __init__(self, run: RunFolder | None = None):
    self.config = flag_groups.read(DigitSceneConfig)
    self.layout = flag_groups.read(wsram_tf.SceneConfig).arguments()
    self.batch_size = flag_groups.read(captions.CaptionDataConfig).evaluation_batch_size
    scenes.check_layout(**self.layout)
    self.max_words = scene_language.longest_caption(self.layout["most_digits"])
    self.image_shape = (self.layout["canvas_side"], self.layout["canvas_side"], 1)

  def prepare(self, run: RunFolder, lines: list[str]) -> None:
    """Does what `load` does: nothing is made that lasts."""
    self.load(run)

  def load(self, run: RunFolder) -> None:
    """Loads the digits and makes the validation scenes."""
    self.splits = load_splits(flag_groups.read(DigitSourceConfig))
    self.validation_scenes = scenes.evaluation_scenes(
      self.splits.validation,
      num_scenes=self.config.validation_scenes,
      seed=VALIDATION_SEED,
      **self.layout,
    )

  def training(self, start_step: int) -> tf.data.Dataset:
    """Endless batches, new scenes in each."""
    return scenes.scene_dataset(
      self.splits.train,
      batch_size=flags.FLAGS.batch_size,
      seed=flags.FLAGS.seed,
      start_step=start_step,
      **self.layout,
    )

  def validation(self) -> tf.data.Dataset:
    """The fixed validation scenes with their first wordings."""
    return batches(self.validation_scenes, self.batch_size)

  def judge(self, config: wsram_tf.DecodingConfig) -> keras.callbacks.Callback:
    """Judges greedily, whatever the run's own search is."""
    return SceneJudge(self.validation_scenes, self.batch_size)

  def describe_evaluation(self, logs: dict[str, float]) -> str:
    """One line on an evaluation during the training."""
    return (
      f"validation scenes right {logs['val_scenes_correct_percent']:.1f}%, glimpses on their digit "
      f"{logs['val_glimpse_on_digit_percent']:.1f}%, word error "
      f"{logs['val_word_error_percent']:.1f}%, log-likelihood "
      f"{logs['val_log_likelihood_per_word']:.3f} nats a word, bound {logs['val_bound']:.2f} nats, "
      f"effective sample size {logs['val_effective_sample_size']:.2f}; training word error "
      f"{logs['word_error_percent']:.1f}%"
    )

  def score(
    self, learner: wsram_tf.CaptionLearner, config: wsram_tf.DecodingConfig, run: RunFolder | None
  ) -> dict[str, float]:
    """Judges fixed test scenes; draws right and wrong cases."""
    test = scenes.evaluation_scenes(
      self.splits.test, num_scenes=self.config.test_scenes, seed=TEST_SEED, **self.layout
    )
    answers = captions.describe(learner, test.images, config, self.batch_size)
    if run is not None:
      run.save_figure(run.glimpses, draw_cases(test, answers, learner.model_config.grid_shape))
    right, on_digit = judge(test, answers)
    counts = np.array([len(scene.labels) for scene in test.scenes])
    return {
      "scenes_correct_percent": percent(right),
      "glimpse_on_digit_percent": percent(on_digit),
      **{
        f"scenes_correct_percent_of_{count}_digits": percent(right[counts == count])
        for count in sorted(set(counts.tolist()))
      },
      **captions.evaluation_figures(learner, batches(test, self.batch_size)),
      "test_scenes": self.config.test_scenes,
    }

  def headline(self, results: dict[str, float]) -> str:
    """One line on a finished run."""
    return (
      f"test scenes right in every word {results['scenes_correct_percent']:.1f}%, glimpses on "
      f"their digit {results['glimpse_on_digit_percent']:.1f}%"
    )


class SceneJudge(keras.callbacks.Callback):
  """Adds, after each evaluation, how many validation scenes are described right in every word."""

  def __init__(self, scene_set: scenes.SceneSet, batch_size: int):
    super().__init__()
    self.scene_set = scene_set
    self.batch_size = batch_size

  def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
    """Describes and judges."""
    answers = captions.describe(
      self.model, self.scene_set.images, wsram_tf.DecodingConfig(), self.batch_size
    )
    right, on_digit = judge(self.scene_set, answers)
    logs["val_scenes_correct_percent"] = percent(right)
    logs["val_glimpse_on_digit_percent"] = percent(on_digit)


def batches(scene_set: scenes.SceneSet, batch_size: int) -> tf.data.Dataset:
  """Images with the first wording of each scene, for `fit` and `evaluate`."""
  pairs = tf.data.Dataset.from_tensor_slices((scene_set.images, scene_set.captions[:, 0]))
  return pairs.batch(batch_size)


def judge(
  scene_set: scenes.SceneSet, answers: dict[str, np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
  """Judges captions of scenes.

  Returns:
    whether each caption is right in every word, bool `[n]`; of each word that names a digit whether
    the cell looked at before it has its middle on that digit, bool, over all captions.
  """
  height, width = scene_set.images.shape[1:3]
  points = locations_to_pixels(tf.constant(answers["locations"]), height, width).numpy()
  right, on_digit = [], []
  for scene, words, looked in zip(scene_set.scenes, answers["words"], points, strict=True):
    caption = scene_language.VOCABULARY.decode(words)
    judgement = scene_language.judge_caption(scene, caption)
    right.append(judgement.is_correct)
    for place, meant in judgement.mentions:
      corners, sides = scene.boxes[meant, :2], scene.boxes[meant, 2:]
      inside = (corners <= looked[place]) & (looked[place] < corners + sides)
      on_digit.append(inside.all(axis=-1).any())
  return np.array(right), np.array(on_digit, bool)


def percent(true: np.ndarray) -> float:
  """How many of bools are true, in percent; 0 where there are none."""
  return 100.0 * float(true.mean()) if true.size else 0.0


def draw_cases(
  scene_set: scenes.SceneSet,
  answers: dict[str, np.ndarray],
  grid_shape: tuple[int, int],
  cases: int = 3,
) -> Figure:
  """The picture of a run: right cases, then as many wrong ones, as far as there are."""
  right, _ = judge(scene_set, answers)
  chosen = [*np.flatnonzero(right)[:cases], *np.flatnonzero(~right)[:cases]]
  words = [
    scene_language.VOCABULARY.decode(answers["words"][i]).split() or ["(nothing)"] for i in chosen
  ]
  return drawing.draw_captions(
    scene_set.images[chosen], answers["locations"][chosen], words, grid_shape, right=right[chosen]
  )
