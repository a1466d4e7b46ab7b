"""Evaluates a finished run, and estimates log p(y | image) by importance sampling.

python trainers/evaluate_mnist.py --run_dir=DIR [--importance_samples=1000]
"""

import json
import os
import sys

# Before TensorFlow is imported: its start-up notes would bury the first lines.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import mnist
import numpy as np
import tensorflow as tf
from absl import app, flags
from run_folder import RunFolder

import wsram_tf

__all__ = ["main"]

# Glimpse sequences an image that are held in memory at once.
CHUNK = 10

mnist.define_flags()
_RUN_DIR = flags.DEFINE_string("run_dir", None, "folder of the finished run", required=True)
_IMPORTANCE_SAMPLES = flags.DEFINE_integer(
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

  @tf.function
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


def main(_: list[str]) -> None:
  """Prints the figures as JSON."""
  try:
    run = RunFolder(_RUN_DIR.value)
    if not run.model.exists():
      raise ValueError(f"run_dir={run.path}: holds no finished run, {run.model.name} is missing")
    lines = [  # Without those of the training alone.
      line
      for line in run.flagfile.read_text().splitlines()
      if line.lstrip("-").split("=")[0] in flags.FLAGS
    ]
    # The command line stands last, so that what it says goes before what the run said.
    flags.FLAGS(sys.argv[:1] + lines + sys.argv[1:])
    settings = mnist.read_settings()
    test = mnist.test_canvases(settings, mnist.load(settings))
    learner = mnist.load_learner(run.model)
    results = mnist.score(learner, test)
    if _IMPORTANCE_SAMPLES.value:
      mean, error = log_marginal_likelihood(learner, test, _IMPORTANCE_SAMPLES.value)
      results["test_log_marginal_likelihood_nats"] = mean
      results["standard_error_nats"] = error
      results["importance_samples"] = _IMPORTANCE_SAMPLES.value
    print(json.dumps(results, indent=2))
  except (ValueError, FileNotFoundError) as error:
    sys.exit(f"evaluate_mnist: {error}")


if __name__ == "__main__":
  app.run(main)
