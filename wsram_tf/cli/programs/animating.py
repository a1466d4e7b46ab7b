"""The part of predict that writes moving pictures of a classifier that looks."""

import io
import pathlib
from typing import TYPE_CHECKING, Any

import numpy as np
import PIL.Image

from wsram_tf.cli import program
from wsram_tf.serving import examples, looking, models

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
  grey = model.image_shape()[-1] == 1
  image = PIL.Image.open(io.BytesIO(contents)).convert("L" if grey else "RGB")
  images = examples.to_float(np.asarray(image).reshape(1, image.height, image.width, -1))
  answer = model.ask_stepwise(images)
  locations, scales = answer["locations"], answer.get("scales")
  source = looking.PixelSource(images, *glimpses)
  patches = [
    source.patches(locations[:, n], None if scales is None else scales[:, n])
    for n in range(locations.shape[1])
  ]
  write_animation(
    path,
    image=images[0],
    locations=locations[0],
    patches=np.concatenate(patches),
    probabilities=answer["probabilities"][0],
    glimpse_side=glimpses.side,
    glimpse_scales=glimpses.scales,
    chosen_scales=None if scales is None else scales[0],
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
