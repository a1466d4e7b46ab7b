"""Classification: the part of a task that does not depend on the images."""

import abc
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from matplotlib.figure import Figure

from wsram_tf import drawing
from wsram_tf.classification import ModelConfig, PredictionNetwork, WakeSleepLearner
from wsram_tf.classification.reports import confusion, early_stop
from wsram_tf.classification.reports.diagnosis import Diagnosis
from wsram_tf.classification.reports.summaries import GlimpseSummaries
from wsram_tf.config import ExplorationConfig, ObjectiveConfig
from wsram_tf.runs.folder import CLASS_NAMES, RunFolder
from wsram_tf.runs.record import Settings, collect
from wsram_tf.runs.task import Layout, Summaries, Task
from wsram_tf.settings import check_instance, given_or_default
from wsram_tf.tasks.config import DiagnosisConfig

__all__ = ["ClassificationTask", "draw_cases", "log_marginal_likelihood", "read_labels"]

# Fields of ModelConfig that the images determine.
FROM_DATA = ("height", "width", "channels", "num_classes")
# Glimpse sequences of an image that are held in memory at once.
CHUNK = 10


class ClassificationTask(Task):
  """A task on labelled images; subclasses provide the images.

  A subclass sets `name`, passes the shape of its images to `fit_model`, and implements `configs`,
  `prepare`, `training_data`, `validation_data` and `test_data`.

  Args:
    model: the networks; height, width, channels and number of classes are replaced by the data's.
    objective: the estimator.
    exploration: temperature and bonuses.
    diagnosis: measurements at each evaluation.
    network_options: networks of your own, as `WakeSleepLearner` takes them: `glimpse_network` and
      `context_network`.

  Attributes:
    model, objective, exploration, diagnosis: as given; `model` fits the data once `fit_model` ran.
    class_names: K names by label; empty where classes have no names.
    data_figures: facts about the images for results.json.
  """

  # Forms of images that the task makes.
  observations: tuple[str, ...] = ("pixels",)
  # The error of a few thousand images is too coarse to distinguish evaluations.
  chosen_by = "val_log_likelihood"
  progress = {
    "train error %": "error_percent",
    "bound nats": "bound",
    "ESS": "effective_sample_size",
  }
  layout = Layout(
    columns={
      "test_error_percent": ("error %", 2),
      "test_error_percent_averaged": ("averaged %", 2),
      "test_log_likelihood_nats": ("log-likelihood", 3),
      "bound_nats": ("bound", 3),
      "effective_sample_size": ("ESS", 2),
      "prediction_gradient_variance": ("gradient variance", 3),
      "inference_gradient_variance": ("its, inference network", 3),
      "train_seconds": ("seconds", 0),
    },
    plots=(
      ("update", "val_error_percent", "validation error, %"),
      ("train_seconds", "val_error_percent", "validation error, %"),
      ("update", "prediction_gradient_variance", "gradient variance, prediction network"),
      ("update", "val_log_likelihood", "validation log-likelihood, nats"),
      ("train_seconds", "val_log_likelihood", "validation log-likelihood, nats"),
      ("update", "val_effective_sample_size", "effective sample size"),
    ),
    lowest_first=True,
  )

  def __init__(
    self,
    *,
    model: ModelConfig | None = None,
    objective: ObjectiveConfig | None = None,
    exploration: ExplorationConfig | None = None,
    diagnosis: DiagnosisConfig | None = None,
    network_options: Mapping[str, keras.layers.Layer] | None = None,
  ):
    self.model = given_or_default("model", model, ModelConfig)
    self.objective = given_or_default("objective", objective, ObjectiveConfig)
    self.exploration = given_or_default("exploration", exploration, ExplorationConfig)
    self.diagnosis = given_or_default("diagnosis", diagnosis, DiagnosisConfig)
    options = {} if network_options is None else network_options
    check_instance("network_options", options, Mapping)
    self.network_options = dict(options)
    self.class_names: tuple[str, ...] = ()
    self.data_figures: dict[str, Any] = {}
    self._summaries: GlimpseSummaries | None = None

  def fit_model(self, image_shape: tuple[int, int, int], num_classes: int) -> None:
    """Makes `model` fit the images.

    Args:
      image_shape: height, width and channels, pixels.
      num_classes: K.

    Raises:
      ValueError: if the glimpses or the low-resolution copy do not fit into the images, or the task
        does not make images in the form of the model's `observation`.
    """
    if self.model.observation not in self.observations:
      raise ValueError(
        f"observation={self.model.observation!r}: must be among {', '.join(self.observations)} for "
        f"the task {self.name}"
      )
    height, width, channels = image_shape
    self.model = ModelConfig.from_dict(
      {
        **self.model.to_dict(),
        "height": height,
        "width": width,
        "channels": channels,
        "num_classes": num_classes,
      }
    )

  def configs(self) -> Iterable[Any]:
    """Returns the settings of the model and its training; see `Task`."""
    return [self.model, self.objective, self.exploration, self.diagnosis]

  def settings(self) -> Settings:
    """Returns the task's settings without those that the images determine."""
    networks = [
      f"--{name}={keras.saving.get_registered_name(type(network))}"
      for name, network in self.network_options.items()
    ]
    return collect(self.name, self.configs(), leave_out=FROM_DATA, extra=networks)

  def check_begin_with(self, run: RunFolder) -> None:
    """Checks that a run has the same classes; see `Task`."""
    if run.read_names(CLASS_NAMES) != tuple(self.class_names):
      raise ValueError(f"begin_with={run.path}: its classes must be the same, in the same order")

  @property
  def avoids_xla_on_cpu(self) -> bool:
    """Whether a network has convolutions, or reads lists of visible pixels."""
    keyed = self.model.location.location_distribution == "keyed_grid"
    lists = self.model.observation == "visible_pixels"
    return keyed or lists or bool(self.model.glimpse.glimpse_filters)

  def make_learner(self, *, clip_norm: float, seed: int) -> WakeSleepLearner:
    """Makes a learner with fresh weights; see `Task`."""
    return WakeSleepLearner(
      self.model,
      self.objective,
      self.exploration,
      clip_norm=clip_norm,
      seed=seed,
      **self.network_options,
    )

  @abc.abstractmethod
  def test_data(self) -> tf.data.Dataset:
    """Makes batches of (images, labels) for the results."""

  def callbacks(self) -> list[keras.callbacks.Callback]:
    """Makes the measurements of the estimator; see `Task`."""
    measured = self.diagnosis
    return [Diagnosis(self.validation_data(), measured.gradient_draws, measured.gradient_images)]

  def summaries(self, learner: WakeSleepLearner) -> Summaries:
    """Shows where the learner looks in the first validation images; see `Task`."""
    if self._summaries is None:
      self._summaries = GlimpseSummaries(self.validation_data(), self.class_names)
    return Summaries(*self._summaries(learner))

  def describe(self, figures: Mapping[str, float]) -> str:
    """Describes an evaluation in one line; see `Task`."""
    return (
      f"validation error {figures['val_error_percent']:.2f}% (averaged "
      f"{figures['val_error_percent_averaged']:.2f}%), log-likelihood "
      f"{figures['val_log_likelihood']:.3f} nats, bound {figures['val_bound']:.3f} nats, effective "
      f"sample size {figures['val_effective_sample_size']:.2f}; training error "
      f"{figures['error_percent']:.2f}%"
    )

  def score(self, learner: WakeSleepLearner, run: RunFolder | None = None) -> dict[str, Any]:
    """Computes the test figures; writes class names, pictures and tables; see `Task`."""
    test = self.test_data()
    figures = learner.evaluate(test, return_dict=True, verbose=0)
    if run is not None:
      if self.class_names:
        run.write_names(CLASS_NAMES, self.class_names)
      answers = learner.predict(test.map(lambda images, labels: images), verbose=0)
      labels = read_labels(test)
      figure = draw_cases(learner.prediction_network, test, answers, labels, self.class_names)
      run.save_figure(run.glimpses, figure)
      self._write_confusion(
        run, confusion.count_answers(answers["class_id"], labels, self.model.num_classes)
      )
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
      "averaged_samples": learner.num_evaluation_samples,
      **{name: value for name, value in figures.items() if name.startswith("scale_")},
      **self._errors_by_glimpse(figures),
      **self.data_figures,
    }

  def _write_confusion(self, run: RunFolder, counts: np.ndarray) -> None:
    names = self.class_names or [str(label) for label in range(len(counts))]
    run.write_text(run.path / "confusion.csv", confusion.confusion_csv(counts, names))
    run.write_text(run.path / "classes.csv", confusion.classes_csv(counts, names))
    run.save_figure(run.path / "confusion.png", confusion.draw_confusion(counts, names))

  def _errors_by_glimpse(self, figures: Mapping[str, float]) -> dict[str, list[float]]:
    earlier = [figures.get(f"error_percent_after_{n}") for n in range(1, self.model.num_glimpses)]
    if not earlier or None in earlier:
      return {}
    return {"test_error_percent_by_glimpse": [*earlier, figures["error_percent"]]}

  def headline(self, results: Mapping[str, Any]) -> str:
    """Describes a finished run in one line; see `Task`."""
    return (
      f"test error {results['test_error_percent']:.2f}%, averaged over "
      f"{results['averaged_samples']} sampled sequences "
      f"{results['test_error_percent_averaged']:.2f}%"
    )

  def evaluate(
    self,
    learner: WakeSleepLearner,
    *,
    importance_samples: int = 0,
    thresholds: Sequence[float] = (),
  ) -> dict[str, Any]:
    """Computes the figures of a saved learner.

    Args:
      learner: the saved learner.
      importance_samples: glimpse sequences an image from the proposal, for an estimate of
        log p(y | image); 0 for none.
      thresholds: probabilities at which an image stops; adds the error after each glimpse, and for
        each threshold the mean number of glimpses and the error; see `early_stop_figures`.

    Raises:
      ValueError: if a threshold is not a probability.
    """
    early_stop.check_thresholds(thresholds)
    results = self.score(learner)
    if thresholds:
      answers = early_stop.stepwise_probabilities(learner.prediction_network, self.test_data())
      results |= early_stop.early_stop_figures(*answers, thresholds)
    if importance_samples:
      mean, error = log_marginal_likelihood(learner, self.test_data(), importance_samples)
      results["test_log_marginal_likelihood_nats"] = mean
      results["standard_error_nats"] = error
      results["importance_samples"] = importance_samples
    return results


def read_labels(data: tf.data.Dataset) -> np.ndarray:
  """Returns the labels, int32 `[n]`, of batches of images and labels."""
  return np.concatenate([batch.numpy() for batch in data.map(lambda images, labels: labels)])


def draw_cases(
  network: PredictionNetwork,
  data: tf.data.Dataset,
  answers: Mapping[str, np.ndarray],
  labels: np.ndarray,
  class_names: Sequence[str] = (),
  cases: int = 4,
) -> Figure:
  """Draws equally many correct (left) and wrong (right) cases, as far as there are any.

  Args:
    network: the network that answered.
    data: batches of images and labels.
    answers: what `predict` returned for the images.
    labels: int `[n]`.
    class_names: K names; empty: the labels.
    cases: the most cases of each kind.
  """
  right = answers["class_id"] == labels
  pairs = zip(np.flatnonzero(right)[:cases], np.flatnonzero(~right)[:cases], strict=False)
  # Without a pair, all are right or all are wrong.
  chosen = np.array([i for pair in pairs for i in pair] or range(min(cases, len(right))), int)
  return drawing.draw_answers(
    network,
    _read_images(data, chosen),
    {name: values[chosen] for name, values in answers.items()},
    labels[chosen],
    class_names,
  )


def _read_images(data: tf.data.Dataset, rows: np.ndarray) -> np.ndarray:
  """Reads images, or paths, by their numbers; reads no further than the last of them."""
  found, first = {}, 0
  for images, _ in data:
    within = rows[(rows >= first) & (rows < first + len(images))].tolist()
    if within:
      batch = images.numpy()
      found.update({row: batch[row - first : row - first + 1] for row in within})
    first += len(images)
    if len(found) == len(rows):
      break
  shown = [found[row] for row in rows.tolist()]
  # Lists of visible pixels are not equally long.
  longest = np.max([image.shape for image in shown], axis=0)
  missing = [np.subtract(longest, image.shape) for image in shown]
  padded = [
    np.pad(image, [(0, n) for n in more]) for image, more in zip(shown, missing, strict=True)
  ]
  return np.concatenate(padded)


def log_marginal_likelihood(
  learner: WakeSleepLearner, data: tf.data.Dataset, num_samples: int
) -> tuple[float, float]:
  """Estimates the mean of log p(y | image) over the data by importance sampling.

  Args:
    learner: a trained learner.
    data: batches of images and labels.
    num_samples: glimpse sequences an image.

  Returns:
    the mean and its standard error over images, nats. The expectation of each image's estimate is
    at most the true value.
  """

  @tf.function(autograph=False)
  def log_sum_of_weights(images, labels, seed, samples):
    view = learner.prediction_network.look(images)
    drawn = learner.sample(view, labels, learner.uniforms(labels, samples, seed))
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
