"""Exports a trained classifier for TensorFlow Serving.

  python export/export_classifier.py --run_dir=RUN --export_dir=BASE --name=NAME
  python export/export_classifier.py --pretrained=quickstart --export_dir=BASE --name=NAME

Writes the next version, BASE/NAME/VERSION, and beside it what a model server is started with. The
version is verified through the C++ loader before it is published (see verify.py).
"""

import pathlib

import manifests
import publishing
import starting
from absl import flags, logging

_RUN_DIR = starting.define_path("run_dir", "folder of a finished run, which holds model.keras")
_PRETRAINED = flags.DEFINE_string(
  "pretrained", None, "name of weights that the package ships, instead of --run_dir"
)
_AVERAGED_SAMPLES = flags.DEFINE_integer(
  "averaged_samples", 5, "glimpse sequences that classify_averaged takes the mean over"
)

flags.adopt_module_key_flags(publishing)
flags.mark_flags_as_mutual_exclusive(["run_dir", "pretrained"], required=True)
flags.register_validator(
  "run_dir",
  lambda path: path is None or (pathlib.Path(path) / "model.keras").is_file(),
  message="must be a folder that holds model.keras; is the run finished?",
)
flags.register_validator(
  "averaged_samples", lambda samples: samples >= 1, message="must be at least 1"
)


def main(_) -> None:
  """Exports one version."""
  # Only here: a wrong flag is told at once, not after TensorFlow has been loaded.
  with starting.quiet_tensorflow():
    import finished_run
    import signatures

    import wsram_tf

  # What TensorFlow saves where is no news. While it is imported it lowers this.
  logging.set_verbosity(logging.WARNING)
  if _PRETRAINED.value is not None:
    source = f"pretrained {_PRETRAINED.value}"
    run = finished_run.FinishedRun(wsram_tf.load_pretrained(_PRETRAINED.value), None, (), "resize")
  else:
    source = f"run {pathlib.Path(_RUN_DIR.value).resolve().name}"
    run = finished_run.load_run(_RUN_DIR.value, publishing.EXTENSION.value or ())
  config = run.network.config
  module, functions = signatures.build_signatures(
    run.network, _AVERAGED_SAMPLES.value, run.class_names
  )
  if "classify_bytes" not in functions:
    print(f"classify_bytes is left out: no image file holds {config.channels} channels")
  draft = manifests.ClassifierManifest(
    name=publishing.NAME.value,
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
    allowed_batch_sizes=publishing.batch_sizes(),
    weight_bytes=0,
    contract={},
    files={},
    class_names=list(run.class_names),
    fit=run.fit,
  )
  publishing.publish(module, functions, draft)


if __name__ == "__main__":
  starting.run(main, RuntimeError)
