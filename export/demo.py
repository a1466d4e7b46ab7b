"""Starts a page in the browser that shows where models look.

See `python export/demo.py --help`;
`wsram_tf/cli/programs/demo.py` holds the program.
"""

from wsram_tf.cli.programs.demo import demo

if __name__ == "__main__":
  demo()
