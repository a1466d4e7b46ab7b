"""The C++ loader's client, on a small model of its own."""

import subprocess
import sys

import cpp_loader
import numpy as np
import pytest
import tensorflow as tf


@pytest.fixture(scope="module")
def small_model(tmp_path_factory):
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

  path = tmp_path_factory.mktemp("small") / "model"
  tf.saved_model.save(module, str(path), signatures={"double": double, "echo": echo})
  return path


def test_numbers(cpp, small_model):
  x = np.array([[1, 2], [3, 4]], np.float32)
  np.testing.assert_array_equal(cpp.run(small_model, "double", x=x)["y"], [[10], [22]])
  assert cpp.run(small_model, "double", x=x[:0])["y"].shape == (0, 1)
  transposed = np.asfortranarray(x)
  np.testing.assert_array_equal(cpp.run(small_model, "double", x=transposed)["y"], [[10], [22]])


def test_strings(cpp, small_model):
  text = np.array([b"", b"short", b"\x00" * 5, b"long " * 1000], object)
  outputs = cpp.run(small_model, "echo", times=np.array([1, 2, 3, 4]), text=text)
  assert outputs["text"].tolist() == text.tolist()
  assert outputs["empty"].tolist() == [b""] * 4
  assert outputs["length"].tolist() == [0, 10, 15, 20000]


def test_errors_carry_their_code(cpp, small_model, tmp_path):
  with pytest.raises(cpp_loader.ServingError, match="expected shape") as error:
    cpp.run(small_model, "double", x=np.zeros([2, 3], np.float32))
  assert error.value.code == "INVALID_ARGUMENT"
  with pytest.raises(cpp_loader.ServingError, match="Could not find SavedModel") as error:
    cpp.run(tmp_path, None)
  assert error.value.code == "NOT_FOUND"


def run_python(code):
  done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
  assert done.returncode == 0, done.stderr
  return done.stdout


def test_wrong_calls_and_what_is_imported(small_model, helpers):
  # In one process, since each loads the libraries anew.
  print_all = f"""
import sys
sys.path.insert(0, {str(helpers.ROOT / "export")!r})
import cpp_loader
import numpy as np
with cpp_loader.LoadedModel({str(small_model)!r}) as model:
  for signature, inputs in [
    ("other", {{}}),
    ("double", {{}}),
    ("double", {{"x": np.zeros([1, 2], np.float32), "z": np.zeros(1)}}),
    ("double", {{"x": np.zeros([1, 2], np.float16)}}),
    ("echo", {{"text": np.array(["no bytes"], object), "times": np.zeros(1, np.int64)}}),
  ]:
    try:
      model.run(signature, inputs)
    except ValueError as error:
      print(error)
import ssl
ssl.create_default_context()
print(sorted(set(sys.modules) & {{"tensorflow", "keras", "wsram_tf"}}))
"""
  lines = run_python(print_all).splitlines()
  assert lines == [
    "signature='other': must be one of double, echo",
    "inputs=[]: must be ['x'] for signature 'double'",
    "inputs=['x', 'z']: must be ['x'] for signature 'double'",
    "dtype='float16': must be one of float32, float64, int32, uint8, string, int64, bool",
    "array: must hold numbers or, as objects, bytes",
    "[]",
  ]
