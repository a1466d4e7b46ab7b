"""Times an export as a server would run it: latency of one image, throughput of 64.

  python -m tests.benchmarks.serving

Through the C++ loader, with 1 and with 2 threads, each in a process of its own, since a process
keeps the threads of its first session. An identity model, timed in turn with the signatures, shows
what the calls themselves take.
"""

import multiprocessing
import pathlib
import tempfile
import time

import numpy as np
from absl import app, flags

from wsram_tf.serving import cpp_loader, examples, manifests
from wsram_tf.serving.verification import opened

_MODEL_DIR = flags.DEFINE_string(
  "model_dir", None, "folder of an exported version; otherwise a network with random weights"
)
_UNITS = flags.DEFINE_integer(
  "units", 128, "units of each layer of the network with random weights", lower_bound=1
)
_THREADS = flags.DEFINE_multi_integer(
  "threads", [1, 2], "threads within and between operations; repeatable", lower_bound=1
)
_ROUNDS = flags.DEFINE_integer("rounds", 20, "rounds, each of 50 + 5 requests", lower_bound=1)

BATCHES = {1: 50, 64: 5}  # Requests a round.


def export_identity(model_dir: str, image_shape: tuple[int, int, int]) -> None:
  """Saves a model that gives its images back."""
  import tensorflow as tf

  @tf.function(input_signature=[tf.TensorSpec([None, *image_shape], tf.float32, "images")])
  def serving_default(images):
    return {"images": tf.identity(images)}

  tf.saved_model.save(tf.Module(), model_dir, signatures={"serving_default": serving_default})


def export_random_network(export_dir: str, units: int) -> str:
  """Exports an untrained network of the default shape; returns the version's folder."""
  import keras

  from wsram_tf.classification import ModelConfig, PredictionNetwork
  from wsram_tf.export import export_classifier

  keras.utils.set_random_seed(1)
  network = PredictionNetwork(ModelConfig(units=units))
  return str(export_classifier(network, export_dir, "random", verify=False))


def measure(identity_dir: str, model_dir: str, threads: int, rounds: int) -> dict:
  """Seconds of each request, by (model's signature, batch size)."""
  identity = cpp_loader.LoadedModel(identity_dir, threads)
  model = cpp_loader.LoadedModel(model_dir, threads)
  version = pathlib.Path(model_dir)
  requests = opened.open_export(version, manifests.read_manifest(version)).requests
  named = [("identity", identity, "serving_default", requests["serving_default"])]
  named += [(name, model, name, inputs) for name, inputs in requests.items()]
  cases = {}
  for batch in BATCHES:
    rows = np.arange(batch) % examples.NUM_ROWS
    for title, owner, signature, inputs in named:
      cases[title, batch] = (owner, signature, {key: array[rows] for key, array in inputs.items()})
  seconds = {case: [] for case in cases}
  for round_number in range(rounds + 1):
    for (title, batch), (owner, signature, inputs) in cases.items():
      for _ in range(BATCHES[batch]):
        start = time.perf_counter()
        owner.run(signature, inputs)
        if round_number:  # The first optimises the graph.
          seconds[title, batch].append(time.perf_counter() - start)
  return seconds


def main(_) -> None:
  """Prints one row for each signature and number of threads."""
  with tempfile.TemporaryDirectory() as folder:
    identity_dir, model_dir = f"{folder}/identity", _MODEL_DIR.value
    if model_dir is None:
      model_dir = export_random_network(folder, _UNITS.value)
      print(f"{_UNITS.value} units, random weights")
    facts = manifests.read_manifest(pathlib.Path(model_dir)).facts
    export_identity(identity_dir, facts.image_shape)
    print("threads  signature          1: p50 ms  p99 ms    64: p50 ms  p99 ms  images/s")
    for threads in _THREADS.value:
      with multiprocessing.get_context("spawn").Pool(1) as pool:
        seconds = pool.apply(measure, (identity_dir, model_dir, threads, _ROUNDS.value))
      for title in dict.fromkeys(title for title, _ in seconds):
        one, many = (1e3 * np.percentile(seconds[title, batch], [50, 99]) for batch in BATCHES)
        print(
          f"{threads:7d}  {title:<18s} {one[0]:9.2f} {one[1]:7.2f} {many[0]:13.2f} {many[1]:7.2f} "
          f"{64e3 / many[0]:9.0f}"
        )


if __name__ == "__main__":
  app.run(main)
