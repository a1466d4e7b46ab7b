"""The program demo: a page in the browser that shows where models look."""

import contextlib
import pathlib
import re
import tempfile
from collections.abc import Sequence

from absl import flags as absl_flags

from wsram_tf.cli import program
from wsram_tf.cli.flags import ProgramFlags
from wsram_tf.serving import clients, cpp_loader, examples, manifests, models

__all__ = ["demo"]

_DEFAULT_PRETRAINED = "translated_scaled"
_MOST_MODELS = 2
# Of the files in a folder of examples.
_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")
# Digits to offer with the package's weights.
_NUM_EXAMPLES = 6


def demo(arguments: Sequence[str] | None = None) -> None:
  """Starts a page in the browser: draw a digit or upload a picture, and watch a model look.

  demo                                            weights of the package
  demo --model_dir=BASE/NAME                      an export; a second --model_dir to compare both
  demo --server=localhost:8500 --name=NAME        a running server

  Needs Gradio: pip install "wsram_tf[demo]".
  """
  errors = cpp_loader.ServingError, clients.ServerError
  program.run("demo", lambda: _demo(arguments), *errors, when_stopped=lambda: "the page is closed")


def _flags() -> ProgramFlags:
  flags = ProgramFlags("demo", demo.__doc__)
  flags.define_paths(
    "model_dir",
    "folder of an exported version, or of a model, for its newest version; may be given twice",
  )
  flags.define_texts(
    "pretrained",
    "a preset: a name of the package's, or a preset's folder; may be given twice; without any "
    f"model named, {_DEFAULT_PRETRAINED}",
  )
  flags.define_text("server", "host:port of a running model server's gRPC port")
  flags.define_texts("name", "the model's name on the server; may be given twice")
  flags.define_count(
    "glimpse_scales",
    0,
    "with server, the scales that a model chooses from, which it does not report",
    minimum=0,
  )
  flags.define_path(
    "example_dir",
    f"folder of images to offer, {', '.join(_SUFFIXES)}",
    check=lambda path: pathlib.Path(path).is_dir(),
    rule="must be a folder",
  )
  flags.define_bool(
    "regions",
    False,
    "visitors upload large files (pyramidal TIFF, whole slides): send the model a reduced copy and "
    "the patches that it asks for, by its signatures begin and look",
  )
  flags.define_text("host", "address to listen on, by default 127.0.0.1; 0.0.0.0 for all")
  flags.define_count("port", 7860, "port to listen on; 0 for any free one from 7860 on", minimum=0)
  values = flags.values
  absl_flags.register_multi_flags_validator(
    ["server", "name"],
    lambda given: (given["server"] is None) == (not given["name"]),
    message="--name belongs to --server and must be given with it",
    flag_values=values,
  )
  absl_flags.register_multi_flags_validator(
    ["model_dir", "pretrained", "name"],
    lambda given: sum(len(named or []) for named in given.values()) <= _MOST_MODELS,
    message=f"at most {_MOST_MODELS} models may be named",
    flag_values=values,
  )
  return flags


def _demo(arguments: Sequence[str] | None) -> None:
  flags = _flags()
  flags.check_no_rest(flags.parse(arguments))
  try:
    from wsram_tf.demo import page
  except ModuleNotFoundError as error:
    if not (error.name or "").startswith("gradio"):
      raise
    raise ValueError('needs Gradio; install it: pip install "wsram_tf[demo]"') from error
  with contextlib.ExitStack() as stack:
    shown = _open_models(flags, stack)
    offered = []
    if flags.example_dir is not None:
      files = sorted(pathlib.Path(flags.example_dir).iterdir())
      offered = [file for file in files if file.suffix.lower() in _SUFFIXES]
    elif _shows_the_default(flags):
      offered = _example_digits(stack)
    built = page.build_page(shown, examples=offered, regions=flags.regions)
    page.launch(built, host=flags.host or "127.0.0.1", port=flags.port)


def _shows_the_default(flags: ProgramFlags) -> bool:
  return not (flags.model_dir or flags.pretrained or flags.server)


def _open_models(
  flags: ProgramFlags, stack: contextlib.ExitStack
) -> dict[str, models.ExportedModel | models.ServedModel]:
  """Opens the models that the flags name, by their titles."""
  shown: dict[str, models.ExportedModel | models.ServedModel] = {}
  presets = list(flags.pretrained)
  if _shows_the_default(flags):
    print(f"No model named: the page shows the package's weights {_DEFAULT_PRETRAINED!r}")
    presets = [_DEFAULT_PRETRAINED]
  folders = [manifests.version_dir(path) for path in flags.model_dir or []]
  folders += [_exported(name, stack) for name in presets]
  for folder in folders:
    if not (folder / manifests.MANIFEST_FILE).is_file():
      raise ValueError(
        f"model_dir={folder}: must be a folder that an export wrote, EXPORT_DIR/NAME/VERSION or "
        "EXPORT_DIR/NAME"
      )
    name = manifests.read_manifest(folder).facts.name
    shown[_free(name, shown)] = models.ExportedModel(folder)
  for name in flags.name:
    client = clients.GrpcClient(flags.server, name)
    shown[_free(name, shown)] = models.ServedModel(client, name, flags.glimpse_scales)
  return shown


def _exported(name: str, stack: contextlib.ExitStack) -> pathlib.Path:
  """Exports a preset to a temporary folder: the page asks exports alone, as any client does."""
  folder = stack.enter_context(tempfile.TemporaryDirectory())
  program.load_tensorflow()
  from wsram_tf.export import export_preset

  # A preset's folder may have any name, a model may not.
  title = re.sub(r"[^A-Za-z0-9_.-]|^[^A-Za-z]+", "", pathlib.Path(name).name) or "preset"
  return export_preset(name, folder, title, verify=False)


def _example_digits(stack: contextlib.ExitStack) -> list[pathlib.Path]:
  """Writes canvases with digits that come with the package, of the kind that the weights know."""
  folder = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory()))
  from wsram_tf.data import canvases, digits

  source = digits.load_digits("mnist5k", num_validation=0).test
  drawn = canvases.evaluation_canvases(
    source,
    canvases.CanvasConfig(),
    num_canvases=_NUM_EXAMPLES,
    batch_size=_NUM_EXAMPLES,
    seed=1,
  )
  images, _ = next(drawn.as_numpy_iterator())
  paths = [folder / f"digit {number}.png" for number in range(1, _NUM_EXAMPLES + 1)]
  for path, image in zip(paths, images, strict=True):
    path.write_bytes(examples.png_bytes((255 * image).astype("uint8")))
  return paths


def _free(title: str, shown: dict) -> str:
  """A title that no model has yet."""
  return title if title not in shown else f"{title} (2)"
