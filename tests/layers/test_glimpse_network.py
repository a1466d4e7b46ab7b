"""The glimpse network: the product of what and where, and convolutions over stacked scales."""

import numpy as np
import tensorflow as tf

from wsram_tf.layers import GlimpseNetwork

ROWS, SCALES, SIDE, CHANNELS = 2, 2, 5, 3


def _arguments() -> tuple[np.ndarray, np.ndarray]:
  generator = np.random.default_rng(0)
  patches = generator.normal(size=[ROWS, SCALES, SIDE, SIDE, CHANNELS]).astype(np.float32)
  return patches, generator.uniform(-1, 1, [ROWS, 2]).astype(np.float32)


def _dense(layer, features: np.ndarray) -> np.ndarray:
  return np.maximum(features @ layer.kernel.numpy() + layer.bias.numpy(), 0)


def _randomize(network: GlimpseNetwork) -> None:
  """Sets all weights, biases included, to values with active units in every layer."""
  generator = np.random.default_rng(1)
  network.set_weights([generator.normal(size=weight.shape) for weight in network.weights])


def _naive_convolution(features: np.ndarray, kernel: np.ndarray, bias: np.ndarray) -> np.ndarray:
  """Computes a zero-padded 3 x 3 convolution, ReLU and 2 x 2 max pooling."""
  height, width, _ = features.shape
  padded = np.pad(features, [(1, 1), (1, 1), (0, 0)])
  maps = np.zeros([height, width, kernel.shape[-1]])
  for i in range(height):
    for j in range(width):
      maps[i, j] = np.tensordot(padded[i : i + 3, j : j + 3], kernel, axes=3) + bias
  maps = np.maximum(maps, 0)[: height // 2 * 2, : width // 2 * 2]
  return maps.reshape(height // 2, 2, width // 2, 2, -1).max(axis=(1, 3))


class GlimpseNetworkTest(tf.test.TestCase):
  def test_dense_matches_numpy(self):
    patches, locations = _arguments()
    network = GlimpseNetwork(units=6)
    network.build(patches.shape, locations.shape)
    _randomize(network)
    expected = _dense(network.what, patches.reshape(ROWS, -1)) * _dense(network.where, locations)
    self.assertGreater(np.count_nonzero(expected), 0)
    self.assertAllClose(network(patches, locations), expected, rtol=1e-5, atol=1e-5)

  def test_convolutions_match_numpy(self):
    patches, locations = _arguments()
    network = GlimpseNetwork(units=6, filters=(4, 3))
    network.build(patches.shape, locations.shape)
    _randomize(network)
    what = []
    for glimpse in patches:
      features = np.concatenate(list(glimpse), axis=-1)  # [G, G, S * C]
      for convolution in network.convolutions:
        features = _naive_convolution(
          features, convolution.kernel.numpy(), convolution.bias.numpy()
        )
      what.append(_dense(network.what, features.reshape(-1)))
    expected = np.stack(what) * _dense(network.where, locations)
    self.assertGreater(np.count_nonzero(expected), 0)
    self.assertAllClose(network(patches, locations), expected, rtol=1e-4, atol=1e-4)

  def test_number_of_weights(self):
    patches, locations = _arguments()
    network = GlimpseNetwork(units=6, filters=(4, 3))
    network(patches, locations)
    convolutions = (9 * SCALES * CHANNELS + 1) * 4 + (9 * 4 + 1) * 3
    self.assertEqual(network.count_params(), convolutions + (1 * 1 * 3 + 1) * 6 + (2 + 1) * 6)


if __name__ == "__main__":
  tf.test.main()
