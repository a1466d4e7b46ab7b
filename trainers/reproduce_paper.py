"""Repeats the experiments of the paper, and writes its figures beside those of the runs.

See `python trainers/reproduce_paper.py --help`;
`wsram_tf/cli/programs/paper.py` holds the program.
"""

from wsram_tf.cli.programs.paper import reproduce_paper

if __name__ == "__main__":
  reproduce_paper()
