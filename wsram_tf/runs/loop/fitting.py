"""The training loop from any update on, also from one between two evaluations."""

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from wsram_tf.learning.base_learner import BaseLearner
from wsram_tf.runs import distribution
from wsram_tf.runs.loop import intervals
from wsram_tf.runs.loop.intervals import Interval

__all__ = ["fit_from"]


def fit_from(
  start: int,
  learner: BaseLearner,
  fit: Callable[..., Any],
  make_data: Callable[[int], tf.data.Dataset],
  validation_data: tf.data.Dataset,
  callbacks: list[keras.callbacks.Callback],
  *,
  every: int,
  updates: int,
  interval: Interval | None = None,
) -> None:
  """Trains from any update to the end, with an evaluation at each multiple of `every`.

  Args:
    start: updates made before.
    learner: the learner.
    fit: the learner's `fit`, or one like it.
    make_data: makes the endless training data from an update on.
    validation_data: the data of the evaluations.
    callbacks: of `fit`.
    every: updates between evaluations.
    updates: length of the training, a multiple of `every`.
    interval: what a stopped run did since its last evaluation; None if nothing.
  """
  if interval and start % every == 0:
    _evaluate_interval(learner, validation_data, callbacks, start // every - 1, interval)
  # An interval that a stop has cut, then all others.
  rest = -start % every
  for begin, end, steps in ((start, start + rest, rest), (start + rest, updates, every)):
    if begin < end:
      fit(
        make_data(begin),
        initial_epoch=begin // every,
        epochs=end // every,
        steps_per_epoch=steps,
        validation_data=validation_data,
        callbacks=callbacks,
      )


def _evaluate_interval(
  learner: BaseLearner,
  validation_data: tf.data.Dataset,
  callbacks: list[keras.callbacks.Callback],
  epoch: int,
  interval: Interval,
) -> None:
  """Makes the evaluation that a run was stopped before, as `fit` does."""
  intervals.restore(interval, learner)
  called = keras.callbacks.CallbackList(callbacks, model=learner)
  called.on_train_begin()  # Some prepare what they measure.
  figures = distribution.training_figures(learner)
  if learner.on_nan == "skip":
    figures["skipped_updates"] = float(interval.skipped)
  validation = learner.evaluate(validation_data, return_dict=True, verbose=0, callbacks=called)
  figures |= {f"val_{name}": value for name, value in validation.items()}
  called.on_epoch_end(epoch, figures)
