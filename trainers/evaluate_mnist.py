"""Evaluates a finished run, and estimates log p(y | image) by importance sampling.

python trainers/evaluate_mnist.py --run_dir=DIR [--importance_samples=1000]
"""

import startup  # noqa: F401

# isort: split
import classification
import flag_groups
import mnist
from absl import app

__all__ = ["main"]

mnist.define_flags()
classification.define_evaluation_flags()


def main(argv: list[str]) -> None:
  """Prints the figures as JSON."""
  classification.run_evaluation(
    "evaluate_mnist", argv, lambda: mnist.make_data(mnist.read_settings()).test
  )


if __name__ == "__main__":
  app.run(main, flags_parser=flag_groups.parse)
