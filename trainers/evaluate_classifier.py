"""Evaluates a finished run on your own images, and estimates log p(y | image).

python trainers/evaluate_classifier.py --run_dir=DIR [--importance_samples=1000]
"""

import startup  # noqa: F401

# isort: split
import classification
import flag_groups
import own_images
from absl import app

__all__ = ["main"]

own_images.define_flags()
classification.define_evaluation_flags()


def main(argv: list[str]) -> None:
  """Prints the figures as JSON."""
  classification.run_evaluation(
    "evaluate_classifier", argv, lambda: own_images.make_data(own_images.read_settings()).test
  )


if __name__ == "__main__":
  app.run(main, flags_parser=flag_groups.parse)
