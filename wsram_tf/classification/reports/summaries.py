"""What a classifier does with a few fixed images, for TensorBoard: pictures and histograms."""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import PIL.ImageDraw
import tensorflow as tf

from wsram_tf import drawing
from wsram_tf.classification.learner import WakeSleepLearner
from wsram_tf.data.fitting import patch_squares
from wsram_tf.locations import location_map

__all__ = ["GlimpseSummaries", "LookedAt", "glimpse_tiles"]

# Images that are looked at, and those of them that are shown.
NUM_IMAGES, NUM_SHOWN = 64, 4
# Numbers of all images, 4 bytes each, beyond which fewer images are looked at.
MOST_NUMBERS = 2**24
# Side of the picture of the prior, pixels.
MAP_SIDE = 256
# Side of an image with glimpses, pixels.
TILE_SIDE = 256


class LookedAt(NamedTuple):
  """What TensorBoard gets after an evaluation.

  Attributes:
    images: uint8 `[H, W, 3]`, by tag.
    histograms: the values, by tag.
  """

  images: Mapping[str, np.ndarray]
  histograms: Mapping[str, np.ndarray]


class GlimpseSummaries:
  """Shows where a learner looks in the first images of a set.

  Args:
    data: batches of images and labels; the first 64 images are taken, of large ones fewer.
    class_names: K names, by label; empty to show numbers.
  """

  def __init__(self, data: tf.data.Dataset, class_names: Sequence[str] = ()):
    shape = data.element_spec[0].shape[1:]
    numbers = math.prod(length or 1 for length in shape)
    count = min(NUM_IMAGES, max(NUM_SHOWN, MOST_NUMBERS // numbers))
    # Lists of visible pixels are not equally long.
    batch = next(iter(data.unbatch().take(count).padded_batch(count)))
    self.images, self.labels = batch[0], np.asarray(batch[1])
    self.class_names = class_names

  def __call__(self, learner: WakeSleepLearner) -> LookedAt:
    """Takes one sequence of glimpses of each image, at the prior's mode."""
    network = learner.prediction_network
    view = network.look(self.images)
    sequences = network.attend(view)
    first = location_map(network.location_distribution, sequences.prior_parameters[0, :, 0])
    locations = sequences.locations[0].numpy()
    scales = None if sequences.scales is None else sequences.scales[0].numpy()
    images = {
      "glimpses/validation": self._picture(learner, sequences.log_probs[0], locations, scales),
      "prior/first_location": _map_picture(tf.reduce_mean(first, axis=0).numpy()),
    }
    histograms = {"glimpses/row": locations[..., 0], "glimpses/column": locations[..., 1]}
    if scales is not None:
      histograms["glimpses/scale"] = scales
    # Weights that diverged give places that are not finite.
    finite = {tag: values[np.isfinite(values)] for tag, values in histograms.items()}
    return LookedAt(images, finite)

  def _picture(
    self,
    learner: WakeSleepLearner,
    log_probs: tf.Tensor,
    locations: np.ndarray,
    scales: np.ndarray | None,
  ) -> np.ndarray:
    network = learner.prediction_network
    names = self.class_names or range(network.config.num_classes)
    found = np.argmax(log_probs, axis=-1)
    pairs = zip(self.labels[:NUM_SHOWN], found[:NUM_SHOWN], strict=True)
    captions = [f"{names[label]}, read as {names[answer]}" for label, answer in pairs]
    shown, sizes = network.pictures(self.images[:NUM_SHOWN].numpy())
    return glimpse_tiles(
      shown,
      locations,
      network.config.glimpse.glimpse_side,
      network.config.glimpse.glimpse_scales,
      captions,
      chosen_scales=scales,
      sizes=sizes,
    )


def glimpse_tiles(
  images: np.ndarray,
  locations: np.ndarray,
  glimpse_side: int,
  glimpse_scales: int,
  captions: Sequence[str],
  *,
  chosen_scales: np.ndarray | None = None,
  sizes: np.ndarray | None = None,
) -> np.ndarray:
  """Draws images side by side with the squares of their glimpses, in milliseconds.

  Args:
    images: float `[B, h, w, C]` in 0..1.
    locations: float `[B, N, 2]`, (row, column) in [-1, 1]; more rows than captions are left out.
    glimpse_side: side of the finest patch, pixels.
    glimpse_scales: number of scales.
    captions: one an image.
    chosen_scales: int `[B, N]`, the scale of each glimpse; None where a glimpse has all scales.
    sizes: int `[B, 2]`, (H, W) that the model saw, pixels, where images are reduced copies; None:
      their own.

  Returns:
    uint8 `[H, W, 3]`.
  """
  tiles = []
  for b, caption in enumerate(captions):
    height, width = images.shape[1:3] if sizes is None else sizes[b]
    zoom = TILE_SIDE / max(height, width)
    tile = drawing.enlarged(images[b], (height, width), TILE_SIDE)
    pen = PIL.ImageDraw.Draw(tile)
    scales = None if chosen_scales is None else chosen_scales[b]
    finite = np.nan_to_num(locations[b])
    squares = patch_squares(finite, scales, (height, width), glimpse_side, glimpse_scales)
    for n, patches in enumerate(squares):
      if not np.isfinite(locations[b, n]).all():  # Of weights that diverged.
        continue
      colour = tuple(round(255 * part) for part in drawing.glimpse_colour(n, len(squares))[:3])
      top, left, side = (patches[0] * zoom).tolist()
      pen.rectangle((left, top, left + side, top + side), outline=colour, width=2)
      pen.text((left + 4, top + 2), str(n + 1), fill=colour)
    tiles.append(drawing.framed(tile, caption, TILE_SIDE, top=24))
  return np.concatenate(tiles, axis=1)


def _map_picture(probabilities: np.ndarray) -> np.ndarray:
  """Shows a map `[R, C]`, white where it is largest, enlarged: uint8 `[H, W, 3]`."""
  probabilities = np.nan_to_num(probabilities)
  grey = np.round(255 * probabilities / max(probabilities.max(), 1e-12)).astype(np.uint8)
  factor = max(1, MAP_SIDE // max(grey.shape))
  return np.repeat(np.repeat(grey, factor, 0), factor, 1)[..., np.newaxis].repeat(3, axis=-1)
