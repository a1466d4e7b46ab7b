"""Runs a program by its name: `python -m wsram_tf.cli train_mnist --flagfile=quickstart`."""

import importlib
import sys

__all__ = ["PROGRAMS", "main"]

# The module of each program.
PROGRAMS = {
  "train_mnist": "training",
  "train_classifier": "training",
  "train_captions": "training",
  "evaluate": "evaluation",
  "compare": "comparison",
  "reproduce_paper": "paper",
  "export_classifier": "export",
  "export_captioner": "export",
  "verify": "export",
  "predict": "prediction",
  "demo": "demo",
  "make_pyramids": "pyramids",
}


def main() -> None:
  """Runs the program that the first argument names."""
  name = sys.argv[1] if len(sys.argv) > 1 else ""
  if name not in PROGRAMS:
    sys.exit(f"program={name!r}: must be one of {', '.join(PROGRAMS)}")
  module = importlib.import_module(f"wsram_tf.cli.programs.{PROGRAMS[name]}")
  getattr(module, name)(sys.argv[2:])


if __name__ == "__main__":
  main()
