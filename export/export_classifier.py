"""Exports a trained classifier for TensorFlow Serving.

See `python export/export_classifier.py --help`;
`wsram_tf/cli/programs/export.py` holds the program.
"""

from wsram_tf.cli.programs.export import export_classifier

if __name__ == "__main__":
  export_classifier()
