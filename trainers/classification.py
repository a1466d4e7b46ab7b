"""What training and evaluating classifiers share, on any images: flags, figures, pictures."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar

import diagnosing
import evaluating
import first_weights
import flag_groups
import keras
import numpy as np
import tensorflow as tf
import training
from absl import flags
from callbacks import Progress, RunRecorder
from matplotlib.figure import Figure
from run_folder import RunFolder

import wsram_tf
from wsram_tf import drawing

__all__ = [
  "Data",
  "Settings",
  "define_evaluation_flags",
  "define_flags",
  "draw_cases",
  "load_learner",
  "read_settings",
  "run_evaluation",
  "score",
  "train",
]

# Validation figure by which weights are chosen, the higher the better: the error of a few thousand
# images is too coarse to tell one evaluation from the next.
CHOSEN_BY = "val_log_likelihood"
# What the progress bar shows.
TRAINING_FIGURES = {
  "train error %": "error_percent",
  "bound nats": "bound",
  "ESS": "effective_sample_size",
}
# Numbers of all images, 4 bytes each, that the cases of a picture are chosen from.
MOST_DRAWN_PIXELS = 2**28
# Glimpse sequences an image that are held in memory at once.
CHUNK = 10

AnySettings = TypeVar("AnySettings", bound="Settings")


@dataclasses.dataclass(frozen=True)
class Settings:
  """All that a classifier and its training are made from, but for the images."""

  model: wsram_tf.ModelConfig
  objective: wsram_tf.ObjectiveConfig
  exploration: wsram_tf.ExplorationConfig
  optimizer: wsram_tf.OptimizerConfig


class Data(NamedTuple):
  """The images of a run.

  Attributes:
    make_training: gives the training batches from an update on.
    validation: by which weights are chosen.
    test: what results are of.
    class_names: K names, by label; empty where a class has none but its number.
    figures: what results.json says of the images.
  """

  make_training: Callable[[int], tf.data.Dataset]
  validation: tf.data.Dataset
  test: tf.data.Dataset
  class_names: tuple[str, ...] = ()
  figures: dict[str, Any] = {}


def define_flags() -> None:
  """Defines the flags of `Settings`."""
  flag_groups.define(wsram_tf.ModelConfig, leave_out=("height", "width", "channels", "num_classes"))
  flag_groups.define(wsram_tf.GlimpseConfig)
  flag_groups.define(wsram_tf.LocationConfig)
  flag_groups.define(wsram_tf.ObjectiveConfig)
  flag_groups.define(wsram_tf.ExplorationConfig)
  flag_groups.define(wsram_tf.OptimizerConfig)


def read_settings(
  settings_class: type[AnySettings],
  image_shape: tuple[int, int, int],
  num_classes: int,
  **values: Any,
) -> AnySettings:
  """Reads the flags.

  Args:
    settings_class: what to make.
    image_shape: height, width and channels, pixels.
    num_classes: K.
    **values: fields that this class has beside those of `Settings`.

  Raises:
    ValueError: if flags contradict each other, naming them.
  """
  height, width, channels = image_shape
  return settings_class(
    model=flag_groups.read(
      wsram_tf.ModelConfig,
      height=height,
      width=width,
      channels=channels,
      num_classes=num_classes,
      glimpse=flag_groups.read(wsram_tf.GlimpseConfig),
      location=flag_groups.read(wsram_tf.LocationConfig),
    ),
    objective=flag_groups.read(wsram_tf.ObjectiveConfig),
    exploration=flag_groups.read(wsram_tf.ExplorationConfig),
    optimizer=flag_groups.read(wsram_tf.OptimizerConfig),
    **values,
  )


def make_learner(settings: Settings) -> wsram_tf.WakeSleepLearner:
  """Makes a learner with fresh weights."""
  return wsram_tf.WakeSleepLearner(
    settings.model,
    settings.objective,
    settings.exploration,
    clip_norm=settings.optimizer.clip_norm,
    seed=flags.FLAGS.seed,
  )


def check_first_weights(data: Data) -> None:
  """Refuses to begin with the weights of a run on other classes.

  Raises:
    ValueError: naming the run.
  """
  run = None if flags.FLAGS.resume else first_weights.finished_run()
  if run is None:
    return
  there = tuple(run.class_names.read_text().splitlines()) if run.class_names.is_file() else ()
  if there != tuple(data.class_names):
    raise ValueError(f"begin_with={run.path}: its classes must be the same, and in the same order")


def train(settings: Settings, data: Data, run: RunFolder, lines: list[str]) -> None:
  """Trains, chooses the weights, and writes everything that a run folder holds."""
  batch_size, model = flags.FLAGS.batch_size, settings.model
  check_first_weights(data)
  keyed = model.location.location_distribution == "keyed_grid"
  learner, figures = training.train_learner(
    run,
    lines,
    settings.optimizer,
    make_learner=lambda: make_learner(settings),
    has_convolutions=keyed or bool(model.glimpse.glimpse_filters),
    make_data=data.make_training,
    validation=data.validation,
    callbacks=[Progress(settings.optimizer.updates, TRAINING_FIGURES, describe_evaluation)],
    make_recorder=lambda learner, start: RunRecorder(
      run, batch_size, start, CHOSEN_BY, diagnosing.Diagnosis(learner, data.validation)
    ),
  )
  results = score(learner, data.test)
  if data.class_names:
    run.write_text(run.class_names, "\n".join(data.class_names) + "\n")
  run.save_learner(run.model, learner)
  run.save_figure(run.glimpses, draw_cases(learner, data.test, data.class_names))
  run.write_json(run.results, {**results, **figures, **data.figures})
  print(
    f"test error {results['test_error_percent']:.2f}%, averaged over "
    f"{learner.num_evaluation_samples} sampled sequences "
    f"{results['test_error_percent_averaged']:.2f}%\nresults: {run.results}\n"
    f"picture: {run.glimpses}"
  )


def describe_evaluation(logs: dict[str, float]) -> str:
  """One line on an evaluation during the training."""
  return (
    f"validation error {logs['val_error_percent']:.2f}% (averaged "
    f"{logs['val_error_percent_averaged']:.2f}%), log-likelihood "
    f"{logs['val_log_likelihood']:.3f} nats, bound {logs['val_bound']:.3f} nats, effective "
    f"sample size {logs['val_effective_sample_size']:.2f}; training error "
    f"{logs['error_percent']:.2f}%"
  )


def score(learner: wsram_tf.WakeSleepLearner, data: tf.data.Dataset) -> dict[str, float]:
  """The figures of a finished run, under the names that results.json has."""
  figures = learner.evaluate(data, return_dict=True, verbose=0)
  return {
    "test_error_percent": figures["error_percent"],
    "test_error_percent_averaged": figures["error_percent_averaged"],
    "test_log_likelihood_nats": figures["log_likelihood"],
    "bound_nats": figures["bound"],
    "effective_sample_size": figures["effective_sample_size"],
    "prior_entropy_nats": figures["prior_entropy"],
    "proposal_entropy_nats": figures["proposal_entropy"],
    "parameters": int(sum(np.prod(v.shape) for v in learner.trainable_variables)),
    "parameters_at_test_time": learner.prediction_network.count_params(),
  }


def draw_cases(
  learner: wsram_tf.WakeSleepLearner,
  data: tf.data.Dataset,
  class_names: Sequence[str] = (),
  cases: int = 4,
) -> Figure:
  """The picture of a run: as many right cases (left) as wrong ones (right), as far as there are."""
  network = learner.prediction_network
  most = max(cases, min(1000, MOST_DRAWN_PIXELS // np.prod(network.config.image_shape)))
  images, labels = next(iter(data.unbatch().batch(most)))
  answer = learner.predict(images, verbose=0, batch_size=250)
  right = answer["class_id"] == labels.numpy()
  pairs = zip(np.flatnonzero(right)[:cases], np.flatnonzero(~right)[:cases], strict=False)
  # Without a pair, all are right or all wrong.
  chosen = np.array([i for pair in pairs for i in pair] or range(min(cases, len(right))), int)
  return drawing.draw_answers(
    network,
    images.numpy()[chosen],
    {name: values[chosen] for name, values in answer.items()},
    labels.numpy()[chosen],
    class_names,
  )


def load_learner(path: Any) -> wsram_tf.WakeSleepLearner:
  """Loads a learner with its optimizer."""
  return keras.saving.load_model(path)


def define_evaluation_flags() -> None:
  """Defines the flags of evaluating a finished run."""
  evaluating.define_flags()
  flags.DEFINE_integer(
    "importance_samples",
    0,
    "glimpse sequences an image from the proposal, for log p(y | image); 0: no estimate",
    lower_bound=0,
  )


def log_marginal_likelihood(
  learner: wsram_tf.WakeSleepLearner, data: tf.data.Dataset, num_samples: int
) -> tuple[float, float]:
  """Mean of log p(y | image) over the data, estimated with `num_samples` samples an image.

  Returns:
    the mean and its standard error over images, nats. The estimate of each image is at most the
    true value in expectation.
  """

  @tf.function(autograph=False)
  def log_sum_of_weights(images, labels, seed, samples):
    drawn = learner.sample(images, labels, learner.uniforms(images, samples, seed))
    return tf.reduce_logsumexp(learner.score(drawn, labels).log_weights[..., 0], axis=0)

  estimates = []
  for batch, (images, labels) in enumerate(data):
    parts = []
    for first in range(0, num_samples, CHUNK):
      seed = tf.constant([batch, first], tf.int32)
      parts.append(log_sum_of_weights(images, labels, seed, min(CHUNK, num_samples - first)))
    estimates.append(tf.reduce_logsumexp(tf.stack(parts), axis=0) - np.log(num_samples))
  values = np.concatenate(estimates)
  return float(values.mean()), float(values.std() / np.sqrt(len(values)))


def run_evaluation(name: str, argv: list[str], read_test: Callable[[], tf.data.Dataset]) -> None:
  """Prints the figures of a finished run as JSON; see `evaluating.run_evaluation`.

  Args:
    name: of the program, for its messages.
    argv: what the flags left of the command line.
    read_test: reads the flags, which are by then those of the run, and gives the test images.
  """

  def evaluate(run: RunFolder) -> dict[str, Any]:
    test = read_test()
    learner = load_learner(run.model)
    results = score(learner, test)
    samples = flags.FLAGS.importance_samples
    if samples:
      mean, error = log_marginal_likelihood(learner, test, samples)
      results["test_log_marginal_likelihood_nats"] = mean
      results["standard_error_nats"] = error
      results["importance_samples"] = samples
    return results

  evaluating.run_evaluation(name, argv, evaluate)
