"""Asks exports very many right and wrong requests through the C++ loader, and prints what came out.

  python -m tests.conformance.serve --rows=1000000 --wrong_requests=200000

Threads ask small models of every kind all signatures at once, while other versions are loaded and
unloaded. Every right request must get the answer of a reference: the same to the last bit in the
same batch, up to rounding in others. Every wrong one must get INVALID_ARGUMENT with the name of the
input and the rule. Files with random damage may get either, but nothing else. The memory must not
grow after the first requests, and the last requests must not be slower than the first. Other work
on the machine makes times vary, so the slowness is measured against a fresh process, in turns.

A process grows with its first twenty loads or so, by ever less, however often it loads later:
--loads_before loads of each model come before the first requests. It also grows until every size of
a batch has met every thread, because oneDNN keeps its compiled kernels; not so with
TF_ENABLE_ONEDNN_OPTS=0 in the environment. A server that fills batches up to few sizes, as the
exported batching parameters make it, meets few: --batch_size=1 --batch_size=4 --batch_size=16
--batch_size=64.
"""

import collections
import os
import pathlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

import numpy as np
from absl import app, flags

from tests.soaking import probe, right_requests
from tests.soaking.traffic import Memory, Served, Traffic, mean_size, resident_memory

_ROWS = flags.DEFINE_integer("rows", 1_000_000, "of right requests", lower_bound=1)
_WRONG = flags.DEFINE_integer("wrong_requests", 200_000, "requests to refuse", lower_bound=0)
_THREADS = flags.DEFINE_integer("threads", 4, "that ask at once", lower_bound=1)
_SEED = flags.DEFINE_integer("seed", 1, "of the requests", lower_bound=0)
_MODELS = flags.DEFINE_string(
  "models", None, "folder of exports that `python -m tests.soaking.write_models` wrote"
)
_REPLACE = flags.DEFINE_integer(
  "replace_every", 1_000, "requests between two loads of a version", lower_bound=1
)
_BATCH_SIZES = flags.DEFINE_multi_integer(
  "batch_size",
  [],
  "size of right batches, as of a server with `allowed_batch_sizes`; repeatable; by default any",
  lower_bound=1,
)
_WINDOWS = flags.DEFINE_integer("windows", 60, "of timed requests", lower_bound=1)
_LOADS = flags.DEFINE_integer(
  "loads_before", 6, "loads of each model before the requests", lower_bound=0
)
_SETTLED = flags.DEFINE_integer("settled", 10_000, "requests before the memory is compared")
_LARGEST_GROWTH_MB = 20
_LARGEST_RATIO = 1.2


def _sizes() -> list[int]:
  return sorted(_BATCH_SIZES.value)


def compare_times(models: Sequence[Served], folder: pathlib.Path, what: str) -> float:
  """Times requests here and in a fresh process in turns; returns the ratio of their p99."""
  pools = {served.facts.name: served.pools for served in models}
  here = {served.facts.name: served.current.model for served in models}
  requests = probe.make_requests(pools)
  probe.window(here, requests)
  with probe.FreshProcess(folder, _SEED.value) as fresh:
    times = [(probe.window(here, requests), fresh.window()) for _ in range(_WINDOWS.value)]
  ours, theirs = (np.concatenate(part) * 1e3 for part in zip(*times, strict=True))
  ratio = np.percentile(ours, 99) / np.percentile(theirs, 99)
  print(
    f"{what}: {len(ours):,} requests of one thread, this process / a fresh one, ms: "
    f"p50 {np.median(ours):.2f} / {np.median(theirs):.2f}, "
    f"p99 {np.percentile(ours, 99):.2f} / {np.percentile(theirs, 99):.2f}, ratio {ratio:.2f}",
    flush=True,
  )
  return float(ratio)


def watch(traffic: Traffic, models: Sequence[Served], folder: pathlib.Path) -> tuple[Memory, float]:
  """Follows the traffic to its end.

  Returns:
    the memory after the first requests, MB, and the ratio of p99 then.
  """
  total = _ROWS.value / mean_size(_sizes()) + _WRONG.value
  marks = [part * total for part in (0.25, 0.5, 0.75)]
  settled, ratio, began = None, 0.0, time.time()
  while traffic.is_running:
    time.sleep(0.1)
    done = traffic.requests
    if settled is None and done >= _SETTLED.value:
      with traffic.paused():
        settled = resident_memory()
        show_memory(traffic, settled, began)
        ratio = compare_times(models, folder, "times at the start")
    elif marks and done >= marks[0]:
      marks.pop(0)
      with traffic.paused():
        show_memory(traffic, resident_memory(), began)
  if settled is None:
    settled = resident_memory()
  return settled, ratio


def show_memory(traffic: Traffic, memory: Memory, began: float) -> None:
  """Prints the memory so far."""
  rows = sum(tally.rows for tally in traffic.tallies)
  print(
    f"after {traffic.requests:,} requests ({rows:,} rows, {traffic.replaced} versions replaced, "
    f"{time.time() - began:.0f} s): {memory.held:.1f} MB, {memory.used:.1f} MB in use",
    flush=True,
  )


def soak(folder: pathlib.Path) -> list[str]:
  """Runs all; returns the rules that were broken."""
  paths = right_requests.versions_in(folder)
  models = [Served(versions, _SEED.value, _sizes()) for versions in paths.values()]
  ties = {served.facts.name: served.ties for served in models if served.ties}
  if ties:
    print(f"rows at a tie, which are compared in the same batch alone: {ties}")
  for served in models:
    wrong = sum(served.replace() for _ in range(_LOADS.value))
    if wrong:
      return [f"wrong answers of {served.facts.name} after a load: {wrong}"]
  traffic = Traffic(
    models,
    _ROWS.value,
    _WRONG.value,
    _THREADS.value,
    _SEED.value,
    _REPLACE.value,
    _sizes(),
  )
  began = time.time()
  traffic.start()
  settled, ratio_before = watch(traffic, models, folder)
  traffic.join()
  seconds = time.time() - began
  memory = resident_memory()
  show_memory(traffic, memory, began)
  ratio = compare_times(models, folder, "times at the end") / (ratio_before or 1)
  print(f"p99 at the end, by the fresh processes' times, is {ratio:.2f} of that at the start")
  tallies = traffic.tallies
  counts = sum((tally.counts for tally in tallies), collections.Counter())
  print(f"\n{'requests':<52}{'number':>10}")
  for what, count in sorted(counts.items()):
    print(f"{what:<52}{count:>10,}")
  for name, part in (("first", slice(0, 0.1)), ("last", slice(0.9, 1))):
    taken = np.concatenate(
      [
        np.asarray(tally.latencies)[
          int(part.start * len(tally.latencies)) : int(part.stop * len(tally.latencies))
        ]
        for tally in tallies
      ]
    )
    p50, p99 = np.percentile(taken * 1e3, [50, 99])
    print(f"{name} tenth of the right requests, in the traffic: p50 {p50:.2f} ms, p99 {p99:.2f} ms")
  rows = sum(tally.rows for tally in tallies)
  wrong = sum(tally.wrong_requests for tally in tallies)
  grown, held = memory.used - settled.used, memory.held - settled.held
  print(
    f"{rows:,} rows and {wrong:,} wrong requests in {seconds:.0f} s, {traffic.replaced} versions "
    f"replaced, {traffic.retried} requests sent again to the next version; the memory "
    f"in use grew by {grown:+.1f} MB after the first {_SETTLED.value:,} requests, with what the "
    f"allocator keeps {held:+.1f} MB"
  )
  failures = sum((tally.failures for tally in tallies), collections.Counter())
  failures["wrong answer of a version after its load"] = traffic.wrong_warmups
  broken = [f"{kind}: {count}" for kind, count in failures.items() if count]
  for tally in tallies:
    for example in tally.examples:
      print(f"  {example}")
  if grown >= _LARGEST_GROWTH_MB:
    broken.append(f"memory grew by {grown:.1f} MB: must be below {_LARGEST_GROWTH_MB}")
  if ratio > _LARGEST_RATIO:
    broken.append(f"p99 at the end is {ratio:.2f} of that at the start: at most {_LARGEST_RATIO}")
  return broken


def main(_: list[str]) -> None:
  """Writes the models where none are given, and soaks them."""
  with tempfile.TemporaryDirectory() as made:
    folder = _MODELS.value or made
    if not _MODELS.value:
      subprocess.run(
        [sys.executable, "-m", "tests.soaking.write_models", made],
        check=True,
        stderr=subprocess.DEVNULL,
      )
    broken = soak(pathlib.Path(folder))
  if broken:
    sys.exit("FAILED: " + "; ".join(broken))
  print("PASSED")


if __name__ == "__main__":
  app.run(main)
