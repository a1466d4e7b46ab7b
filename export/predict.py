"""Describes image files by the answers of a model: a class, or a caption.

See `python export/predict.py --help`;
`wsram_tf/cli/programs/prediction` holds the program.
"""

from wsram_tf.cli.programs.prediction import predict

if __name__ == "__main__":
  predict()
