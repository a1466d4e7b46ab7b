"""Tries very many inputs of all kinds that users hand in, and prints the outcomes.

  python -m tests.conformance.fuzz [--inputs=100000] [--kind=KIND] [--seed=1] [--processes=1]

The package must accept an input, or refuse it with a documented error that contains its name and
the rule; it must write nothing. Everything else is a crash, also a reader that takes more than 30
seconds: the program prints the input, and its exit status is 1. Flags are tried on the programs
themselves, up to the start of the training. Each kind is tried in a separate process.
"""

import multiprocessing
import os
import pathlib
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from multiprocessing import connection
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

from absl import app, flags

from tests.fuzzing.trials import Tally, try_inputs

# The part of all inputs that each kind gets; a backbone takes a thousand times as long as a word.
_FLAG_SHARES = {
  "train_mnist": 0.08,
  "train_classifier": 0.08,
  "train_captions": 0.07,
  "compare": 0.02,
  "compare_captions": 0.01,
  "evaluate": 0.01,
}
_FILE_SHARES = {
  "image file": 0.25,
  "token file and split lists": 0.08,
  "feature files": 0.06,
  "class folders": 0.03,
  "vocabulary": 0.11,
  "manifest": 0.07,
  "versions.json": 0.03,
  "metrics.csv": 0.078,
  "TF_CONFIG": 0.01,
  "backbone": 0.002,
  "presets": 0.01,
  "captioner presets": 0.01,
  "model files": 0.01,
}
# Arguments of Python, uploads, and what clients and servers send.
_CALL_SHARES = {
  "settings": 0.04,
  "array tasks": 0.02,
  "functions": 0.02,
  "training arguments": 0.02,
  "classifier exports": 0.001,
  "captioner exports": 0.001,
  "preset exports": 0.001,
  "uploads": 0.03,
  "drawings": 0.01,
  "region manifests": 0.02,
  "server answers": 0.02,
  "messages": 0.02,
  "animations": 0.003,
  "predict": 0.004,
}
_GROUPS = {
  "flags": list(_FLAG_SHARES),
  "files": list(_FILE_SHARES),
  "calls": list(_CALL_SHARES),
  "all": [*_FLAG_SHARES, *_FILE_SHARES, *_CALL_SHARES],
}
_SHARES = _FLAG_SHARES | _FILE_SHARES | _CALL_SHARES

_INPUTS = flags.DEFINE_integer("inputs", 100_000, "tried in all", lower_bound=1)
_KIND = flags.DEFINE_enum("kind", "all", [*_GROUPS, *_SHARES], "what is tried")
_PROCESSES = flags.DEFINE_integer("processes", 1, "kinds tried at once", lower_bound=1)
_SEED = flags.DEFINE_integer("seed", 1, "of the inputs", lower_bound=0)


def try_flags(name: str, count: int, seed: int, folder: pathlib.Path) -> Tally:
  """Flagfiles of a training program, and each flag's wrong values."""
  from tests.fuzzing import strange_flags

  program = strange_flags.Program(name)
  program.prepare(folder)
  wrong = strange_flags.refuse_wrong_values(program, folder)
  tally = try_inputs(program.trials(), max(1, count - wrong.tried), seed, folder)
  return Tally(
    tally.tried + wrong.tried,
    tally.refused + wrong.refused,
    tally.crashed + wrong.crashed,
    tally.crashes | wrong.crashes,
  )


def try_files(name: str, count: int, seed: int, folder: pathlib.Path) -> Tally:
  """Files of one kind."""
  from tests.fuzzing import strange_files, strange_models, strange_records
  from tests.support import example_photos

  kinds = {
    kind.name: kind
    for kind in (*strange_files.KINDS, *strange_records.KINDS, *strange_models.KINDS)
  }
  if name == "backbone":
    with tempfile.TemporaryDirectory() as aside:
      example_photos.write_backbone(pathlib.Path(aside) / "b.keras")
      kinds[name] = strange_records.backbone_kind((pathlib.Path(aside) / "b.keras").read_bytes())
  return try_inputs(kinds[name], count, seed, folder)


def try_calls(name: str, count: int, seed: int, folder: pathlib.Path) -> Tally:
  """Arguments, uploads or messages of one kind."""
  from tests.fuzzing import strange_calls, strange_exports, strange_requests, strange_settings

  found = (
    *strange_settings.KINDS,
    *strange_calls.KINDS,
    *strange_exports.KINDS,
    *strange_requests.KINDS,
    strange_requests.PREDICT,
  )
  return try_inputs(next(kind for kind in found if kind.name == name), count, seed, folder)


def start(name: str, count: int, seed: int) -> tuple[connection.Connection, Any]:
  """Starts the trials of one kind; returns where its `Tally` comes from, and the process."""
  fork = multiprocessing.get_context("fork")
  ours, theirs = fork.Pipe()
  work = try_flags if name in _FLAG_SHARES else try_calls
  work = try_files if name in _FILE_SHARES else work
  child = fork.Process(target=_work, args=(theirs, work, name, count, seed))
  child.start()
  theirs.close()
  return ours, child


def receive(name: str, pipe: connection.Connection, child: Any) -> Tally:
  """What the trials found; that their process died is a crash like others."""
  try:
    tally = pipe.recv()
  except EOFError:
    tally = Tally(tried=1)
    child.join()
    tally.add_crash(f"{name}: the process ended with {child.exitcode}", "")
  child.join()
  return tally


def _work(pipe: connection.Connection, work: Callable[..., Tally], *given: str | int) -> None:
  warnings.simplefilter("ignore")
  with tempfile.TemporaryDirectory() as folder:
    os.chdir(folder)
    pipe.send(work(*given, pathlib.Path(folder)))
    os.chdir("/")


def main(_: list[str]) -> None:
  """Tries all kinds asked for."""
  import wsram_tf  # noqa: F401, once for all processes

  names = _GROUPS.get(_KIND.value, [_KIND.value])
  shares = {name: _SHARES[name] for name in names}
  print(f"{'kind':<28}{'tried':>9}{'accepted':>10}{'refused':>9}{'crashes':>9}{'seconds':>9}")
  total, began = Tally(), time.time()
  waiting, running = list(shares), {}
  while waiting or running:
    while waiting and len(running) < _PROCESSES.value:
      name = waiting.pop(0)
      count = max(1, round(_INPUTS.value * shares[name] / sum(shares.values())))
      pipe, child = start(name, count, _SEED.value)
      running[pipe] = name, child, time.time()
    for pipe in connection.wait(running):
      name, child, started = running.pop(pipe)
      tally = receive(name, pipe, child)
      show(name, tally, time.time() - started)
      total.tried += tally.tried
      total.refused += tally.refused
      total.crashed += tally.crashed
      total.crashes |= tally.crashes
  show("all", total, time.time() - began)
  for place, example in total.crashes.items():
    print(f"\n{place}\n  {example}")
  if total.crashed:
    sys.exit(1)


def show(name: str, tally: Tally, seconds: float) -> None:
  """Prints one row of the table."""
  print(
    f"{name:<28}{tally.tried:>9,}{tally.accepted:>10,}{tally.refused:>9,}{tally.crashed:>9,}"
    f"{seconds:>9.0f}",
    flush=True,
  )


if __name__ == "__main__":
  app.run(main)
