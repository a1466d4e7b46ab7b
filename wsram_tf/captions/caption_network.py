"""The caption network: prior over the cell to look at before each word, likelihood of the word."""

import keras
import tensorflow as tf

from wsram_tf import layers
from wsram_tf.captions.backbones import deserialized_backbone, serialized_backbone
from wsram_tf.captions.checks import CaptionRules
from wsram_tf.captions.config import CaptionModelConfig
from wsram_tf.captions.grid_network import (
  Grid,
  GridNetwork,
  mix_cells,
  read_cells,
  unpack_grids,
)
from wsram_tf.captions.vocabulary import END, PADDING, START, UNKNOWN, word_mask
from wsram_tf.learning.checked_model import CheckedModel
from wsram_tf.learning.sequences import (
  ChooseAction,
  GlimpseSequences,
  along_sequences,
  samples_last,
  stacked_glimpses,
)
from wsram_tf.locations import GridLocations, LayeredGridLocations, action_size
from wsram_tf.observations import area_means
from wsram_tf.settings import check_instance

__all__ = ["CaptionNetwork"]


@keras.saving.register_keras_serializable("wsram_tf")
class CaptionNetwork(CheckedModel):
  """p(a | image) and p(caption | a, image): one glimpse at a cell of a grid before each word.

  The lower layer reads the previous word and the chosen cell; the classifier reads the lower layer
  and predicts the word. The upper layer starts from a low-resolution copy of the grid, reads the
  lower layer, and chooses the next cell. With the config's `layer_shapes`, cells are those of the
  grids of several layers, and an action is (row, column, layer).

  Args:
    config: sizes of the model.
    backbone: network from images `[B, S, S, 3]` in 0..255 to grids `[B, H, W, C]` of
      `config.image_shape`, or None if the network's input is the image or grid itself. A trainable
      backbone is trained with the rest; its batch normalisation keeps its statistics.

  Call arguments:
    images: float `[B, H, W, C]`, images or feature grids; with a backbone, its input.

  Raises:
    ValueError: if `config` is of another class, or the backbone's grids do not have
      `config.image_shape`.

  Returns:
    dict of `words` int32 `[B, T]` (padding after the end), `log_prob` float `[B]`, nats, of the
    words, and `locations` float `[B, T, 2]`; with several layers also `layers` int64 `[B, T]`. Each
    location is the prior's mode; each word is the likeliest, unknown words excluded.

  Source: J. Ba, R. Grosse, R. Salakhutdinov, B. Frey, Learning Wake-Sleep Recurrent Attention
    Models, NIPS 2015, caption generation, arXiv 1509.06812; K. Xu et al., Show, Attend and Tell,
    ICML 2015, hard attention, arXiv 1502.03044.

  Example:

  >>> config = CaptionModelConfig(height=16, width=16, max_words=5, units=8)
  >>> answer = CaptionNetwork(config)(tf.zeros([2, 16, 16, 1]))
  >>> {name: tuple(value.shape) for name, value in answer.items()}
  {'words': (2, 5), 'log_prob': (2,), 'locations': (2, 5, 2)}
  """

  @layers.follows_policy
  def __init__(self, config: CaptionModelConfig, backbone: keras.Model | None = None, **kwargs):
    super().__init__(**kwargs)
    check_instance("config", config, CaptionModelConfig)
    if backbone is not None and tuple(backbone.output_shape[1:]) != config.image_shape:
      raise ValueError(
        f"backbone with grids {tuple(backbone.output_shape[1:])}: must make grids "
        f"{config.image_shape}, the config's (height, width, channels)"
      )
    self.config = config
    self.location_distribution = (
      LayeredGridLocations(config.grid_shapes)
      if config.layer_shapes
      else GridLocations(*config.grid_shape)
    )
    # Layers that compute log-probabilities stay outside: they need float32.
    with layers.computing_in(config.precision):
      grid_networks = [
        GridNetwork(
          config.units,
          config.grid_filters,
          config.grid_reach,
          config.grid_places,
          name=f"grid_network_{layer}" if layer else "grid_network",
        )
        for layer in range(len(config.grid_shapes))
      ]
      # The first has its own name, by which files of models with one grid hold its weights.
      self.grid_network, *self.further_grid_networks = grid_networks
      self.embedding = keras.layers.Embedding(
        config.vocabulary_size, config.word_units, name="embedding"
      )
      self.core = layers.RecurrentCore(config.units, config.cell, name="core")
      self.context_network = layers.ContextNetwork(
        config.context_side,
        config.units,
        self.core.num_states,
        self.core.output_activation,
        name="context_network",
      )
    self.location_network = layers.CellLocationNetwork(
      config.location_units, name="location_network"
    )
    self.location_keys = keras.layers.Dense(config.location_units, name="location_keys")
    self.classifier = layers.Classifier(config.vocabulary_size, name="classifier")
    self.backbone = backbone
    self.build((None, *config.image_shape))

  def build(self, images_shape):
    """Creates all weights; the configuration alone determines their shapes."""
    if self.built:
      return
    config, state = self.config, (None, self.config.units)
    shapes = config.layer_shapes or (config.image_shape,)
    for network, shape in zip(self._grid_networks, shapes, strict=True):
      network.build((None, *shape))
    self.embedding.build((None,))
    self.core.build((None, config.word_units + config.units))
    self.context_network.build((None, config.context_side, config.context_side, config.units))
    self.location_network.build((None, None, config.location_units), state)
    self.location_keys.build((None, None, config.units))
    self.classifier.build(state)
    self.built = True

  @property
  def _grid_networks(self) -> list[GridNetwork]:
    return [self.grid_network, *self.further_grid_networks]

  @property
  def image_shape(self) -> tuple[int, int, int]:
    """Height, width and channels of the network's input."""
    if self.backbone is None:
      return self.config.image_shape
    return tuple(self.backbone.input_shape[1:])

  @property
  def input_rules(self) -> CaptionRules:
    """Rules of the network's images and training captions."""
    return CaptionRules(self.image_shape, self.config.vocabulary_size, self.config.max_words)

  def without_backbone(self) -> "CaptionNetwork":
    """Copies the network without its backbone; the copy takes the backbone's grids."""
    alone = CaptionNetwork(self.config, name=self.name)
    alone.set_weights([weight.numpy() for weight in self.weights_but_backbone])
    return alone

  @property
  def weights_but_backbone(self) -> list[keras.Variable]:
    """All weights except the backbone's."""
    of_backbone = set() if self.backbone is None else {id(w) for w in self.backbone.weights}
    return [weight for weight in self.weights if id(weight) not in of_backbone]

  def look(self, images: tf.Tensor) -> Grid:
    """Makes the feature grids of images `[B, H, W, C]`, once for all glimpses."""
    if self.backbone is not None:
      # With training=True the grid of an image would depend on the other images of the batch.
      images = self.backbone(images, training=False)
    inputs = [images]
    if self.config.layer_shapes:
      inputs = unpack_grids(images, self.config.layer_shapes)
    grids = [network(one) for network, one in zip(self._grid_networks, inputs, strict=True)]
    units = self.config.units
    features = tf.concat(
      [tf.reshape(grid, [-1, grid.shape[1] * grid.shape[2], units]) for grid in grids], axis=1
    )
    rows = tf.reshape(features, [-1, units])
    context = self.context_network(area_means(grids[-1], self.config.context_side))
    return Grid(features, rows, self.location_keys(features), context)

  def initial_state(self, grid: Grid, num_samples: int) -> layers.CoreState:
    """Returns the state before the first glimpse, with M consecutive rows per image."""
    return self.core.initial_state(grid.context, num_samples)

  def prior(self, grid: Grid, upper: tf.Tensor) -> tf.Tensor:
    """Computes the prior's parameters before a glimpse, float `[R, L]`.

    Args:
      grid: grids of B images.
      upper: float `[R, D]`, the upper layer's output; the rows of an image are consecutive.
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
    """Reads the previous words and one cell per row, or all cells with soft attention.

    Args:
      grid: grids of B images.
      state: state of B * M rows; the samples of an image are consecutive.
      embedded: float `[B * M, E]`, embeddings of the previous words.
      locations: actions, float `[B * M, A]`; not used by soft attention.
      prior: float `[B * M, L]`, the prior's parameters; used by soft attention only.

    Returns:
      the next state.
    """
    features = self._read(grid.rows, locations, prior)
    return self.core(tf.concat([embedded, features], axis=-1), state)

  def _read(self, rows: tf.Tensor, locations: tf.Tensor, prior: tf.Tensor) -> tf.Tensor:
    """Reads what `step` reads, float `[B * M, F]`, of all cells' `rows`, float `[B * L, F]`."""
    if self.config.attention == "soft":
      return mix_cells(rows, tf.nn.softmax(prior))
    cells = self.location_distribution.num_parameters
    return read_cells(rows, self.location_distribution.cells(locations), cells)

  def unroll(
    self,
    grid: Grid,
    captions: tf.Tensor,
    num_samples: int,
    choose_action: ChooseAction,
    dropout_uniforms: tf.Tensor | None = None,
  ) -> GlimpseSequences:
    """Runs M independent glimpse sequences along given captions, one glimpse before each word.

    Args:
      grid: grids of B images.
      captions: int `[B, T]`, words, the end, padding.
      num_samples: M.
      choose_action: see `PredictionNetwork.unroll`.
      dropout_uniforms: float `[B, E + D]`, uniform random numbers in (0, 1) that choose the dropped
        units of the word embeddings and lower states; None for no dropout.

    Returns:
      `GlimpseSequences` with T glimpses; `log_probs` is float `[M, B, T, V]`. At padding,
      `log_prior` and `prior_entropy` are 0, and the other values have no meaning.
    """
    distribution = self.location_distribution
    previous = tf.pad(captions[:, :-1], [[0, 0], [1, 0]], constant_values=START)
    # With the words first, unstacking and stacking copy nothing.
    embedded = self.embedding(tf.transpose(previous))  # [T, B, E]
    keep_state = None
    if dropout_uniforms is not None:
      # One mask per caption, so that samples differ by their locations only.
      kept = tf.cast(dropout_uniforms >= self.config.dropout, embedded.dtype)
      kept /= 1.0 - self.config.dropout
      keep_word, keep_state = tf.split(kept, [self.config.word_units, self.config.units], axis=-1)
      embedded *= keep_word
    # What several glimpses read is multiplied once: words, and cells where glimpses outnumber them.
    sizes = [self.config.word_units, self.config.units]
    of_words, of_features = self.core.input_kernels(sizes)
    # tf.unstack, because the gradient of each slice would be as large as the whole tensor.
    words = tf.unstack(tf.tensordot(embedded, of_words, 1)[:, :, tf.newaxis])  # T of [B, 1, W]
    few_cells = distribution.num_parameters < captions.shape[1] * num_samples
    rows = tf.matmul(grid.rows, of_features) if few_cells else grid.rows
    state = self.initial_state(grid, num_samples)
    locations, uppers, lowers = [], [], []
    for n in range(captions.shape[1]):
      upper = state.upper[0]
      prior = self.prior(grid, upper)
      # The score of the location must treat the sample as a constant; see PredictionNetwork.unroll.
      location = tf.stop_gradient(choose_action(n, upper, prior))
      inputs = self._read(rows, location, prior)
      inputs = inputs if few_cells else tf.matmul(inputs, of_features)
      width = inputs.shape[-1]
      inputs = tf.reshape(tf.reshape(inputs, [-1, num_samples, width]) + words[n], [-1, width])
      state = self.core(inputs, state, multiplied=True)
      locations.append(location)
      uppers.append(upper)
      lowers.append(state.lower[0])
    locations, uppers, lower = (
      stacked_glimpses(rows, num_samples) for rows in (locations, uppers, lowers)
    )
    if keep_state is not None:
      lower *= keep_state[:, tf.newaxis]
    # One call for all glimpses is cheaper, forwards and backwards.
    priors = along_sequences(lambda rows: self.prior(grid, rows), uppers)
    mask = word_mask(captions)
    # Soft attention samples no location, so locations have no log-probability.
    scored = mask & (self.config.attention == "hard")
    return GlimpseSequences(
      actions=locations,
      upper=uppers,
      prior_parameters=priors,
      log_prior=tf.where(scored, distribution.log_prob(priors, locations), 0.0),
      prior_entropy=tf.where(mask, distribution.entropy(priors), 0.0),
      log_probs=self.classifier(lower),
    )

  def attend(
    self, grid: Grid, captions: tf.Tensor, uniforms: tf.Tensor | None = None
  ) -> GlimpseSequences:
    """Runs glimpse sequences from the prior along given captions; see `unroll`.

    Args:
      grid: grids of B images.
      captions: int `[B, T]`.
      uniforms: float `[M, B, T, A]`, uniform random numbers in (0, 1), for M samples; None for one
        sequence at the prior's mode.
    """
    distribution = self.location_distribution
    if uniforms is None:
      return self.unroll(grid, captions, 1, lambda n, upper, prior: distribution.mode(prior))
    rows = samples_last(uniforms)

    def choose_action(n: int, upper: tf.Tensor, prior: tf.Tensor) -> tf.Tensor:
      return distribution.sample(prior, rows[:, n])

    return self.unroll(grid, captions, uniforms.shape[0], choose_action)

  def say(
    self, grid: Grid, state: layers.CoreState, words: tf.Tensor, uniforms: tf.Tensor | None = None
  ) -> tuple[layers.CoreState, tf.Tensor, tf.Tensor]:
    """Looks once after the previous words, and scores all next words.

    Args:
      grid: grids of B images.
      state: state of B * M rows.
      words: int `[B * M]`, the previous words.
      uniforms: float `[B * M, A]`, random numbers in (0, 1) that draw the actions from the prior;
        None for its modes.

    Returns:
      the next state; the actions, float `[B * M, A]`; log-probabilities of all words, float
      `[B * M, V]`, nats. The unknown word, the start and padding get the lowest float.
    """
    prior, distribution = self.prior(grid, state.upper[0]), self.location_distribution
    sampled = uniforms is not None
    location = distribution.sample(prior, uniforms) if sampled else distribution.mode(prior)
    state = self.step(grid, state, self.embedding(words), location, prior)
    log_probs = self.classifier(state.lower[0])
    numbers = tf.range(log_probs.shape[-1])
    excluded = (numbers == UNKNOWN) | (numbers == START) | (numbers == PADDING)
    return state, location, tf.where(excluded, log_probs.dtype.min, log_probs)

  def call(self, images: tf.Tensor) -> dict[str, tf.Tensor]:
    """Writes the likeliest word after each glimpse; see the class."""
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
      **self.named_actions(tf.stack(locations, axis=1)),
    }

  def named_actions(self, actions: tf.Tensor) -> dict[str, tf.Tensor]:
    """Divides actions, float `[B, T, A]`, into the outputs of the network.

    Returns:
      dict of `locations` float `[B, T, 2]`; with several layers also `layers` int64 `[B, T]`.
    """
    if action_size(self.location_distribution) == 2:
      return {"locations": actions}
    return {"locations": actions[..., :2], "layers": tf.cast(actions[..., 2], tf.int64)}

  def get_config(self):
    """Returns the constructor's arguments, for JSON."""
    return {
      "name": self.name,
      "config": self.config.to_dict(),
      "backbone": serialized_backbone(self.backbone),
    }

  @classmethod
  def from_config(cls, config, custom_objects=None):
    """Makes the network of a `get_config` dictionary, with new weights."""
    with layers.full_precision():  # The configuration overrides the current policy.
      return cls(
        CaptionModelConfig(**config["config"]),
        deserialized_backbone(config.get("backbone")),
        name=config["name"],
      )
