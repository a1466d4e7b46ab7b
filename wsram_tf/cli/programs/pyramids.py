"""The program make_pyramids: writes pyramids of ordinary image files."""

import sys
from collections.abc import Sequence

from wsram_tf.cli import program
from wsram_tf.cli.flags import ProgramFlags
from wsram_tf.data.regions import pyramids

__all__ = ["make_pyramids"]


def make_pyramids(arguments: Sequence[str] | None = None) -> None:
  """Writes a pyramid, a tiled TIFF file with levels, of each image file of a folder.

  make_pyramids --image_dir=DIR --out_dir=DIR

  Subfolders are taken too and keep their names, so that a folder for each class stays one. Pyramids
  that exist stay: the same command goes on where it was stopped. Needs the extra `slides`.
  """
  program.run(
    "make_pyramids",
    lambda: _make_pyramids(arguments),
    when_stopped=lambda: "the same command goes on with the next file",
  )


def _make_pyramids(arguments: Sequence[str] | None) -> None:
  flags = ProgramFlags("make_pyramids", make_pyramids.__doc__)
  flags.define_path("image_dir", "folder of PNG, JPEG, TIFF or WebP files, perhaps in subfolders")
  flags.define_path("out_dir", "folder of the pyramids; created if it does not exist")
  flags.define_choice(
    "compression",
    "deflate",
    pyramids.COMPRESSIONS,
    "of the tiles: deflate is exact, jpeg has quality 90 and is several times smaller",
  )
  flags.check_no_rest(flags.parse(arguments))
  for name in ("image_dir", "out_dir"):
    if not getattr(flags, name):
      raise ValueError(f"{name}: must be given")
  written, failed, count = 0, 0, 0
  for done in pyramids.convert_folder(flags.image_dir, flags.out_dir, flags.compression):
    count += 1
    written += done.is_new
    if done.error:
      failed += 1
      print(done.error, file=sys.stderr, flush=True)
  there = count - written - failed
  print(f"{written} pyramids written, {there} were there, {failed} files could not be converted")
  if failed == count:
    raise ValueError(f"image_dir={flags.image_dir!r}: no file could be converted")
