"""The glimpse sensor: pixels, edges, scales, ways of cutting, compared with loops in NumPy."""

import itertools
import math

import keras
import numpy as np
import tensorflow as tf

from wsram_tf.layers import GlimpseSensor
from wsram_tf.locations import locations_to_pixels

HEIGHT, WIDTH = 10, 13
CUTTINGS = ("gather", "xla")
# Corners, edges, the middle, and values that the sensor must clip.
COORDINATES = (-7.5, -1.0, -0.3, 0.0, 0.45, 1.0, 1.2)


def _images(count: int, channels: int = 1, dtype=np.float64) -> np.ndarray:
  return np.random.default_rng(0).random([count, HEIGHT, WIDTH, channels]).astype(dtype)


def _locations() -> np.ndarray:
  """Returns all pairs of COORDINATES, and centres at every half pixel of the diagonal."""
  half_pixels = np.arange(2 * HEIGHT + 1)
  diagonal = np.stack([half_pixels / HEIGHT - 1, half_pixels / WIDTH - 1], axis=-1)
  return np.concatenate([np.array(list(itertools.product(COORDINATES, COORDINATES))), diagonal])


def _pixel(image: np.ndarray, row: int, column: int) -> np.ndarray:
  inside = 0 <= row < image.shape[0] and 0 <= column < image.shape[1]
  return image[row, column] if inside else np.zeros(image.shape[2])


def _naive_glimpse(image: np.ndarray, location, side: int, scales: int) -> np.ndarray:
  """Computes one glimpse `[S, G, G, C]` pixel by pixel, from the sensor's definition."""
  centre = [(min(max(x, -1), 1) + 1) / 2 * n for x, n in zip(location, image.shape, strict=False)]
  widest = side * 2 ** (scales - 1)
  glimpse = np.zeros([scales, side, side, image.shape[2]])
  for scale in range(scales):
    block = 2**scale
    # Halves round up; a smaller patch is centred, or to the upper left of the centre.
    inset = (widest - side * block) // 2
    top, left = [math.floor(x - widest / 2 + 0.5) + inset for x in centre]
    for i, j in itertools.product(range(side), range(side)):
      for di, dj in itertools.product(range(block), range(block)):
        pixel = _pixel(image, top + i * block + di, left + j * block + dj)
        glimpse[scale, i, j] += pixel / block**2
  return glimpse


def _sense(sensor: GlimpseSensor, images, locations, cutting: str = "gather") -> tf.Tensor:
  return sensor(sensor.prepare(images, cutting), locations, cutting=cutting)


def _compiled(sensor: GlimpseSensor, cutting: str):
  return tf.function(
    lambda images, at: _sense(sensor, images, at, cutting), jit_compile=True, autograph=False
  )


class GlimpseSensorTest(tf.test.TestCase):
  def test_matches_loops_over_pixels(self):
    locations = _locations()
    for side, scales, channels in [
      (1, 1, 1),
      (1, 2, 1),
      (3, 1, 3),
      (4, 2, 1),
      (3, 2, 3),
      (3, 3, 1),
      (2, 4, 3),
    ]:
      with self.subTest(f"G={side} S={scales} C={channels}"):
        images = _images(1, channels)
        sensor = GlimpseSensor(side, scales, dtype="float64")
        patches = _sense(sensor, tf.constant(images), tf.constant(locations))
        expected = [_naive_glimpse(images[0], at, side, scales) for at in locations]
        self.assertAllClose(patches, expected, rtol=1e-12, atol=1e-12)

  def test_first_coordinate_is_the_row_and_increases_downwards(self):
    image = np.zeros([1, 7, 9, 1], np.float32)
    image[0, 1, 6] = 1.0
    bright = np.array([[(1.5 / 7) * 2 - 1, (6.5 / 9) * 2 - 1]], np.float32)
    step = np.array([2 / 7, 2 / 9], np.float32)
    sensor = GlimpseSensor(3, 1)
    # A location one pixel lower moves the bright pixel one place up in the patch.
    for move, place in {(0, 0): (1, 1), (1, 0): (0, 1), (0, 1): (1, 0), (-1, 1): (2, 0)}.items():
      patch = _sense(sensor, tf.constant(image), bright + np.array(move, np.float32) * step)
      expected = np.zeros([3, 3])
      expected[place] = 1.0
      self.assertAllEqual(patch[0, 0, :, :, 0], expected)

  def test_a_row_looks_at_its_own_image(self):
    images, samples = _images(3), 4
    locations = np.tile(_locations()[:samples], [3, 1])
    sensor = GlimpseSensor(3, 2, dtype="float64")
    patches = _sense(sensor, tf.constant(images), tf.constant(locations))
    expected = [_naive_glimpse(images[r // samples], at, 3, 2) for r, at in enumerate(locations)]
    self.assertAllClose(patches, expected, rtol=1e-12, atol=1e-12)

  def test_all_ways_of_cutting_agree_exactly(self):
    for side, scales, samples, channels in [(3, 1, 1, 1), (3, 3, 4, 3), (4, 2, 3, 1)]:
      with self.subTest(f"G={side} S={scales} M={samples} C={channels}"):
        images = tf.constant(_images(4, channels, np.float32))
        locations = tf.constant(_locations()[: 4 * samples], tf.float32)
        sensor = GlimpseSensor(side, scales)
        expected = _sense(sensor, images, locations)
        self.assertAllEqual(_sense(sensor, images, locations, "xla"), expected)
        if samples == 1:
          self.assertAllEqual(_sense(sensor, images, locations, "windows"), expected)
        for cutting in CUTTINGS if scales > 1 else ["xla"]:
          self.assertAllEqual(_compiled(sensor, cutting)(images, locations), expected)

  def test_levels_for_xla_are_made_where_images_are_small(self):
    # As many levels as scales but the widest, and none that takes longer than it saves.
    for side, scales, count in [(3, 1, 1), (4, 2, 1), (3, 3, 2), (2, 4, 3), (1, 3, 1), (1, 4, 3)]:
      with self.subTest(f"G={side} S={scales}"):
        images = tf.constant(_images(4, 2, np.float32))
        locations = tf.constant(_locations()[:16], tf.float32)
        sensor = GlimpseSensor(side, scales)
        self.assertLen(sensor.prepare(images, "xla"), count)
        expected = _sense(sensor, images, locations)
        self.assertAllEqual(_compiled(sensor, "xla")(images, locations), expected)

  def test_a_chosen_scale_has_a_level_of_its_own_where_images_are_small(self):
    for side, scales, count in [(3, 1, 1), (4, 2, 2), (3, 3, 3), (2, 4, 4), (1, 3, 1)]:
      with self.subTest(f"G={side} S={scales}"):
        images = tf.constant(_images(4, 2, np.float32))
        chosen = np.arange(16)[:, np.newaxis] % scales
        actions = tf.constant(np.concatenate([_locations()[:16], chosen], axis=1), tf.float32)
        sensor = GlimpseSensor(side, scales, choose_scale=True)
        self.assertLen(sensor.prepare(images, "xla"), count)
        expected = _sense(sensor, images, actions)
        self.assertAllEqual(_compiled(sensor, "xla")(images, actions), expected)

  def test_windows_agree_at_every_edge_and_refuse_what_they_cannot_cut(self):
    locations = tf.constant([*_locations(), [np.nan, 0.0], [np.inf, -np.inf]], tf.float32)
    for height, width in [(1, 1), (7, 3), (HEIGHT, WIDTH)]:
      images = np.random.default_rng(1).random([len(locations), height, width, 2])
      images = tf.constant(images, tf.float32)
      for sensor in (GlimpseSensor(3, 3), GlimpseSensor(4, 2)):
        self.assertAllEqual(
          _sense(sensor, images, locations, "windows"), _sense(sensor, images, locations)
        )
    chooses = GlimpseSensor(3, 3, choose_scale=True)
    actions = tf.concat([locations, tf.ones([len(locations), 1])], axis=1)
    self.assertAllEqual(
      _sense(chooses, images, actions, "windows"), _sense(chooses, images, actions)
    )
    self.assertEqual(_sense(sensor, images[:0], locations[:0], "windows").shape, [0, 2, 4, 4, 2])
    with self.assertRaisesRegex(ValueError, "cutting='windows': must go with float32 images, not"):
      _sense(sensor, tf.cast(images, tf.float64), tf.cast(locations, tf.float64), "windows")
    with self.assertRaisesRegex(tf.errors.InvalidArgumentError, "should be batch"):
      _sense(sensor, images[:1], locations, "windows")

  def test_a_chosen_scale_is_that_of_all_scales_exactly(self):
    for side, samples, channels in [(3, 4, 3), (4, 3, 1)]:
      images = tf.constant(_images(4, channels, np.float32))
      locations = tf.constant(_locations()[: 4 * samples], tf.float32)
      scales = np.arange(4 * samples, dtype=np.int32) * 2 % 3
      actions = tf.concat([locations, tf.cast(scales, tf.float32)[:, tf.newaxis]], axis=1)
      whole = _sense(GlimpseSensor(side, 3), images, locations)
      expected = tf.gather(whole, scales[:, np.newaxis], batch_dims=1)
      sensor = GlimpseSensor(side, 3, choose_scale=True)
      self.assertEqual(expected.shape, [4 * samples, 1, side, side, channels])
      self.assertAllEqual(_sense(sensor, images, actions), expected)
      self.assertAllEqual(_sense(sensor, images, actions, "xla"), expected)
      for cutting in CUTTINGS if side == 3 else ["xla"]:
        self.assertAllEqual(_compiled(sensor, cutting)(images, actions), expected)

  def test_image_size_may_be_unknown_before_running(self):
    images = tf.constant(_images(3, 2, np.float32))
    locations = tf.constant(_locations()[:3], tf.float32)
    sensor = GlimpseSensor(3, 2)
    expected = _sense(sensor, images, locations)
    inputs = [keras.Input((None, None, 2)), keras.Input((2,))]
    model = keras.Model(inputs, sensor(*inputs))
    self.assertAllEqual(model([images, locations]), expected)
    self.assertAllEqual(model.predict([images.numpy(), locations.numpy()], verbose=0), expected)
    specs = [tf.TensorSpec([None, None, None, 2]), tf.TensorSpec([None, 2])]
    gather = tf.function(lambda i, at: _sense(sensor, i, at), input_signature=specs)
    self.assertAllEqual(gather(images, locations), expected)
    with self.assertRaisesRegex(ValueError, r"images.shape=\(None, None, None, 2\): .* static"):
      tf.function(lambda i: sensor.prepare(i, "xla")).get_concrete_function(specs[0])

  def test_canvases_smaller_than_the_widest_patch(self):
    locations = _locations()[3:49:9]
    for height, width in [(1, 1), (7, 3), (11, 12)]:
      with self.subTest(f"H={height} W={width}"):
        images = np.random.default_rng(1).random([1, height, width, 2]).astype(np.float32)
        sensor = GlimpseSensor(3, 3)
        expected = [_naive_glimpse(images[0], at, 3, 3) for at in locations.astype(np.float32)]
        images, at = tf.constant(images), tf.constant(locations, tf.float32)
        self.assertAllClose(_sense(sensor, images, at), expected, rtol=1e-6, atol=1e-6)
        self.assertAllEqual(_sense(sensor, images, at, "xla"), _sense(sensor, images, at))
        for cutting in CUTTINGS if height != 7 else ["xla"]:
          self.assertAllEqual(_compiled(sensor, cutting)(images, at), _sense(sensor, images, at))

  def test_reads_zero_beyond_a_canvas_of_infinities(self):
    sensor = GlimpseSensor(4, 1)
    images = tf.fill([1, 6, 6, 1], np.float32(np.inf))
    for cutting in ("gather", "windows", "xla"):
      patch = _sense(sensor, images, tf.constant([[-1.0, -1.0]]), cutting)[0, 0, :, :, 0]
      self.assertAllEqual(patch == 0.0, np.add.outer(np.arange(4) < 2, np.arange(4) < 2))

  def test_large_images_use_wide_indices(self):
    side, batch = 1025, 2
    images = np.zeros([batch, side, side, 1], np.float32)
    images[1, -1, -1] = 1.0
    patch = _sense(GlimpseSensor(2, 1), tf.constant(images), tf.constant([[0.0, 0.0], [1.0, 1.0]]))
    self.assertAllEqual(patch[..., 0], [[[[0, 0], [0, 0]]], [[[1, 0], [0, 0]]]])

  def test_memory_grows_only_with_the_images_themselves(self):
    sensor = GlimpseSensor(3, 2)

    def sizes(side: int) -> dict[str, tuple[str, int | None]]:
      specs = [tf.TensorSpec([2, side, side, 1]), tf.TensorSpec([6, 2])]
      function = tf.function(lambda i, at: _sense(sensor, i, at), input_signature=specs)
      return {
        output.name: (operation.type, output.shape.num_elements())
        for operation in function.get_concrete_function().graph.get_operations()
        for output in operation.outputs
      }

    small, large = sizes(16), sizes(64)
    self.assertEqual(small.keys(), large.keys())
    growing = {large[name][0] for name in small if small[name] != large[name]}
    self.assertEqual(growing, {"Placeholder", "Reshape"})  # Neither copies anything.

  def test_the_call_decides_how_patches_are_cut(self):
    sensor = GlimpseSensor(3, 1)
    images, locations = tf.constant(_images(1, 1, np.float32)), tf.zeros([1, 2])

    def operations(cutting: str) -> set[str]:
      function = tf.function(lambda i, at: _sense(sensor, i, at, cutting))
      graph = function.get_concrete_function(images, locations).graph
      return {operation.type for operation in graph.get_operations()}

    for _ in range(2):
      self.assertIn("GatherV2", operations("gather"))
      self.assertNotIn("GatherV2", operations("xla"))
    with self.assertRaisesRegex(
      ValueError, "cutting='slices': must be one of gather, windows, xla"
    ):
      operations("slices")

  def test_unknown_batch(self):
    images = tf.constant(_images(3))
    locations = tf.constant(_locations()[:6])
    sensor = GlimpseSensor(3, 2, dtype="float64")
    specs = [
      tf.TensorSpec([None, HEIGHT, WIDTH, 1], tf.float64),
      tf.TensorSpec([None, 2], tf.float64),
    ]
    function = tf.function(lambda i, at: _sense(sensor, i, at), input_signature=specs)
    self.assertAllEqual(function(images, locations), _sense(sensor, images, locations))
    self.assertEqual(function(images[:0], locations[:0]).shape, [0, 2, 3, 3, 1])
    self.assertEqual(_sense(sensor, images[:0], locations[:0]).shape, [0, 2, 3, 3, 1])

  def test_passes_gradients_to_the_pixels_only(self):
    images, locations = tf.constant(_images(2)), tf.constant(_locations()[:2])
    sensor = GlimpseSensor(3, 2, dtype="float64")
    with tf.GradientTape() as tape:
      tape.watch([images, locations])
      patches = _sense(sensor, images, locations)
    to_images, to_locations = tape.gradient(patches, [images, locations])
    self.assertIsNone(to_locations)
    self.assertGreater(tf.reduce_sum(to_images), 0.0)

  def test_rejects_an_empty_patch(self):
    with self.assertRaisesRegex(ValueError, "side=0, scales=2: must both be at least 1"):
      GlimpseSensor(0, 2)
    with self.assertRaisesRegex(ValueError, "side=3, scales=0"):
      GlimpseSensor(3, 0)


class LocationsToPixelsTest(tf.test.TestCase):
  def test_maps_the_edges_and_the_middle(self):
    locations = tf.constant([[-1.0, -1.0], [0.0, 0.0], [1.0, 1.0], [-1.0, 1.0], [0.5, -0.5]])
    expected = [[0, 0], [5, 10], [10, 20], [0, 20], [7.5, 5]]
    for dtype in (tf.float32, tf.float64):
      pixels = locations_to_pixels(tf.cast(locations, dtype), height=10, width=20)
      self.assertEqual(pixels.dtype, dtype)
      self.assertAllEqual(pixels, expected)

  def test_clips_locations_outside_the_canvas(self):
    outside = tf.constant([[-1.5, 3.0], [np.inf, -np.inf]])
    self.assertAllEqual(locations_to_pixels(outside, 10, 20), [[0, 20], [10, 0]])


if __name__ == "__main__":
  tf.test.main()
