"""Exports a trained captioner for TensorFlow Serving, with its backbone and its search.

See `python export/export_captioner.py --help`; `wsram_tf/cli/export.py` holds the program.
"""

from wsram_tf.cli.export import export_captioner

if __name__ == "__main__":
  export_captioner()
