"""Trains a wake-sleep recurrent attention model on digits at random places and scales.

python trainers/train_mnist.py --flagfile=trainers/flagfiles/quickstart.flags [--run_dir=DIR]
"""

import startup  # noqa: F401

# isort: split
import classification
import diagnosing
import flag_groups
import mnist
import training
from absl import app
from run_folder import RunFolder

__all__ = ["main"]

mnist.define_flags()
training.define_flags(batch_size=128)
diagnosing.define_flags()


def train(settings: mnist.Settings, run: RunFolder, lines: list[str]) -> None:
  """Trains on the canvases that the settings describe."""
  classification.train(settings, mnist.make_data(settings), run, lines)


def main(argv: list[str]) -> None:
  """Checks everything that can be checked, then trains."""
  training.run_program("train_mnist", argv, mnist.read_settings, train)


if __name__ == "__main__":
  app.run(main, flags_parser=flag_groups.parse)
