"""Captions of scenes: one to three digits, made during training, with exact judgement."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from matplotlib.figure import Figure

from wsram_tf import drawing
from wsram_tf.captions import CaptionLearner, DecodingConfig
from wsram_tf.captions.data import scene_language, scenes
from wsram_tf.captions.data.scene_config import SceneConfig
from wsram_tf.captions.reports.summaries import NUM_IMAGES, NUM_SHOWN
from wsram_tf.data import digits
from wsram_tf.data.pipelines import WHOLE, Shard
from wsram_tf.locations import locations_to_pixels
from wsram_tf.runs.folder import RunFolder
from wsram_tf.runs.task import Summaries
from wsram_tf.settings import given_or_default
from wsram_tf.tasks.captions import CaptionTask, describe_images, evaluation_figures
from wsram_tf.tasks.config import (
  CaptionEvaluationConfig,
  DigitSourceConfig,
  SceneEvaluationConfig,
)
from wsram_tf.tasks.digits import TEST_SEED, VALIDATION_SEED, load_splits

__all__ = ["SceneTask", "judge"]


class SceneTask(CaptionTask):
  """Describes scenes of digits: their sizes, places and names.

  Args:
    scene: the layout of the scenes.
    source: the digits; by default 5,000 that are part of the installation.
    evaluation: the number of scenes in evaluations.
    batches: images a batch in evaluations.
    **options: see `CaptionTask`.

  Example:

  >>> from wsram_tf import tasks
  >>> task = tasks.SceneTask()
  >>> task.model.image_shape, task.model.max_words
  ((64, 64, 1), 18)
  """

  name = "scenes"
  chosen_by = "val_scenes_correct_percent"

  def __init__(
    self,
    *,
    scene: SceneConfig | None = None,
    source: DigitSourceConfig | None = None,
    evaluation: SceneEvaluationConfig | None = None,
    batches: CaptionEvaluationConfig | None = None,
    **options: Any,
  ):
    super().__init__(**options)
    self.scene = given_or_default("scene", scene, SceneConfig)
    self.source = given_or_default("source", source, DigitSourceConfig)
    if self.source.digits in digits.CLASS_NAMES:
      raise ValueError(
        f"digits={self.source.digits}: must be mnist5k or mnist for scenes, because captions name "
        "digits"
      )
    self.evaluation = given_or_default("evaluation", evaluation, SceneEvaluationConfig)
    self.batches = given_or_default("batches", batches, CaptionEvaluationConfig)
    self._layout = self.scene.arguments()
    scenes.check_layout(**self._layout)
    self.fit_model(
      (self.scene.canvas_side, self.scene.canvas_side, 1),
      scene_language.VOCABULARY,
      scene_language.longest_caption(self.scene.most_digits),
    )

  def configs(self) -> Iterable[Any]:
    """Returns the settings; see `Task`."""
    return [self.scene, self.source, self.evaluation, self.batches, *super().configs()]

  def open(self, run: RunFolder | None) -> None:
    """Checks the words of a run that is evaluated; see `Task`."""
    self.check_words(run)

  def prepare(self, run: RunFolder) -> None:
    """Loads the digits and makes the validation scenes; see `Task`."""
    self.splits = load_splits(self.source)
    self.validation_scenes = scenes.evaluation_scenes(
      self.splits.validation,
      num_scenes=self.evaluation.validation_scenes,
      seed=VALIDATION_SEED,
      **self._layout,
    )

  def training_data(
    self, *, batch_size: int, seed: int, start_update: int, shard: Shard = WHOLE
  ) -> tf.data.Dataset:
    """Makes endless batches of new scenes; see `Task`."""
    return scenes.scene_dataset(
      self.splits.train,
      batch_size=batch_size,
      seed=seed,
      start_step=start_update,
      shard=shard,
      **self._layout,
    )

  def validation_data(self) -> tf.data.Dataset:
    """Makes batches of the fixed validation scenes with their first wordings; see `Task`."""
    return batches(self.validation_scenes, self.batches.evaluation_batch_size)

  def callbacks(self) -> list[keras.callbacks.Callback]:
    """Makes the judge of greedy captions; see `Task`."""
    return [SceneJudge(self.validation_scenes, self.batches.evaluation_batch_size)]

  def summaries(self, learner: CaptionLearner) -> Summaries:
    """Shows where the learner looks in the first validation scenes; see `Task`."""
    images = self.validation_scenes.images[:NUM_IMAGES]
    return self.summaries_of(learner, images, images[:NUM_SHOWN], DecodingConfig())

  def describe(self, figures: Mapping[str, float]) -> str:
    """Describes an evaluation in one line; see `Task`."""
    return (
      f"validation scenes right {figures['val_scenes_correct_percent']:.1f}%, glimpses on their "
      f"digit {figures['val_glimpse_on_digit_percent']:.1f}%, word error "
      f"{figures['val_word_error_percent']:.1f}%, log-likelihood "
      f"{figures['val_log_likelihood_per_word']:.3f} nats a word, bound "
      f"{figures['val_bound']:.2f} nats, effective sample size "
      f"{figures['val_effective_sample_size']:.2f}; training word error "
      f"{figures['word_error_percent']:.1f}%"
    )

  def score(self, learner: CaptionLearner, run: RunFolder | None = None) -> dict[str, Any]:
    """Judges fixed test scenes; draws correct and wrong cases; see `Task`."""
    test = scenes.evaluation_scenes(
      self.splits.test, num_scenes=self.evaluation.test_scenes, seed=TEST_SEED, **self._layout
    )
    batch_size = self.batches.evaluation_batch_size
    answers = describe_images(learner, test.images, self.decoding, batch_size)
    if run is not None:
      self.write_vocabulary(run)
      run.save_figure(run.glimpses, draw_cases(test, answers, learner.model_config.grid_shapes))
    right, on_digit = judge(test, answers)
    counts = np.array([len(scene.labels) for scene in test.scenes])
    return {
      "scenes_correct_percent": percent(right),
      "glimpse_on_digit_percent": percent(on_digit),
      **{
        f"scenes_correct_percent_of_{count}_digits": percent(right[counts == count])
        for count in sorted(set(counts.tolist()))
      },
      **evaluation_figures(learner, batches(test, batch_size)),
      "test_scenes": self.evaluation.test_scenes,
    }

  def headline(self, results: Mapping[str, Any]) -> str:
    """Describes a finished run in one line; see `Task`."""
    return (
      f"test scenes right in every word {results['scenes_correct_percent']:.1f}%, glimpses on "
      f"their digit {results['glimpse_on_digit_percent']:.1f}%"
    )


class SceneJudge(keras.callbacks.Callback):
  """Adds the percentage of validation scenes with a correct greedy caption to each evaluation."""

  def __init__(self, scene_set: scenes.SceneSet, batch_size: int):
    super().__init__()
    self.scene_set = scene_set
    self.batch_size = batch_size

  def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
    """Searches captions and judges them."""
    answers = describe_images(self.model, self.scene_set.images, DecodingConfig(), self.batch_size)
    right, on_digit = judge(self.scene_set, answers)
    logs["val_scenes_correct_percent"] = percent(right)
    logs["val_glimpse_on_digit_percent"] = percent(on_digit)


def batches(scene_set: scenes.SceneSet, batch_size: int) -> tf.data.Dataset:
  """Makes batches of images with the first wording of each scene."""
  pairs = tf.data.Dataset.from_tensor_slices((scene_set.images, scene_set.captions[:, 0]))
  return pairs.batch(batch_size)


def judge(
  scene_set: scenes.SceneSet, answers: Mapping[str, np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
  """Judges captions of scenes.

  Args:
    scene_set: n scenes.
    answers: the outputs of `beam_search` for them.

  Returns:
    whether each caption is correct in every word, bool `[n]`; for each word that names a digit
    whether the middle of the cell before it lies on that digit, bool, over all captions.
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
  """Returns the percentage of true values; 0 for an empty array."""
  return 100.0 * float(true.mean()) if true.size else 0.0


def draw_cases(
  scene_set: scenes.SceneSet,
  answers: Mapping[str, np.ndarray],
  grid_shapes: Sequence[tuple[int, int]],
  cases: int = 3,
) -> Figure:
  """Draws correct cases, then equally many wrong ones, as far as there are any."""
  right, _ = judge(scene_set, answers)
  chosen = [*np.flatnonzero(right)[:cases], *np.flatnonzero(~right)[:cases]]
  words = [
    scene_language.VOCABULARY.decode(answers["words"][i]).split() or ["(nothing)"] for i in chosen
  ]
  return drawing.draw_captions(
    scene_set.images[chosen], answers["locations"][chosen], words, grid_shapes, right=right[chosen]
  )
