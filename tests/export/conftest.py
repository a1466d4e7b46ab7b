import functools
import os
import pathlib
import pickle
import resource
import subprocess
import sys

import cpp_loader
import keras
import manifests
import pytest
import saved_model
import signatures

import wsram_tf

ROOT = pathlib.Path(__file__).parents[2]


class CppProcess:
  """Runs exports through the C++ loader in a process of its own; see cpp_process.py."""

  def __init__(self):
    self._process = subprocess.Popen(
      [sys.executable, os.fspath(ROOT / "tests/export/cpp_process.py")],
      stdin=subprocess.PIPE,
      stdout=subprocess.PIPE,
      env={**os.environ, "PYTHONPATH": os.fspath(ROOT / "export")},
    )

  def _ask(self, function, *arguments):
    pickle.dump((function, arguments), self._process.stdin)
    self._process.stdin.flush()
    return pickle.load(self._process.stdout)

  def run(self, model_dir, signature, **inputs):
    """What the export answers; raises `ServingError` where it refuses."""
    answer = self._ask("run", os.fspath(model_dir), signature, inputs)
    if isinstance(answer, tuple):
      raise cpp_loader.ServingError(*answer)
    return answer

  def verify(self, model_dir):
    """What verify.py finds: {check: (whether it passed, detail)}."""
    return {name: found for name, *found in self._ask("check", os.fspath(model_dir))}

  def close(self):
    self._process.communicate()


@pytest.fixture(scope="session")
def cpp():
  process = CppProcess()
  yield process
  process.close()


def make_network(seed=1, **config):
  keras.utils.set_random_seed(seed)
  settings = {"height": 40, "width": 36, "units": 48, "num_glimpses": 3, **config}
  glimpse = settings.pop("glimpse", wsram_tf.GlimpseConfig(glimpse_side=8))
  network = wsram_tf.PredictionNetwork(wsram_tf.ModelConfig(glimpse=glimpse, **settings))
  # Fresh biases are zero, and so would be what a wrong one changes.
  for weight in network.weights:
    weight.assign_add(0.1 * keras.random.normal(weight.shape))
  return network


def make_draft(network, name="digits", **fields):
  config = network.config
  return manifests.ClassifierManifest(
    **{
      "name": name,
      "version": 0,
      "source": "test",
      "test_error_percent": 1.25,
      "height": config.height,
      "width": config.width,
      "channels": config.channels,
      "num_classes": config.num_classes,
      "num_glimpses": config.num_glimpses,
      "glimpse_side": config.glimpse.glimpse_side,
      "glimpse_scales": config.glimpse.glimpse_scales,
      "averaged_samples": 5,
      "allowed_batch_sizes": [1, 4],
      "weight_bytes": 0,
      "contract": {},
      "files": {},
      **fields,
    }
  )


@functools.cache
def built_signatures(network):
  """The signatures of a network whose weights stay as they are."""
  return signatures.build_signatures(network, averaged_samples=5)


def write(export_dir, network, name="digits", verify=None):
  module, functions = built_signatures(network)
  return saved_model.write_version(export_dir, module, functions, make_draft(network, name), verify)


def run_program(name, *arguments):
  """Runs a program of export/ as a user does."""
  program = os.fspath(ROOT / "export" / name)
  return subprocess.run([sys.executable, program, *arguments], capture_output=True, text=True)


def run_with_small_files(name, size, *arguments):
  """Runs a program that can write no file beyond so many bytes, as on a disk that is full."""
  program = os.fspath(ROOT / "export" / name)
  limit = (size, resource.getrlimit(resource.RLIMIT_FSIZE)[1])
  start = f"import resource, runpy, sys; resource.setrlimit(resource.RLIMIT_FSIZE, {limit}); "
  start += "sys.argv[:] = sys.argv[1:]; sys.path.insert(0, sys.argv[0].rpartition('/')[0]); "
  start += "runpy.run_path(sys.argv[0], run_name='__main__')"
  command = [sys.executable, "-c", start, program, *arguments]
  return subprocess.run(command, capture_output=True, text=True)


@pytest.fixture(scope="session")
def helpers():
  return sys.modules[__name__]


@pytest.fixture(scope="session")
def network():
  return make_network()


@pytest.fixture(scope="session")
def export_dir(tmp_path_factory, network):
  """A folder of models with one exported version; tests only read it."""
  path = tmp_path_factory.mktemp("models")
  write(path, network)
  return path


@pytest.fixture(scope="session")
def model_dir(export_dir):
  return export_dir / "digits" / "1"
