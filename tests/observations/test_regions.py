"""Regions of files beside the same images as pixels."""

import itertools
import pathlib

import numpy as np
import pyvips
import tensorflow as tf

from tests.support.pyramids import damage_tiles, random_pixels
from wsram_tf.data.fitting import area_weights
from wsram_tf.data.regions import pyramids
from wsram_tf.data.regions.reader import PatchShape, RegionReader
from wsram_tf.data.regions.slides import RegionError, Slide
from wsram_tf.layers import GlimpseSensor
from wsram_tf.observations import PixelObservation, RegionObservation

# Corners, edges, the middle, and places outside that are clipped.
_COORDINATES = (-1.3, -1.0, -0.31, 0.0, 0.45, 1.0)
_LOCATIONS = np.array(list(itertools.product(_COORDINATES, _COORDINATES)), np.float32)


class RegionsTest(tf.test.TestCase):
  def setUp(self):
    super().setUp()
    self.folder = pathlib.Path(self.get_temp_dir())

  def write(self, name: str, pixels: np.ndarray) -> str:
    path = self.folder / name
    pyramids.write_array(path, pixels)
    return str(path)

  def observed(
    self, pixels: np.ndarray, sensor: GlimpseSensor
  ) -> tuple[PixelObservation, RegionObservation]:
    path = self.write(f"{'x'.join(map(str, pixels.shape))}.tif", pixels)
    slide = Slide(path)  # Black rows and columns may have been added.
    added = (slide.height - pixels.shape[0], slide.width - pixels.shape[1])
    images = np.pad(pixels, [[0, added[0]], [0, added[1]], [0, 0]])[np.newaxis]
    images = tf.constant(images.astype(np.float32) / np.float32(255))
    regions = RegionObservation(tf.constant([path]), sensor, pixels.shape[-1], RegionReader())
    return PixelObservation(images, sensor), regions

  def test_scales_of_level_0_are_exact(self):
    for shape, side, scales in [((403, 701, 3), 12, 3), ((40, 300, 1), 7, 2), ((5, 5, 1), 2, 1)]:
      with self.subTest(shape=shape, side=side, scales=scales):
        self.assertLen(PatchShape(side, scales, shape[2]).groups(), 1)
        pixels, regions = self.observed(random_pixels(*shape), GlimpseSensor(side, scales))
        expected = pixels.patches(tf.constant(_LOCATIONS))
        self.assertAllEqual(regions.patches(tf.constant(_LOCATIONS)), expected)

  def test_coarser_levels_are_exact_where_each_of_their_pixels_is_constant(self):
    image, few = random_pixels(512, 384, 3, block=4), _LOCATIONS[::5]
    for side, scales, choose_scale in [(24, 5, False), (9, 5, True), (72, 3, False)]:
      with self.subTest(side=side, scales=scales, choose_scale=choose_scale):
        actions = few
        if choose_scale:
          chosen = np.arange(len(few), dtype=np.float32)[:, np.newaxis] % scales
          actions = np.concatenate([few, chosen], axis=1)
        else:
          self.assertLen(PatchShape(side, scales, 3).groups(), 3)
        pixels, regions = self.observed(image, GlimpseSensor(side, scales, choose_scale))
        self.assertEqual(Slide(str(self.folder / "512x384x3.tif")).level_for(8), 2)
        expected = pixels.patches(tf.constant(actions))
        found = regions.patches(tf.constant(actions))
        self.assertAllClose(found, expected, rtol=0, atol=1e-6)

  def test_levels_whose_sides_were_rounded_down(self):
    # OpenSlide takes level 1 for reduced by 2.004, which is a pixel off at the far edge.
    rows, columns = np.ogrid[:515, :515]
    smooth = np.uint8(127 + 120 * np.sin(rows / 9) * np.cos(columns / 9))[..., np.newaxis]
    path = str(self.folder / "rounded.tif")
    options = {"tile": True, "pyramid": True, "compression": "deflate", "region_shrink": "mean"}
    pyvips.Image.new_from_array(smooth).tiffsave(path, **options)
    slide = Slide(path)
    for top in (0, 10, 401, 490):
      expected = smooth[top : top + 16, top : top + 16].reshape(8, 2, 8, 2).mean((1, 3)) / 255
      found = slide.region(top, top, 1, 8, 1)[..., 0]
      self.assertAllClose(found, expected, rtol=0, atol=0.03)  # A pixel off is 0.1.
    copy = slide.low_resolution(43, 1)[:42, :42, 0]  # The last row is not in level 1.
    expected = smooth[:, :, 0].astype(np.float32) @ area_weights(515, 43).T / 255
    self.assertAllClose(copy, (area_weights(515, 43) @ expected)[:42, :42], rtol=0, atol=0.015)

  def test_low_resolution_copy(self):
    # A smooth image, of whose levels the interpolation loses little.
    rows, columns = np.ogrid[:530, :801]
    smooth = np.uint8(127 + 120 * np.sin(rows / 60) * np.cos(columns / 90))[..., np.newaxis]
    for image, side, tolerance in [
      (random_pixels(96, 64, 3), 32, 1e-6),
      (random_pixels(512, 1024, 1, block=8), 16, 1e-6),
      (smooth, 20, 4 / 255),
    ]:
      with self.subTest(shape=image.shape, side=side):
        pixels, regions = self.observed(image, GlimpseSensor(2, 1))
        copy = regions.low_resolution(side)
        self.assertAllClose(copy, pixels.low_resolution(side), rtol=0, atol=tolerance)

  def test_files_of_a_batch_are_independent_and_graphs_agree(self):
    images = [random_pixels(300, 420, 1), random_pixels(640, 200, 1), random_pixels(64, 64, 1)]
    paths = tf.constant([self.write(f"{i}.tif", image) for i, image in enumerate(images)])
    sensor = GlimpseSensor(6, 2)
    locations = tf.constant(np.tile(_LOCATIONS[:4], (3, 1)))

    @tf.function
    def observe(paths, locations):
      regions = RegionObservation(paths, sensor, 1)
      return regions.low_resolution(8), regions.patches(locations), regions.sizes

    copies, patches, sizes = observe(paths, locations)
    self.assertAllEqual(sizes, [image.shape[:2] for image in images])
    for i in range(3):
      alone = RegionObservation(paths[i : i + 1], sensor, 1)
      self.assertAllEqual(copies[i], alone.low_resolution(8)[0])
      self.assertAllEqual(patches[4 * i : 4 * i + 4], alone.patches(locations[:4]))

  def test_places_up_to_a_million_pixels_are_exact(self):
    side = 2**20
    image = np.zeros([8, side, 1], np.uint8)
    places = (0, 1, 12_345, side // 2 - 1, side - 2)
    image[3, list(places)] = 255
    path = self.write("wide.tif", image)
    regions = RegionObservation(tf.constant([path]), GlimpseSensor(2, 1), 1)
    for place in places:
      # Centres between two pixels, so that the patch begins at the pixel.
      centre = tf.constant([[2 * 4 / 8 - 1, 2 * (place + 1) / side - 1]], tf.float32)
      patch = regions.patches(centre)[0, 0, ..., 0]
      self.assertEqual(float(patch[0, 0]), 1.0, place)

  def test_equal_glimpses_are_read_once(self):
    path = self.write("once.tif", random_pixels(100, 100, 1))
    reader, reads = RegionReader(threads=1), []
    slide_of = reader._slide
    reader._slide = lambda path: reads.append(path) or slide_of(path)
    first = np.array([[3, 4], [3, 4], [5, 6], [3, 4]])
    patches = reader.patches([path] * 4, first, PatchShape(4, 1, 1))
    self.assertLen(reads, 2)
    self.assertAllEqual(patches[0], patches[3])

  def test_a_file_that_cannot_be_read_is_named_or_counted(self):
    good = self.write("good.tif", random_pixels(600, 600, 1))
    damaged = self.write("damaged.tif", random_pixels(601, 600, 1))
    damage_tiles(pathlib.Path(damaged))
    text = self.folder / "text.tif"
    text.write_text("no image")
    small = self.write("small.tif", random_pixels(9, 9, 1))
    shape, place = PatchShape(8, 1, 1), np.array([[10, 10]])
    self.assertEqual(Slide(damaged).low_resolution(16, 1).shape, (16, 16, 1))
    strict = RegionReader()
    for path, message in [
      (str(self.folder / "none.tif"), "there is no such file"),
      (str(text), "cannot be read"),
      (damaged, "cannot be read"),
    ]:
      with self.assertRaisesRegex(RegionError, f"{path}.*{message}"):
        strict.patches([path], place, shape)
    with self.assertRaisesRegex(RegionError, "must have at least 16 pixels a side"):
      strict.low_resolution([small], 16, 1)
    # A damaged part spoils no other, whatever the order of the threads.
    tolerant = RegionReader(keeps_going=True, threads=4)
    corner = shape._replace(side=4), np.array([[590, 560]] * 3 + [[10, 10]])
    alone = strict.patches([damaged], corner[1][:1], corner[0])
    for _ in range(20):
      together = tolerant.patches([damaged] * 4, corner[1] + np.arange(4)[:, np.newaxis], corner[0])
      self.assertAllEqual(together[0], alone[0])
    tolerant = RegionReader(keeps_going=True)
    for _ in range(2):
      patches = tolerant.patches([good, damaged, good], np.tile(place, (3, 1)), shape)
    self.assertAllEqual(patches[1], np.zeros([1, 8, 8, 1]))
    self.assertAllEqual(patches[0], strict.patches([good], place, shape)[0])
    self.assertEqual([(p, n) for p, (n, _) in tolerant.failures.items()], [(damaged, 2)])


if __name__ == "__main__":
  tf.test.main()
