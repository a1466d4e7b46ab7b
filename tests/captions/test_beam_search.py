"""Beam search: greedy at width 1, exact at full width, without unknown words."""

import collections
import dataclasses
import importlib

import numpy as np
import tensorflow as tf

import wsram_tf
from tests.support.models import caption_toy
from wsram_tf.captions.beam_search import beam_search, stratified_uniforms
from wsram_tf.captions.caption_network import CaptionNetwork
from wsram_tf.captions.learner import log_likelihood
from wsram_tf.captions.vocabulary import END, PADDING, START, UNKNOWN

# The function has the module's name in its package.
beam_module = importlib.import_module("wsram_tf.captions.beam_search")


def _network(seed: int, **changes) -> CaptionNetwork:
  network = CaptionNetwork(caption_toy.model_config(**changes))
  caption_toy.randomize(network, seed)
  # Makes the unknown word the likeliest, so that the search must exclude it.
  bias = network.classifier.logits.bias
  bias.assign(bias.numpy() + 5.0 * np.eye(caption_toy.VOCABULARY)[UNKNOWN])
  return network


def _brute_force(network, images) -> list[tuple[list[int], np.ndarray]]:
  """Scores all captions word by word; returns each with its log-probability for each image."""
  grid = network.look(images)
  finished = []

  def extend(state, words: list[int], log_prob: np.ndarray) -> None:
    if len(words) == caption_toy.MAX_WORDS or (words and words[-1] == END):
      finished.append((words, log_prob))
      return
    previous = tf.fill([len(images)], words[-1] if words else START)
    prior = network.prior(grid, state.upper[0])
    location = network.location_distribution.mode(prior)
    state = network.step(grid, state, network.embedding(previous), location, prior)
    log_probs = network.classifier(state.lower[0]).numpy()
    for word in (END, 4, 5, 6):
      extend(state, [*words, word], log_prob + log_probs[:, word])

  extend(network.initial_state(grid, 1), [], np.zeros(len(images)))
  return finished


def _f_measure(words: list[int], other: list[int]) -> float:
  """The mean F-measure of 1- to 4-grams of two captions, counted gram by gram."""
  total = 0.0
  for n in range(1, 5):
    first, second = (
      collections.Counter(zip(*(said[i:] for i in range(n)), strict=False))
      for said in ([w for w in one if w not in (END, PADDING)] for one in (words, other))
    )
    if first or second:
      total += 2 * (first & second).total() / (first.total() + second.total())
  return total / 4


class BeamSearchTest(tf.test.TestCase):
  def test_width_one_is_greedy(self):
    images = tf.constant(caption_toy.grids(5))
    for seed in range(3):
      network = _network(seed)
      greedy, beam = network(images), beam_search(network, images)
      self.assertAllEqual(greedy["words"], beam["words"])
      self.assertAllClose(greedy["log_prob"], beam["log_prob"], rtol=1e-5)
      # Locations after the end have no meaning.
      said = (greedy["words"] != PADDING).numpy()
      self.assertAllEqual(greedy["locations"][said], beam["locations"][said])

  def test_mixed_precision_finds_the_captions_of_full_precision(self):
    images = tf.constant(caption_toy.grids(5))
    config = wsram_tf.DecodingConfig(beam_width=3)
    plain = _network(1)
    mixed = CaptionNetwork(caption_toy.model_config(precision="bfloat16"))
    mixed(images)
    mixed.set_weights(plain.get_weights())
    expected, answer = (beam_search(network, images, config) for network in (plain, mixed))
    self.assertEqual(answer["log_prob"].dtype, tf.float32)
    self.assertAllClose(answer["log_prob"], expected["log_prob"], rtol=0.02)
    self.assertAllEqual(answer["words"], expected["words"])

  def test_full_width_is_brute_force(self):
    images = caption_toy.grids(3)
    longer = 0
    for seed in range(3):
      network = _network(seed)
      finished = _brute_force(network, images)
      narrow = beam_search(network, tf.constant(images))
      for exponent in (0.0, 1.0):
        config = wsram_tf.DecodingConfig(beam_width=64, length_exponent=exponent)
        found = beam_search(network, tf.constant(images), config)
        for i in range(len(images)):
          words, log_probs = max(
            finished,
            key=lambda one: one[1][i] / len(one[0]) ** exponent,
          )
          words = words + [PADDING] * (caption_toy.MAX_WORDS - len(words))
          self.assertAllEqual(found["words"][i], words)
          self.assertAllClose(found["log_prob"][i], log_probs[i], rtol=1e-5)
          longer += not np.array_equal(narrow["words"][i], words)
    self.assertGreater(longer, 0)  # Otherwise a greedy search would pass, too.

  def test_averaged_sequences_of_full_width_are_brute_force(self):
    images = tf.constant(caption_toy.grids(3))
    network = _network(1)
    grid, count = network.look(images), 3
    captions = [words for words, _ in _brute_force(network, images)]
    padded = np.zeros([len(captions), caption_toy.MAX_WORDS], np.int32)
    for row, words in zip(padded, captions, strict=True):
      row[: len(words)] = words
    # [M, B, T, A], the same for all images.
    drawn = stratified_uniforms(caption_toy.MAX_WORDS, count, 2).swapaxes(0, 1)
    drawn = np.repeat(drawn[:, np.newaxis], len(images), axis=1)
    averages, places = [], []
    for caption in padded:
      alike = tf.constant([caption] * len(images))
      seen = network.attend(grid, alike, tf.constant(drawn))
      of_sequences = tf.reduce_sum(log_likelihood(seen.log_probs, alike), axis=-1)
      averages.append(tf.reduce_logsumexp(of_sequences, axis=0).numpy() - np.log(count))
      likeliest = np.argmax(of_sequences, axis=0)
      places.append(seen.actions.numpy()[likeliest, np.arange(len(images))])
    lengths = np.array([len(words) for words in captions])
    others = 0
    for exponent in (0.0, 1.0):
      config = wsram_tf.DecodingConfig(64, exponent, averaged_samples=count)
      found = beam_search(network, images, config)
      best = np.argmax(np.array(averages) / lengths[:, np.newaxis] ** exponent, axis=0)
      self.assertAllEqual(found["words"], padded[best])
      for image, caption in enumerate(best):
        self.assertAllClose(found["log_prob"][image], averages[caption][image], rtol=1e-5)
        said = slice(lengths[caption])
        self.assertAllEqual(found["locations"][image, said], places[caption][image, said])
      at_mode = beam_search(network, images, wsram_tf.DecodingConfig(64, exponent))
      others += np.sum(found["words"] != at_mode["words"])
    self.assertGreater(others, 0)  # Otherwise glimpses at the mode would pass, too.

  def test_the_consensus_is_the_caption_most_like_all_others(self):
    images = tf.constant(caption_toy.grids(3))
    others = 0
    for seed, exponent in ((0, 0.0), (1, 0.5), (2, 0.5), (3, 1.0)):
      network = _network(seed)
      finished = _brute_force(network, images)
      # The width exceeds the number of captions, and the places left over count for nothing.
      plain = wsram_tf.DecodingConfig(64)
      config = dataclasses.replace(plain, consensus=True, consensus_exponent=exponent)
      found, best = beam_search(network, images, config), beam_search(network, images, plain)
      self.assertNotIn("likeness", best)
      for i in range(len(images)):
        weights = np.exp([exponent * log_probs[i] for _, log_probs in finished])
        weights /= weights.sum()
        expected = [
          sum(w * _f_measure(words, other) for (other, _), w in zip(finished, weights, strict=True))
          for words, _ in finished
        ]
        self.assertAllClose(found["likeness"][i], max(expected), rtol=1e-5)
        said = [word for word in found["words"][i].numpy() if word != PADDING]
        (chosen,) = (n for n, (words, _) in enumerate(finished) if words == said)
        self.assertAllClose(expected[chosen], max(expected), rtol=1e-5)  # It may be a tie.
        self.assertAllClose(found["log_prob"][i], finished[chosen][1][i], rtol=1e-5)
      others += np.sum(found["words"] != best["words"])
    self.assertGreater(others, 0)  # Otherwise the caption of highest score would pass, too.

  def test_a_consensus_counts_repeated_grams(self):
    a, b, c = 4, 5, 6
    said = [[a, a, a, b], [a, a, c, a], [b, a, a, b], [b, c, END, PADDING], [END, *[PADDING] * 3]]
    words = tf.constant([said, said[::-1]], tf.int32)
    likeness = beam_module._likeness(words, tf.float32)
    expected = [[_f_measure(one, other) for other in said] for one in said]
    self.assertAllClose(likeness[0], expected)
    self.assertAllClose(likeness[1], np.array(expected)[::-1, ::-1])
    self.assertAllClose(np.diag(expected), [1.0, 1.0, 1.0, 0.5, 0.0])

  def test_a_consensus_is_a_caption_that_the_search_kept(self):
    # The first place is empty: its words are like the others', and its log-probability the lowest.
    log_prob = tf.constant([[tf.float32.min, -1.0, -2.0]])
    found = beam_module._Captions(
      words=tf.constant([[[4, 5], [4, 5], [4, 6]]]),
      log_prob=log_prob,
      length=tf.fill([1, 3], 2.0),
      is_open=tf.fill([1, 3], True),
      locations=tf.zeros([1, 3, 1, 2, 2]),
      log_weights=tf.zeros([1, 3, 1]),
    )
    # The mean of four F-measures: 1, 1, 0, 0 with itself, 0.5, 0, 0, 0 with the other.
    self.assertAllClose(beam_module._expected_likeness(found, 0.0), [[-1.0, 0.3125, 0.3125]])

  def test_a_consensus_needs_three_captions(self):
    with self.assertRaisesRegex(ValueError, "consensus=True: must be false for beam_width=2"):
      wsram_tf.DecodingConfig(beam_width=2, consensus=True)

  def test_each_of_the_averaged_sequences_has_its_part_of_the_numbers(self):
    numbers = stratified_uniforms(40, 5, 2)
    parts = np.sort(np.floor(5 * numbers), axis=1)
    self.assertAllEqual(parts, np.broadcast_to(np.arange(5.0)[:, np.newaxis], [40, 5, 2]))
    # No sequence keeps its part, and the two numbers of an action are not tied.
    self.assertAllInRange(numbers.mean(axis=0), 0.35, 0.65)
    self.assertLess(abs(np.corrcoef(numbers.reshape(-1, 2).T)[0, 1]), 0.2)
    self.assertAllInRange(stratified_uniforms(9, 1000, 1), 2.0**-24, 1 - 2.0**-24)

  def test_averaging_is_for_hard_attention(self):
    network = CaptionNetwork(caption_toy.model_config(attention="soft"))
    with self.assertRaisesRegex(ValueError, "averaged_samples=2: must be 0 for attention=soft"):
      beam_search(network, caption_toy.grids(2), wsram_tf.DecodingConfig(averaged_samples=2))

  def test_excludes_special_words_and_pads_after_the_end(self):
    images = tf.constant(caption_toy.grids(8))
    for width, samples in ((1, 0), (3, 0), (1, 2), (3, 2)):
      config = wsram_tf.DecodingConfig(width, averaged_samples=samples)
      words = beam_search(_network(1), images, config)["words"].numpy()
      self.assertFalse(np.isin(words, [UNKNOWN, START]).any())
      for caption in words:
        ends = np.flatnonzero(caption == END)
        length = ends[0] + 1 if len(ends) else len(caption)
        self.assertTrue((caption[:length] != PADDING).all())
        self.assertAllEqual(caption[length:], [PADDING] * (len(caption) - length))

  def test_eager_graph_compiled_and_unknown_batch_agree(self):
    network, images = _network(2, max_words=2, cell="relu"), tf.constant(caption_toy.grids(4))
    config = wsram_tf.DecodingConfig(beam_width=3, averaged_samples=2, consensus=True)
    eager = beam_search(network, images, config)
    for compiled in (False, True):
      search = tf.function(
        lambda x: beam_search(network, x, config),
        input_signature=[tf.TensorSpec([None, 2, 2, 3])],
        jit_compile=compiled,
        autograph=False,  # Converting takes seconds.
      )
      for name, value in search(images).items():
        self.assertAllClose(value, eager[name], rtol=1e-5)


if __name__ == "__main__":
  tf.test.main()
