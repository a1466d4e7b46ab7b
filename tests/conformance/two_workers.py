"""Checks that two workers train as one process does, and measures the worth of the second.

  python -m tests.conformance.two_workers

One process, two workers on this machine's loopback, and one process of two devices train the same
small model: the losses of 50 updates must agree within 1e-4. Then the program kills, halts
(SIGSTOP) and terminates (SIGTERM) one worker during a training. The other must end with an error
that names the cause, within three minutes; after SIGTERM, both must end with status 75 at the same
update. Both start again and must finish with the figures of an undisturbed training. Last, it
prints the images per second of two workers and of one process, one core each.
"""

import csv
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import tempfile
import time

from absl import app, flags

from wsram_tf.runs.loop.stop_requests import STOPPED_STATUS

__all__ = ["finish", "losses", "start", "start_workers"]

_UPDATES = flags.DEFINE_integer(
  "compared_updates", 50, "updates whose losses are compared", lower_bound=2
)
_TOLERANCE = flags.DEFINE_float("loss_tolerance", 1e-4, "largest difference of losses, nats")
_NAMES = ("losses", "kill", "halt", "terminate", "throughput")
_BATCH_SIZES = flags.DEFINE_multi_integer(
  "batch_size", [128], "images of an update whose throughput is measured; repeatable", lower_bound=2
)
_MICRO_BATCHES = flags.DEFINE_integer(
  "micro_batches", 1, "of every training whose losses or throughput are measured", lower_bound=1
)
_CHECKS = flags.DEFINE_multi_enum("check", list(_NAMES), list(_NAMES), "repeatable")

# The longest time until a worker learns that another is lost: TensorFlow asks every 30 s, and waits
# three times for 10 s.
MOST_SECONDS = 180

_ROOT = pathlib.Path(__file__).resolve().parents[2]
# A small model on the embedded digits.
SMALL = (
  "--digits=mnist5k",
  "--validation_digits=20",
  "--validation_canvases=20",
  "--test_canvases=20",
  "--evaluation_batch_size=20",
  "--canvas_side=40",
  "--largest_digit=28",
  "--glimpse_side=8",
  "--batch_size=16",
  "--units=16",
  "--num_glimpses=2",
  "--jit_compile=off",
)


# Starts the program that follows on a processor divided in two devices.
TWO_DEVICES = """
import runpy, sys, tensorflow as tf
sys.argv = sys.argv[1:]
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def free_addresses(count: int) -> list[str]:
  """Returns free addresses on the loopback."""
  sockets = [socket.socket() for _ in range(count)]
  for one in sockets:
    one.bind(("127.0.0.1", 0))
  addresses = [f"127.0.0.1:{one.getsockname()[1]}" for one in sockets]
  for one in sockets:
    one.close()
  return addresses


def start(
  *arguments: str, core: int | None = None, divided: bool = False, **environment: str
) -> subprocess.Popen:
  """Starts train_mnist.py, on one core or two devices; stderr goes where stdout goes."""
  pin = ["taskset", "-c", str(core)] if core is not None else []
  code = ["-c", TWO_DEVICES] if divided else []
  return subprocess.Popen(
    [*pin, sys.executable, *code, str(_ROOT / "trainers" / "train_mnist.py"), *arguments],
    stdout=subprocess.PIPE,
    stderr=subprocess.STDOUT,
    text=True,
    env={
      **os.environ,
      "TF_NUM_INTRAOP_THREADS": "1",
      "TF_NUM_INTEROP_THREADS": "1",
      "CUDA_VISIBLE_DEVICES": "",  # Two processes cannot share one GPU's memory.
      **environment,
    },
  )


def start_workers(*arguments: str, pin: bool = False) -> list[subprocess.Popen]:
  """Starts two workers, which find each other on the loopback."""
  workers = free_addresses(2)
  return [
    start(
      *arguments,
      "--strategy=multi_worker",
      core=index if pin else None,
      TF_CONFIG=json.dumps(
        {"cluster": {"worker": workers}, "task": {"type": "worker", "index": index}}
      ),
    )
    for index in range(2)
  ]


def finish(processes: list[subprocess.Popen], timeout: float = 300) -> list[tuple[int, str]]:
  """Waits; returns the exit codes and outputs. No process is left running."""
  try:
    outputs = [process.communicate(timeout=timeout)[0] for process in processes]
  finally:
    for process in processes:
      process.kill()
  return [(process.returncode, out) for process, out in zip(processes, outputs, strict=True)]


def must_succeed(processes: list[subprocess.Popen]) -> None:
  """Waits.

  Raises:
    SystemExit: if one of them failed, with what it printed.
  """
  for code, output in finish(processes):
    if code:
      sys.exit(f"FAILED with {code}:\n{output[-4000:]}")


def losses(run_dir: pathlib.Path) -> list[float]:
  """The training loss of each row of a run's metrics.csv."""
  with (run_dir / "metrics.csv").open(newline="") as file:
    return [float(row["loss"]) for row in csv.DictReader(file)]


def results(run_dir: pathlib.Path) -> dict:
  """The figures of a finished run."""
  return json.loads((run_dir / "results.json").read_text())


def check_losses(folder: pathlib.Path) -> None:
  """Compares the losses of every update."""
  parts = f"--micro_batches={_MICRO_BATCHES.value}"
  every = (*SMALL, parts, f"--updates={_UPDATES.value}", "--evaluate_every=1")
  one, two, divided = folder / "one", folder / "two", folder / "divided"
  must_succeed([start(*every, f"--run_dir={one}")])
  must_succeed(start_workers(*every, f"--run_dir={two}"))
  must_succeed([start(*every, "--strategy=mirrored", f"--run_dir={divided}", divided=True)])
  expected = losses(one)
  print(f"{len(expected)} updates, losses {expected[0]:.4f} to {expected[-1]:.4f}")
  for name, run in (("two workers", two), ("two devices", divided)):
    pairs = list(zip(expected, losses(run), strict=True))
    worst = max(abs(a - b) for a, b in pairs)
    print(f"largest difference of losses, {name} from one process: {worst:.2e}", flush=True)
    if not worst <= _TOLERANCE.value or len(pairs) != _UPDATES.value:
      sys.exit(f"FAILED: must be at most {_TOLERANCE.value} over {_UPDATES.value} updates")


def check_lost(folder: pathlib.Path, signals: list[signal.Signals]) -> None:
  """Sends a signal to one of two workers, starts both again, and compares the ends."""
  settings = (*SMALL, "--updates=400", "--evaluate_every=50")
  whole = folder / "whole"
  must_succeed(start_workers(*settings, f"--run_dir={whole}"))
  for sent in signals:
    run_dir = folder / sent.name
    chief, other = start_workers(*settings, f"--run_dir={run_dir}")
    while not list(run_dir.glob("checkpoints/update-*.keras")) and chief.poll() is None:
      time.sleep(0.05)
    other.send_signal(sent)
    began = time.time()
    ends = finish([chief], timeout=MOST_SECONDS)
    seconds, is_request = time.time() - began, sent == signal.SIGTERM
    if not is_request:
      other.kill()
    ends += finish([other])
    status, cause = (STOPPED_STATUS, "after update") if is_request else (1, "was lost")
    for code, output in ends if is_request else ends[:1]:
      last = output.strip().splitlines()[-1]
      print(f"{sent.name}: ended with {code} after {seconds:.0f} s: {last}", flush=True)
      if code != status or cause not in last:
        sys.exit(f"FAILED: must end with {status} and {cause!r}:\n{output[-4000:]}")
    must_succeed(start_workers(*settings, f"--run_dir={run_dir}", "--resume"))
    for name in ("test_log_likelihood_nats", "updates"):
      before, after = results(whole)[name], results(run_dir)[name]
      print(f"{name}: undisturbed {before}, {sent.name} and resumed {after}", flush=True)
      if before != after:
        sys.exit("FAILED: must be the same")


def measure_throughput(folder: pathlib.Path, batch_size: int) -> None:
  """Prints images a second of one and of two workers, one core each, at one size of all batches."""
  # The updates between evaluations run at once. The rate leaves out the first, which compile.
  every = max(50 * 128 // batch_size, 20)
  settings = (
    "--validation_digits=20",
    "--validation_canvases=20",
    "--test_canvases=20",
    "--units=128",
    f"--batch_size={batch_size}",
    f"--micro_batches={_MICRO_BATCHES.value}",
    f"--updates={4 * every}",
    f"--evaluate_every={every}",
    "--jit_compile=on",
  )
  one, two, *halves = (folder / f"{run}_{batch_size}" for run in ("one", "two", "half_0", "half_1"))
  must_succeed([start(*settings, f"--run_dir={one}", core=0)])
  must_succeed(start_workers(*settings, f"--run_dir={two}", pin=True))
  # Two trainings of half the batch each share the memory of the machine and exchange nothing.
  half = f"--batch_size={batch_size // 2}"
  must_succeed(
    [start(*settings, half, f"--run_dir={run}", core=core) for core, run in enumerate(halves)]
  )
  alone, together, *apart = (results(run)["images_per_second"] for run in (one, two, *halves))
  print(
    f"images/s, one core each, batches of {batch_size}, {_MICRO_BATCHES.value} micro-batches: "
    f"one process {alone:.0f}, two workers {together:.0f}, two trainings apart {sum(apart):.0f}"
  )
  print(
    f"the second is worth {together / alone - 1.0:.2f} of the first, "
    f"and {sum(apart) / alone - 1.0:.2f} without exchange",
    flush=True,
  )


def main(_) -> None:
  """Runs the checks."""
  with tempfile.TemporaryDirectory() as name:
    folder = pathlib.Path(name)
    if "losses" in _CHECKS.value:
      check_losses(folder)
    asked = {"kill": signal.SIGKILL, "halt": signal.SIGSTOP, "terminate": signal.SIGTERM}
    if signals := [asked[name] for name in _CHECKS.value if name in asked]:
      check_lost(folder, signals)
    if "throughput" in _CHECKS.value:
      for batch_size in _BATCH_SIZES.value:
        measure_throughput(folder, batch_size)
  print("PASSED")


if __name__ == "__main__":
  app.run(main)
