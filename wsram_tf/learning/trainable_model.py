"""A model with Keras' `compile`, `fit` and `evaluate`, on checked data, with fixed metrics."""

import math
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from wsram_tf.learning import inputs, update_guard
from wsram_tf.learning.checked_model import CheckedModel

__all__ = ["TrainableModel"]

_BATCH_SIZE = 32  # Keras' own, for arrays.


class TrainableModel(CheckedModel):
  """Adds checks, metrics and the update guard to `compile`, `fit` and `evaluate`.

  A subclass defines `train_step` and `test_step`, sets `guard`, `on_nan` and `micro_batches`, and
  names its metrics in `training_metrics` and `evaluation_metrics`, for `update` and `results`.
  """

  training_metrics: tuple[str, ...] = ()
  evaluation_metrics: tuple[str, ...] = ()
  guard: update_guard.UpdateGuard
  on_nan: str
  micro_batches: int

  def __init__(self, **kwargs):
    super().__init__(**kwargs)
    self._trackers = {
      name: keras.metrics.Mean(name=name)
      for name in dict.fromkeys(self.training_metrics + self.evaluation_metrics)
    }
    self._has_compiled_metrics = False

  @property
  def metrics(self) -> list[keras.metrics.Metric]:
    """The model's own means and the metrics of `compile`; Keras resets them."""
    compiled = [metric for metric in super().metrics if metric.name == "compile_metrics"]
    return [*self._trackers.values(), *compiled]

  @property
  def metrics_names(self) -> list[str]:
    """The names of the results of `evaluate`, in order; metrics of `compile` come last.

    Keras builds the metrics of `compile` at their first batch; their names are missing before.
    """
    names = [name for name in self._trackers if name in self.evaluation_metrics]
    for compiled in self.metrics[len(self._trackers) :]:
      names += [metric.name for metric in compiled.metrics]
    return names

  def compile(
    self, optimizer: Any = "rmsprop", loss: Any = None, metrics: Any = None, **kwargs
  ) -> None:
    """Configures training as `keras.Model.compile` does; the estimator is the loss.

    Args:
      optimizer: as in Keras.
      loss: must be None.
      metrics: more metrics of the class probabilities: those of `predict` in an evaluation, their
        mean over the update's samples in training.
      **kwargs: as in Keras.

    Raises:
      ValueError: if a loss is given, or metrics are given where targets are not classes.
    """
    for name, value in (("loss", loss), ("loss_weights", kwargs.get("loss_weights"))):
      if value is not None:
        raise ValueError(
          f"{name}={value!r}: must be None, because the estimator defines the loss; set "
          "ObjectiveConfig(estimator=...)"
        )
    weighted = kwargs.get("weighted_metrics")
    if (metrics or weighted) and self.input_rules.num_classes is None:
      raise ValueError(
        f"metrics={metrics or weighted!r}: must be None, because Keras' metrics would count "
        f"padding; the model reports {', '.join(self.evaluation_metrics)}"
      )
    super().compile(optimizer, metrics=metrics, **kwargs)
    self._has_compiled_metrics = bool(metrics or weighted)

  def compile_from_config(self, config: dict[str, Any]) -> None:
    """Configures training with the saved learner's settings."""
    self.compile(**keras.saving.deserialize_keras_object(config))
    self.optimizer.build(self.trainable_variables)

  def compiled_results(
    self,
    targets: tf.Tensor,
    log_probs: tf.Tensor | None = None,
    sample_weight: tf.Tensor | None = None,
  ) -> dict[str, tf.Tensor]:
    """Updates the metrics of `compile` and returns their values; none without `log_probs`.

    Args:
      targets: int `[B]`.
      log_probs: float `[M, B, K]`, nats.
      sample_weight: float `[B]`, for weighted metrics.
    """
    if log_probs is None:
      return {}
    probabilities = tf.reduce_mean(tf.exp(log_probs), axis=0)
    results = self.compute_metrics(None, targets, probabilities, sample_weight)
    return {name: value for name, value in results.items() if name not in self._trackers}

  def _refuse_strategy(self) -> None:
    strategy = self.distribute_strategy
    if tf.distribute.has_strategy() or strategy is not tf.distribute.get_strategy():
      raise ValueError(
        f"strategy={type(strategy).__name__}: must be none for fit, because Keras' step under a "
        "strategy cannot skip an update that is not finite; make, compile and fit the learner "
        "outside of strategy.scope(), or train on several devices with a program: python "
        "trainers/train_mnist.py --strategy=mirrored"
      )

  def fit(
    self,
    x: Any = None,
    y: Any = None,
    batch_size: int | None = None,
    epochs: int = 1,
    verbose: str | int = "auto",
    callbacks: Any = None,
    validation_split: float = 0.0,
    validation_data: Any = None,
    shuffle: bool = True,
    class_weight: Mapping[int, float] | None = None,
    sample_weight: Any = None,
    **kwargs,
  ) -> keras.callbacks.History:
    """Trains as `keras.Model.fit` does, on checked images and targets.

    Args:
      x: images, an array or a list; or a `tf.data.Dataset`, a `keras.utils.PyDataset` or a
        generator of batches `(images, targets)` or `(images, targets, sample_weight)`. A dataset is
        read without autotuning, unless its options enable it; see `data.pipelines.map_in_order`.
      y: targets, where `x` is images.
      class_weight: factors of the losses by class; 1 for the classes that it lacks.
      sample_weight: `[B]`, factors of each image's losses, where `x` is images.
      batch_size, epochs, verbose, callbacks, validation_split, validation_data, shuffle: as in
        Keras.
      **kwargs: Keras' other arguments.

    Raises:
      ValueError: if arrays break a rule of the input (shape, range, finite pixels, targets).
      tf.errors.InvalidArgumentError: if a batch of a dataset breaks one.
      NonFiniteUpdateError: if an update is not finite and `on_nan` is stop.
      NonFiniteWeightsError: if weights are not finite after an epoch, because of the optimizer.
    """
    watch = update_guard.WatchUpdates(self.guard, self.on_nan == "skip")
    if validation_data is not None:
      is_tuple = isinstance(validation_data, tuple | list)
      parts = self.checked(*(validation_data if is_tuple else (validation_data,)))
      while parts[-1] is None:
        parts = parts[:-1]
      validation_data = parts if len(parts) > 1 else parts[0]
    if isinstance(x, tf.data.Dataset):
      shuffle = False  # Keras cannot shuffle a dataset, and warns by default.
    x, y, sample_weight = self.checked(x, y, sample_weight, class_weight, self.micro_batches)
    if isinstance(x, np.ndarray):
      num_images = math.floor(len(x) * (1.0 - validation_split))  # As in Keras.
      inputs.check_micro_batches(self.micro_batches, num_images, batch_size or _BATCH_SIZE)
    return super().fit(
      x,
      y,
      batch_size=batch_size,
      epochs=epochs,
      verbose=verbose,
      callbacks=[watch, *tf.nest.flatten(callbacks or [])],
      validation_split=validation_split,
      validation_data=validation_data,
      shuffle=shuffle,
      sample_weight=sample_weight,
      **kwargs,
    )

  def evaluate(
    self,
    x: Any = None,
    y: Any = None,
    batch_size: int | None = None,
    verbose: str | int = "auto",
    sample_weight: Any = None,
    steps: int | None = None,
    callbacks: Any = None,
    return_dict: bool = False,
    **kwargs,
  ) -> Any:
    """Evaluates as `keras.Model.evaluate` does, on checked images and targets; see `fit`.

    `sample_weight` applies to `loss` and Keras' weighted metrics; the others are plain means.
    """
    if not kwargs.get("_use_cached_eval_dataset"):  # During `fit` the data is checked already.
      x, y, sample_weight = self.checked(x, y, sample_weight)
    figures = super().evaluate(
      x, y, batch_size, verbose, sample_weight, steps, callbacks, return_dict, **kwargs
    )
    return _plain(figures)

  def train_on_batch(
    self,
    x: Any,
    y: Any = None,
    sample_weight: Any = None,
    class_weight: Mapping[int, float] | None = None,
    return_dict: bool = False,
  ) -> Any:
    """Makes one update as `keras.Model.train_on_batch` does, on a checked batch.

    Raises:
      ValueError: if the batch breaks a rule.
      NonFiniteUpdateError: if the update is not finite and `on_nan` is stop.
      NonFiniteWeightsError: if weights are not finite after it, because of the optimizer.
    """
    self.guard.reset()
    self.reset_metrics()  # Before Keras 3.14 they would include the last batch.
    x, y, sample_weight = self.checked(x, y, sample_weight, class_weight)
    inputs.check_micro_batches(self.micro_batches, len(x))
    results = super().train_on_batch(x, y, sample_weight, return_dict=return_dict)
    error = None if self.on_nan == "skip" else self.guard.first_error()
    if error:
      raise error
    update_guard.check_weights(self)
    return _plain(results)

  def test_on_batch(
    self, x: Any, y: Any = None, sample_weight: Any = None, return_dict: bool = False
  ) -> Any:
    """Evaluates one batch as `keras.Model.test_on_batch` does, after checking it."""
    self.reset_metrics()  # As in `train_on_batch`.
    data = self.checked(x, y, sample_weight)
    return _plain(super().test_on_batch(*data, return_dict=return_dict))

  def checked(
    self,
    x: Any,
    y: Any = None,
    sample_weight: Any = None,
    class_weight: Mapping[int, float] | None = None,
    micro_batches: int = 1,
  ) -> tuple[Any, Any, Any]:
    """The data after its checks; see `inputs.checked_inputs`."""
    return inputs.checked_inputs(
      self.input_rules, x, y, sample_weight, class_weight, micro_batches=micro_batches
    )

  def update(self, **values: tf.Tensor | tuple[tf.Tensor, tf.Tensor]) -> None:
    """Adds values, or pairs of values and weights, to the means of these names."""
    for name, value in values.items():
      self._trackers[name].update_state(*(value if isinstance(value, tuple) else (value,)))

  def results(self, names: tuple[str, ...]) -> dict[str, tf.Tensor]:
    """The means of these names so far."""
    return {name: self._trackers[name].result() for name in names}

  def count(self, name: str) -> tf.Tensor:
    """The number of values in a mean, int32: in an evaluation, the images so far."""
    return tf.cast(self._trackers[name].count, tf.int32)


def _plain(figures: Any) -> Any:
  """Metrics as floats: before Keras 3.14 they are tensors or arrays of one number."""
  # A metric of `compile` may be an array.
  return tf.nest.map_structure(lambda one: one if np.ndim(one) else float(one), figures)
