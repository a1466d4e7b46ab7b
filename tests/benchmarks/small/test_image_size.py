"""What the benchmark of image sizes counts and concludes; it holds no timings."""

import math

import keras
import tensorflow as tf

import wsram_tf
from tests.benchmarks import image_size
from wsram_tf.classification.views import View
from wsram_tf.observations import PixelObservation


def _count(function, *shapes) -> int:
  specs = [tf.TensorSpec(shape) for shape in shapes]
  return image_size.multiply_adds(tf.function(function).get_concrete_function(*specs).graph)


class MultiplyAddsTest(tf.test.TestCase):
  def test_products(self):
    self.assertEqual(_count(tf.matmul, [2, 3], [3, 5]), 30)
    self.assertEqual(_count(lambda a, b: tf.matmul(a, b, transpose_a=True), [3, 2], [3, 5]), 30)
    self.assertEqual(
      _count(lambda a, b: tf.matmul(a, b, adjoint_a=True), [4, 3, 2], [4, 3, 5]), 120
    )
    self.assertEqual(
      _count(lambda a, b: tf.einsum("ah,bhdc->badc", a, b), [2, 3], [5, 3, 7, 1]), 210
    )

  def test_convolutions(self):
    for layer, expected in [
      (keras.layers.Conv2D(4, 3, padding="same", use_bias=False), 6 * 6 * 4 * 9 * 2),
      (keras.layers.Conv2D(4, 3, strides=2), 2 * 2 * 4 * 9 * 2),
      (keras.layers.DepthwiseConv2D(3, padding="same"), 6 * 6 * 2 * 9),
    ]:
      layer.build((1, 6, 6, 2))
      self.assertEqual(_count(layer, [1, 6, 6, 2]), expected)

  def test_this_model_does_the_same_at_every_size_after_the_copy(self):
    counts = []
    for side in (40, 80):
      function, _ = image_size.make_function(image_size.AFTER_COPY, side)
      counts.append(_count(function, [1, side, side, 3], [1, 12, 12, 3]))
    self.assertEqual(counts[0], counts[1])

  def test_so_does_one_that_chooses_by_what_the_copy_shows(self):
    counts = []
    for side in (40, 80):
      location = wsram_tf.LocationConfig(location_distribution="keyed_grid")
      config = wsram_tf.ModelConfig(height=side, width=side, num_glimpses=2, location=location)
      network = wsram_tf.PredictionNetwork(config)

      def look(images, low_resolution, network=network):
        observation = PixelObservation(images, network.glimpse_sensor)
        cells = network.cell_network(low_resolution)
        context, keys = network.context_network(low_resolution), network.location_keys(cells)
        return network.attend(View(observation, context, cells, keys)).log_probs

      counts.append(_count(look, [1, side, side, 1], [1, 12, 12, 1]))
    self.assertEqual(counts[0], counts[1])


class CrossingTest(tf.test.TestCase):
  def test_says_where_the_costs_meet(self):
    sides = [100, 400, 1600]
    crossing = image_size.crossing
    # Constant against the side's square: 100 = (side / 20)**2 at side 200.
    self.assertEqual(crossing(sides, [100] * 3, [25, 400, 6400]), "lower from side 200 on")
    self.assertEqual(crossing(sides, [1] * 3, [2, 2, 2]), "lower at every side from 100")
    self.assertEqual(crossing(sides, [3] * 3, [2, 2, 2]), "not lower up to side 1600")
    self.assertEqual(crossing(sides, [3] * 3, [2, 4, math.nan])[:16], "lower from side ")
    self.assertEqual(crossing(sides, [3] * 3, [math.nan] * 3), "not known")


if __name__ == "__main__":
  tf.test.main()
