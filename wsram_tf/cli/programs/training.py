"""The programs that train: train_mnist, train_classifier, train_captions."""

import time
from collections.abc import Sequence

from wsram_tf.cli import program, run_flags
from wsram_tf.cli.flags import ProgramFlags
from wsram_tf.cli.tasks import PROGRAMS, define_extension
from wsram_tf.config import OptimizerConfig, TrainingConfig
from wsram_tf.runs import record
from wsram_tf.runs.folder import RunFolder
from wsram_tf.runs.loop.stop_requests import StopRequests

__all__ = ["define_flags", "main", "train_captions", "train_classifier", "train_mnist"]


def train_mnist(arguments: Sequence[str] | None = None) -> None:
  """Trains a wake-sleep recurrent attention model on digits at random places and scales.

  train_mnist --flagfile=quickstart [--run_dir=DIR]
  train_mnist --resume --run_dir=DIR
  """
  main("train_mnist", train_mnist.__doc__, arguments)


def train_classifier(arguments: Sequence[str] | None = None) -> None:
  """Trains a wake-sleep recurrent attention model on your own images.

  train_classifier --image_dir=DIR [--run_dir=DIR]     a folder for each class
  train_classifier --dataset=NAME --data_dir=DIR       a set of TensorFlow Datasets
  train_classifier --flagfile=needle_small             digits on large canvases
  train_classifier --flagfile=megapixel_mnist          Megapixel MNIST
  """
  main("train_classifier", train_classifier.__doc__, arguments)


def train_captions(arguments: Sequence[str] | None = None) -> None:
  """Trains a model that describes images, with one hard glimpse before each word.

  train_captions --flagfile=scenes [--run_dir=DIR]
  train_captions --flagfile=flickr8k --data_dir=DIR --backbone=FILE.keras [--run_dir=DIR]
  train_captions --flagfile=flickr8k --dataset=coco_captions --backbone=FILE.keras
  """
  main("train_captions", train_captions.__doc__, arguments)


def define_flags(flags: ProgramFlags, name: str) -> None:
  """Defines the flags of a training program.

  Args:
    flags: receives the flags.
    name: one of `tasks.PROGRAMS`.
  """
  flags.define_path("run_dir", "folder for the run, new or empty; absent: runs/DATE-TIME")
  flags.define_path(
    "begin_with",
    "folder of a finished run whose weights replace the random ones; its model must have the same "
    "form",
  )
  define_extension(flags)
  flags.define_bool(
    "resume",
    False,
    "continue the run in run_dir from its newest checkpoint; flags that are not given are the "
    "run's",
  )
  flags.define(TrainingConfig, defaults={"batch_size": PROGRAMS[name].batch_size})
  flags.define(OptimizerConfig)
  PROGRAMS[name].define(flags)


def main(name: str, usage: str | None, arguments: Sequence[str] | None = None) -> None:
  """Runs a training program.

  Args:
    name: one of `tasks.PROGRAMS`.
    usage: the text at the top of `--help`.
    arguments: the command line; None for this process'.
  """
  flags = ProgramFlags(name, usage)
  define_flags(flags, name)
  run_dir = ""

  def train() -> None:
    nonlocal run_dir
    rest = flags.parse(arguments)
    run_dir = flags.run_dir or time.strftime("runs/%Y%m%d-%H%M%S")
    _train(flags, run_dir, rest, requests)

  def when_stopped() -> str:
    if not run_dir or not RunFolder(run_dir).flagfile.exists():
      return "nothing was written"
    return f"continue with --resume --run_dir={run_dir}"

  requests = StopRequests(lambda: f"{name}: stopped by SIGTERM; {when_stopped()}")
  with requests:
    program.run(name, train, RuntimeError, when_stopped=when_stopped)


def _train(flags: ProgramFlags, run_dir: str, rest: Sequence[str], requests: StopRequests) -> None:
  flags.check_no_rest(rest)
  taken: list[str] = []
  if flags.resume:
    if not flags.run_dir:
      raise ValueError("resume=true: needs --run_dir, the folder of the run to continue")
    taken = run_flags.take_up(flags, flags.program_name)
  if flags.strategy == "multi_worker" and not flags.run_dir:
    raise ValueError("strategy=multi_worker: needs --run_dir, the folder that all workers see")
  program.load_tensorflow()
  from wsram_tf import runs
  from wsram_tf.learning.update_guard import NonFiniteUpdateError, NonFiniteWeightsError

  try:
    task = PROGRAMS[flags.program_name].make_task(flags)
    runs.train(
      task,
      run_dir,
      flags.read(TrainingConfig),
      flags.read(OptimizerConfig),
      resume=flags.resume,
      begin_with=flags.begin_with,
      settings=flags.settings(record.task_line(task.name)),
      stop_requests=requests,
    )
  except NonFiniteUpdateError as error:
    replay = RunFolder(run_dir).path / "nan"
    raise ValueError(f"{error}; {replay} holds all that a replay needs") from error
  except (ValueError, OSError, runs.WorkerLostError, NonFiniteWeightsError) as error:
    raise ValueError(f"{error}{run_flags.moved_paths(flags, taken)}") from error
