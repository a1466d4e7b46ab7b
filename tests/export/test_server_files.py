"""The files that a server starts with parse as its messages, and the commands of the page work."""

import importlib
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import time
import unittest
import urllib.request

import numpy as np
import tensorflow as tf
from google.protobuf import (
  descriptor_pb2,
  descriptor_pool,
  message_factory,
  text_format,
  wrappers_pb2,
)

from tests.support.serving import exports
from wsram_tf.export import write_server_files

FIELD = descriptor_pb2.FieldDescriptorProto


def serving_protos():
  """Classes of the two messages that the serving API lacks.

  Names and types are those of TensorFlow Serving's session_bundle_config.proto and
  monitoring_config.proto.
  """
  file = descriptor_pb2.FileDescriptorProto(
    name="server_files.proto",
    package="serving",
    syntax="proto3",
    dependency=[wrappers_pb2.DESCRIPTOR.name],
  )

  def message(name, **fields):
    added = file.message_type.add(name=name)
    for number, (field, (kind, type_name, label)) in enumerate(fields.items(), 1):
      added.field.add(name=field, number=number, type=kind, type_name=type_name, label=label)

  number = (FIELD.TYPE_MESSAGE, ".google.protobuf.Int64Value", FIELD.LABEL_OPTIONAL)
  message(
    "BatchingParameters",
    max_batch_size=number,
    batch_timeout_micros=number,
    max_enqueued_batches=number,
    num_batch_threads=number,
    allowed_batch_sizes=(FIELD.TYPE_INT64, None, FIELD.LABEL_REPEATED),
  )
  message(
    "PrometheusConfig",
    enable=(FIELD.TYPE_BOOL, None, FIELD.LABEL_OPTIONAL),
    path=(FIELD.TYPE_STRING, None, FIELD.LABEL_OPTIONAL),
  )
  message(
    "MonitoringConfig",
    prometheus_config=(FIELD.TYPE_MESSAGE, ".serving.PrometheusConfig", FIELD.LABEL_OPTIONAL),
  )
  pool = descriptor_pool.DescriptorPool()
  pool.AddSerializedFile(wrappers_pb2.DESCRIPTOR.serialized_pb)
  pool.AddSerializedFile(file.SerializeToString())
  return {
    name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"serving.{name}"))
    for name in ("BatchingParameters", "MonitoringConfig")
  }


class ServerFilesTest(tf.test.TestCase):
  def setUp(self):
    super().setUp()
    self.folder = exports.temporary_folder(self)
    self.models = exports.copied_models(self.folder / "models")

  def model_names(self):
    try:
      config = importlib.import_module("tensorflow_serving.config.model_server_config_pb2")
    except ImportError:
      self.skipTest("pip install --no-deps tensorflow-serving-api")
    message = config.ModelServerConfig()
    text_format.Parse((self.models / "models.config").read_text(), message)
    for entry in message.model_config_list.config:
      self.assertEqual(entry.base_path, f"/models/{entry.name}")
      self.assertEqual(entry.model_platform, "tensorflow")
    return [entry.name for entry in message.model_config_list.config]

  def test_batching_and_monitoring_parse(self):
    self.assertEqual(write_server_files(self.models, "digits"), [])
    classes = serving_protos()
    batching = text_format.Parse(
      (self.models / "batching_parameters.txt").read_text(), classes["BatchingParameters"]()
    )
    self.assertEqual(list(batching.allowed_batch_sizes), [1, 4])
    self.assertEqual(batching.max_batch_size.value, 4)
    self.assertGreater(batching.batch_timeout_micros.value, 0)
    monitoring = text_format.Parse(
      (self.models / "monitoring.config").read_text(), classes["MonitoringConfig"]()
    )
    self.assertTrue(monitoring.prometheus_config.enable)
    self.assertStartsWith(monitoring.prometheus_config.path, "/")

  def test_models_config_lists_every_model(self):
    write_server_files(self.models, "digits")
    self.assertEqual(self.model_names(), ["digits"])
    exports.write(self.models, exports.network(), name="other")
    (self.models / "no model").mkdir()
    self.assertEqual(write_server_files(self.models, "other"), [])
    self.assertEqual(self.model_names(), ["digits", "other"])
    exports.write(self.models, exports.network())
    self.assertEqual(write_server_files(self.models, "digits"), [])
    self.assertEqual(self.model_names(), ["digits", "other"])
    page = (self.models / "README.md").read_text()
    self.assertIn("| digits | 2 |", page)
    self.assertIn("| other | 1 |", page)

  def test_changed_files_stay(self):
    for file in ("models.config", "batching_parameters.txt", "monitoring.config"):
      with self.subTest(file=file):
        self.check_changed(file)

  def check_changed(self, file):
    write_server_files(self.models, "digits")
    written = (self.models / file).read_text()
    changed = written + "# mine\n"
    (self.models / file).write_text(changed)
    self.assertEqual(write_server_files(self.models, "digits"), [file])
    self.assertEqual((self.models / file).read_text(), changed)
    self.assertEqual(
      {path.name for path in self.models.iterdir()},
      {
        "digits",
        "README.md",
        "models.config",
        "batching_parameters.txt",
        "monitoring.config",
      },
    )
    (self.models / file).write_text(written)

  def test_readme(self):
    write_server_files(self.models, "digits")
    text = (self.models / "README.md").read_text()
    self.assertIn("| digits | 1 | 40 x 36 x 1 | 10 | 2 | 1.25% |", text)
    for words in ("tensorflow_model_server --port", "docker run", "curl -s -d", "import grpc"):
      self.assertIn(words, text)
    self.assertNotIn(str(self.models), text)
    # Every file that it names is there.
    for path in re.findall(r"digits/1[\w./]*", text):
      self.assertTrue((self.models / path).exists(), path)

  def test_saved_model_cli_runs_as_the_page_says(self):
    write_server_files(self.models, "digits")
    page = (self.models / "README.md").read_text()
    commands = page.partition("## Try it without a server\n")[2].replace("/tmp/images.npy", "x.npy")
    environment = {
      **os.environ,
      "PATH": f"{pathlib.Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    done = subprocess.run(
      ["bash", "-euo", "pipefail", "-c", commands],
      cwd=self.models,
      env=environment,
      capture_output=True,
      text=True,
    )
    (self.models / "x.npy").unlink()
    self.assertEqual(done.returncode, 0, done.stderr)
    for name in ("class_id", "probabilities", "locations"):
      self.assertIn(f"Result for output key {name}:", done.stdout)

  def test_the_pages_requests_are_json(self):
    write_server_files(self.models, "digits")
    page = (self.models / "README.md").read_text()
    printing = re.findall(
      r"^    ((?:printf|python -c)(?:.|\n)*?) \|\n +curl -s -d @- (\S+)", page, re.M
    )
    requests = []
    for command, url in printing:
      self.assertEqual(url, "http://localhost:8501/v1/models/digits:predict")
      done = subprocess.run(
        ["bash", "-c", command], cwd=self.models, capture_output=True, check=True
      )
      requests.append(json.loads(done.stdout))
    files, pixels = requests
    self.assertEqual(files["signature_name"], "classify_bytes")
    self.assertStartsWith(files["instances"][0]["b64"], "iVBOR")
    self.assertEqual(np.shape(pixels["instances"]), (1, 40, 36, 1))

  @unittest.skipIf(
    shutil.which("tensorflow_model_server") is None,
    "needs tensorflow_model_server on the PATH: Debian package tensorflow-model-server of "
    "TensorFlow Serving, or the binary from its container image tensorflow/serving",
  )
  def test_a_model_server_serves_it_as_the_page_says(self):
    write_server_files(self.models, "digits")
    page = (self.models / "README.md").read_text()
    start = re.search(r"^    (tensorflow_model_server(?:.|\n)*?)\n\n", page, re.M).group(1)
    with open(self.folder / "log", "w") as log:
      server = subprocess.Popen(["bash", "-c", f"exec {start}"], cwd=self.models, stderr=log)
    try:
      status = "http://localhost:8501/v1/models/digits"
      for _ in range(120):
        time.sleep(0.5)
        try:
          with urllib.request.urlopen(status) as response:
            if "AVAILABLE" in response.read().decode():
              break
        except OSError:
          self.assertIsNone(server.poll(), (self.folder / "log").read_text())
      for curl in re.findall(r"^    ((?:printf|python -c)(?:.|\n)*?:predict)$", page, re.M):
        done = subprocess.run(
          ["bash", "-c", curl], cwd=self.models, capture_output=True, check=True
        )
        self.assertIn(json.loads(done.stdout)["predictions"][0]["class_id"], range(10))
      example = os.fspath(self.models / "digits/1/assets.extra/example.png")
      answers = [
        exports.run_program("predict.py", *flags, example).stdout
        for flags in (
          ["--server=localhost:8500", "--name=digits"],
          ["--server=localhost:8501", "--name=digits", "--protocol=rest"],
          [f"--model_dir={self.models / 'digits/1'}"],
        )
      ]
      self.assertTrue(answers[0] == answers[1] == answers[2] != "")
    finally:
      server.terminate()
      server.wait()


if __name__ == "__main__":
  tf.test.main()
