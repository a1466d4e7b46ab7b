"""The C++ loader's client, on a small model of its own."""

import atexit
import functools
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

import numpy as np
import tensorflow as tf

from tests.support.serving import exports
from wsram_tf.serving import ServingError


@functools.cache
def small_model():
  module = tf.Module()
  module.weight = tf.Variable([[1.0], [2.0]])

  @tf.function(input_signature=[tf.TensorSpec([None, 2], tf.float32, "x")])
  def double(x):
    return {"y": 2 * tf.ensure_shape(x, [None, 2]) @ module.weight}

  @tf.function(
    input_signature=[
      tf.TensorSpec([None], tf.string, "text"),
      tf.TensorSpec([None], tf.int64, "times"),
    ]
  )
  def echo(text, times):
    return {
      "text": tf.identity(text),
      "length": tf.cast(tf.strings.length(text), tf.int64) * times,
      "empty": tf.strings.substr(text, 0, 0),
    }

  path = pathlib.Path(tempfile.mkdtemp())
  atexit.register(shutil.rmtree, path)
  tf.saved_model.save(module, os.fspath(path), signatures={"double": double, "echo": echo})
  return path


# In one process, since each loads the libraries anew.
WRONG_CALLS = """
import sys
import numpy as np
from wsram_tf.serving import LoadedModel
with LoadedModel(sys.argv[1]) as model:
  for signature, inputs in [
    ("other", {}),
    ("double", {}),
    ("double", {"x": np.zeros([1, 2], np.float32), "z": np.zeros(1)}),
    ("double", {"x": np.zeros([1, 2], np.float16)}),
    ("echo", {"text": np.array(["no bytes"], object), "times": np.zeros(1, np.int64)}),
  ]:
    try:
      model.run(signature, inputs)
    except ValueError as error:
      print(error)
  # Bytes in the other order; `exports.cpp()` would turn them around on the way.
  print(model.run("double", {"x": np.array([[1, 2]], ">f4")})["y"].item())
import ssl
ssl.create_default_context()
print(sorted(set(sys.modules) & {"tensorflow", "keras"}))
"""

CLOSED_AND_LEFT = """
import sys, threading
import numpy as np
from wsram_tf.serving import LoadedModel

def resident_megabytes():
  with open("/proc/self/status") as file:
    return int(next(line for line in file if line.startswith("VmRSS")).split()[1]) / 1e3

model, answered, refused = LoadedModel(sys.argv[1]), [], []
x = np.ones([400_000, 2], np.float32)
begun = threading.Barrier(4)

def ask():
  begun.wait()
  try:
    while True:
      answered.append(model.run("double", {"x": x})["y"][-1, 0])
  except ValueError as error:
    refused.append(str(error))

askers = [threading.Thread(target=ask) for _ in range(3)]
for asker in askers:
  asker.start()
begun.wait()
while len(answered) < 6:
  pass
model.close()
for asker in askers:
  asker.join()
model.close()
print([float(answer) for answer in set(answered)])
print(list(set(refused)))

with LoadedModel(sys.argv[1]) as model:
  before = resident_megabytes()
  for _ in range(50):
    try:
      model.run("echo", {"times": np.zeros([1_000_000], np.int64), "text": np.array([1], object)})
    except ValueError:
      pass
  print(resident_megabytes() - before)
before = resident_megabytes()
for _ in range(60):
  LoadedModel(sys.argv[1]).run("double", {"x": x[:1]})
print(resident_megabytes() - before)
"""


class CppLoaderTest(tf.test.TestCase):
  def test_numbers(self):
    cpp, model = exports.cpp(), small_model()
    x = np.array([[1, 2], [3, 4]], np.float32)
    self.assertAllEqual(cpp.run(model, "double", x=x)["y"], [[10], [22]])
    self.assertEqual(cpp.run(model, "double", x=x[:0])["y"].shape, (0, 1))
    self.assertAllEqual(cpp.run(model, "double", x=np.asfortranarray(x))["y"], [[10], [22]])

  def test_strings(self):
    text = np.array([b"", b"short", b"\x00" * 5, b"long " * 1000], object)
    outputs = exports.cpp().run(small_model(), "echo", times=np.array([1, 2, 3, 4]), text=text)
    self.assertEqual(outputs["text"].tolist(), text.tolist())
    self.assertEqual(outputs["empty"].tolist(), [b""] * 4)
    self.assertEqual(outputs["length"].tolist(), [0, 10, 15, 20000])

  def test_errors_carry_their_code(self):
    with self.assertRaisesRegex(ServingError, "expected shape") as caught:
      exports.cpp().run(small_model(), "double", x=np.zeros([2, 3], np.float32))
    self.assertEqual(caught.exception.code, "INVALID_ARGUMENT")
    with self.assertRaisesRegex(ServingError, "Could not find SavedModel") as caught:
      exports.cpp().run(exports.temporary_folder(self), None)
    self.assertEqual(caught.exception.code, "NOT_FOUND")

  def test_wrong_calls_and_imports(self):
    done = subprocess.run(
      [sys.executable, "-c", WRONG_CALLS, os.fspath(small_model())],
      capture_output=True,
      text=True,
      env=exports.ENVIRONMENT,
      check=False,
    )
    self.assertEqual(done.returncode, 0, done.stderr)
    expected = [
      "signature='other': must be one of double, echo",
      "inputs=[]: must be ['x'] for signature 'double'",
      "inputs=['x', 'z']: must be ['x'] for signature 'double'",
      "dtype='float16': must be one of float32, float64, int32, uint8, string, int64, bool",
      "array: must hold numbers or, as objects, bytes",
      "10.0",
      "[]",
    ]
    self.assertEqual(done.stdout.splitlines(), expected)

  def test_closing_waits_for_answers_and_no_memory_stays(self):
    done = subprocess.run(
      [sys.executable, "-c", CLOSED_AND_LEFT, os.fspath(small_model())],
      capture_output=True,
      text=True,
      env=exports.ENVIRONMENT,
      check=False,
    )
    self.assertEqual(done.returncode, 0, done.stderr)
    answers, refusals, of_requests, of_models = done.stdout.splitlines()
    self.assertEqual(answers, "[6.0]")
    self.assertEqual(refusals, "['model: must be open; it has been closed']")
    self.assertLess(float(of_requests), 100)  # MB; the tensors of the requests have 400.
    self.assertLess(float(of_models), 5)


if __name__ == "__main__":
  tf.test.main()
