"""Writes pyramids of large image files, for classifiers that read regions of them.

See `python trainers/make_pyramids.py --help`;
`wsram_tf/cli/programs/pyramids.py` holds the program.
"""

from wsram_tf.cli.programs.pyramids import make_pyramids

if __name__ == "__main__":
  make_pyramids()
