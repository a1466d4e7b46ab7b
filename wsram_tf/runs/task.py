"""The interface between a run and what it trains: data, learner, figures."""

import abc
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from wsram_tf.learning.base_learner import BaseLearner
from wsram_tf.runs import record
from wsram_tf.runs.folder import RunFolder

__all__ = ["Layout", "Summaries", "Task"]


class Layout(NamedTuple):
  """The figures that a comparison of runs shows; figures that no run has are left out.

  Attributes:
    columns: of the table: a name in results.json or metrics.csv, its heading, its decimals. The
      first column orders the rows.
    plots: a column of metrics.csv for the x axis, one for the y axis, and the plot's title.
    lowest_first: whether lower values of the first column are better.
  """

  columns: Mapping[str, tuple[str, int]]
  plots: tuple[tuple[str, str, str], ...]
  lowest_first: bool


class Summaries(NamedTuple):
  """What TensorBoard gets after an evaluation, beside the figures.

  Attributes:
    images: uint8 `[H, W, 3]`, by tag.
    histograms: numbers, by tag.
  """

  images: Mapping[str, np.ndarray]
  histograms: Mapping[str, np.ndarray]


class Task(abc.ABC):
  """Data, model and figures of a run; `runs.train` calls its methods in the order below.

  The constructor checks settings and is cheap. Subclasses set the class attributes and implement
  the abstract methods; `tasks.ClassificationTask` and `tasks.CaptionTask` leave only the data to
  their subclasses.

  Attributes:
    name: identifies the task in run folders.
    chosen_by: the validation figure that chooses the weights; higher is better.
    progress: the training figures of the progress bar, by their label.
    layout: the figures that a comparison of such runs shows.
    batch_size: the default number of images per update.
    writes_before_training: whether `prepare` writes to the run's folder, which is then made first.
    excludes_xla: whether XLA cannot compile the model.
  """

  name: ClassVar[str]
  chosen_by: str
  progress: ClassVar[Mapping[str, str]]
  layout: ClassVar[Layout]
  batch_size: ClassVar[int] = 128
  writes_before_training: ClassVar[bool] = False
  excludes_xla: ClassVar[bool] = False

  @abc.abstractmethod
  def configs(self) -> Iterable[Any]:
    """Returns the dataclasses that hold the task's settings, for the record of the run."""

  def settings(self) -> record.Settings:
    """Returns the task's settings."""
    return record.collect(self.name, self.configs())

  def open(self, run: RunFolder | None) -> None:  # noqa: B027, an optional step
    """Reads what the model's shape depends on, such as class names; writes nothing.

    Args:
      run: the run that is resumed or evaluated; None for a new run.

    Raises:
      ValueError, FileNotFoundError: if the data cannot be had, or do not fit the settings.
    """

  def check_begin_with(self, run: RunFolder) -> None:  # noqa: B027, an optional check
    """Checks that training may begin with the weights of a finished run.

    Raises:
      ValueError: if its classes or words differ from the task's.
    """

  @abc.abstractmethod
  def prepare(self, run: RunFolder) -> None:
    """Loads or computes the data.

    Args:
      run: the run's folder, for files that take long to compute. Where `run.is_writer` is false,
        the files must exist already.

    Raises:
      ValueError, FileNotFoundError: if the data cannot be had.
    """

  def close(self) -> None:  # noqa: B027, an optional step
    """Ends what `prepare` began; called after it however the run ends."""

  @property
  @abc.abstractmethod
  def avoids_xla_on_cpu(self) -> bool:
    """Whether XLA slows the model down on a CPU, for instance one with convolutions."""

  @abc.abstractmethod
  def make_learner(self, *, clip_norm: float, seed: int) -> BaseLearner:
    """Makes a learner with fresh weights.

    Args:
      clip_norm: the largest norm of each network's gradient.
      seed: seed of the samples.
    """

  @abc.abstractmethod
  def training_data(self, *, batch_size: int, seed: int, start_update: int) -> tf.data.Dataset:
    """Makes endless batches of (images, targets), from an update on.

    Args:
      batch_size: images per update.
      seed: seed of the order and of random changes.
      start_update: updates made before; the batches are the same as in a run without a stop.

    A task may also take `shard`, a `data.pipelines.Shard`, and make these rows of each batch alone.
    With several workers, a task that does not makes whole batches on each.
    """

  @abc.abstractmethod
  def validation_data(self) -> tf.data.Dataset:
    """Makes batches of (images, targets) that choose the weights."""

  def callbacks(self) -> list[keras.callbacks.Callback]:
    """Makes callbacks that add figures to the evaluations; they run before the recording."""
    return []

  def summaries(self, learner: BaseLearner) -> Summaries:
    """Makes pictures and histograms for TensorBoard, after each evaluation; none by default.

    Args:
      learner: in training; it must keep its state.
    """
    return Summaries({}, {})

  @abc.abstractmethod
  def describe(self, figures: Mapping[str, float]) -> str:
    """Describes an evaluation during the training in one line."""

  @abc.abstractmethod
  def score(self, learner: BaseLearner, run: RunFolder | None = None) -> dict[str, Any]:
    """Computes the figures of results.json on the test data.

    Args:
      learner: the learner with the chosen weights.
      run: the folder for the picture and the task's own files; None to write nothing.
    """

  @abc.abstractmethod
  def headline(self, results: Mapping[str, Any]) -> str:
    """Describes a finished run in one line."""

  def evaluate(self, learner: BaseLearner, **options: Any) -> dict[str, Any]:
    """Computes the figures of a saved learner; see the subclasses for options."""
    return self.score(learner, **options)
