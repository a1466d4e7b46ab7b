"""The caption network: sequences along captions, compared with steps of one word each."""

import numpy as np
import tensorflow as tf

from tests.support.models import caption_toy
from wsram_tf.captions.caption_network import CaptionNetwork
from wsram_tf.captions.vocabulary import START


def _step_by_step(network: CaptionNetwork, grid, uniforms: tf.Tensor) -> list[tf.Tensor]:
  """The lower layer's outputs `[B * M, D]` before each word, from whole inputs."""
  samples, distribution = uniforms.shape[0], network.location_distribution
  state, outputs = network.initial_state(grid, samples), []
  words = np.concatenate([np.full([3, 1], START), caption_toy.CAPTIONS[:, :-1]], axis=1)
  rows = tf.reshape(tf.transpose(uniforms, [1, 0, 2, 3]), [-1, *uniforms.shape[2:]])
  for n in range(caption_toy.MAX_WORDS):
    prior = network.prior(grid, state.upper[0])
    location = distribution.sample(prior, rows[:, n])
    embedded = network.embedding(np.repeat(words[:, n], samples))
    state = network.step(grid, state, embedded, location, prior)
    outputs.append(state.lower[0])
  return outputs


class CaptionNetworkTest(tf.test.TestCase):
  def test_sequences_are_those_of_steps_of_one_word_each(self):
    # 3 glimpses of 4 cells, and 9.
    for attention, samples, cell in [
      ("hard", 1, "lstm"),
      ("hard", 3, "lstm"),
      ("hard", 3, "gru"),
      ("soft", 1, "relu"),
      ("soft", 3, "lstm"),
    ]:
      with self.subTest(f"{attention} M={samples} {cell}"):
        network = CaptionNetwork(caption_toy.model_config(attention=attention, cell=cell))
        caption_toy.randomize(network)
        images = tf.constant(caption_toy.grids(3))
        shape = [samples, 3, caption_toy.MAX_WORDS, 1]
        uniforms = tf.random.stateless_uniform(shape, [1, 2], 0.01, 0.99)
        with tf.GradientTape(persistent=True) as tape:
          grid = network.look(images)
          found = network.attend(grid, caption_toy.CAPTIONS, uniforms)
          of_sequences = tf.reduce_sum(found.log_probs[..., 4])
          outputs = _step_by_step(network, grid, uniforms)
          expected = network.classifier(tf.stack(outputs, axis=1))
          expected = tf.reshape(expected, [3, samples, caption_toy.MAX_WORDS, -1])
          expected = tf.transpose(expected, [1, 0, 2, 3])
          of_steps = tf.reduce_sum(expected[..., 4])
        self.assertAllClose(found.log_probs, expected, rtol=1e-5, atol=1e-5)
        weights = network.trainable_variables
        gradients = [tape.gradient(total, weights) for total in (of_sequences, of_steps)]
        for weight, *both in zip(weights, *gradients, strict=True):
          self.assertEqual(both[0] is None, both[1] is None, weight.path)
          if both[0] is not None:
            gradient, other = map(tf.convert_to_tensor, both)
            self.assertAllClose(gradient, other, rtol=1e-4, atol=1e-5, msg=weight.path)


if __name__ == "__main__":
  tf.test.main()
