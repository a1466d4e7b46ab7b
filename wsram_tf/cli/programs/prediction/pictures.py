"""The part of predict that writes pictures of glimpses, still or moving."""

import io
import pathlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import PIL.Image

from wsram_tf import files
from wsram_tf.cli import program
from wsram_tf.data.fitting import FORMATS
from wsram_tf.serving import examples, models

if TYPE_CHECKING:  # It loads TensorFlow.
  from wsram_tf import export

__all__ = ["SUFFIXES", "animate_answer", "draw_answer", "write_animation"]

# Of the files that can be written.
SUFFIXES = (".gif", ".webp")


def animate_answer(
  path: pathlib.Path,
  contents: bytes,
  model: "models.ExportedModel | models.ServedModel | export.PretrainedModel",
) -> None:
  """Writes a moving picture of a classifier that looks at an image.

  Args:
    path: of the file to write.
    contents: of the image file that the model saw.
    model: the classifier.

  Raises:
    ValueError: if the model does not answer after each glimpse.
    OSError: if the file cannot be written; no incomplete file remains.
  """
  glimpses = model.glimpses
  if isinstance(glimpses, models.Cells):
    raise ValueError(f"animate={path}: must be given with a classifier")
  steps = models.ask_steps(model, contents)
  write_animation(
    path,
    image=steps.image,
    locations=steps.locations,
    patches=steps.patches,
    probabilities=steps.probabilities,
    glimpse_side=glimpses.side,
    glimpse_scales=glimpses.scales,
    chosen_scales=steps.scales,
    class_names=model.class_names,
  )


def write_animation(path: pathlib.Path, **looks: Any) -> None:
  """Writes the glimpses of one image as a moving picture.

  Args:
    path: of the file to write.
    **looks: the fields of `wsram_tf.animation.Looks`.

  Raises:
    OSError: if the file cannot be written; no incomplete file remains.
  """
  with program.quiet_tensorflow():
    from wsram_tf import animation

  try:
    animation.save_frames(animation.glimpse_frames(animation.Looks(**looks)), path)
  except OSError as error:
    raise OSError(f"animate={path}: cannot be written, {error.strerror}") from error


def draw_answer(
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
  from matplotlib.figure import Figure

  with program.quiet_tensorflow():
    from wsram_tf.drawing import draw_captions, draw_glimpse_squares

  image = PIL.Image.open(io.BytesIO(contents), formats=FORMATS)
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
