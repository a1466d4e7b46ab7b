"""The program predict: asks a model about image files."""

import io
import pathlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from absl import flags as absl_flags

from wsram_tf import files
from wsram_tf.cli import program
from wsram_tf.cli.flags import ProgramFlags
from wsram_tf.cli.programs.animating import SUFFIXES, animate_answer
from wsram_tf.serving import clients, cpp_loader, examples, manifests, models
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
  resized, here or, where the model takes any size, by the model.
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
    "with regions, the scales that a model on a server chooses from, which it does not report",
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
  absl_flags.register_multi_flags_validator(
    ["server", "animate", "regions"],
    lambda given: given["regions"] or None in (given["server"], given["animate"]),
    message="--animate needs --model_dir or --pretrained: servers do not report a glimpse's size",
    flag_values=values,
  )
  absl_flags.register_multi_flags_validator(
    ["server", "draw_dir", "regions"],
    lambda given: given["regions"] or None in (given["server"], given["draw_dir"]),
    message="--draw_dir needs --model_dir or --pretrained: servers do not report a glimpse's size",
    flag_values=values,
  )


def _predict(arguments: Sequence[str] | None) -> None:
  flags = _flags()
  paths = flags.parse(arguments)
  if not paths:
    raise ValueError("name at least one image file")
  if flags.animate is not None and len(paths) > 1:
    raise ValueError(f"animate={flags.animate}: must be given with one image alone")
  pictures = [f"{pathlib.Path(path).stem}_glimpses.png" for path in paths]
  if flags.draw_dir is not None and len(set(pictures)) < len(pictures):
    raise ValueError(f"{' '.join(paths)}: must differ in their names, for pictures in one folder")
  if flags.regions:
    from wsram_tf.cli.programs.searching import search_files

    search_files(flags, _open_client(flags) or models.ExportedModel(flags.model_dir), paths)
    return
  model = _open_model(flags)
  shape = model.image_shape()
  # All files first: one that cannot be read ends the program before any question or picture.
  prepared = [prepare_image(path, shape, model.fit, invert=flags.invert) for path in paths]
  for path, picture, (contents, note) in zip(paths, pictures, prepared, strict=True):
    answer = model.ask([contents])
    if note:
      print(f"{path}: {note}")
    print(f"{path}: {models.describe(answer)}")
    # A server does not report a glimpse's size; the flags refuse --draw_dir with --server.
    if flags.draw_dir is not None and not isinstance(model, models.ServedModel):
      drawn = pathlib.Path(flags.draw_dir) / picture
      _draw(drawn, contents, answer, model.glimpses)
      print(f"{path}: drawn in {drawn}")
    if flags.animate is not None and not isinstance(model, models.ServedModel):
      animate_answer(pathlib.Path(flags.animate), contents, model)
      print(f"{path}: animated in {flags.animate}")


def _open_model(
  flags: ProgramFlags,
) -> "models.ExportedModel | models.ServedModel | export.PretrainedModel":
  client = _open_client(flags)
  if client is not None:
    return models.ServedModel(client, flags.name)
  if flags.model_dir is not None:
    return models.ExportedModel(flags.model_dir)
  program.load_tensorflow()  # No other model needs TensorFlow's Python package.
  from wsram_tf.export import PretrainedModel

  if flags.pretrained is None:
    print(f"No model named: these are the answers of the package's weights {_DEFAULT_PRETRAINED!r}")
  return PretrainedModel(flags.pretrained or _DEFAULT_PRETRAINED)


def _open_client(flags: ProgramFlags) -> "clients.GrpcClient | clients.RestClient | None":
  if flags.server is None:
    return None
  client = clients.GrpcClient if flags.protocol == "grpc" else clients.RestClient
  return client(flags.server, flags.name, flags.timeout)


def _draw(
  path: pathlib.Path,
  contents: bytes,
  answer: Mapping[str, np.ndarray],
  glimpses: models.Glimpses | models.Cells,
) -> None:
  """Writes a picture of an image with its glimpses: their squares, or the cell before each word.

  Args:
    path: of the PNG file to write.
    contents: of the file that the model saw.
    answer: the outputs for it.
    glimpses: the extent of a glimpse.

  Raises:
    OSError: if it cannot be written; no incomplete picture remains.
  """
  import PIL.Image
  from matplotlib.figure import Figure

  with program.quiet_tensorflow():
    from wsram_tf.drawing import draw_captions, draw_glimpse_squares

  image = PIL.Image.open(io.BytesIO(contents))
  pixels = examples.to_float(np.asarray(image.convert("RGB")))
  if isinstance(glimpses, models.Cells):
    words = models.caption_words(answer) or [models.NO_WORDS]
    figure = draw_captions(
      pixels[np.newaxis],
      answer["locations"],
      [words],
      glimpses.grids,
      layers=answer.get("layers"),
    )
  else:
    figure = Figure(figsize=(4, 4 * image.height / image.width), dpi=150)
    axes = figure.add_axes((0, 0, 1, 1))
    scales = answer["scales"][0] if "scales" in answer else None
    draw_glimpse_squares(axes, pixels, answer["locations"][0], *glimpses, scales)
  try:
    path.parent.mkdir(parents=True, exist_ok=True)
    with files.replacing(path) as partial:
      figure.savefig(partial)
  except OSError as error:
    raise OSError(f"draw_dir={path.parent}: {path.name} cannot be written, {error.strerror}") from (
      error
    )
