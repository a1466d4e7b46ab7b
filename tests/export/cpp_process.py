"""A process that runs and verifies exports through the C++ loader, answering pickled requests.

The tests' own process has TensorFlow's Python package in it, and switching XLA off for the C++
runtime would switch it off for the other tests too.
"""

import pickle
import sys

import cpp_loader
from verification import Verification

models = {}


def run(model_dir, signature, inputs):
  """What a signature answers; None where none is asked, after the export was loaded."""
  if model_dir not in models:
    models[model_dir] = cpp_loader.LoadedModel(model_dir)
  return models[model_dir].run(signature, inputs) if signature else None


def check(model_dir):
  """The lines of verify.py's table, each (name, whether it passed, detail)."""
  return [tuple(line) for line in Verification(model_dir).run()]


def main():
  while True:
    try:
      function, arguments = pickle.load(sys.stdin.buffer)
    except EOFError:
      return
    try:
      answer = {"run": run, "check": check}[function](*arguments)
    except cpp_loader.ServingError as error:
      answer = error.code, error.message
    pickle.dump(answer, sys.stdout.buffer)
    sys.stdout.buffer.flush()


if __name__ == "__main__":
  main()
