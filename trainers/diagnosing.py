"""What an evaluation tells of the estimator: noise of the gradient, distance to the posterior."""

from typing import Any

import flag_groups
import tensorflow as tf
from absl import flags

import wsram_tf
from wsram_tf.classification import diagnostics

__all__ = ["Diagnosis", "define_flags"]

# Pairs of an image and a glimpse sequence that are scored at once.
MOST_ENUMERATED_ROWS = 16_384


def define_flags() -> None:
  """Defines the flags of `Diagnosis`."""
  flag_groups.define_count(
    "gradient_draws",
    0,
    "gradients drawn at each evaluation, at fixed weights, to measure their variance for each "
    "network; 0: none, otherwise 2 or more",
    minimum=0,
  )
  flags.register_validator(
    "gradient_draws", lambda draws: draws == 0 or draws >= 2, "must be 0, or at least 2"
  )
  flag_groups.define_count(
    "gradient_images", 128, "validation canvases that the gradients are drawn on"
  )


class Diagnosis:
  """Figures of a learner on a fixed batch of validation images.

  With `gradient_draws`: `NETWORK_gradient_variance`, summed over the network's parameters. Where
  the glimpse sequences are few enough to enumerate, on as many of the images as that allows:
  `posterior_divergence`, the mean KL(posterior || proposal) in nats, and `exact_log_likelihood`,
  the mean log p(y | image) in nats.

  Args:
    learner: what is measured.
    validation: batches of images and labels.
  """

  def __init__(self, learner: wsram_tf.WakeSleepLearner, validation: tf.data.Dataset):
    self.learner = learner
    count = flags.FLAGS.gradient_images
    self.batch = next(iter(validation.unbatch().batch(count).take(1)))
    self.probe = None
    if flags.FLAGS.gradient_draws:
      self.probe = diagnostics.GradientProbe(learner, *self.batch, flags.FLAGS.gradient_draws)
    self.enumerate: Any = None
    sequences = diagnostics.count_sequences(learner)
    if sequences and sequences <= diagnostics.MOST_SEQUENCES:
      few = [part[: max(1, MOST_ENUMERATED_ROWS // sequences)] for part in self.batch]
      self.enumerate = tf.function(
        lambda: diagnostics.enumerate_model(learner, *few), autograph=False
      )

  def __call__(self, update: int) -> dict[str, float]:
    """The figures after so many updates; empty where no flag asks and nothing can be enumerated."""
    figures = {}
    if self.probe:
      for network, moments in self.probe.moments(update).items():
        figures[f"{network}_gradient_variance"] = moments.variance
    if self.enumerate:
      exact = self.enumerate()
      figures["posterior_divergence"] = float(tf.reduce_mean(exact.proposal_divergence))
      figures["exact_log_likelihood"] = float(tf.reduce_mean(exact.log_marginal_likelihood))
    return figures
