"""Trains a wake-sleep recurrent attention model on digits at random places and scales.

See `python trainers/train_mnist.py --help`;
`wsram_tf/cli/programs/training.py` holds the program.
"""

from wsram_tf.cli.programs.training import train_mnist

if __name__ == "__main__":
  train_mnist()
