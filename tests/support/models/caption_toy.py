"""A caption model with four cells and three words, so that glimpse sequences can be laid out."""

import itertools

import keras
import numpy as np
import tensorflow as tf

import wsram_tf
from wsram_tf.captions.caption_network import CaptionNetwork
from wsram_tf.captions.vocabulary import END, PADDING
from wsram_tf.learning import sampling

CELLS, MAX_WORDS, VOCABULARY = 4, 3, 7
# Two words and the end; the end alone; one word and the end.
CAPTIONS = np.array([[4, 6, END], [END, PADDING, PADDING], [5, END, PADDING]], np.int32)


def model_config(**changes) -> wsram_tf.CaptionModelConfig:
  """The toy's shape: the input is a grid of 2 x 2 cells."""
  return wsram_tf.CaptionModelConfig(
    **{
      "height": 2,
      "width": 2,
      "channels": 3,
      "grid_filters": (),
      "grid_reach": 1,
      "vocabulary_size": VOCABULARY,
      "max_words": MAX_WORDS,
      "units": 4,
      "word_units": 3,
      "location_units": 3,
      **changes,
    }
  )


def randomize(network: keras.Model, seed: int = 0) -> None:
  """Gives weights that tell all cells, words and states apart."""
  generator = np.random.default_rng(seed)
  network.set_weights([generator.normal(0, 0.7, weight.shape) for weight in network.weights])


def learner(
  estimator: str = "wake_sleep",
  credit_by_word: bool = True,
  num_samples: int = 2,
  exploration: wsram_tf.ExplorationConfig | None = None,
  label_smoothing: float = 0.0,
  credit_horizon: int = 0,
  **changes,
) -> wsram_tf.CaptionLearner:
  """A learner of the toy, with random weights."""
  made = wsram_tf.CaptionLearner(
    model_config(**changes),
    wsram_tf.ObjectiveConfig(estimator=estimator, num_samples=num_samples),
    exploration,
    wsram_tf.CaptionLossConfig(
      credit_by_word=credit_by_word,
      label_smoothing=label_smoothing,
      credit_horizon=credit_horizon,
    ),
    seed=3,
  )
  for seed, network in enumerate(
    (made.prediction_network, made.inference_network, made.baseline_network)
  ):
    if network is not None:
      randomize(network, seed)
  return made


def grids(count: int = 3, dtype: str = "float32") -> np.ndarray:
  """Inputs `[count, 2, 2, 3]`."""
  return np.random.default_rng(7).normal(size=[count, 2, 2, 3]).astype(dtype)


def all_cells(cells: int = CELLS, length: int = MAX_WORDS) -> np.ndarray:
  """All sequences of cells, int `[cells ** length, length]`."""
  return np.array(list(itertools.product(range(cells), repeat=length)), np.int32)


def score_cells(
  made: wsram_tf.CaptionLearner, images: tf.Tensor, captions: tf.Tensor, cells: np.ndarray
) -> sampling.DrawnSequences:
  """Scores given cells `[A, T]` for each image, in place of samples."""
  network = made.prediction_network
  centres = network.location_distribution.centres(tf.constant(cells), images.dtype)
  # A number in the middle of a cell's stretch would depend on the weights: the choice is given.
  original = CaptionNetwork.unroll

  def unroll(self, grid, words, num_samples, choose_location, dropout_uniforms=None):
    proposals_too = choose_location

    def choose(n, upper, prior):
      proposals_too(n, upper, prior)
      return tf.tile(centres[:, n], [images.shape[0], 1])

    return original(self, grid, words, num_samples, choose, dropout_uniforms)

  uniforms = tf.fill([len(cells), images.shape[0], cells.shape[1], 3], 0.5)
  network.unroll = unroll.__get__(network)
  try:
    return made.sample(made.look(images), captions, tf.cast(uniforms, images.dtype))
  finally:
    del network.unroll
