"""The caption inference network: proposes glimpses, given the image and its caption."""

import keras
import tensorflow as tf

from wsram_tf import layers
from wsram_tf.captions.config import CaptionModelConfig
from wsram_tf.captions.vocabulary import PADDING, START
from wsram_tf.settings import check_instance

__all__ = ["CaptionInferenceNetwork"]


@keras.saving.register_keras_serializable("wsram_tf")
class CaptionInferenceNetwork(keras.Model):
  """Emits the parameters of q(a_n | caption, a_1..a_{n-1}, image).

  It serves training only. It reads the caption network's features and upper state and sends no
  gradient into them. `encode` reads captions once; each call proposes one glimpse. The config's
  `inference_reads` says how much of the caption a proposal depends on: all of it, the words before
  the next one, or the one word before.

  Args:
    config: sizes of the caption network.

  Call arguments:
    encoded: float `[B * M, E]`, the caption's encoding at the next word.
    upper: float `[B * M, D]`, the upper layer's output before the glimpse.
    keys: float `[B, L, K]`, from `keys`.

  Returns:
    logits of the cells, float `[B * M, L]`.

  Source: J. Ba, R. Grosse, R. Salakhutdinov, B. Frey, Learning Wake-Sleep Recurrent Attention
    Models, NIPS 2015, the inference network, which reads the previous word, arXiv 1509.06812. The
    encoders of all words and of the words so far are additions.

  Example:

  >>> config = CaptionModelConfig(units=8, word_units=6, location_units=4)
  >>> network = CaptionInferenceNetwork(config)
  >>> encoded = network.encode(tf.constant([[4, 5, 2], [6, 2, 0]]))  # [B, T, E]
  >>> keys = network.keys(tf.zeros([2, 64, 8]))
  >>> tuple(network(encoded[:, 0], tf.zeros([2, 8]), keys).shape)
  (2, 64)
  """

  @layers.follows_policy
  def __init__(self, config: CaptionModelConfig, **kwargs):
    super().__init__(**kwargs)
    check_instance("config", config, CaptionModelConfig)
    self.config = config
    with layers.computing_in(config.precision):
      self.embedding = keras.layers.Embedding(
        config.vocabulary_size, config.word_units, name="embedding"
      )
      self.encoder = None
      if config.inference_reads == "caption":
        self.encoder = keras.layers.Bidirectional(
          keras.layers.GRU(config.word_units, return_sequences=True, name="encoder_cell"),
          name="encoder",
        )
      elif config.inference_reads == "prefix":
        self.encoder = keras.layers.GRU(config.word_units, return_sequences=True, name="encoder")
      self.hidden = keras.layers.Dense(config.units, activation="relu", name="hidden")
    self.location_network = layers.CellLocationNetwork(
      config.location_units, name="location_network"
    )
    self.location_keys = keras.layers.Dense(config.location_units, name="location_keys")
    self.build(None)

  def build(self, input_shape):
    """Creates all weights; the configuration alone determines their shapes."""
    if self.built:
      return
    config = self.config
    self.embedding.build((None, None))
    if self.encoder:
      self.encoder.build((None, None, config.word_units))
    directions = 2 if config.inference_reads == "caption" else 1
    self.hidden.build((None, directions * config.word_units + config.units))
    self.location_network.build((None, None, config.location_units), (None, config.units))
    self.location_keys.build((None, None, config.units))
    self.built = True

  def encode(self, captions: tf.Tensor) -> tf.Tensor:
    """Encodes what a proposal reads of captions before each word, and skips padding.

    Args:
      captions: int `[B, T]`.

    Returns:
      float `[B, T, E]`.
    """
    if self.config.inference_reads != "caption":
      captions = tf.pad(captions[:, :-1], [[0, 0], [1, 0]], constant_values=START)
    words = self.embedding(captions)
    return self.encoder(words, mask=captions != PADDING) if self.encoder else words

  def keys(self, features: tf.Tensor) -> tf.Tensor:
    """Computes the keys of all cells, once for all glimpses.

    Args:
      features: float `[B, L, D]`, the caption network's.

    Returns:
      float `[B, L, K]`.
    """
    # The proposal loss must not change the caption network.
    return self.location_keys(tf.stop_gradient(features))

  def call(self, encoded: tf.Tensor, upper: tf.Tensor, keys: tf.Tensor) -> tf.Tensor:
    """Emits one proposal per row; see the class."""
    # See `keys`.
    state = self.hidden(tf.concat([encoded, tf.stop_gradient(upper)], axis=-1))
    return self.location_network(keys, state)

  def get_config(self):
    """Returns the constructor's arguments, for JSON."""
    return {"name": self.name, "config": self.config.to_dict()}

  @classmethod
  def from_config(cls, config, custom_objects=None):
    """Makes the network of a `get_config` dictionary, with new weights."""
    with layers.full_precision():  # The configuration overrides the current policy.
      return cls(CaptionModelConfig(**config["config"]), name=config["name"])
