"""A process that runs and verifies exports through the C++ loader, answering pickled requests.

The process of the tests holds TensorFlow's Python package. The C++ loader would switch XLA off for
all tests there.
"""

import pickle
import sys

from wsram_tf.serving import cpp_loader
from wsram_tf.serving.verification import verify

models = {}


def run(model_dir, signature, inputs):
  """Answers a request; returns None without signature, once the export is loaded."""
  if model_dir not in models:
    models[model_dir] = cpp_loader.LoadedModel(model_dir)
  return models[model_dir].run(signature, inputs) if signature else None


def check(model_dir):
  """Verifies an export: the lines of the table, each (name, whether it passed, detail)."""
  return [tuple(line) for line in verify(model_dir)]


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
