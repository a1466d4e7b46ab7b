"""Verifies an export as a model server meets it, and prints a table.

See `python export/verify.py --help`; `wsram_tf/serving/verification` holds the program.
"""

from wsram_tf.serving.verification.__main__ import main

if __name__ == "__main__":
  main()
