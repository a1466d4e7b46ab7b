"""The caption inference network: where to look before each word, told the reference caption."""

import keras
import tensorflow as tf

from wsram_tf import layers
from wsram_tf.captions.config import CaptionModelConfig
from wsram_tf.captions.vocabulary import PADDING

__all__ = ["CaptionInferenceNetwork"]


@keras.saving.register_keras_serializable("wsram_tf")
class CaptionInferenceNetwork(keras.Model):
  """Emits the parameters of q(a_n | caption, a_1..a_{n-1}, image).

  It reads the prediction network's features and upper state but sends no gradient into them. Used
  in training only. `encode` reads whole captions once, then each call is one glimpse.

  Args:
    config: the shape of the caption network that it serves.

  Call arguments:
    encoded: float `[B * M, E]`, the caption's encoding at the word to come.
    upper: float `[B * M, D]`, the upper layer's output before the glimpse.
    keys: float `[B, L, K]`, what `keys` returned.

  Returns:
    float `[B * M, L]`.

  Source: J. Ba, R. Grosse, R. Salakhutdinov, B. Frey, Learning Wake-Sleep Recurrent Attention
    Models, NIPS 2015, the inference network, arXiv 1509.06812. The encoder, recurrent in both
    directions, is ours.
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
    """Makes all weights; the configuration alone decides their shapes."""
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
    """Reads captions, int `[B, T]`, in both directions, padding left out: float `[B, T, E]`."""
    return self.encoder(self.embedding(captions), mask=captions != PADDING)

  def keys(self, features: tf.Tensor) -> tf.Tensor:
    """What each cell offers to be chosen by: float `[B, L, K]` of features `[B, L, D]`."""
    # The proposal is fitted to the prediction network, never the other way round.
    return self.location_keys(tf.stop_gradient(features))

  def call(self, encoded: tf.Tensor, upper: tf.Tensor, keys: tf.Tensor) -> tf.Tensor:
    """Emits one proposal a row; see the class."""
    # As in `keys`.
    state = self.hidden(tf.concat([encoded, tf.stop_gradient(upper)], axis=-1))
    return self.location_network(keys, state)

  def get_config(self):
    """Returns the constructor's arguments, ready for JSON."""
    return {"name": self.name, "config": self.config.to_dict()}

  @classmethod
  def from_config(cls, config, custom_objects=None):
    """Makes the network that `get_config` described."""
    with layers.full_precision():  # The configuration decides, whatever the policy is now.
      return cls(CaptionModelConfig(**config["config"]), name=config["name"])
