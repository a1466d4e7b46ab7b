"""Exports a trained captioner for TensorFlow Serving, with its backbone and its search inside.

  python export/export_captioner.py --run_dir=RUN --export_dir=BASE --name=NAME

Writes the next version, BASE/NAME/VERSION, and beside it what a model server is started with. The
version is verified through the C++ loader before it is published (see verify.py).
"""

import pathlib

import manifests
import publishing
import starting
from absl import flags, logging

_RUN_DIR = starting.define_path(
  "run_dir",
  "folder of a finished run, which holds model.keras, vocabulary.txt and, where a backbone makes "
  "the grid of an image, backbone.keras",
)
_BEAM_WIDTH = flags.DEFINE_integer(
  "beam_width", 3, "captions kept at each word of the search; 1: greedy"
)
_LENGTH_EXPONENT = flags.DEFINE_float(
  "length_exponent",
  1.0,
  "captions are compared by log-probability / words ** this, so that longer ones stand a chance",
)

flags.adopt_module_key_flags(publishing)
flags.mark_flag_as_required("run_dir")
flags.register_validator(
  "run_dir",
  lambda path: path is None or (pathlib.Path(path) / "model.keras").is_file(),
  message="must be a folder that holds model.keras; is the run finished?",
)
flags.register_validator("beam_width", lambda width: width >= 1, message="must be at least 1")
flags.register_validator(
  "length_exponent", lambda exponent: 0 <= exponent <= 2, message="must be from 0 to 2"
)


def main(_) -> None:
  """Exports one version."""
  # Only here: a wrong flag is told at once, not after TensorFlow has been loaded.
  with starting.quiet_tensorflow():
    import caption_signatures
    import finished_run

    import wsram_tf

  # What TensorFlow saves where is no news. While it is imported it lowers this.
  logging.set_verbosity(logging.WARNING)
  run = finished_run.load_caption_run(_RUN_DIR.value, publishing.EXTENSION.value or ())
  config, backbone = run.network.config, run.backbone
  module, functions = caption_signatures.build_caption_signatures(
    run.network,
    run.vocabulary,
    wsram_tf.DecodingConfig(_BEAM_WIDTH.value, _LENGTH_EXPONENT.value),
    backbone,
  )
  image_shape = config.image_shape if backbone is None else backbone.inputs[0].shape[1:]
  height, width, channels = image_shape
  draft = manifests.CaptionerManifest(
    name=publishing.NAME.value,
    version=0,
    source=f"run {pathlib.Path(_RUN_DIR.value).resolve().name}",
    height=height,
    width=width,
    channels=channels,
    num_glimpses=config.num_glimpses,
    allowed_batch_sizes=publishing.batch_sizes(),
    weight_bytes=0,
    contract={},
    files={},
    largest_pixels=None if backbone is None else caption_signatures.LARGEST_PIXELS,
    feature_shape=None if backbone is None else list(config.image_shape),
    test_figures=run.test_figures,
    vocabulary_size=config.vocabulary_size,
    grid_rows=config.grid_shape[0],
    grid_columns=config.grid_shape[1],
    beam_width=_BEAM_WIDTH.value,
    length_exponent=_LENGTH_EXPONENT.value,
  )
  publishing.publish(module, functions, draft)


if __name__ == "__main__":
  starting.run(main, RuntimeError)
