"""Prints each estimator's bias and variance, exactly, by enumeration on a small model.

  python -m tests.benchmarks.estimators

The model chooses among six cells of a 2 x 3 grid, once. All tuples of M samples are laid out, so
nothing is drawn: the figures are exact but for rounding. Bias is the distance of the expected
gradient from that of log p(y | image), relative to the latter's norm; the variational estimators
follow another gradient on purpose, that of their bound. Variance is summed over the prediction
network's parameters (and the inference network's), at the same parameters for all.
"""

import keras
import numpy as np
import tensorflow as tf
from absl import app, flags

import wsram_tf
from wsram_tf import objectives
from wsram_tf.classification import diagnostics

_SAMPLES = flags.DEFINE_multi_integer("num_samples", [2, 4], "M; repeatable", lower_bound=2)
_SEED = flags.DEFINE_integer("seed", 4, "of the model's weights and of the image")


def make_learner(estimator: str, seed: int) -> wsram_tf.WakeSleepLearner:
  """A learner whose weights depend on the seed alone: whatever the estimator, they are the same."""
  learner = wsram_tf.WakeSleepLearner(
    wsram_tf.ModelConfig(
      height=12,
      width=12,
      num_classes=3,
      units=6,
      num_glimpses=1,
      context_side=3,
      glimpse=wsram_tf.GlimpseConfig(glimpse_side=4, glimpse_scales=1),
      location=wsram_tf.LocationConfig(location_distribution="grid", grid_rows=2, grid_columns=3),
    ),
    wsram_tf.ObjectiveConfig(estimator=estimator),
  )
  numbers = np.random.default_rng(seed)
  for network in (learner.prediction_network, learner.inference_network, learner.baseline_network):
    for weight in network.trainable_variables if network else []:
      fan_in = weight.shape[0] if len(weight.shape) > 1 else 1
      weight.assign(2.0 * numbers.normal(size=weight.shape) / np.sqrt(fan_in))
  return learner


def main(_) -> None:
  """Prints one row an estimator and M."""
  keras.utils.set_random_seed(_SEED.value)
  image = tf.constant(np.random.default_rng(_SEED.value).uniform(size=[12, 12, 1]), tf.float32)
  print(f"{'estimator':42s}  M  bias / gradient  variance  of the inference network")
  for num_samples in _SAMPLES.value:
    for name in objectives.ESTIMATORS:
      learner = make_learner(name, _SEED.value)
      moments, exact = diagnostics.enumerate_gradient(learner, image, 0, num_samples)
      bias = np.linalg.norm(moments["prediction"].mean - exact) / np.linalg.norm(exact)
      inference = f"{moments['inference'].variance:.4f}" if "inference" in moments else ""
      print(
        f"{name:42s}  {num_samples}  {bias:15.3f}  {moments['prediction'].variance:8.4f}  "
        f"{inference:>24s}",
        flush=True,
      )


if __name__ == "__main__":
  app.run(main)
