"""The files that a server is started with, as the protos they are, and the page's commands."""

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import time
import urllib.request

import numpy as np
import pytest
import server_files
from google.protobuf import (
  descriptor_pb2,
  descriptor_pool,
  message_factory,
  text_format,
  wrappers_pb2,
)

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


@pytest.fixture
def models(export_dir, tmp_path):
  """A folder of its own with one model."""
  shutil.copytree(export_dir, tmp_path, dirs_exist_ok=True)
  return tmp_path


def model_names(models):
  config = pytest.importorskip(
    "tensorflow_serving.config.model_server_config_pb2",
    reason="pip install --no-deps tensorflow-serving-api",
  )
  message = config.ModelServerConfig()
  text_format.Parse((models / "models.config").read_text(), message)
  for entry in message.model_config_list.config:
    assert entry.base_path == f"/models/{entry.name}"
    assert entry.model_platform == "tensorflow"
  return [entry.name for entry in message.model_config_list.config]


def test_batching_and_monitoring_parse(models):
  assert server_files.write_server_files(models, "digits") == []
  classes = serving_protos()
  batching = text_format.Parse(
    (models / "batching_parameters.txt").read_text(), classes["BatchingParameters"]()
  )
  assert list(batching.allowed_batch_sizes) == [1, 4]
  assert batching.max_batch_size.value == 4
  assert batching.batch_timeout_micros.value > 0
  monitoring = text_format.Parse(
    (models / "monitoring.config").read_text(), classes["MonitoringConfig"]()
  )
  assert monitoring.prometheus_config.enable
  assert monitoring.prometheus_config.path.startswith("/")


def test_models_config_lists_every_model(models, helpers, network):
  server_files.write_server_files(models, "digits")
  assert model_names(models) == ["digits"]
  helpers.write(models, network, name="other")
  (models / "no model").mkdir()
  assert server_files.write_server_files(models, "other") == []
  assert model_names(models) == ["digits", "other"]
  helpers.write(models, network)
  assert server_files.write_server_files(models, "digits") == []
  assert model_names(models) == ["digits", "other"]
  page = (models / "README.md").read_text()
  assert "| digits | 2 |" in page
  assert "| other | 1 |" in page


@pytest.mark.parametrize("file", ["models.config", "batching_parameters.txt", "monitoring.config"])
def test_what_somebody_changed_is_left_alone(models, file):
  server_files.write_server_files(models, "digits")
  changed = (models / file).read_text() + "# mine\n"
  (models / file).write_text(changed)
  assert server_files.write_server_files(models, "digits") == [file]
  assert (models / file).read_text() == changed
  assert {path.name for path in models.iterdir()} == {
    "digits",
    "README.md",
    "models.config",
    "batching_parameters.txt",
    "monitoring.config",
  }


def test_readme(models):
  server_files.write_server_files(models, "digits")
  text = (models / "README.md").read_text()
  assert "| digits | 1 | 40 x 36 x 1 | 10 | 3 | 1.25% |" in text
  for words in ("tensorflow_model_server --port", "docker run", "curl -s -d", "import grpc"):
    assert words in text
  assert str(models) not in text
  # Every file that it names is there.
  for path in re.findall(r"digits/1[\w./]*", text):
    assert (models / path).exists(), path


def test_saved_model_cli_runs_as_the_page_says(models):
  server_files.write_server_files(models, "digits")
  page = (models / "README.md").read_text()
  commands = page.partition("## Try it without a server\n")[2].replace("/tmp/images.npy", "x.npy")
  environment = {
    **os.environ,
    "PATH": f"{pathlib.Path(sys.executable).parent}:{os.environ['PATH']}",
  }
  done = subprocess.run(
    ["bash", "-euo", "pipefail", "-c", commands],
    cwd=models,
    env=environment,
    capture_output=True,
    text=True,
  )
  (models / "x.npy").unlink()
  assert done.returncode == 0, done.stderr
  for name in ("class_id", "probabilities", "locations"):
    assert f"Result for output key {name}:" in done.stdout


def test_the_pages_requests_are_json(models):
  server_files.write_server_files(models, "digits")
  page = (models / "README.md").read_text()
  printing = re.findall(
    r"^    ((?:printf|python -c)(?:.|\n)*?) \|\n +curl -s -d @- (\S+)", page, re.M
  )
  requests = []
  for command, url in printing:
    assert url == "http://localhost:8501/v1/models/digits:predict"
    done = subprocess.run(["bash", "-c", command], cwd=models, capture_output=True, check=True)
    requests.append(json.loads(done.stdout))
  files, pixels = requests
  assert files["signature_name"] == "classify_bytes"
  assert files["instances"][0]["b64"].startswith("iVBOR")
  assert np.shape(pixels["instances"]) == (1, 40, 36, 1)


@pytest.mark.skipif(
  shutil.which("tensorflow_model_server") is None,
  reason="needs tensorflow_model_server on the PATH: Debian package tensorflow-model-server of "
  "TensorFlow Serving, or the binary from its container image tensorflow/serving",
)
def test_a_model_server_serves_it_as_the_page_says(helpers, models, tmp_path):
  server_files.write_server_files(models, "digits")
  page = (models / "README.md").read_text()
  start = re.search(r"^    (tensorflow_model_server(?:.|\n)*?)\n\n", page, re.M).group(1)
  with open(tmp_path / "log", "w") as log:
    server = subprocess.Popen(["bash", "-c", f"exec {start}"], cwd=models, stderr=log)
  try:
    status = "http://localhost:8501/v1/models/digits"
    for _ in range(120):
      time.sleep(0.5)
      try:
        with urllib.request.urlopen(status) as response:
          if "AVAILABLE" in response.read().decode():
            break
      except OSError:
        assert server.poll() is None, (tmp_path / "log").read_text()
    for curl in re.findall(r"^    ((?:printf|python -c)(?:.|\n)*?:predict)$", page, re.M):
      done = subprocess.run(["bash", "-c", curl], cwd=models, capture_output=True, check=True)
      assert json.loads(done.stdout)["predictions"][0]["class_id"] in range(10)
    example = os.fspath(models / "digits/1/assets.extra/example.png")
    answers = [
      helpers.run_program("predict.py", *flags, example).stdout
      for flags in (
        ["--server=localhost:8500", "--name=digits"],
        ["--server=localhost:8501", "--name=digits", "--protocol=rest"],
        [f"--model_dir={models / 'digits/1'}"],
      )
    ]
    assert answers[0] == answers[1] == answers[2] != ""
  finally:
    server.terminate()
    server.wait()
