"""Measures the estimator at each evaluation: gradient variance, distance to the posterior."""

from typing import Any

import keras
import tensorflow as tf

from wsram_tf.classification import diagnostics

__all__ = ["Diagnosis"]

# Pairs of an image and a glimpse sequence that are scored at once.
MOST_ENUMERATED_ROWS = 16_384


class Diagnosis(keras.callbacks.Callback):
  """Adds figures of a classifier's learner on a fixed batch of validation images.

  With `gradient_draws`: `NETWORK_gradient_variance`, summed over the network's parameters. Where
  the glimpse sequences are few enough to enumerate, on as many of the images as that allows:
  `posterior_divergence`, the mean KL(posterior || proposal) in nats, and `exact_log_likelihood`,
  the mean log p(y | image) in nats.

  Args:
    validation: batches of images and labels.
    gradient_draws: draws of samples for the gradient's variance; 0 for none.
    gradient_images: images of the batch.
  """

  def __init__(self, validation: tf.data.Dataset, gradient_draws: int, gradient_images: int):
    super().__init__()
    self.validation = validation
    self.gradient_draws = gradient_draws
    self.gradient_images = gradient_images
    self.probe = None
    self.enumerate: Any = None

  def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
    """Prepares the measurements of the learner."""
    learner = self.model
    batch = next(iter(self.validation.unbatch().padded_batch(self.gradient_images).take(1)))
    if self.gradient_draws:
      self.probe = diagnostics.GradientProbe(learner, *batch, self.gradient_draws)
    sequences = diagnostics.count_sequences(learner)
    if sequences and sequences <= diagnostics.MOST_SEQUENCES:
      few = [part[: max(1, MOST_ENUMERATED_ROWS // sequences)] for part in batch]
      self.enumerate = tf.function(
        lambda: diagnostics.enumerate_model(learner, *few), autograph=False
      )

  def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
    """Adds the figures to those of the evaluation."""
    if self.probe:
      update = int(self.model.optimizer.iterations)
      for network, moments in self.probe.moments(update).items():
        logs[f"{network}_gradient_variance"] = moments.variance
    if self.enumerate:
      exact = self.enumerate()
      logs["posterior_divergence"] = float(tf.reduce_mean(exact.proposal_divergence))
      logs["exact_log_likelihood"] = float(tf.reduce_mean(exact.log_marginal_likelihood))
