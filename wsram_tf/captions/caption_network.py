"""The caption network: where to look before each word (the prior), and the word (likelihood)."""

from typing import Any, NamedTuple

import keras
import tensorflow as tf

from wsram_tf import layers
from wsram_tf.captions.checks import CaptionRules
from wsram_tf.captions.config import CaptionModelConfig
from wsram_tf.captions.grid_network import GridNetwork
from wsram_tf.captions.vocabulary import END, PADDING, START, UNKNOWN
from wsram_tf.learning.checked_model import CheckedModel
from wsram_tf.learning.sequences import (
  ChooseLocation,
  GlimpseSequences,
  along_sequences,
  samples_last,
  stacked_glimpses,
)
from wsram_tf.locations import GridLocations

__all__ = [
  "CaptionNetwork",
  "Grid",
  "deserialized_backbone",
  "serialized_backbone",
  "word_mask",
]


class Grid(NamedTuple):
  """The feature grid of each image, which stands where the image stood.

  Attributes:
    features: float `[B, L, D]`, one a cell, row by row.
    rows: float `[B * L, D]`, the same, image under image, from which glimpses are taken.
    keys: float `[B, L, K]`, what the prior compares a state with.
    context: list of floats `[B, D]`, the upper layer's first state.
  """

  features: tf.Tensor
  rows: tf.Tensor
  keys: tf.Tensor
  context: list[tf.Tensor]


def word_mask(captions: tf.Tensor) -> tf.Tensor:
  """Which words of captions, int `[..., T]`, are none of padding: bool."""
  return captions != PADDING


@keras.saving.register_keras_serializable("wsram_tf")
class CaptionNetwork(CheckedModel):
  """p(a | image) and p(caption | a, image): one glimpse at a cell of a grid before each word.

  The lower layer reads the previous word and the cell looked at, and says the word. The upper layer
  starts from the grid's mean feature, takes the lower layer's state, and chooses the next cell.

  Args:
    config: the model's shape.
    backbone: makes what `config` calls the image, a grid `[B, H, W, C]`, of images `[B, S, S, 3]`
      in 0..255. It learns with the rest if it is trainable; its batch normalisation never counts.
      None: that is what the network is given.

  Call arguments:
    images: float `[B, H, W, C]`, images, or features computed before; what the backbone takes, if
      there is one.

  Raises:
    ValueError: if the backbone makes no such grid.

  Returns:
    dict of `words` int32 `[B, T]` (padding after the end), `log_prob` float `[B]`, nats, of them,
    and `locations` float `[B, T, 2]`: each cell at the prior's mode, each word the likeliest but
    never the unknown word.

  Source: J. Ba, R. Grosse, R. Salakhutdinov, B. Frey, Learning Wake-Sleep Recurrent Attention
    Models, NIPS 2015, caption generation, arXiv 1509.06812; K. Xu et al., Show, Attend and Tell,
    ICML 2015, hard attention, arXiv 1502.03044.
  """

  @layers.follows_policy
  def __init__(self, config: CaptionModelConfig, backbone: keras.Model | None = None, **kwargs):
    super().__init__(**kwargs)
    if backbone is not None and tuple(backbone.output_shape[1:]) != config.image_shape:
      raise ValueError(
        f"backbone: must make grids {config.image_shape}, as height, width and channels say; it "
        f"makes {backbone.output_shape[1:]}"
      )
    self.config = config
    self.location_distribution = GridLocations(*config.grid_shape)
    # Not what log-probabilities come from: they need float32.
    with layers.computing_in(config.precision):
      self.grid_network = GridNetwork(
        config.units,
        config.grid_filters,
        config.grid_reach,
        config.grid_places,
        name="grid_network",
      )
      self.embedding = keras.layers.Embedding(
        config.vocabulary_size, config.word_units, name="embedding"
      )
      self.core = layers.RecurrentCore(config.units, config.cell, name="core")
      self.context_network = layers.ContextNetwork(
        config.context_side, config.units, self.core.num_states, name="context_network"
      )
    self.location_network = layers.CellLocationNetwork(
      config.location_units, name="location_network"
    )
    self.location_keys = keras.layers.Dense(config.location_units, name="location_keys")
    self.classifier = layers.Classifier(config.vocabulary_size, name="classifier")
    self.backbone = backbone
    self.build((None, *config.image_shape))

  def build(self, images_shape):
    """Makes all weights; the configuration alone decides their shapes."""
    if self.built:
      return
    config, state = self.config, (None, self.config.units)
    self.grid_network.build((None, *config.image_shape))
    self.embedding.build((None,))
    self.core.build((None, config.word_units + config.units))
    self.context_network.build((None, config.context_side, config.context_side, config.units))
    self.location_network.build((None, None, config.location_units), state)
    self.location_keys.build((None, None, config.units))
    self.classifier.build(state)
    self.built = True

  @property
  def image_shape(self) -> tuple[int, int, int]:
    """Height, width, channels of what the network is given."""
    if self.backbone is None:
      return self.config.image_shape
    return tuple(self.backbone.input_shape[1:])

  @property
  def input_rules(self) -> CaptionRules:
    """The rules of the network's images, and of captions to train it with."""
    return CaptionRules(self.image_shape, self.config.vocabulary_size, self.config.max_words)

  def without_backbone(self) -> "CaptionNetwork":
    """A copy that is given what the backbone made of an image."""
    alone = CaptionNetwork(self.config, name=self.name)
    alone.set_weights([weight.numpy() for weight in self.weights_but_backbone])
    return alone

  @property
  def weights_but_backbone(self) -> list[keras.Variable]:
    """The weights of all but the backbone."""
    of_backbone = set() if self.backbone is None else {id(w) for w in self.backbone.weights}
    return [weight for weight in self.weights if id(weight) not in of_backbone]

  def look(self, images: tf.Tensor) -> Grid:
    """Makes the feature grid of images `[B, H, W, C]`, once for all glimpses."""
    if self.backbone is not None:
      # As in a finished model: batch statistics would make an image's grid the batch's affair.
      images = self.backbone(images, training=False)
    grid = self.grid_network(images)
    rows = tf.reshape(grid, [-1, self.config.units])
    features = tf.reshape(grid, [-1, self.location_distribution.num_parameters, self.config.units])
    context = self.context_network(self.context_network.low_resolution(grid))
    return Grid(features, rows, self.location_keys(features), context)

  def initial_state(self, grid: Grid, num_samples: int) -> layers.CoreState:
    """The state before the first glimpse, M neighbouring rows an image."""
    return self.core.initial_state([tf.repeat(t, num_samples, axis=0) for t in grid.context])

  def prior(self, grid: Grid, upper: tf.Tensor) -> tf.Tensor:
    """The prior's parameters, float `[R, L]`, before a glimpse.

    Args:
      grid: of B images.
      upper: float `[R, D]`, the upper layer's output; rows of one image are neighbours.
    """
    return self.location_network(grid.keys, upper)

  def step(
    self,
    grid: Grid,
    state: layers.CoreState,
    embedded: tf.Tensor,
    locations: tf.Tensor,
    prior: tf.Tensor,
  ) -> layers.CoreState:
    """Looks at cells, one a row, after the previous words; with soft attention at all of them.

    Args:
      grid: of B images.
      state: of B * M rows, the samples of one image neighbours.
      embedded: float `[B * M, E]`, the previous words embedded.
      locations: float `[B * M, 2]`; not used by soft attention.
      prior: float `[B * M, L]`, the prior's parameters; used by soft attention alone.
    """
    images, cells = tf.shape(grid.features)[0], self.location_distribution.num_parameters
    samples = tf.shape(locations)[0] // tf.maximum(images, 1)
    if self.config.attention == "soft":
      shares = tf.cast(tf.nn.softmax(prior), grid.features.dtype)
      shares = tf.reshape(shares, tf.stack([images, samples, cells]))
      features = tf.reshape(tf.matmul(shares, grid.features), [-1, self.config.units])
    else:
      # Rows of one tensor, whose gradients are added up once for all words.
      firsts = tf.repeat(cells * tf.range(images), samples)
      features = tf.gather(grid.rows, firsts + self.location_distribution.cells(locations))
    return self.core(tf.concat([embedded, features], axis=-1), state)

  def unroll(
    self,
    grid: Grid,
    captions: tf.Tensor,
    num_samples: int,
    choose_location: ChooseLocation,
    dropout_uniforms: tf.Tensor | None = None,
  ) -> GlimpseSequences:
    """Looks before each word of given captions, in M independent sequences.

    Args:
      grid: of B images.
      captions: int `[B, T]`, words, the end, padding.
      num_samples: M.
      choose_location: as `PredictionNetwork.unroll` takes it.
      dropout_uniforms: float `[B, E + D]` in (0, 1), numbers that decide what is dropped of the
        embedded words and of the states; None to drop nothing.

    Returns:
      `GlimpseSequences`, with T glimpses and the log-probabilities of all words at each,
      float `[M, B, T, V]`. What stands at padding has no meaning but in `log_prior` and
      `prior_entropy`, where it is 0.
    """
    distribution = self.location_distribution
    previous = tf.pad(captions[:, :-1], [[0, 0], [1, 0]], constant_values=START)
    # Words first: taken apart and stacked so, nothing has to be copied.
    embedded = self.embedding(tf.transpose(previous))  # [T, B, E]
    keep_state = None
    if dropout_uniforms is not None:
      # One mask a caption: else samples would differ by what was dropped, and not by where they
      # looked.
      kept = tf.cast(dropout_uniforms >= self.config.dropout, embedded.dtype)
      kept /= 1.0 - self.config.dropout
      keep_word, keep_state = tf.split(kept, [self.config.word_units, self.config.units], axis=-1)
      embedded *= keep_word
    # Not sliced word by word: each slice's gradient would be as large as the whole.
    embedded = tf.unstack(tf.repeat(embedded, num_samples, axis=1))  # T of [B * M, E]
    state = self.initial_state(grid, num_samples)
    locations, uppers, lowers = [], [], []
    for n in range(captions.shape[1]):
      upper = state.upper[0]
      prior = self.prior(grid, upper)
      # As in PredictionNetwork.unroll: the score must see the sample as a constant.
      location = tf.stop_gradient(choose_location(n, upper, prior))
      state = self.step(grid, state, embedded[n], location, prior)
      locations.append(location)
      uppers.append(upper)
      lowers.append(state.lower[0])
    locations, uppers, lower = (
      stacked_glimpses(rows, num_samples) for rows in (locations, uppers, lowers)
    )
    if keep_state is not None:
      lower *= keep_state[:, tf.newaxis]
    # As in PredictionNetwork.unroll: all glimpses at once.
    priors = along_sequences(lambda rows: self.prior(grid, rows), uppers)
    mask = word_mask(captions)
    # With soft attention nothing is chosen, so nothing has a probability.
    scored = mask & (self.config.attention == "hard")
    return GlimpseSequences(
      locations=locations,
      upper=uppers,
      prior_parameters=priors,
      log_prior=tf.where(scored, distribution.log_prob(priors, locations), 0.0),
      prior_entropy=tf.where(mask, distribution.entropy(priors), 0.0),
      log_probs=self.classifier(lower),
    )

  def attend(
    self, grid: Grid, captions: tf.Tensor, uniforms: tf.Tensor | None = None
  ) -> GlimpseSequences:
    """Looks where the prior says before each word of given captions; see `unroll`.

    Args:
      grid: of B images.
      captions: int `[B, T]`.
      uniforms: float `[M, B, T, 2]` in (0, 1); None for one sequence at the prior's mode.
    """
    distribution = self.location_distribution
    if uniforms is None:
      return self.unroll(grid, captions, 1, lambda n, upper, prior: distribution.mode(prior))
    rows = samples_last(uniforms)

    def choose_location(n: int, upper: tf.Tensor, prior: tf.Tensor) -> tf.Tensor:
      return distribution.sample(prior, rows[:, n])

    return self.unroll(grid, captions, uniforms.shape[0], choose_location)

  def say(
    self, grid: Grid, state: layers.CoreState, words: tf.Tensor
  ) -> tuple[layers.CoreState, tf.Tensor, tf.Tensor]:
    """Looks at the prior's mode after given words, and scores what may come next.

    Args:
      grid: of B images.
      state: of B * M rows.
      words: int `[B * M]`, the previous words.

    Returns:
      the next state; the locations, float `[B * M, 2]`; log-probabilities of all words, float
      `[B * M, V]`, nats, the lowest float for what no caption may hold: unknown, start, padding.
    """
    prior = self.prior(grid, state.upper[0])
    location = self.location_distribution.mode(prior)
    state = self.step(grid, state, self.embedding(words), location, prior)
    log_probs = self.classifier(state.lower[0])
    numbers = tf.range(log_probs.shape[-1])
    barred = (numbers == UNKNOWN) | (numbers == START) | (numbers == PADDING)
    return state, location, tf.where(barred, log_probs.dtype.min, log_probs)

  def call(self, images: tf.Tensor) -> dict[str, tf.Tensor]:
    """Says the likeliest word after each glimpse; see the class."""
    grid = self.look(images)
    state = self.initial_state(grid, 1)
    word = tf.fill([tf.shape(images)[0]], START)
    open_ = tf.ones_like(word, tf.bool)
    words, locations, log_prob = [], [], 0.0
    for _ in range(self.config.max_words):
      state, location, log_probs = self.say(grid, state, word)
      word = tf.where(open_, tf.argmax(log_probs, axis=-1, output_type=tf.int32), PADDING)
      log_prob += tf.where(open_, tf.reduce_max(log_probs, axis=-1), 0.0)
      open_ &= word != END
      words.append(word)
      locations.append(location)
    return {
      "words": tf.stack(words, axis=1),
      "log_prob": log_prob,
      "locations": tf.stack(locations, axis=1),
    }

  def get_config(self):
    """Returns the constructor's arguments, ready for JSON."""
    return {
      "name": self.name,
      "config": self.config.to_dict(),
      "backbone": serialized_backbone(self.backbone),
    }

  @classmethod
  def from_config(cls, config, custom_objects=None):
    """Makes the network that `get_config` described."""
    with layers.full_precision():  # The configuration decides, whatever the policy is now.
      return cls(
        CaptionModelConfig(**config["config"]),
        deserialized_backbone(config.get("backbone")),
        name=config["name"],
      )


def serialized_backbone(backbone: keras.Model | None) -> dict[str, Any] | None:
  """What a configuration says of a backbone, ready for JSON."""
  if backbone is None:
    return None
  return {
    "network": keras.saving.serialize_keras_object(backbone),
    "trainable": backbone.trainable,
  }


def deserialized_backbone(config: dict[str, Any] | None) -> keras.Model | None:
  """The backbone that `serialized_backbone` described, with fresh weights."""
  if config is None:
    return None
  backbone = keras.saving.deserialize_keras_object(config["network"])
  backbone.trainable = config["trainable"]
  return backbone
