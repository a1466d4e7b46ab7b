"""Says what a model sees in image files, as a model server would: a class, or a caption.

  python export/predict.py IMAGE...                                      weights of the package
  python export/predict.py --model_dir=BASE/NAME/VERSION IMAGE...        an export
  python export/predict.py --server=localhost:8500 --name=NAME IMAGE...  a running server

Images are PNG or JPEG files of any size; one that is not of the model's size is resized, here or,
where the model takes any size, by the model.
"""

import contextlib
import io
import os
import pathlib

import cpp_loader
import examples
import manifests
import numpy as np
import PIL.ExifTags
import PIL.Image
import PIL.ImageOps
import server_client
import starting
from absl import app, flags
from answering import Cells, ExportedModel, Glimpses, Model, PretrainedModel, ServedModel

_DEFAULT_PRETRAINED = "translated_scaled"
_ORIENTATION = PIL.ExifTags.Base.Orientation
_CLASSES_SHOWN = 3
NO_WORDS = "(nothing)"

_MODEL_DIR = starting.define_path(
  "model_dir",
  "folder of an exported version, EXPORT_DIR/NAME/VERSION, or of a model, EXPORT_DIR/NAME, whose "
  "newest version is taken",
)
_SERVER = flags.DEFINE_string("server", None, "host:port of a running model server")
_PRETRAINED = flags.DEFINE_string(
  "pretrained",
  None,
  f"name of weights that the package ships; without any model named, {_DEFAULT_PRETRAINED}",
)
_NAME = flags.DEFINE_string("name", None, "the model's name on the server")
_PROTOCOL = flags.DEFINE_enum(
  "protocol", "grpc", ["grpc", "rest"], "what the server speaks at that port"
)
_TIMEOUT = flags.DEFINE_float("timeout", 10.0, "longest wait for the server, in seconds")
_INVERT = flags.DEFINE_bool(
  "invert",
  False,
  "swap dark and bright: for dark ink on white, of a model that learned the reverse",
)
_DRAW_DIR = starting.define_path(
  "draw_dir", "folder for a picture of each image with its glimpses; made if need be"
)

flags.register_validator(
  "model_dir",
  lambda path: path is None or (manifests.version_dir(path) / manifests.MANIFEST_FILE).is_file(),
  message="must be a folder that an export wrote, EXPORT_DIR/NAME/VERSION or EXPORT_DIR/NAME",
)
flags.register_validator(
  "server",
  lambda server: server is None or server.rpartition(":")[2].isdecimal(),
  message="must be host:port, such as localhost:8500",
)
flags.register_validator("timeout", lambda timeout: timeout > 0, message="must be above 0")
flags.register_multi_flags_validator(
  ["model_dir", "server", "pretrained"],
  lambda values: sum(value is not None for value in values.values()) <= 1,
  message="at most one of --model_dir, --server and --pretrained may be given",
)
flags.register_multi_flags_validator(
  ["server", "name"],
  lambda values: (values["server"] is None) == (values["name"] is None),
  message="--name belongs to --server and must be given with it",
)

flags.register_multi_flags_validator(
  ["server", "draw_dir"],
  lambda values: None in values.values(),
  message="--draw_dir needs --model_dir or --pretrained: a server does not tell a glimpse's size",
)


def open_model() -> Model:
  """The model that the flags name."""
  if _SERVER.value is not None:
    client = server_client.GrpcClient if _PROTOCOL.value == "grpc" else server_client.RestClient
    return ServedModel(client(_SERVER.value, _NAME.value, _TIMEOUT.value), _NAME.value)
  if _MODEL_DIR.value is not None:
    return ExportedModel(os.fspath(manifests.version_dir(_MODEL_DIR.value)))
  if _PRETRAINED.value is None:
    print(f"No model named: these are the answers of the package's weights {_DEFAULT_PRETRAINED!r}")
  return PretrainedModel(_PRETRAINED.value or _DEFAULT_PRETRAINED)


def prepare(path: str, shape: tuple[int, int, int], invert: bool, fit: str) -> tuple[bytes, str]:
  """Makes a file of the size that the model takes.

  Args:
    path: of a PNG or JPEG file.
    shape: height, width and channels of the model's images, pixels.
    invert: whether to swap dark and bright.
    fit: as `answering.Model` has it.

  Returns:
    the contents to send, which are the file's own where nothing needs to be changed, and a note
    that says what was changed, or an empty string.

  Raises:
    OSError: if the file cannot be read.
    ValueError: if it is no PNG or JPEG file.
  """
  height, width, channels = shape
  if channels not in (1, 3):
    raise ValueError(f"the model takes images of {channels} channels, which no image file holds")
  contents = pathlib.Path(path).read_bytes()
  try:
    image = PIL.Image.open(io.BytesIO(contents), formats=["PNG", "JPEG"])
    # Cameras write down which way is up; models take pixels as they lie in the file.
    turned = image.format == "JPEG" and image.getexif().get(_ORIENTATION, 1) != 1
    if turned:
      image = PIL.ImageOps.exif_transpose(image)
    right_size = fit == "any size" or image.size == (width, height)
    transparent = image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info
    if right_size and not turned and not invert and not transparent:
      return contents, ""
    old_width, old_height = image.size
    if image.mode.startswith("I"):  # 16 bits: conversion would clip them to 8, not scale them.
      image = PIL.Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    elif transparent:  # On black, as in training; a model would see what lies hidden there.
      image = image.convert("RGBA")
      image = PIL.Image.alpha_composite(PIL.Image.new("RGBA", image.size, "black"), image)
    image = image.convert("L" if channels == 1 else "RGB")
    method = PIL.Image.Resampling.BILINEAR
    if right_size:
      width, height = image.size
    elif fit == "pad":
      image = PIL.ImageOps.pad(image, (width, height), method)
    else:
      image = image.resize((width, height), method)
  except PIL.UnidentifiedImageError as error:
    raise ValueError(f"{path}: must be a PNG or JPEG file") from error
  except Exception as error:  # Pillow's parsers raise all kinds at damage.
    raise ValueError(f"{path}: must be a whole PNG or JPEG file: {error}") from error
  pixels = np.asarray(image).reshape([height, width, channels])
  old, new = f"{old_height} x {old_width}", f"{height} x {width}"
  done = "padded and resized" if fit == "pad" else "resized"
  note = "" if right_size else f"{done} from {old} to {new} pixels (height x width)"
  return examples.png_bytes(255 - pixels if invert else pixels), note


def describe(answer: dict[str, np.ndarray]) -> str:
  """The likeliest classes of one image, or its caption, and where the model looked."""
  looked = [f"({row:+.2f}, {column:+.2f})" for row, column in answer["locations"][0]]
  if "caption" in answer:
    words = caption_words(answer)
    places = " ".join(looked[: len(words)])
    said = f"{' '.join(words) or NO_WORDS} (log-probability {answer['log_prob'][0]:.2f} nats)"
    return f"{said}; looked at (row, column) {places}" if places else said
  probabilities = answer["probabilities"][0]
  classes = np.argsort(-probabilities, kind="stable")[:_CLASSES_SHOWN]
  # Of the likeliest; the others have their numbers.
  names = {classes[0]: text_of(answer["class_name"][0])} if "class_name" in answer else {}
  shown = ", ".join(
    f"{names.get(label, label)} ({100 * probabilities[label]:.1f}%)" for label in classes
  )
  return f"{shown}; looked at (row, column) {' '.join(looked)}"


def caption_words(answer: dict[str, np.ndarray]) -> list[str]:
  """The words of one image's caption."""
  return [text_of(word) for word in answer["words"][0] if word]


def text_of(output: bytes | str) -> str:
  """The text of an output: over REST it is text, otherwise bytes."""
  return output.decode() if isinstance(output, bytes) else str(output)


def draw(
  path: pathlib.Path,
  contents: bytes,
  answer: dict[str, np.ndarray],
  glimpses: Glimpses | Cells,
) -> None:
  """Writes a picture of an image with its glimpses: their squares, or before each word the cell.

  Args:
    path: of the PNG file to write.
    contents: of the file that the model saw.
    answer: the outputs for it.
    glimpses: what a glimpse covers.

  Raises:
    OSError: if it cannot be written; there is no half picture then.
  """
  # Only here: without a picture to draw, none of this is needed.
  from matplotlib.figure import Figure

  with starting.quiet_tensorflow():
    from wsram_tf.drawing import draw_captions, draw_glimpse_squares

  image = PIL.Image.open(io.BytesIO(contents))
  pixels = examples.to_float(np.atleast_3d(image.convert("RGB")))
  if isinstance(glimpses, Cells):
    words = caption_words(answer) or [NO_WORDS]
    figure = draw_captions(pixels[np.newaxis], answer["locations"], [words], glimpses)
  else:
    figure = Figure(figsize=(4, 4 * image.height / image.width), dpi=150)
    axes = figure.add_axes((0, 0, 1, 1))
    draw_glimpse_squares(axes, pixels, answer["locations"][0], *glimpses)
  aside = path.with_name(f".partial-{path.name}")
  try:
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(aside)
    aside.replace(path)
  except OSError as error:
    raise OSError(f"draw_dir={path.parent}: {path.name} cannot be written, {error.strerror}") from (
      error
    )
  finally:
    with contextlib.suppress(OSError):  # On a full disk, say, half of it is there.
      aside.unlink(missing_ok=True)


def main(arguments: list[str]) -> None:
  """Answers about each file."""
  paths = arguments[1:]
  if not paths:
    raise app.UsageError("name at least one PNG or JPEG file")
  pictures = [f"{pathlib.Path(path).stem}_glimpses.png" for path in paths]
  if _DRAW_DIR.value is not None and len(set(pictures)) < len(pictures):
    raise ValueError(f"{' '.join(paths)}: must differ in their names, for pictures in one folder")
  model = open_model()
  shape = model.image_shape()
  # All files first: a wrong one among many is told before anything is asked or drawn.
  prepared = [prepare(path, shape, _INVERT.value, model.fit) for path in paths]
  for path, picture, (contents, note) in zip(paths, pictures, prepared, strict=True):
    answer = model.ask([contents])
    if note:
      print(f"{path}: {note}")
    print(f"{path}: {describe(answer)}")
    if _DRAW_DIR.value is not None:
      drawn = pathlib.Path(_DRAW_DIR.value) / picture
      draw(drawn, contents, answer, model.glimpses)
      print(f"{path}: drawn in {drawn}")


if __name__ == "__main__":
  starting.run(main, cpp_loader.ServingError, server_client.ServerError)
