"""Trains a wake-sleep recurrent attention model on your own images.

See `python trainers/train_classifier.py --help`;
`wsram_tf/cli/programs/training.py` holds the program.
"""

from wsram_tf.cli.programs.training import train_classifier

if __name__ == "__main__":
  train_classifier()
