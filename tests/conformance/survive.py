"""Stops and kills short trainings, damages their files, fills their disks, compares the results.

  python -m tests.conformance.survive [--trainer=train_mnist] [--kills=50] [--terminations=20]
    [--truncations=10]

Each training is a process of its own, on the CPU. Every weight and optimizer variable of
model.keras and of the last checkpoint, and all figures but times, must equal those of an
undisturbed training to the last bit. The small disks are file systems in memory. Mounting them
takes root; without, the program skips them and prints so.
"""

import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time

from absl import app, flags

from tests.conformance.run_endings import ending, judged, log_lines, newest_update
from wsram_tf.runs.loop.stop_requests import STOPPED_STATUS

_TRAINER = flags.DEFINE_enum(
  "trainer",
  "train_mnist",
  ("train_mnist", "mirrored", "train_captions", "train_classifier", "regions"),
  "the program; mirrored: train_mnist --strategy=mirrored; regions: train_classifier --regions, on "
  "pyramids of which one is damaged",
)
_KILLS = flags.DEFINE_integer("kills", 50, "SIGKILLs at random moments; 0: none", lower_bound=0)
_TERMINATIONS = flags.DEFINE_integer(
  "terminations", 20, "SIGTERMs at random moments; 0: none", lower_bound=0
)
_TRUNCATIONS = flags.DEFINE_integer(
  "truncations", 10, "newest checkpoints cut off at a random byte; 0: none", lower_bound=0
)
_INTERRUPTIONS = flags.DEFINE_integer(
  "interruptions", 3, "double Ctrl-C, and folders that vanish, each so often", lower_bound=0
)
_SMALL_DISK = flags.DEFINE_bool("small_disk", True, "also train on disks that fill up")
_SEED = flags.DEFINE_integer("seed", 1, "of the random moments and bytes")

_ROOT = pathlib.Path(__file__).resolve().parents[2]
# Short trainings that save often, so that many a kill meets a file that is being written.
_SHORT = ("--batch_size=4", "--units=8", "--updates=160", "--evaluate_every=4")
_FLAGS = {
  "train_mnist": (
    "--validation_digits=20",
    "--validation_canvases=20",
    "--test_canvases=30",
    "--evaluation_batch_size=10",
    "--num_glimpses=2",
    "--jit_compile=off",
  ),
  "train_captions": (
    "--validation_digits=20",
    "--validation_scenes=10",
    "--test_scenes=12",
    "--evaluation_batch_size=6",
    "--word_units=4",
    "--grid_filters=2,2,2",
    "--num_samples=2",
  ),
  "train_classifier": (
    "--image_height=40",
    "--image_width=40",
    "--glimpse_side=8",
    "--num_glimpses=2",
    "--augment_crop=4",
    "--augment_flip",
    "--augment_brightness=0.2",
    "--jit_compile=off",
  ),
  "regions": (
    "--regions",
    "--color=grey",
    "--image_height=64",
    "--image_width=64",
    "--location_distribution=keyed_grid",
    "--location_saliency=1",
    "--context_side=16",
    "--glimpse_side=8",
    "--glimpse_scales=2",
    "--num_glimpses=2",
    "--num_samples=2",
  ),
}
_FLAGS["mirrored"] = (*_FLAGS["train_mnist"], "--strategy=mirrored")
_PROGRAMS = {"regions": "train_classifier", "mirrored": "train_mnist"}
# Programs of tests/support that write images; they take the folder and the images of each class.
_EXAMPLES = {"train_classifier": ("example_images", 12), "regions": ("pyramids", 12)}
# Sizes of the small disks, in checkpoints.
_DISKS = (0.5, 1.5, 2.5, 3.5, 4.5)


def command(run_dir: pathlib.Path) -> list[str]:
  """Returns the command line that starts or resumes a run."""
  lines = [*_FLAGS[_TRAINER.value], *_SHORT, f"--run_dir={run_dir}"]
  if _TRAINER.value in _EXAMPLES:
    lines.append(f"--image_dir={run_dir.parent / 'images'}")
  if (run_dir / "flags.flags").exists():
    lines.append("--resume")
  program = _PROGRAMS.get(_TRAINER.value, _TRAINER.value)
  return [sys.executable, str(_ROOT / "trainers" / f"{program}.py"), *lines]


def start(run_dir: pathlib.Path) -> subprocess.Popen:
  """Starts a process that trains; its output is appended to RUN_DIR.log."""
  with run_dir.with_suffix(".log").open("a") as log:
    return subprocess.Popen(
      command(run_dir),
      stdout=log,
      stderr=subprocess.STDOUT,
      env={**os.environ, "CUDA_VISIBLE_DEVICES": "", "TF_CPP_MIN_LOG_LEVEL": "2"},
    )


def finish(run_dir: pathlib.Path) -> None:
  """Trains to the end.

  Raises:
    RuntimeError: if that ends with an error.
  """
  if start(run_dir).wait():
    raise RuntimeError("\n".join(log_lines(run_dir)[-20:]))


def stop_often(
  folder: pathlib.Path, whole: dict, seconds: float, count: int, signalled: signal.Signals
) -> list[str]:
  """Stops runs by a signal at random moments, starting a new run where one has ended.

  Half of the moments are uniform over the duration of an undisturbed run, the others over the two
  seconds after a checkpoint.

  Returns:
    all verdicts: of the runs that ended, and of signals with a wrong end.
  """
  generator, verdicts, waits = random.Random(_SEED.value), [], []
  run_dir, name = folder / f"{signalled.name}_1", signalled.name
  while len(waits) < count:
    began, process = time.time(), start(run_dir)
    delay = generator.uniform(0, seconds)
    if generator.random() < 0.5:
      before, delay = newest_update(run_dir), generator.uniform(0, 2)
      while process.poll() is None and newest_update(run_dir) == before:
        time.sleep(0.01)
    try:
      code = process.wait(delay)
    except subprocess.TimeoutExpired:
      sent = time.time()
      process.send_signal(signalled)
      code = process.wait()
      waits.append(time.time() - sent)
      half = ", ".join(path.name for path in run_dir.rglob("partial-*"))
      stopped = ", ".join(path.name for path in run_dir.glob("checkpoints/stopped-*.keras"))
      print(
        f"{name} {len(waits)}: {sent - began:.1f} s after the start, ended {waits[-1]:.1f} s later "
        f"with {code}, evaluated until {newest_update(run_dir)}, stopped: {stopped or 'nothing'}, "
        f"half written: {half or 'nothing'}",
        flush=True,
      )
      verdicts += wrong_end(run_dir, code, half) if signalled == signal.SIGTERM else []
      continue
    if code:
      raise RuntimeError("\n".join(log_lines(run_dir)[-20:]))
    verdicts.append(judged(run_dir, whole))
    print(f"{run_dir.name} ended: {verdicts[-1]}", flush=True)
    run_dir = folder / f"{name}_{len(verdicts) + 1}"
  finish(run_dir)
  verdicts.append(judged(run_dir, whole))
  print(f"{run_dir.name} ended: {verdicts[-1]}", flush=True)
  print(f"{name}: processes ended within {max(waits):.1f} s", flush=True)
  return verdicts


def wrong_end(run_dir: pathlib.Path, code: int, half: str) -> list[str]:
  """Returns a verdict if a process did not end as SIGTERM asks, with its own status and line."""
  last = (log_lines(run_dir) or [""])[-1]
  # Before Python has loaded the program, the signal ends it.
  is_right = code == -signal.SIGTERM or (code == STOPPED_STATUS and "stopped by SIGTERM" in last)
  # After the run's end, the signal has nothing to stop.
  is_right |= code == 0 and (run_dir / "results.json").exists()
  return [] if is_right and not half else [f"ENDED WITH {code}, half written {half!r}: {last}"]


def interrupt_often(folder: pathlib.Path, whole: dict, count: int) -> dict[str, list[str]]:
  """Sends SIGINT twice, or takes a run's folder away; returns the verdicts by event."""
  generator = random.Random(_SEED.value)
  events = {"Ctrl-C twice": 130, "the folder vanishes, and is there again": 1}
  table = {}
  for event, status in events.items():
    table[event] = []
    for number in range(1, count + 1):
      run_dir = folder / f"{event.split()[0]}_{number}".lower()
      process = start(run_dir)
      while process.poll() is None and newest_update(run_dir) < 40:
        time.sleep(0.01)
      time.sleep(generator.uniform(0, 1))
      if status == 1:
        away = run_dir.rename(run_dir.with_name("away"))
        process.wait()
        shutil.rmtree(run_dir, ignore_errors=True)
        away.rename(run_dir)
      else:
        process.send_signal(signal.SIGINT)
        time.sleep(generator.uniform(0, 0.5))
        process.send_signal(signal.SIGINT)
      code, last = process.wait(), (log_lines(run_dir) or [""])[-1]
      print(f"{event}: ended with {code}: {last}", flush=True)
      verdict = "" if code == status and "run_dir=" in last else f"ENDED WITH {code}: {last}; "
      finish(run_dir)
      table[event].append(verdict + judged(run_dir, whole))
      print(f"  resumed: {table[event][-1]}", flush=True)
  return table


def truncate_often(folder: pathlib.Path, whole: dict, count: int) -> list[str]:
  """Cuts the newest checkpoint of a stopped run off at random bytes; returns all verdicts."""
  generator, verdicts, stopped = random.Random(_SEED.value), [], folder / "stopped"
  process = start(stopped)
  while process.poll() is None and newest_update(stopped) < 80:
    time.sleep(0.01)
  process.kill()
  process.wait()
  for number in range(1, count + 1):
    run_dir = folder / f"truncated_{number}"
    shutil.copytree(stopped, run_dir)
    newest = max(run_dir.glob("checkpoints/update-*.keras"))
    size = newest.stat().st_size
    length = generator.randrange(size)
    os.truncate(newest, length)
    finish(run_dir)
    verdict = judged(run_dir, whole)
    if not any(newest.name in line and "damaged" in line for line in log_lines(run_dir)):
      verdict += ", NOT REPORTED"
    verdicts.append(verdict)
    print(f"{newest.name} cut to {length} of {size} bytes: {verdict}", flush=True)
  return verdicts


def fill_disks(folder: pathlib.Path, whole: dict) -> list[str]:
  """Trains on disks that are too small, then on the same disks made larger; returns all verdicts.

  Raises:
    PermissionError: if file systems cannot be mounted here.
  """
  verdicts = []
  checkpoint = max((folder / "whole").glob("checkpoints/*.keras")).stat().st_size
  for number, checkpoints in enumerate(_DISKS, 1):
    disk = folder / f"disk_{number}"
    disk.mkdir()
    size = int(checkpoints * checkpoint) + 2**16
    options = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(disk)]
    if subprocess.run(options, check=False, capture_output=True).returncode:
      raise PermissionError("no file system can be mounted here")
    try:
      run_dir = folder / f"disk_{number}" / "run"
      if (folder / "images").exists():
        (disk / "images").symlink_to(folder / "images")
      output = subprocess.run(
        command(run_dir),
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, "CUDA_VISIBLE_DEVICES": "", "TF_CPP_MIN_LOG_LEVEL": "2"},
      )
      last = (output.stderr.splitlines() or [""])[-1]
      clear = output.returncode == 1 and "No space left on device" in last
      half = list(run_dir.rglob("partial-*"))
      print(f"disk of {size} bytes: {last}", flush=True)
      subprocess.run(["mount", "-o", "remount,size=1g", str(disk)], check=True)
      kept = newest_update(run_dir)
      finish(run_dir)
      verdict = judged(run_dir, whole)
      verdict += "" if clear else ", NOT CLEAR"
      verdict += f", HALF WRITTEN {half}" if half else ""
    finally:
      subprocess.run(["umount", str(disk)], check=True)
    verdicts.append(verdict)
    print(f"  made larger, resumed from update {kept}: {verdict}", flush=True)
  return verdicts


def main(argv: list[str]) -> None:
  """Runs the trainings and prints a table."""
  if len(argv) > 1:
    sys.exit(f"survive: {argv[1]!r}: must be a flag, --NAME=VALUE")
  # A shell lets what it starts with "&" ignore Ctrl-C, and so would the trainings.
  signal.signal(signal.SIGINT, signal.default_int_handler)
  table = {}
  with tempfile.TemporaryDirectory(prefix="survive-") as name:
    folder = pathlib.Path(name)
    if _TRAINER.value in _EXAMPLES:
      name, count = _EXAMPLES[_TRAINER.value]
      program = _ROOT / "tests" / "support" / f"{name}.py"
      subprocess.run([sys.executable, str(program), folder / "images", str(count)], check=True)
    began = time.time()
    finish(folder / "whole")
    seconds = time.time() - began
    whole = ending(folder / "whole")
    print(f"undisturbed: {seconds:.0f} s, {len(whole)} values to compare", flush=True)
    finish(folder / "whole")
    table["finished, resumed"] = [judged(folder / "whole", whole)]
    finish(folder / "again")
    table["a second undisturbed run"] = [judged(folder / "again", whole)]
    for sent, count in ((signal.SIGKILL, _KILLS.value), (signal.SIGTERM, _TERMINATIONS.value)):
      if count:
        table[f"{count} {sent.name}s"] = stop_often(folder, whole, seconds, count, sent)
    if _INTERRUPTIONS.value:
      table |= interrupt_often(folder, whole, _INTERRUPTIONS.value)
    if _TRUNCATIONS.value:
      table["newest checkpoint truncated"] = truncate_often(folder, whole, _TRUNCATIONS.value)
    if _SMALL_DISK.value:
      try:
        table["full disk, then made larger"] = fill_disks(folder, whole)
      except PermissionError as error:
        print(f"full disk: skipped, {error}")
  print("| event | runs | the same to the last bit |\n|---|---|---|")
  for label, verdicts in table.items():
    print(f"| {label} | {len(verdicts)} | {verdicts.count('same')} |")
  if any(verdict != "same" for verdicts in table.values() for verdict in verdicts):
    sys.exit("survive: not all runs ended with the same result")


if __name__ == "__main__":
  app.run(main)
