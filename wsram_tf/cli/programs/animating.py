"""The part of predict that writes moving pictures of a classifier that looks."""

import pathlib
from typing import TYPE_CHECKING, Any

from wsram_tf.cli import program
from wsram_tf.serving import models

if TYPE_CHECKING:  # It loads TensorFlow.
  from wsram_tf import export

__all__ = ["SUFFIXES", "animate_answer", "write_animation"]

# Of the files that can be written.
SUFFIXES = (".gif", ".webp")


def animate_answer(
  path: pathlib.Path, contents: bytes, model: "models.ExportedModel | export.PretrainedModel"
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
