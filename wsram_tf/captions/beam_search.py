"""Beam search for captions, as tensor operations."""

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from wsram_tf.captions.caption_network import CaptionNetwork
from wsram_tf.captions.config import DecodingConfig
from wsram_tf.captions.vocabulary import END, PADDING, START
from wsram_tf.locations import action_size
from wsram_tf.settings import check_instance, given_or_default

__all__ = ["beam_search", "stratified_uniforms"]

_LONGEST_GRAM = 4


def stratified_uniforms(words: int, samples: int, size: int) -> np.ndarray:
  """Returns the random numbers that draw the sequences of a search with `averaged_samples`.

  They are always the same, so that the answer for an image depends on nothing else. Each sequence
  alone is a sample of the prior. Before a word, each of M equal parts of (0, 1) holds the number of
  one sequence (Latin hypercube sampling), so that M sequences represent the prior better than
  independent ones.

  Args:
    words: T.
    samples: M.
    size: A, numbers an action.

  Returns:
    float32 `[T, M, A]`, from 2**-24 to 1 - 2**-24.

  Source: M. McKay, R. Beckman, W. Conover, A Comparison of Three Methods for Selecting Values of
    Input Variables in the Analysis of Output from a Computer Code, Technometrics 21, 1979.

  Example:

  >>> sorted((10 * stratified_uniforms(1, 5, 1)[0, :, 0] // 2).astype(int).tolist())
  [0, 1, 2, 3, 4]
  """
  generator = np.random.default_rng(0)
  parts = np.tile(np.arange(samples)[:, np.newaxis], (words, 1, size))
  parts = generator.permuted(parts, axis=1)
  numbers = (parts + generator.random(parts.shape)) / samples
  return np.clip(numbers, 2.0**-24, 1 - 2.0**-24).astype(np.float32)


def beam_search(
  network: CaptionNetwork, images: tf.Tensor, config: DecodingConfig | None = None
) -> dict[str, tf.Tensor]:
  """Searches for the caption of highest log-probability, normalised by its length.

  Each glimpse is at the prior's mode, so the words of a caption determine its glimpses. With the
  config's `averaged_samples`, M sequences a caption are drawn from the prior instead, and its
  probability is the mean of theirs, as the model defines it. With width 1 the search is greedy;
  with a width of at least the number of captions it is exact.

  With the config's `consensus`, the answer is the kept caption that is most like the kept ones: of
  highest expected likeness, where each caption c counts by p(c) ** consensus_exponent. The likeness
  of two captions is the mean F-measure of their 1- to 4-grams. This is minimum Bayes risk decoding.

  Args:
    network: the caption network.
    images: float `[B, H, W, C]`.
    config: width of the search and normalisation of lengths.

  Returns:
    dict of `words` int32 `[B, T]` (padding after the end), `log_prob` float `[B]`, nats, of the
    words without normalisation, and `locations` float `[B, T, 2]`; for a network of several layers
    also `layers` int64 `[B, T]`. Of M sequences, the locations are those of the sequence that gives
    the words the highest probability. With `consensus` also `likeness` float `[B]`, 0 to 1, the
    expected likeness of the answer.

  Raises:
    ValueError: if an argument is of another class, or `averaged_samples` is above 0 for soft
      attention.

  Source of the consensus: S. Kumar, W. Byrne, Minimum Bayes-Risk Decoding for Statistical Machine
    Translation, NAACL 2004; of the exponent: R. Tromble et al., Lattice Minimum Bayes-Risk Decoding
    for Statistical Machine Translation, EMNLP 2008.

  Example:

  >>> from wsram_tf.captions.config import CaptionModelConfig
  >>> network = CaptionNetwork(CaptionModelConfig(height=16, width=16, max_words=5, units=8))
  >>> answer = beam_search(network, tf.zeros([2, 16, 16, 1]), DecodingConfig(beam_width=3))
  >>> tuple(answer["words"].shape), tuple(answer["locations"].shape)
  ((2, 5), (2, 5, 2))
  """
  check_instance("network", network, CaptionNetwork)
  config = given_or_default("config", config, DecodingConfig)
  config.check_model(network.config)
  found = _kept_captions(network, images, config)
  scores = found.log_prob / found.length**config.length_exponent
  if config.consensus:
    scores = _expected_likeness(found, config.consensus_exponent)
  best = tf.argmax(scores, axis=1)
  words, log_prob, locations, log_weights, score = (
    tf.gather(tensor, best, batch_dims=1)
    for tensor in (found.words, found.log_prob, found.locations, found.log_weights, scores)
  )
  likeliest = tf.argmax(log_weights, axis=1)
  locations = tf.gather(locations, likeliest, batch_dims=1)
  likeness = {"likeness": score} if config.consensus else {}
  return {"words": words, "log_prob": log_prob, **network.named_actions(locations), **likeness}


class _Captions(NamedTuple):
  """The W captions that a search keeps of each image, after n words.

  Attributes:
    words: int32 `[B, W, n]`.
    log_prob: float `[B, W]`, nats, of the words.
    length: float `[B, W]`, words until the end, which counts too.
    is_open: bool `[B, W]`, whether the end is missing.
    locations: actions of the M sequences, float `[B, W, M, n, A]`.
    log_weights: float `[B, W, M]`, log-probabilities of the words given each sequence, normalised.
  """

  words: tf.Tensor
  log_prob: tf.Tensor
  length: tf.Tensor
  is_open: tf.Tensor
  locations: tf.Tensor
  log_weights: tf.Tensor


def _kept_captions(network: CaptionNetwork, images: tf.Tensor, config: DecodingConfig) -> _Captions:
  """Returns the W captions of each image that the search keeps to the end."""
  width, samples = config.beam_width, max(config.averaged_samples, 1)
  size, uniforms = action_size(network.location_distribution), None
  if config.averaged_samples:
    uniforms = stratified_uniforms(network.config.max_words, samples, size)
  grid, batch = network.look(images), tf.shape(images)[0]
  state = network.initial_state(grid, width * samples)
  # The states may be bfloat16; log-probabilities never are.
  dtype = tf.as_dtype(network.classifier.compute_dtype)
  # All captions start equal; the lowest log-probability excludes all but one.
  log_prob = tf.where(tf.range(width) == 0, 0.0, tf.constant(dtype.min, dtype))
  found = _Captions(
    words=tf.zeros([batch, width, 0], tf.int32),
    log_prob=tf.tile(log_prob[tf.newaxis], [batch, 1]),
    length=tf.zeros([batch, width], dtype),
    is_open=tf.ones([batch, width], tf.bool),
    locations=tf.zeros([batch, width, samples, 0, size], dtype),
    log_weights=tf.fill([batch, width, samples], -tf.math.log(tf.cast(samples, dtype))),
  )
  word = tf.fill([batch, width], START)
  for n in range(network.config.max_words):
    drawn = None if uniforms is None else tf.tile(uniforms[n], [batch * width, 1])
    word = tf.repeat(tf.reshape(word, [-1]), samples)
    state, location, log_probs = network.say(grid, state, word, drawn)
    location = tf.reshape(location, [batch, width, samples, 1, size])
    found = found._replace(locations=tf.concat([found.locations, location], axis=3))
    log_probs = tf.reshape(log_probs, [batch, width, samples, log_probs.shape[-1]])
    beam, found = _add_word(found, log_probs, config.length_exponent)
    word = found.words[..., -1]
    before = tf.reshape(beam + width * tf.range(batch)[:, tf.newaxis], [-1, 1])
    rows = tf.reshape(samples * before + tf.range(samples), [-1])
    state = tf.nest.map_structure(lambda tensor, rows=rows: tf.gather(tensor, rows), state)
  return found


def _add_word(
  found: _Captions, log_probs: tf.Tensor, length_exponent: float
) -> tuple[tf.Tensor, _Captions]:
  """Extends captions by a word and keeps the best.

  Args:
    found: the captions, with the locations of the word to come.
    log_probs: of the next word, given each sequence, float `[B, W, M, V]`, nats.
    length_exponent: see `DecodingConfig`.

  Returns:
    for each kept caption the number of the one that it extends, int32 `[B, W]`, and the captions.
  """
  _, width, samples, vocabulary = log_probs.shape
  only_padding = tf.where(tf.range(vocabulary) == PADDING, 0.0, log_probs.dtype.min)
  next_log_probs = log_probs[:, :, 0]
  if samples > 1:
    next_log_probs = tf.reduce_logsumexp(found.log_weights[..., tf.newaxis] + log_probs, axis=2)
  next_log_probs = tf.where(found.is_open[..., tf.newaxis], next_log_probs, only_padding)
  found = found._replace(length=found.length + tf.cast(found.is_open, found.length.dtype))
  batch = tf.shape(log_probs)[0]
  candidates = tf.reshape(found.log_prob[..., tf.newaxis] + next_log_probs, [batch, -1])
  divisor = tf.repeat(found.length**length_exponent, vocabulary, axis=1)
  _, best = tf.math.top_k(candidates / divisor, width)  # [B, W]
  beam, word = best // vocabulary, best % vocabulary
  kept = tf.nest.map_structure(lambda tensor: tf.gather(tensor, beam, batch_dims=1), found)
  log_weights = kept.log_weights
  if samples > 1:
    images = tf.tile(tf.range(batch)[:, tf.newaxis], [1, width])
    chosen = tf.stack([images, beam, word], axis=-1)
    of_word = tf.gather_nd(tf.transpose(log_probs, [0, 1, 3, 2]), chosen)  # [B, W, M]
    # Padding says nothing about a sequence.
    of_word = tf.where(kept.is_open[..., tf.newaxis], of_word, 0.0)
    log_weights = tf.nn.log_softmax(log_weights + of_word)
  return beam, kept._replace(
    words=tf.concat([kept.words, word[..., tf.newaxis]], axis=2),
    log_prob=tf.gather(candidates, best, batch_dims=1),
    is_open=kept.is_open & (word != END),
    log_weights=log_weights,
  )


def _expected_likeness(found: _Captions, exponent: float) -> tf.Tensor:
  """Returns how like each caption is to the kept ones, each weighted by its probability.

  Args:
    found: the captions at the end of the search.
    exponent: of the probabilities.

  Returns:
    float `[B, W]`, 0 to 1; -1 for places that hold no caption.
  """
  is_caption = found.log_prob > 0.5 * found.log_prob.dtype.min
  weights = tf.nn.softmax(tf.where(is_caption, exponent * found.log_prob, found.log_prob.dtype.min))
  expected = tf.linalg.matvec(_likeness(found.words, found.log_prob.dtype), weights)
  return tf.where(is_caption, expected, -1.0)


def _likeness(words: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
  """Returns the mean F-measure of the 1- to 4-grams of each pair of captions.

  A gram that occurs several times in both captions counts as often as in the one with fewer.

  Args:
    words: int `[B, W, T]`, with END and PADDING after the last word.
    dtype: of the result.

  Returns:
    `[B, W, W]`, 0 to 1; captions shorter than n words have no n-gram, and an F-measure of 0.
  """
  is_word = (words != END) & (words != PADDING)
  # Whether the n-gram at place i of a caption and the one at place j of another are equal, and all
  # of words, [B, W, W, i, j]; first n = 1.
  same_words = words[:, :, tf.newaxis, :, tf.newaxis] == words[:, tf.newaxis, :, tf.newaxis, :]
  same_words &= is_word[:, tf.newaxis, :, tf.newaxis, :]
  same, total = same_words, 0.0
  for n in range(1, min(_LONGEST_GRAM, words.shape[-1]) + 1):
    if n > 1:
      same = same[..., :-1, :-1] & same_words[..., n - 1 :, n - 1 :]
    equal = tf.cast(same, tf.int32)
    own = tf.transpose(tf.linalg.diag_part(tf.transpose(equal, [0, 3, 4, 1, 2])), [0, 3, 1, 2])
    # The first occurrence of a gram in its caption is number 1; 0 where there is no gram.
    occurrence = tf.reduce_sum(tf.linalg.band_part(own, -1, 0), axis=-1)  # [B, W, i]
    is_gram = occurrence > 0
    common = is_gram[:, :, tf.newaxis] & (
      occurrence[:, :, tf.newaxis] <= tf.reduce_sum(equal, axis=-1)
    )
    common = tf.reduce_sum(tf.cast(common, dtype), axis=-1)
    grams = tf.reduce_sum(tf.cast(is_gram, dtype), axis=-1)
    both = grams[:, :, tf.newaxis] + grams[:, tf.newaxis]
    total += tf.math.divide_no_nan(2.0 * common, both)
  return total / _LONGEST_GRAM
