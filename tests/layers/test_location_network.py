"""The location network: an affine map with unbounded parameters."""

import numpy as np
import tensorflow as tf

from wsram_tf.layers import LocationNetwork


class LocationNetworkTest(tf.test.TestCase):
  def test_matches_numpy(self):
    upper = np.random.default_rng(0).normal(size=[3, 4]).astype(np.float32)
    network = LocationNetwork(6)
    network(upper)
    network.emission.bias.assign(np.arange(6.0))
    expected = upper @ network.emission.kernel.numpy() + np.arange(6.0)
    self.assertAllClose(network(upper), expected, rtol=1e-5, atol=1e-5)


if __name__ == "__main__":
  tf.test.main()
