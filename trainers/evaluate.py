"""Evaluates a finished run of any training program.

See `python trainers/evaluate.py --help`;
`wsram_tf/cli/programs/evaluation.py` holds the program.
"""

from wsram_tf.cli.programs.evaluation import evaluate

if __name__ == "__main__":
  evaluate()
