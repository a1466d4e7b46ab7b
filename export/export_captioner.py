"""Exports a trained captioner for TensorFlow Serving, with its backbone and its search.

See `python export/export_captioner.py --help`;
`wsram_tf/cli/programs/export.py` holds the program.
"""

from wsram_tf.cli.programs.export import export_captioner

if __name__ == "__main__":
  export_captioner()
