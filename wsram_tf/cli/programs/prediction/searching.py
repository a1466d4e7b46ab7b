"""The part of predict that searches large files through a model's `begin` and `look`."""

import pathlib
from collections.abc import Sequence

import numpy as np

from wsram_tf.cli import program
from wsram_tf.cli.flags import ProgramFlags
from wsram_tf.cli.programs.prediction.answers import AnswerWriter
from wsram_tf.cli.programs.prediction.pictures import write_animation
from wsram_tf.data.regions import search
from wsram_tf.data.regions.reader import PatchShape, RegionReader
from wsram_tf.serving import clients, cpp_loader, looking, models

__all__ = ["search_files"]

# Side of the picture's reduced copy of a file, pixels, and the resolution that shows it whole.
THUMBNAIL_SIDE = 512
DOTS_PER_INCH = 150


def search_files(
  flags: ProgramFlags,
  model: models.ExportedModel | clients.GrpcClient | clients.RestClient,
  paths: Sequence[str],
  writer: AnswerWriter,
) -> None:
  """Prints what a model answers about each file, and the bytes that travelled.

  With `draw_dir` it writes for each file a picture of the search on a reduced copy, with the
  patches of each glimpse, and the places in pixels of level 0 as GeoJSON and as CSV. With `animate`
  it writes the search of the one file as a moving picture.

  Args:
    flags: `animate`, `draw_dir`, `glimpse_scales` and `threshold`.
    model: with the signatures `begin` and `look`.
    paths: of the files.
    writer: prints the answers.

  Raises:
    ValueError: if the model cannot search.
  """
  shape = _patch_shape(flags, model)
  reader = RegionReader()
  for path in paths:
    try:
      source = search.RegionSource([path], shape, reader)
      looked = looking.look_around(model, source, flags.threshold)
    except (ValueError, OSError, cpp_loader.ServingError, clients.RequestRefusedError) as error:
      writer.fail(path, error)
      continue
    travelled = looked.bytes_sent + looked.bytes_received
    height, width = source.sizes[0].tolist()
    text = models.describe(looked.answer, getattr(model, "class_names", ()))
    if flags.threshold is not None:
      text += f" after glimpse {looked.glimpses[0]}"
    size = f"{height} x {width} pixels (height x width)"
    writer.answer(
      path,
      looked.answer,
      f"{size}: {text}; {travelled / 1e3:.1f} kB travelled",
      height=height,
      width=width,
      glimpses=int(looked.glimpses[0]),
      bytes=travelled,
    )
    if flags.draw_dir is not None:
      drawn = pathlib.Path(flags.draw_dir) / f"{pathlib.Path(path).stem}_glimpses.png"
      _draw(drawn, reader, path, looked, source, shape)
      writer.note(path, f"drawn in {drawn}, its places in .geojson and .csv beside it")
    if flags.animate is not None:
      _animate(pathlib.Path(flags.animate), reader, path, looked, source, shape, model)
      writer.note(path, f"animated in {flags.animate}")


def _patch_shape(
  flags: ProgramFlags, model: models.ExportedModel | clients.GrpcClient | clients.RestClient
) -> PatchShape:
  if not {"begin", "look"} <= model.signatures.keys():
    raise ValueError("regions=True: needs a classifier with the signatures begin and look")
  scales, side, _, channels = model.signatures["look"].inputs["patches"].row_shape
  if "scale" in model.signatures["begin"].outputs:
    own = getattr(model, "glimpses", None)
    scales = own.scales if isinstance(own, models.Glimpses) else flags.glimpse_scales
    if not scales:
      raise ValueError(
        "glimpse_scales: must be given, because the model chooses a scale and servers do not "
        "report their number"
      )
  return PatchShape(side, scales, channels)


def _thumbnail(
  reader: RegionReader, file: str, source: search.RegionSource, shape: PatchShape
) -> np.ndarray:
  side = min(THUMBNAIL_SIDE, *source.sizes[0].tolist())
  return reader.low_resolution([file], side, shape.channels)[0]


def _animate(
  path: pathlib.Path,
  reader: RegionReader,
  file: str,
  looked: looking.Looked,
  source: search.RegionSource,
  shape: PatchShape,
  model: models.ExportedModel | clients.GrpcClient | clients.RestClient,
) -> None:
  """Writes the moving picture of one file's search.

  Raises:
    OSError: if it cannot be written.
  """
  height, width = source.sizes[0].tolist()
  write_animation(
    path,
    image=_thumbnail(reader, file, source, shape),
    locations=looked.locations[0],
    patches=looking.patches_along(source, looked.locations, looked.scales)[0],
    probabilities=looked.probabilities[0],
    glimpse_side=shape.side,
    glimpse_scales=shape.scales,
    chosen_scales=None if looked.scales is None else looked.scales[0],
    size=(height, width),
    class_names=getattr(model, "class_names", ()),
  )


def _draw(
  path: pathlib.Path,
  reader: RegionReader,
  file: str,
  looked: looking.Looked,
  source: search.RegionSource,
  shape: PatchShape,
) -> None:
  """Writes the picture and the places of one file's search.

  Raises:
    OSError: if they cannot be written.
  """
  from wsram_tf import files

  with program.quiet_tensorflow():
    from wsram_tf.drawing import draw_glimpses

  figure = draw_glimpses(
    _thumbnail(reader, file, source, shape)[np.newaxis],
    looked.locations,
    looking.patches_along(source, looked.locations, looked.scales),
    [f"{pathlib.Path(file).name}: {models.describe(looked.answer).partition(',')[0]}"],
    columns=1,
    chosen_scales=looked.scales,
    sizes=source.sizes,
    image_inches=4.0,
  )
  places = search.places_of(
    looked.locations[0],
    None if looked.scales is None else looked.scales[0],
    looked.probabilities[0],
    source.sizes[0],
    shape,
  )
  try:
    path.parent.mkdir(parents=True, exist_ok=True)
    with files.replacing(path) as partial:
      figure.savefig(partial, dpi=DOTS_PER_INCH)
    search.write_geojson(path.with_suffix(".geojson"), places)
    search.write_csv(path.with_suffix(".csv"), places)
  except OSError as error:
    raise OSError(f"draw_dir={path.parent}: cannot be written, {error.strerror}") from error
