"""Trains a wake-sleep recurrent attention model on your own images.

python trainers/train_classifier.py --image_dir=DIR [--run_dir=DIR]   a folder for each class
python trainers/train_classifier.py --dataset=NAME --data_dir=DIR     of TensorFlow Datasets
python trainers/train_classifier.py --flagfile=trainers/flagfiles/needle_small.flags
"""

import startup  # noqa: F401

# isort: split
import classification
import diagnosing
import flag_groups
import own_images
import training
from absl import app
from run_folder import RunFolder

__all__ = ["main"]

own_images.define_flags()
training.define_flags(batch_size=128)
diagnosing.define_flags()


def train(settings: classification.Settings, run: RunFolder, lines: list[str]) -> None:
  """Trains on the images that the settings name."""
  classification.train(settings, own_images.make_data(settings), run, lines)


def main(argv: list[str]) -> None:
  """Checks everything that can be checked, then trains."""
  training.run_program("train_classifier", argv, own_images.read_settings, train)


if __name__ == "__main__":
  app.run(main, flags_parser=flag_groups.parse)
