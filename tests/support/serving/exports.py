"""Makes exports for tests, and runs them and the programs in processes of their own."""

import atexit
import contextlib
import functools
import io
import json
import os
import pathlib
import pickle
import shutil
import subprocess
import sys
import tempfile

import keras

from tests.support.programs import ROOT, small_files
from wsram_tf.classification import (
  GlimpseConfig,
  LocationConfig,
  ModelConfig,
  PredictionNetwork,
  WakeSleepLearner,
)
from wsram_tf.cli.programs import prediction
from wsram_tf.export import build_signatures, export_classifier, write_version
from wsram_tf.serving import ServingError, manifests

__all__ = [
  "ENVIRONMENT",
  "ROOT",
  "CppProcess",
  "built_signatures",
  "choosing_network",
  "choosing_version",
  "copied_models",
  "cpp",
  "export_dir",
  "make_facts",
  "make_network",
  "model_dir",
  "network",
  "one_glimpse_network",
  "predict",
  "run_dir",
  "run_program",
  "temporary_folder",
  "write",
  "write_other_weights",
]

ENVIRONMENT = {**os.environ, "PYTHONPATH": os.fspath(ROOT)}
ENVIRONMENT.pop("TF_CPP_MIN_LOG_LEVEL", None)  # The programs set it themselves.


class CppProcess:
  """Runs exports through the C++ loader in a process of its own; see cpp_process.py."""

  def __init__(self):
    self._process = subprocess.Popen(
      [sys.executable, os.fspath(ROOT / "tests/support/serving/cpp_process.py")],
      stdin=subprocess.PIPE,
      stdout=subprocess.PIPE,
      env=ENVIRONMENT,
    )
    atexit.register(self.close)

  def _ask(self, function, *arguments):
    pickle.dump((function, arguments), self._process.stdin)
    self._process.stdin.flush()
    return pickle.load(self._process.stdout)

  def run(self, model_dir, signature, **inputs):
    """The outputs of an export; raises `ServingError` where it refuses."""
    answer = self._ask("run", os.fspath(model_dir), signature, inputs)
    if isinstance(answer, tuple):
      raise ServingError(*answer)
    return answer

  def verify(self, model_dir):
    """The findings of the verification: {check: (whether it passed, detail)}."""
    return {name: found for name, *found in self._ask("check", os.fspath(model_dir))}

  def close(self):
    self._process.communicate()


@functools.cache
def cpp():
  """The process that runs and verifies exports, one for all tests."""
  return CppProcess()


def predict(*arguments, largest_file=None):
  """Runs the program predict: returns the printed text, and what it wrote of errors.

  Args:
    *arguments: its command line.
    largest_file: bytes that a file can hold, as on a full disk; None for no limit.
  """
  limit = small_files(largest_file) if largest_file else contextlib.nullcontext()
  printed, errors = io.StringIO(), io.StringIO()
  try:
    with limit, contextlib.redirect_stdout(printed), contextlib.redirect_stderr(errors):
      prediction.predict([os.fspath(argument) for argument in arguments])
  except SystemExit as end:
    return printed.getvalue(), f"{errors.getvalue()}{end.code}"
  return printed.getvalue(), errors.getvalue()


def make_network(seed=1, **config):
  keras.utils.set_random_seed(seed)
  settings = {"height": 40, "width": 36, "units": 48, "num_glimpses": 2, **config}
  glimpse = settings.pop("glimpse", GlimpseConfig(glimpse_side=8))
  network = PredictionNetwork(ModelConfig(glimpse=glimpse, **settings))
  # Fresh biases are zero and would hide a wrong one.
  for weight in network.weights:
    weight.assign_add(0.1 * keras.random.normal(weight.shape))
  return network


def make_facts(network, name="digits", **fields):
  config = network.config
  return manifests.ClassifierFacts(
    **{
      "name": name,
      "source": "test",
      "test_error_percent": 1.25,
      "height": config.height,
      "width": config.width,
      "channels": config.channels,
      "num_classes": config.num_classes,
      "num_glimpses": config.num_glimpses,
      "glimpse_side": config.glimpse.glimpse_side,
      "glimpse_scales": config.glimpse.glimpse_scales,
      "choose_scale": config.glimpse.chooses_scale,
      "averaged_samples": 5,
      "allowed_batch_sizes": [1, 4],
      **fields,
    }
  )


@functools.cache
def built_signatures(network):
  """The signatures of a network whose weights stay as they are."""
  return build_signatures(network, averaged_samples=5)


def write(export_dir, network, name="digits", verify=None, signatures=()):
  """Writes a version of a network: all signatures, or those that are named."""
  module, functions = built_signatures(network)
  functions = {key: functions[key] for key in signatures or functions}
  return write_version(export_dir, module, functions, make_facts(network, name), verify)


def write_other_weights(export_dir, **options):
  """Writes a version with the functions of `network()` and other weights; see `write`."""
  module, _ = built_signatures(network())
  before = [variable.numpy() for variable in module.variables]
  for variable in module.variables:
    variable.assign(0.9 * variable)
  try:
    return write(export_dir, network(), **options)
  finally:
    for variable, value in zip(module.variables, before, strict=True):
      variable.assign(value)


@functools.cache
def network():
  """A network that tests leave as it is."""
  return make_network()


@functools.cache
def one_glimpse_network():
  """A network of one glimpse, which is traced and optimised soonest; tests leave it as it is."""
  return make_network(num_glimpses=1)


@functools.cache
def export_dir():
  """A folder of models with one exported version; tests only read it."""
  path = pathlib.Path(tempfile.mkdtemp())
  atexit.register(shutil.rmtree, path)
  write(path, network())
  return path


def model_dir():
  """The version in `export_dir`."""
  return export_dir() / "digits" / "1"


@functools.cache
def choosing_network():
  """A network whose glimpses choose among three scales; tests leave it as it is."""
  glimpse = GlimpseConfig(8, 3, choose_scale=True)
  return make_network(cell="relu", glimpse=glimpse, location=LocationConfig("keyed_grid"))


@functools.cache
def choosing_version():
  """An export of `choosing_network()`, which no verification has seen; tests only read it."""
  path = pathlib.Path(tempfile.mkdtemp())
  atexit.register(shutil.rmtree, path)
  return export_classifier(
    choosing_network(), path, "digits", allowed_batch_sizes=(1, 4), verify=False
  )


@functools.cache
def run_dir():
  """The folder of a run of a classifier with one glimpse; tests only read it."""
  path = pathlib.Path(tempfile.mkdtemp()) / "small run"
  atexit.register(shutil.rmtree, path.parent)
  path.mkdir()
  learner = WakeSleepLearner(one_glimpse_network().config)
  learner.compile(keras.optimizers.Adam(1e-3), jit_compile=True)
  learner.save(path / "model.keras")
  (path / "results.json").write_text(json.dumps({"test_error_percent": 12.5}))
  return path


def copied_models(path):
  """Copies `export_dir` into a folder."""
  return pathlib.Path(shutil.copytree(export_dir(), path, dirs_exist_ok=True))


def temporary_folder(test):
  """A folder that is removed when a test case ends."""
  folder = tempfile.TemporaryDirectory()
  test.addCleanup(folder.cleanup)
  return pathlib.Path(folder.name)


def run_program(name, *arguments):
  """Runs a program of export/ as a user does."""
  command = [sys.executable, os.fspath(ROOT / "export" / name), *map(os.fspath, arguments)]
  return subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT, check=False)
