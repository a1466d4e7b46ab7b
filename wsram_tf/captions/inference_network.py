"""The caption inference network: proposes glimpses, given the image and its caption."""

import keras
import tensorflow as tf

from wsram_tf import layers
from wsram_tf.captions.config import CaptionModelConfig
from wsram_tf.captions.vocabulary import PADDING

__all__ = ["CaptionInferenceNetwork"]


@keras.saving.register_keras_serializable("wsram_tf")
class CaptionInferenceNetwork(keras.Model):
  """Emits the parameters of q(a_n | caption, a_1..a_{n-1}, image).

  It serves training only. It reads the caption network's features and upper state and sends no
  gradient into them. `encode` reads whole captions once; each call proposes one glimpse.

  Args:
    config: sizes of the caption network.

  Call arguments:
    encoded: float `[B * M, E]`, the caption's encoding at the next word.
    upper: float `[B * M, D]`, the upper layer's output before the glimpse.
    keys: float `[B, L, K]`, from `keys`.

  Returns:
    logits of the cells, float `[B * M, L]`.

  Source: J. Ba, R. Grosse, R. Salakhutdinov, B. Frey, Learning Wake-Sleep Recurrent Attention
    Models, NIPS 2015, the inference network, arXiv 1509.06812. The bidirectional encoder is an
    addition.

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
    self.config = config
    with layers.computing_in(config.precision):
      self.embedding = keras.layers.Embedding(
        config.vocabulary_size, config.word_units, name="embedding"
      )
      self.encoder = keras.layers.Bidirectional(
        keras.layers.GRU(config.word_units, return_sequences=True, name="encoder_cell"),
        name="encoder",
      )
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
    self.encoder.build((None, None, config.word_units))
    self.hidden.build((None, 2 * config.word_units + config.units))
    self.location_network.build((None, None, config.location_units), (None, config.units))
    self.location_keys.build((None, None, config.units))
    self.built = True

  def encode(self, captions: tf.Tensor) -> tf.Tensor:
    """Encodes captions in both directions and skips padding.

    Args:
      captions: int `[B, T]`.

    Returns:
      float `[B, T, E]`.
    """
    return self.encoder(self.embedding(captions), mask=captions != PADDING)

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
