"""The programs export_classifier, export_captioner and verify."""

import os
import pathlib
import sys
from collections.abc import Callable, Sequence

from absl import flags as absl_flags

from wsram_tf.captions.config import EXPORTED_DECODING, DecodingConfig
from wsram_tf.cli import program
from wsram_tf.cli.flags import ProgramFlags
from wsram_tf.export import publishing
from wsram_tf.serving import manifests

__all__ = [
  "captioner_flags",
  "classifier_flags",
  "export_captioner",
  "export_classifier",
  "verify",
]


def export_classifier(arguments: Sequence[str] | None = None) -> None:
  """Exports a trained classifier for TensorFlow Serving.

  export_classifier --run_dir=RUN --export_dir=BASE --name=NAME
  export_classifier --pretrained=quickstart --export_dir=BASE --name=NAME

  Writes the next version, BASE/NAME/VERSION, and the files that a model server starts with. The
  version is verified through TensorFlow's C++ loader before its publication (see verify).
  """
  program.run("export_classifier", lambda: _export_classifier(arguments), RuntimeError)


def export_captioner(arguments: Sequence[str] | None = None) -> None:
  """Exports a trained captioner for TensorFlow Serving, with its backbone and its search.

  export_captioner --run_dir=RUN --export_dir=BASE --name=NAME
  export_captioner --pretrained=scenes --export_dir=BASE --name=NAME

  Writes the next version, BASE/NAME/VERSION, and the files that a model server starts with. The
  version is verified through TensorFlow's C++ loader before its publication (see verify).
  """
  program.run("export_captioner", lambda: _export_captioner(arguments), RuntimeError)


def verify(arguments: Sequence[str] | None = None) -> None:
  """Runs `wsram_tf.serving.verification`, in place of this process.

  The verification needs a process that has imported nothing but the modules that serve.
  """
  arguments = sys.argv[1:] if arguments is None else arguments
  os.execv(sys.executable, [sys.executable, "-m", "wsram_tf.serving.verification", *arguments])


def classifier_flags() -> ProgramFlags:
  """Defines the flags of export_classifier."""
  flags = ProgramFlags("export_classifier", export_classifier.__doc__)
  _define_common(flags, "folder of a finished run, which holds model.keras")
  flags.define_count(
    "averaged_samples", 5, "glimpse sequences that classify_averaged takes the mean over"
  )
  return flags


def captioner_flags() -> ProgramFlags:
  """Defines the flags of export_captioner."""
  flags = ProgramFlags("export_captioner", export_captioner.__doc__)
  _define_common(
    flags,
    "folder of a finished run, which holds model.keras, vocabulary.txt and, where a backbone makes "
    "the grid of an image, backbone.keras",
  )
  flags.define(DecodingConfig, defaults=vars(EXPORTED_DECODING))
  return flags


def _define_common(flags: ProgramFlags, run_dir_help: str) -> None:
  flags.define_path(
    "run_dir",
    run_dir_help,
    check=lambda path: (pathlib.Path(path) / "model.keras").is_file(),
    rule="must be a folder that holds model.keras; is the run finished?",
  )
  flags.define_text(
    "pretrained", "a preset instead of --run_dir: a name of the package's, or a preset's folder"
  )
  absl_flags.mark_flags_as_mutual_exclusive(
    ["run_dir", "pretrained"], required=True, flag_values=flags.values
  )
  flags.define_path(
    "export_dir",
    "folder of all models; the version becomes EXPORT_DIR/NAME/VERSION",
    required=True,
  )
  flags.define_paths(
    "extension",
    "Python file that registers the run's estimator, where it is not where the run recorded it",
  )
  flags.define_text("name", "name that clients call the model by")
  absl_flags.mark_flag_as_required("name", flag_values=flags.values)
  absl_flags.register_validator(
    "name",
    lambda name: name is None or _passes(lambda: manifests.check_name(name)),
    flag_values=flags.values,
  )
  flags.define_list(
    "allowed_batch_sizes",
    [str(size) for size in publishing.BATCH_SIZES],
    "images a batch, rising: a batching server fills batches up to these sizes and warms them up; "
    "the last is the largest batch",
    check=lambda values: _passes(lambda: manifests.check_batch_sizes(_batch_sizes(values))),
  )
  flags.define_bool("verify", True, "verify the version before it is published")


def _passes(check: Callable[[], None]) -> bool:
  """Makes a validator's answer of a check that raises ValueError."""
  try:
    check()
  except ValueError as error:
    raise absl_flags.ValidationError(str(error)) from error
  return True


def _batch_sizes(values: Sequence[str]) -> list[int]:
  if not all(value.strip().isdecimal() for value in values):
    raise ValueError(
      f"allowed_batch_sizes={','.join(values)}: must be whole numbers from 1, rising"
    )
  return [int(value) for value in values]


def _export_classifier(arguments: Sequence[str] | None) -> None:
  flags = classifier_flags()
  flags.check_no_rest(flags.parse(arguments))
  program.load_tensorflow()
  from wsram_tf.classification import PredictionNetwork
  from wsram_tf.export import export_classifier
  from wsram_tf.presets import preset_names

  run, source, names = flags.run_dir, None, ()
  if flags.pretrained is not None:
    run, names = PredictionNetwork.from_preset(flags.pretrained), preset_names(flags.pretrained)
    source = f"pretrained {flags.pretrained}"
  export_classifier(
    run,
    flags.export_dir,
    flags.name,
    averaged_samples=flags.averaged_samples,
    allowed_batch_sizes=_batch_sizes(flags.allowed_batch_sizes),
    verify=flags.verify,
    extensions=flags.extension or (),
    class_names=names,
    source=source,
    report=_print,
  )


def _export_captioner(arguments: Sequence[str] | None) -> None:
  flags = captioner_flags()
  flags.check_no_rest(flags.parse(arguments))
  program.load_tensorflow()
  from wsram_tf.captions import CaptionNetwork, Vocabulary
  from wsram_tf.export import export_captioner

  run, source, vocabulary = flags.run_dir, None, None
  if flags.pretrained is not None:
    run = CaptionNetwork.from_preset(flags.pretrained)
    vocabulary, source = Vocabulary.from_preset(flags.pretrained), f"pretrained {flags.pretrained}"
  export_captioner(
    run,
    flags.export_dir,
    flags.name,
    decoding=flags.read(DecodingConfig),
    allowed_batch_sizes=_batch_sizes(flags.allowed_batch_sizes),
    verify=flags.verify,
    extensions=flags.extension or (),
    vocabulary=vocabulary,
    source=source,
    report=_print,
  )


def _print(line: str) -> None:
  print(line, flush=True)
