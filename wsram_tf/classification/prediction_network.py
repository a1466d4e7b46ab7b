"""The prediction network: where to look (the prior) and what it then says (the likelihood)."""

import keras
import tensorflow as tf

from wsram_tf import layers
from wsram_tf.classification.checks import LabelRules
from wsram_tf.classification.config import ModelConfig
from wsram_tf.learning.checked_model import CheckedModel
from wsram_tf.learning.sequences import (
  ChooseLocation,
  GlimpseSequences,
  along_sequences,
  samples_first,
  samples_last,
  stacked_glimpses,
)
from wsram_tf.location_families import make_location_distribution

__all__ = [
  "PredictionNetwork",
]


@keras.saving.register_keras_serializable("wsram_tf")
class PredictionNetwork(CheckedModel):
  """p(a | image) and p(y | a, image): two recurrent layers that look N times, then answer.

  The context network starts the upper layer, which says where to look; the lower layer sees the
  glimpses, and the classifier reads it. So an image reaches the class through its glimpses alone.
  With `keyed_grid` the upper layer's state is compared with what each pixel of the low-resolution
  copy shows, and that too decides on nothing but where to look.

  Args:
    config: the model's shape.

  Call arguments:
    images: float `[B, H, W, C]` in 0..1.

  Returns:
    dict of `class_id` int64 `[B]`, `probabilities` float `[B, K]` and `locations` float
    `[B, N, 2]`, with each glimpse at the prior's mode.

  Source: J. Ba, R. Grosse, R. Salakhutdinov, B. Frey, Learning Wake-Sleep Recurrent Attention
    Models, NIPS 2015, the prediction network, arXiv 1509.06812.
  """

  @layers.follows_policy
  def __init__(self, config: ModelConfig, **kwargs):
    super().__init__(**kwargs)
    self.config = config
    self.location_distribution = make_location_distribution(config)
    self.glimpse_sensor = layers.GlimpseSensor(
      config.glimpse.glimpse_side, config.glimpse.glimpse_scales, name="glimpse_sensor"
    )
    # Not what cuts glimpses, and not what log-probabilities come from: they need float32.
    with layers.computing_in(config.precision):
      self.glimpse_network = layers.GlimpseNetwork(
        config.units, config.glimpse.glimpse_filters, name="glimpse_network"
      )
      self.core = layers.RecurrentCore(config.units, config.cell, name="core")
      self.context_network = layers.ContextNetwork(
        config.context_side, config.units, self.core.num_states, name="context_network"
      )
      self.cell_network = self.location_keys = None
      if config.location.location_distribution == "keyed_grid":
        self.cell_network = layers.CellNetwork(
          config.location.location_units, config.location.location_filters, name="cell_network"
        )
    if self.cell_network:
      self.location_network = layers.CellLocationNetwork(
        config.location.location_units, name="location_network"
      )
      # No bias: it would raise all cells alike, which changes nothing.
      self.location_keys = keras.layers.Dense(
        config.location.location_units, use_bias=False, name="location_keys"
      )
    else:
      self.location_network = layers.LocationNetwork(
        self.location_distribution.num_parameters, name="location_network"
      )
    self.classifier = layers.Classifier(config.num_classes, name="classifier")
    self.build((None, *config.image_shape))

  def build(self, images_shape):
    """Makes all weights; the configuration alone decides their shapes."""
    if self.built:
      return
    config, side = self.config, self.config.glimpse.glimpse_side
    patches = (None, config.glimpse.glimpse_scales, side, side, config.channels)
    state = (None, config.units)
    self.glimpse_sensor.build(None)
    self.glimpse_network.build(patches, (None, 2))
    self.core.build(state)
    low_resolution = (None, config.context_side, config.context_side, config.channels)
    self.context_network.build(low_resolution)
    if self.cell_network:
      cells = (None, None, config.location.location_units)
      self.cell_network.build(low_resolution)
      self.location_keys.build(cells)
      self.location_network.build(cells, state)
    else:
      self.location_network.build(state)
    self.classifier.build(state)
    self.built = True

  @property
  def input_rules(self) -> LabelRules:
    """The rules of the network's images, and of labels to train it with."""
    return LabelRules(self.config.image_shape, self.config.num_classes)

  def cells(self, low_resolution: tf.Tensor) -> tf.Tensor | None:
    """What each cell that may be looked at shows, once for all glimpses.

    Args:
      low_resolution: float `[B, side, side, C]`, what the context network's `low_resolution` made.

    Returns:
      float `[B, L, F]`, row by row; None where locations are not chosen by what cells show.
    """
    return self.cell_network(low_resolution) if self.cell_network else None

  def prior(self, keys: tf.Tensor | None, upper: tf.Tensor) -> tf.Tensor:
    """The prior's parameters, float `[R, P]`, before a glimpse.

    Args:
      keys: float `[B, L, K]`, what the cells offer to be chosen by; None where they are not.
      upper: float `[R, D]`, the upper layer's output; rows of one image are neighbours.
    """
    return self.location_network(upper) if keys is None else self.location_network(keys, upper)

  def unroll(
    self,
    images: tf.Tensor,
    num_samples: int,
    choose_location: ChooseLocation,
    low_resolution: tf.Tensor | None = None,
    cells: tf.Tensor | None = None,
  ) -> GlimpseSequences:
    """Looks N times at each image in M independent sequences.

    Args:
      images: float `[B, H, W, C]` in 0..1.
      num_samples: M.
      choose_location: called before glimpse n with (n, float `[B * M, D]` the upper layer's output,
        float `[B * M, P]` the prior's parameters); returns the locations, float `[B * M, 2]`. The
        samples of one image are neighbours: row b * M + m. A location is used as a constant.
      low_resolution: float `[B, side, side, C]`, what the context network's `low_resolution` makes
        of the images, where it is at hand; None to make it here, the only part of the work that
        grows with an image's area.
      cells: float `[B, L, F]`, what `cells` makes of that copy, where it is at hand; None to make
        it here.

    Returns:
      `GlimpseSequences`.
    """
    distribution = self.location_distribution
    prepared = self.glimpse_sensor.prepare(images)
    if low_resolution is None:
      low_resolution = self.context_network.low_resolution(images)
    if cells is None:
      cells = self.cells(low_resolution)
    keys = None if cells is None else self.location_keys(cells)
    context = self.context_network(low_resolution)
    state = self.core.initial_state([tf.repeat(tensor, num_samples, axis=0) for tensor in context])
    locations, uppers = [], []
    for n in range(self.config.num_glimpses):
      upper = state.upper[0]
      # The score log p(a) must see the sample as a constant, else its gradient would flow back
      # into whatever distribution drew it.
      location = tf.stop_gradient(choose_location(n, upper, self.prior(keys, upper)))
      patches = self.glimpse_sensor(prepared, location)
      state = self.core(self.glimpse_network(patches, location), state)
      locations.append(location)
      uppers.append(upper)
    locations, uppers = (stacked_glimpses(rows, num_samples) for rows in (locations, uppers))
    # What is scored is made of all glimpses at once, which is cheaper forwards and backwards.
    priors = along_sequences(lambda rows: self.prior(keys, rows), uppers)
    return GlimpseSequences(
      locations=locations,
      upper=uppers,
      prior_parameters=priors,
      log_prior=distribution.log_prob(priors, locations),
      prior_entropy=distribution.entropy(priors),
      log_probs=samples_first(self.classifier(state.lower[0]), num_samples),
    )

  def attend(
    self,
    images: tf.Tensor,
    uniforms: tf.Tensor | None = None,
    low_resolution: tf.Tensor | None = None,
    cells: tf.Tensor | None = None,
  ) -> GlimpseSequences:
    """Looks where the prior says.

    Args:
      images: float `[B, H, W, C]` in 0..1.
      uniforms: float `[M, B, N, 2]` in (0, 1), the random numbers that samples are made from; None
        for one sequence at the prior's mode.
      low_resolution: as `unroll` takes it.
      cells: as `unroll` takes it.

    Returns:
      `GlimpseSequences`.
    """
    distribution = self.location_distribution
    rows = None if uniforms is None else samples_last(uniforms)

    def choose_location(n: int, upper: tf.Tensor, prior: tf.Tensor) -> tf.Tensor:
      return distribution.mode(prior) if rows is None else distribution.sample(prior, rows[:, n])

    num_samples = 1 if uniforms is None else uniforms.shape[0]
    return self.unroll(images, num_samples, choose_location, low_resolution, cells)

  def patches(self, images: tf.Tensor, locations: tf.Tensor) -> tf.Tensor:
    """What the glimpse sensor gives at locations, for pictures.

    Args:
      images: float `[B, H, W, C]`.
      locations: float `[B, N, 2]`, (row, column) in [-1, 1].

    Returns:
      float `[B, N, S, G, G, C]`.
    """
    images, locations = tf.convert_to_tensor(images), tf.convert_to_tensor(locations)
    prepared = self.glimpse_sensor.prepare(images)
    glimpses = [self.glimpse_sensor(prepared, at) for at in tf.unstack(locations, axis=1)]
    return tf.stack(glimpses, axis=1)

  def call(self, images: tf.Tensor) -> dict[str, tf.Tensor]:
    """Answers from one sequence at the prior's mode; see the class."""
    sequences = self.attend(images)
    log_probs = sequences.log_probs[0]
    return {
      "class_id": tf.argmax(log_probs, axis=-1),
      "probabilities": tf.exp(log_probs),
      "locations": sequences.locations[0],
    }

  def get_config(self):
    """Returns the constructor's arguments, ready for JSON."""
    return {"name": self.name, "config": self.config.to_dict()}

  @classmethod
  def from_config(cls, config, custom_objects=None):
    """Makes the network that `get_config` described."""
    with layers.full_precision():  # The configuration decides, whatever the policy is now.
      return cls(ModelConfig.from_dict(config["config"]), name=config["name"])
