"""Compares estimators: one run for each estimator and seed, one table, plots.

See `python trainers/compare.py --help`;
`wsram_tf/cli/programs/comparison.py` holds the program.
"""

from wsram_tf.cli.programs.comparison import compare

if __name__ == "__main__":
  compare()
