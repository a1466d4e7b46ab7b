"""The program predict: asks a model about image files."""

import pathlib
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from absl import flags as absl_flags

from wsram_tf.cli import program
from wsram_tf.cli.flags import ProgramFlags
from wsram_tf.cli.programs.prediction import answers
from wsram_tf.cli.programs.prediction.pictures import SUFFIXES, animate_answer, draw_answer
from wsram_tf.data.fitting import IMAGE_SUFFIXES
from wsram_tf.data.regions.slides import SLIDE_SUFFIXES
from wsram_tf.serving import clients, cpp_loader, manifests, models
from wsram_tf.serving.image_files import prepare_image

if TYPE_CHECKING:  # It loads TensorFlow.
  from wsram_tf import export

__all__ = ["predict"]

_DEFAULT_PRETRAINED = "translated_scaled"


def predict(arguments: Sequence[str] | None = None) -> None:
  """Describes image files by the answers of a model: a class, or a caption.

  predict IMAGE...                                      weights of the package
  predict --model_dir=BASE/NAME/VERSION IMAGE...        an export
  predict --server=localhost:8500 --name=NAME IMAGE...  a running server

  predict --model_dir=BASE/NAME --regions SLIDE...      large files, of which regions are read

  Images are PNG, JPEG, TIFF or WebP files of any size; one that is not of the model's size is
  resized, here or, where the model takes any size, by the model. A folder stands for all images in
  it and in its folders, a pattern such as 'scans/*.png' for the files that it matches. A file
  without an answer does not keep the others from theirs; the exit status is then 1.
  """
  program.run("predict", lambda: _predict(arguments), cpp_loader.ServingError, clients.ServerError)


def _flags() -> ProgramFlags:
  flags = ProgramFlags("predict", predict.__doc__)
  flags.define_path(
    "model_dir",
    "folder of an exported version, EXPORT_DIR/NAME/VERSION, or of a model, EXPORT_DIR/NAME, for "
    "its newest version",
    check=lambda path: (manifests.version_dir(path) / manifests.MANIFEST_FILE).is_file(),
    rule="must be a folder that an export wrote, EXPORT_DIR/NAME/VERSION or EXPORT_DIR/NAME",
  )
  flags.define_text("server", "host:port of a running model server")
  flags.define_text(
    "pretrained",
    "a preset: a name of the package's, or a preset's folder; without any model named, "
    f"{_DEFAULT_PRETRAINED}",
  )
  flags.define_text("name", "the model's name on the server")
  flags.define_choice("protocol", "grpc", ("grpc", "rest"), "protocol of the server's port")
  absl_flags.DEFINE_float(
    "timeout", 10.0, "longest wait for the server, in seconds", flag_values=flags.values
  )
  flags.define_bool(
    "regions",
    False,
    "the files are large ones (pyramidal TIFF, whole slides) of any size: send the model a reduced "
    "copy and the patches that it asks for, by its signatures begin and look",
  )
  flags.define_count(
    "glimpse_scales",
    0,
    "with server, for pictures or regions, the scales that a model chooses from, which it does not "
    "report",
    minimum=0,
  )
  absl_flags.DEFINE_float(
    "threshold",
    None,
    "with regions, a probability: take no further glimpse once the likeliest class has reached it",
    lower_bound=0.0,
    upper_bound=1.0,
    flag_values=flags.values,
  )
  flags.define_choice(
    "format",
    "text",
    answers.FORMATS,
    "of the answers: text; json, an object a line with all outputs; csv, a table. Notes then go to "
    "the standard error",
  )
  flags.define_bool(
    "invert",
    False,
    "swap dark and bright: for dark ink on white, of a model that learned the reverse",
  )
  flags.define_path(
    "draw_dir",
    "folder for a picture of each image with its glimpses; created if it does not exist",
  )
  flags.define_path(
    "animate",
    "file, .gif or .webp, for a moving picture of one image: a frame for each glimpse, with the "
    "probabilities of the classes after it",
    check=lambda path: path.lower().endswith(SUFFIXES),
    rule=f"must end in {' or '.join(SUFFIXES)}",
  )
  _register_rules(flags.values)
  return flags


def _register_rules(values: absl_flags.FlagValues) -> None:
  absl_flags.register_validator(
    "server",
    lambda server: server is None or server.rpartition(":")[2].isdecimal(),
    message="must be host:port, for example localhost:8500",
    flag_values=values,
  )
  absl_flags.register_validator(
    "timeout", lambda timeout: timeout > 0, message="must be above 0", flag_values=values
  )
  absl_flags.register_multi_flags_validator(
    ["model_dir", "server", "pretrained"],
    lambda given: sum(value is not None for value in given.values()) <= 1,
    message="at most one of --model_dir, --server and --pretrained may be given",
    flag_values=values,
  )
  absl_flags.register_multi_flags_validator(
    ["server", "name"],
    lambda given: (given["server"] is None) == (given["name"] is None),
    message="--name belongs to --server and must be given with it",
    flag_values=values,
  )
  absl_flags.register_multi_flags_validator(
    ["regions", "model_dir", "server"],
    lambda given: not given["regions"] or given["model_dir"] or given["server"],
    message="--regions needs --model_dir or --server",
    flag_values=values,
  )
  absl_flags.register_multi_flags_validator(
    ["regions", "threshold"],
    lambda given: given["regions"] or given["threshold"] is None,
    message="--threshold needs --regions",
    flag_values=values,
  )
  absl_flags.register_multi_flags_validator(
    ["regions", "invert"],
    lambda given: not all(given.values()),
    message="--invert must not be given with --regions",
    flag_values=values,
  )


def _predict(arguments: Sequence[str] | None) -> None:
  flags = _flags()
  named = flags.parse(arguments)
  if not named:
    raise ValueError("name at least one image file")
  suffixes = SLIDE_SUFFIXES if flags.regions else IMAGE_SUFFIXES
  paths, wrong = answers.find_files(named, suffixes)
  if flags.animate is not None and len(paths) > 1:
    raise ValueError(f"animate={flags.animate}: must be given with one image alone")
  pictures = [f"{pathlib.Path(path).stem}_glimpses.png" for path in paths]
  if flags.draw_dir is not None and len(set(pictures)) < len(pictures):
    raise ValueError(f"{' '.join(paths)}: must differ in their names, for pictures in one folder")
  if flags.regions:
    from wsram_tf.cli.programs.prediction.searching import search_files

    client = _open_client(flags) or models.ExportedModel(flags.model_dir)
    writer = _open_writer(flags, client, wrong)
    search_files(flags, client, paths, writer)
  else:
    model = _open_model(flags)
    writer = _open_writer(flags, model, wrong)
    _ask_about_files(flags, model, paths, writer)
  writer.finish(len(paths) + len(wrong))


def _open_writer(flags: ProgramFlags, model: Any, wrong: Mapping[str, str]) -> answers.AnswerWriter:
  """Opens the output, with the errors of arguments that name no file."""
  signatures = getattr(model, "signatures", {}).values()
  describes = any("caption" in signature.outputs for signature in signatures)
  writer = answers.AnswerWriter(flags.format, getattr(model, "class_names", ()), describes)
  for path, rule in wrong.items():
    writer.fail(path, rule)
  return writer


def _ask_about_files(
  flags: ProgramFlags,
  model: "models.ExportedModel | models.ServedModel | export.PretrainedModel",
  paths: Sequence[str],
  writer: answers.AnswerWriter,
) -> None:
  """Prints the answer to each file; one without an answer does not keep the others from theirs."""
  wanted = [name for name in ("draw_dir", "animate") if flags.values[name].value is not None]
  if wanted and model.glimpses == models.Cells(()):
    raise ValueError(
      f"{wanted[0]}: needs --model_dir for a captioner, because servers do not report its cells"
    )
  for path in paths:
    try:
      shape = model.image_shape()
      contents, note = prepare_image(path, shape, model.fit, invert=flags.invert)
      answer = model.ask([contents])
    except (ValueError, OSError, cpp_loader.ServingError, clients.RequestRefusedError) as error:
      writer.fail(path, error)
      continue
    if note:
      writer.note(path, note)
    writer.answer(path, answer)
    if flags.draw_dir is not None:
      drawn = pathlib.Path(flags.draw_dir) / f"{pathlib.Path(path).stem}_glimpses.png"
      draw_answer(drawn, contents, answer, model.glimpses)
      writer.note(path, f"drawn in {drawn}")
    if flags.animate is not None:
      animate_answer(pathlib.Path(flags.animate), contents, model)
      writer.note(path, f"animated in {flags.animate}")


def _open_model(
  flags: ProgramFlags,
) -> "models.ExportedModel | models.ServedModel | export.PretrainedModel":
  client = _open_client(flags)
  if client is not None:
    return models.ServedModel(client, flags.name, flags.glimpse_scales)
  if flags.model_dir is not None:
    return models.ExportedModel(flags.model_dir)
  program.load_tensorflow()  # No other model needs TensorFlow's Python package.
  from wsram_tf.export import PretrainedModel

  if flags.pretrained is None:
    print(
      f"No model named: these are the answers of the package's weights {_DEFAULT_PRETRAINED!r}",
      file=sys.stdout if flags.format == "text" else sys.stderr,
    )
  return PretrainedModel(flags.pretrained or _DEFAULT_PRETRAINED)


def _open_client(flags: ProgramFlags) -> "clients.GrpcClient | clients.RestClient | None":
  if flags.server is None:
    return None
  client = clients.GrpcClient if flags.protocol == "grpc" else clients.RestClient
  return client(flags.server, flags.name, flags.timeout)
