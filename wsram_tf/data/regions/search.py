"""Searches of large files by a model elsewhere: what it asks of them, and where it looked.

Loads no TensorFlow.
"""

import csv
import json
import pathlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from wsram_tf import files
from wsram_tf.data.fitting import first_pixels, patch_squares
from wsram_tf.data.regions.reader import PatchShape, RegionReader

__all__ = ["Place", "RegionSource", "places_of", "write_csv", "write_geojson"]


class Place(NamedTuple):
  """One patch of a glimpse.

  Attributes:
    glimpse: its number, from 1.
    scale: from 0, the finest.
    left: column of its first pixel, in pixels of level 0.
    top: row likewise.
    side: its side, in pixels of level 0.
    class_name: the likeliest class after this glimpse.
    probability: of this class.
  """

  glimpse: int
  scale: int
  left: int
  top: int
  side: int
  class_name: str
  probability: float


class RegionSource:
  """Gives what a model asks of files, of which it reads regions; a `serving.ImageSource`.

  Args:
    paths: B files.
    shape: of the model's patches.
    reader: reads the files; None for a new one.

  Example:

  >>> import tempfile
  >>> from wsram_tf.data.regions import pyramids
  >>> with tempfile.TemporaryDirectory() as folder:
  ...   pyramids.write_array(f"{folder}/large.tif", np.full([900, 700, 1], 255, np.uint8))
  ...   source = RegionSource([f"{folder}/large.tif"], PatchShape(side=8, scales=2, channels=1))
  ...   patches = source.patches(np.zeros([1, 2], np.float32), None)
  >>> patches.shape
  (1, 2, 8, 8, 1)
  """

  def __init__(self, paths: Sequence[str], shape: PatchShape, reader: RegionReader | None = None):
    self._paths = list(paths)
    self._shape = shape
    self._reader = reader or RegionReader()
    self.sizes = self._reader.sizes(self._paths)

  def low_resolution(self, side: int) -> np.ndarray:
    """Averages each file over `side` x `side` equal areas, float32 `[B, side, side, C]`."""
    return self._reader.low_resolution(self._paths, side, self._shape.channels)

  def patches(self, locations: np.ndarray, scales: np.ndarray | None) -> np.ndarray:
    """Reads the patches of one glimpse of each file, float32 `[B, S or 1, G, G, C]`."""
    first = first_pixels(locations, self.sizes, self._shape.extent)
    return self._reader.patches(self._paths, first, self._shape, scales)


def places_of(
  locations: np.ndarray,
  scales: np.ndarray | None,
  probabilities: np.ndarray,
  size: np.ndarray,
  shape: PatchShape,
  class_names: Sequence[str] = (),
) -> list[Place]:
  """Lists the patches of one file's glimpses, in pixels of level 0.

  Args:
    locations: float32 `[N, 2]`, (row, column) in [-1, 1].
    scales: int `[N]`, the chosen scales; None where a glimpse has the patches of all scales.
    probabilities: float `[N, K]`, of the classes after each glimpse.
    size: int `[2]`, height and width of the file, pixels.
    shape: of the patches.
    class_names: K names, by label; empty to use numbers.
  """
  squares = patch_squares(locations, scales, size, shape.side, shape.scales)
  places = []
  for n, patches in enumerate(squares.tolist()):
    label = int(np.argmax(probabilities[n]))
    name = class_names[label] if class_names else str(label)
    shown = range(shape.scales) if scales is None else [int(scales[n])]
    confidence = float(probabilities[n, label])
    for scale, (top, left, side) in zip(shown, patches, strict=True):
      places.append(Place(n + 1, scale, left, top, side, name, confidence))
  return places


def write_csv(path: pathlib.Path, places: Sequence[Place]) -> None:
  """Writes places as a table, one row a patch."""
  with files.replacing(path) as partial, partial.open("w", newline="") as file:
    writer = csv.writer(file)
    writer.writerow(Place._fields)
    writer.writerows(places)


def write_geojson(path: pathlib.Path, places: Sequence[Place]) -> None:
  """Writes places as squares of a GeoJSON FeatureCollection, which viewers of slides open."""
  features = []
  for place in places:
    left, top = place.left, place.top
    right, bottom = left + place.side, top + place.side
    corners = [[left, top], [right, top], [right, bottom], [left, bottom], [left, top]]
    properties = {
      "name": f"glimpse {place.glimpse}",
      "glimpse": place.glimpse,
      "scale": place.scale,
      "class_name": place.class_name,
      "probability": place.probability,
    }
    geometry = {"type": "Polygon", "coordinates": [corners]}
    features.append({"type": "Feature", "geometry": geometry, "properties": properties})
  with files.replacing(path) as partial:
    partial.write_text(json.dumps({"type": "FeatureCollection", "features": features}, indent=1))
