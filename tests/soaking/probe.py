"""Times single requests, in the process that soaks and in a fresh one, window by window.

A busy machine slows both alike, so their ratio tells what the requests before have cost.
"""

import json
import pathlib
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence

import numpy as np

from tests.soaking import right_requests
from wsram_tf.serving import cpp_loader, manifests

__all__ = ["FreshProcess", "Requests", "make_requests", "window"]

_RANDOM_SEED = 9
Requests = list[tuple[str, str, dict[str, np.ndarray]]]


def make_requests(pools: Mapping[str, Mapping[str, right_requests.Pool]]) -> Requests:
  """Lists requests of one row and of 16, of every signature: (model, signature, inputs)."""
  generator = np.random.default_rng(_RANDOM_SEED)
  return [
    (model, name, pool.take(generator.integers(right_requests.ROWS, size=size)))
    for model, signatures in pools.items()
    for name, pool in signatures.items()
    for size in (1, 16)
  ]


def window(models: Mapping[str, cpp_loader.LoadedModel], requests: Requests) -> list[float]:
  """Times each request, seconds."""
  seconds = []
  for model, signature, inputs in requests:
    began = time.perf_counter()
    models[model].run(signature, inputs)
    seconds.append(time.perf_counter() - began)
  return seconds


class FreshProcess:
  """A process that has answered nothing before.

  Args:
    folder: of the models.
    seed: of the rows.
  """

  def __init__(self, folder: pathlib.Path, seed: int):
    command = [sys.executable, "-m", "tests.soaking.probe", str(folder), str(seed)]
    self._process = subprocess.Popen(
      command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    self.window()  # The first requests prepare the graphs.

  def __enter__(self) -> "FreshProcess":
    return self

  def __exit__(self, *_):
    self._process.communicate()

  def window(self) -> list[float]:
    """Times the requests there; see `window`."""
    if self._process.stdin is None or self._process.stdout is None:
      raise RuntimeError("the process must have pipes")
    self._process.stdin.write("\n")
    self._process.stdin.flush()
    return json.loads(self._process.stdout.readline())


def main(arguments: Sequence[str]) -> None:
  """Answers each line with the times of a window."""
  paths = right_requests.versions_in(pathlib.Path(arguments[0]))
  models = {name: cpp_loader.LoadedModel(versions[0]) for name, versions in paths.items()}
  pools = {
    name: right_requests.make_pools(
      model, manifests.read_manifest(paths[name][0]).facts, int(arguments[1])
    )
    for name, model in models.items()
  }
  requests = make_requests(pools)
  for _ in sys.stdin:
    print(json.dumps(window(models, requests)), flush=True)


if __name__ == "__main__":
  main(sys.argv[1:])
