"""Exports a trained classifier for TensorFlow Serving.

  python export/export_classifier.py --run_dir=RUN --export_dir=BASE --name=NAME
  python export/export_classifier.py --pretrained=quickstart --export_dir=BASE --name=NAME

Writes the next version, BASE/NAME/VERSION, and beside it what a model server is started with. The
version is verified through the C++ loader before it is published (see verify.py).
"""

import itertools
import os
import pathlib
import subprocess
import sys

import manifests
import server_files
from absl import app, flags, logging

_RUN_DIR = flags.DEFINE_string("run_dir", None, "folder of a finished run, which holds model.keras")
_PRETRAINED = flags.DEFINE_string(
  "pretrained", None, "name of weights that the package ships, instead of --run_dir"
)
_EXPORT_DIR = flags.DEFINE_string(
  "export_dir", None, "folder of all models; the version becomes EXPORT_DIR/NAME/VERSION"
)
_NAME = flags.DEFINE_string("name", None, "name that clients call the model by")
_AVERAGED_SAMPLES = flags.DEFINE_integer(
  "averaged_samples", 5, "glimpse sequences that classify_averaged takes the mean over"
)
_BATCH_SIZES = flags.DEFINE_list(
  "allowed_batch_sizes",
  ["1", "4", "16", "64"],
  "images a batch, rising: what a batching server fills a batch up to, and warms up; the last is "
  "the largest batch",
)
_VERIFY = flags.DEFINE_bool("verify", True, "verify the version before it is published")

flags.mark_flags_as_required(["export_dir", "name"])
flags.mark_flags_as_mutual_exclusive(["run_dir", "pretrained"], required=True)
flags.register_validator(
  "run_dir",
  lambda path: path is None or (pathlib.Path(path) / "model.keras").is_file(),
  message="must be a folder that holds model.keras; is the run finished?",
)
flags.register_validator(
  "averaged_samples", lambda samples: samples >= 1, message="must be at least 1"
)


def _valid_name(name: str | None) -> bool:
  try:
    manifests.check_name(name or "x")
  except ValueError as error:
    raise flags.ValidationError(str(error)) from error
  return True


def _valid_batch_sizes(values: list[str]) -> bool:
  if not all(value.strip().isdecimal() for value in values):
    return False
  sizes = [int(value) for value in values]
  rising = all(small < large for small, large in itertools.pairwise(sizes))
  return (
    bool(sizes) and sizes[0] >= 1 and rising and len(sizes) * 4 <= manifests.LARGEST_WARMUP_COUNT
  )


flags.register_validator("name", _valid_name)
flags.register_validator(
  "allowed_batch_sizes",
  _valid_batch_sizes,
  message="must be whole numbers from 1, rising, and at most "
  f"{manifests.LARGEST_WARMUP_COUNT // 4} of them, which is what a server warms up",
)


def verify_in_another_process(model_dir: pathlib.Path) -> None:
  """Runs verify.py, in a process of its own: this one has TensorFlow's Python package in it.

  Raises:
    RuntimeError: if the version fails.
  """
  program = pathlib.Path(__file__).with_name("verify.py")
  command = [sys.executable, os.fspath(program), f"--model_dir={model_dir}"]
  # The table goes to the standard output; what the C++ runtime logs is shown only with a failure.
  done = subprocess.run(command, capture_output=True, text=True)
  print(done.stdout, end="", flush=True)
  if done.returncode:
    print(done.stderr, file=sys.stderr, end="")
    raise RuntimeError("the version failed its verification, so nothing was published")


def main(_) -> None:
  """Exports one version."""
  # What TensorFlow notes at its start, and of what it saves where, is no news to anybody.
  os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
  # Only here: a wrong flag is told at once, not after TensorFlow has been loaded.
  import finished_run
  import saved_model
  import signatures

  import wsram_tf

  logging.set_verbosity(logging.WARNING)  # TensorFlow lowers it while it is imported.
  if _PRETRAINED.value is not None:
    source = f"pretrained {_PRETRAINED.value}"
    run = finished_run.FinishedRun(wsram_tf.load_pretrained(_PRETRAINED.value), None, (), "resize")
  else:
    source = f"run {pathlib.Path(_RUN_DIR.value).resolve().name}"
    run = finished_run.load_run(_RUN_DIR.value)
  config = run.network.config
  module, functions = signatures.build_signatures(
    run.network, _AVERAGED_SAMPLES.value, run.class_names
  )
  draft = manifests.Manifest(
    name=_NAME.value,
    version=0,
    source=source,
    test_error_percent=run.test_error_percent,
    height=config.height,
    width=config.width,
    channels=config.channels,
    num_classes=config.num_classes,
    num_glimpses=config.num_glimpses,
    glimpse_side=config.glimpse.glimpse_side,
    glimpse_scales=config.glimpse.glimpse_scales,
    averaged_samples=_AVERAGED_SAMPLES.value,
    allowed_batch_sizes=[int(value) for value in _BATCH_SIZES.value],
    weight_bytes=0,
    contract={},
    files={},
    class_names=list(run.class_names),
    fit=run.fit,
  )
  verify = verify_in_another_process if _VERIFY.value else None
  model_dir = saved_model.write_version(_EXPORT_DIR.value, module, functions, draft, verify)
  if "classify_bytes" not in functions:
    print(f"classify_bytes was left out: no image file holds {config.channels} channels")
  for file in server_files.write_server_files(_EXPORT_DIR.value, _NAME.value):
    print(f"{file} was changed by hand and is left as it is; compare it with the README.md there")
  print(f"Exported {model_dir}\nHow to serve it: {pathlib.Path(_EXPORT_DIR.value) / 'README.md'}")


if __name__ == "__main__":
  try:
    app.run(main)
  except (ValueError, RuntimeError, OSError) as error:
    sys.exit(f"export_classifier.py: {error}")
