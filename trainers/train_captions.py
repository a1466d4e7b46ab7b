"""Trains a model that describes images, with one hard glimpse before each word.

See `python trainers/train_captions.py --help`;
`wsram_tf/cli/programs/training.py` holds the program.
"""

from wsram_tf.cli.programs.training import train_captions

if __name__ == "__main__":
  train_captions()
