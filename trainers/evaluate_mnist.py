"""Evaluates a finished run, and estimates log p(y | image) by importance sampling.

python trainers/evaluate_mnist.py --run_dir=DIR [--importance_samples=1000]
"""

import os

# Before TensorFlow is imported: its start-up notes would bury the first lines.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import classification
import flag_groups
import mnist
from absl import app

__all__ = ["main"]

mnist.define_flags()
classification.define_evaluation_flags()


def main(_: list[str]) -> None:
  """Prints the figures as JSON."""
  classification.run_evaluation(
    "evaluate_mnist", lambda: mnist.make_data(mnist.read_settings()).test
  )


if __name__ == "__main__":
  app.run(main, flags_parser=flag_groups.parse)
