"""Beam search for captions, as tensor operations."""

import tensorflow as tf

from wsram_tf.captions.caption_network import CaptionNetwork
from wsram_tf.captions.config import DecodingConfig
from wsram_tf.captions.vocabulary import END, PADDING, START
from wsram_tf.settings import check_instance, given_or_default

__all__ = ["beam_search"]


def beam_search(
  network: CaptionNetwork, images: tf.Tensor, config: DecodingConfig | None = None
) -> dict[str, tf.Tensor]:
  """Searches for the caption of highest log-probability, normalised by its length.

  Each glimpse is at the prior's mode, so the words of a caption determine its glimpses. With width
  1 the search is greedy; with a width of at least the number of captions it is exact.

  Args:
    network: the caption network.
    images: float `[B, H, W, C]`.
    config: width of the search and normalisation of lengths.

  Returns:
    dict of `words` int32 `[B, T]` (padding after the end), `log_prob` float `[B]`, nats, of the
    words without normalisation, and `locations` float `[B, T, 2]`; for a network of several layers
    also `layers` int64 `[B, T]`.

  Raises:
    ValueError: if an argument is of another class.

  Example:

  >>> from wsram_tf.captions.config import CaptionModelConfig
  >>> network = CaptionNetwork(CaptionModelConfig(height=16, width=16, max_words=5, units=8))
  >>> answer = beam_search(network, tf.zeros([2, 16, 16, 1]), DecodingConfig(beam_width=3))
  >>> tuple(answer["words"].shape), tuple(answer["locations"].shape)
  ((2, 5), (2, 5, 2))
  """
  check_instance("network", network, CaptionNetwork)
  config = given_or_default("config", config, DecodingConfig)
  width, vocabulary = config.beam_width, network.config.vocabulary_size
  grid, batch = network.look(images), tf.shape(images)[0]
  state = network.initial_state(grid, width)
  # The states may be bfloat16; log-probabilities never are.
  dtype = tf.as_dtype(network.classifier.compute_dtype)
  lowest = tf.constant(dtype.min, dtype)
  # All beams start equal; the lowest log-probability excludes all but one.
  log_prob = tf.tile(tf.where(tf.range(width) == 0, 0.0, lowest)[tf.newaxis], [batch, 1])
  is_open = tf.ones([batch, width], tf.bool)
  length = tf.zeros([batch, width], dtype)
  only_padding = tf.where(tf.range(vocabulary) == PADDING, 0.0, lowest)
  word, words, locations = tf.fill([batch, width], START), None, None
  for _ in range(network.config.max_words):
    state, location, next_log_probs = network.say(grid, state, tf.reshape(word, [-1]))
    next_log_probs = tf.reshape(next_log_probs, [batch, width, vocabulary])
    next_log_probs = tf.where(is_open[..., tf.newaxis], next_log_probs, only_padding)
    length += tf.cast(is_open, dtype)
    candidates = tf.reshape(log_prob[..., tf.newaxis] + next_log_probs, [batch, -1])
    divisor = tf.repeat(length**config.length_exponent, vocabulary, axis=1)
    _, best = tf.math.top_k(candidates / divisor, width)  # [B, W]
    log_prob = tf.gather(candidates, best, batch_dims=1)
    beam, word = best // vocabulary, best % vocabulary
    length = tf.gather(length, beam, batch_dims=1)
    is_open = tf.gather(is_open, beam, batch_dims=1) & (word != END)
    rows = tf.reshape(beam + width * tf.range(batch)[:, tf.newaxis], [-1])
    state = tf.nest.map_structure(lambda tensor, rows=rows: tf.gather(tensor, rows), state)
    location = tf.reshape(location, [batch, width, 1, location.shape[-1]])
    if words is not None:
      words = tf.gather(words, beam, batch_dims=1)
    locations = location if locations is None else tf.concat([locations, location], axis=2)
    locations = tf.gather(locations, beam, batch_dims=1)
    word_now = word[..., tf.newaxis]
    words = word_now if words is None else tf.concat([words, word_now], axis=2)
  best = tf.argmax(log_prob / length**config.length_exponent, axis=1)
  return {
    "words": tf.gather(words, best, batch_dims=1),
    "log_prob": tf.gather(log_prob, best, batch_dims=1),
    **network.named_actions(tf.gather(locations, best, batch_dims=1)),
  }
