"""The prediction network: the prior over glimpse sequences, and the likelihood of the class."""

import dataclasses

import keras
import numpy as np
import tensorflow as tf

from wsram_tf import layers
from wsram_tf.classification import views
from wsram_tf.classification.config import ModelConfig
from wsram_tf.classification.inputs.checks import LabelRules
from wsram_tf.classification.own_networks import check_outputs, deserialized, serialized
from wsram_tf.classification.views import FORMS, View, where_of
from wsram_tf.layers.glimpse_sensor import Cutting
from wsram_tf.learning.checked_model import CheckedModel
from wsram_tf.learning.no_return import exclude_cells, neighbourhoods
from wsram_tf.learning.sequences import (
  ChooseAction,
  GlimpseSequences,
  along_sequences,
  samples_first,
  samples_last,
  stacked_glimpses,
)
from wsram_tf.location_families import make_location_distribution
from wsram_tf.observations import Observation
from wsram_tf.settings import check_instance

__all__ = ["PredictionNetwork"]


@keras.saving.register_keras_serializable("wsram_tf")
class PredictionNetwork(CheckedModel):
  """p(a | image) and p(y | a, image): two recurrent layers, N glimpses, one answer.

  `look` prepares the images, `unroll` takes the glimpses, and `attend` takes them where the prior
  chooses. `begin` and `step` take them one by one. The context network starts the upper layer,
  whose state chooses each location; the lower layer reads the glimpses, and the classifier reads
  the lower layer. The class therefore depends on the image through the glimpses alone. A
  `keyed_grid` prior compares the upper layer's state with features of the low-resolution image,
  which choose locations and nothing else. With `location_saliency` it starts on conspicuous cells;
  with `no_return` it gives the probability 0 to the cells that the sequence has looked at.

  With the config's `choose_scale`, an action is a location and a scale, and a glimpse is the one
  patch of that scale. The glimpse network then reads the scale too: S numbers, one-hot, after the
  row and the column.

  Args:
    config: the model's shape.
    glimpse_network: a layer of your own in place of `layers.GlimpseNetwork`, with its call
      arguments and its output. With `choose_scale` its patches are `[R, 1, G, G, C]` and its
      locations `[R, 2 + S]`.
    context_network: a layer of your own in place of `layers.ContextNetwork`, with its call argument
      and its outputs.

  Raises:
    ValueError: if `config` is of another class, or a network of your own returns other shapes.

  Call arguments:
    images: float `[B, H, W, C]` in 0..1.

  Returns:
    dict of `class_id` int64 `[B]`, `probabilities` float `[B, K]` and `locations` float
    `[B, N, 2]`, with each glimpse at the prior's mode; with `choose_scale` also `scales` int64
    `[B, N]`, from 0 (the finest) to S - 1.

  Example:

  >>> from wsram_tf import ModelConfig, PredictionNetwork
  >>> network = PredictionNetwork(ModelConfig(height=28, width=28, units=16, num_glimpses=3))
  >>> images = tf.zeros([2, 28, 28, 1])
  >>> network(images)["locations"].shape
  TensorShape([2, 3, 2])
  >>> network.attend(network.look(images)).log_prior.shape
  TensorShape([1, 2, 3])

  Source: J. Ba, R. Grosse, R. Salakhutdinov, B. Frey, Learning Wake-Sleep Recurrent Attention
    Models, NIPS 2015, the prediction network, arXiv 1509.06812.
  """

  @layers.follows_policy
  def __init__(
    self,
    config: ModelConfig,
    *,
    glimpse_network: keras.layers.Layer | None = None,
    context_network: keras.layers.Layer | None = None,
    **kwargs,
  ):
    super().__init__(**kwargs)
    check_instance("config", config, ModelConfig)
    self.config = config
    given = {"glimpse_network": glimpse_network, "context_network": context_network}
    self._own_networks = tuple(name for name, network in given.items() if network is not None)
    self.location_distribution = make_location_distribution(config)
    self.glimpse_sensor = layers.GlimpseSensor(
      config.glimpse.glimpse_side,
      config.glimpse.glimpse_scales,
      config.glimpse.chooses_scale,
      name="glimpse_sensor",
    )
    # Glimpses and log-probabilities need float32: their layers stay outside.
    with layers.computing_in(config.precision):
      self.glimpse_network = glimpse_network or layers.GlimpseNetwork(
        config.units, config.glimpse.glimpse_filters, name="glimpse_network"
      )
      self.core = layers.RecurrentCore(config.units, config.cell, name="core")
      self.context_network = context_network or layers.ContextNetwork(
        config.context_side,
        config.units,
        self.core.num_states,
        self.core.output_activation,
        config.context_pool,
        name="context_network",
      )
      self.cell_network = self.location_keys = None
      if config.location.location_distribution == "keyed_grid":
        self.cell_network = layers.CellNetwork(
          config.location.location_units, config.location.location_filters, name="cell_network"
        )
    if self.cell_network:
      self.location_network = layers.CellLocationNetwork(
        config.location.location_units,
        config.glimpse.glimpse_scales if config.glimpse.chooses_scale else 0,
        config.location.location_saliency,
        name="location_network",
      )
      # A bias would raise all logits equally, which changes no probability.
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
    """Makes all weights; their shapes depend on the configuration alone."""
    if self.built:
      return
    config, side = self.config, self.config.glimpse.glimpse_side
    patches = (None, config.glimpse.patches, side, side, config.channels)
    scales = config.glimpse.glimpse_scales if config.glimpse.chooses_scale else 0
    where, state = (None, 2 + scales), (None, config.units)
    self.glimpse_sensor.build(None)
    if not self.glimpse_network.built:
      self.glimpse_network.build(patches, where)
    self.core.build(state)
    low_resolution = (None, config.context_side, config.context_side, config.channels)
    if not self.context_network.built:
      self.context_network.build(low_resolution)
    if "glimpse_network" in self._own_networks:
      check_outputs("glimpse_network", self.glimpse_network, [patches, where], [state])
    if "context_network" in self._own_networks:
      states = [state] * self.core.num_states
      check_outputs("context_network", self.context_network, [low_resolution], states)
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
    """The rules of the network's images, and of its labels in training."""
    return FORMS[self.config.observation].rules(self.config.image_shape, self.config.num_classes)

  def observe(
    self, images: tf.Tensor, *, cutting: Cutting = "gather", compiled: bool = False
  ) -> Observation:
    """Makes the observation of images in the form that the configuration names.

    Args:
      images: float `[B, H, W, C]` in 0..1; with `visible_pixels` `[B, T, 2 + C]`, as
        `SparseObservation` takes them; with `regions` paths, string `[B]`.
      cutting: how the glimpse sensor cuts patches; see `GlimpseSensor.prepare`.
      compiled: whether XLA compiles the calls.
    """
    return views.observe(self.config, self.glimpse_sensor, images, cutting, compiled)

  def look(self, images: tf.Tensor, *, cutting: Cutting = "gather", compiled: bool = False) -> View:
    """Prepares images once for all glimpses and samples.

    This is the only part of the work that grows with the area of an image.

    Args:
      images, cutting, compiled: as `observe` takes them.
    """
    observation = self.observe(images, cutting=cutting, compiled=compiled)
    low_resolution = observation.low_resolution(self.config.context_side)
    context = self.context_network(low_resolution)
    return View(observation, context, *self.cells_and_keys(low_resolution))

  def cells_and_keys(self, low_resolution: tf.Tensor) -> tuple[tf.Tensor | None, ...]:
    """Computes `cells`, `keys` and `saliency` of a `View` from a copy `[B, side, side, C]`."""
    if not self.cell_network:
      return None, None, None
    cells = self.cell_network(low_resolution)
    saliency = layers.saliency(low_resolution) if self.config.location.location_saliency else None
    return cells, layers.with_saliency(self.location_keys(cells), saliency), saliency

  @property
  def input_rank(self) -> int:
    """Axes of a batch of images, in the form that the configuration names."""
    return FORMS[self.config.observation].rank

  def pictures(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns images to show, and the sizes that they have for the network.

    Args:
      images: as `observe` takes them.

    Returns:
      float `[B, H, W, C]`, reduced copies unless images are tensors of pixels; int `[B, 2]`, height
      and width, pixels.
    """
    return views.pictures(self.config, self.glimpse_sensor, images)

  def prior(self, view: View, upper: tf.Tensor, taken: tf.Tensor | None = None) -> tf.Tensor:
    """The prior's parameters, float `[R, P]`, before a glimpse.

    Args:
      view: of B images.
      upper: float `[R, D]`, the upper layer's output; rows of one image are neighbours.
      taken: int32 `[R, T]`, with `no_return` the numbers of the cells that earlier glimpses looked
        at, which get the probability 0; a negative number stands for none.
    """
    if view.keys is None:
      return self.location_network(upper)
    prior = self.location_network(view.keys, upper)
    if taken is None:
      return prior
    if self.config.location.no_return_radius:
      taken = neighbourhoods(taken, self.config.context_side, self.config.location.no_return_radius)
    return exclude_cells(prior, taken)

  def cells(self, actions: tf.Tensor) -> tf.Tensor:
    """Numbers, int32 `[...]`, of the cells of actions `[..., A]`, for a `keyed_grid`."""
    family = self.location_distribution
    return getattr(family, "locations", family).cells(actions[..., :2])

  def begin(self, view: View, num_samples: int | tf.Tensor = 1) -> layers.CoreState:
    """The state of M sequences before the first glimpse, floats `[B * M, D]`."""
    return self.core.initial_state(view.context, num_samples)

  def step(
    self, state: layers.CoreState, actions: tf.Tensor, patches: tf.Tensor
  ) -> layers.CoreState:
    """Takes one glimpse.

    Args:
      state: before the glimpse, floats `[R, D]`.
      actions: float `[R, A]`, (row, column), or with `choose_scale` (row, column, scale).
      patches: float `[R, S, G, G, C]`, those of `Observation.patches(actions)`.

    Returns:
      the state after it: the classifier reads `lower[0]`, and `prior` reads `upper[0]`.
    """
    return self.core(self._encoded(actions, patches), state)

  def _encoded(self, actions: tf.Tensor, patches: tf.Tensor) -> tf.Tensor:
    return self.glimpse_network(patches, where_of(self.config.glimpse, actions))

  def unroll(self, view: View, num_samples: int, choose_action: ChooseAction) -> GlimpseSequences:
    """Takes N glimpses of each image in M independent sequences.

    Args:
      view: of B images.
      num_samples: M.
      choose_action: called before glimpse n with (n, float `[B * M, D]` the upper layer's output,
        float `[B * M, P]` the prior's parameters); returns the actions, float `[B * M, A]`: (row,
        column), or with `choose_scale` (row, column, scale). The samples of one image are
        neighbours: row b * M + m. No gradient passes to an action.
    """
    distribution, no_return = self.location_distribution, self.config.location.no_return
    state = self.begin(view, num_samples)
    # Saves the products of its zeros and repeated rows. In bfloat16 that rounds in another way than
    # `step` does, and with one glimpse nothing would read the recurrent weights.
    first = layers.CoreState([], view.context), num_samples
    saves_products = self.config.precision == "float32" and self.config.num_glimpses > 1
    actions, uppers, lowers = [], [], []
    for n in range(self.config.num_glimpses):
      upper = state.upper[0]
      taken = self.cells(tf.stack(actions, axis=1)) if no_return and actions else None
      # The score takes the sample as a constant; else a gradient would flow to what drew it.
      action = tf.stop_gradient(choose_action(n, upper, self.prior(view, upper, taken)))
      encoded = self._encoded(action, view.observation.patches(action))
      before, sharing = first if n == 0 and saves_products else (state, 1)
      state = self.core(encoded, before, num_samples=sharing)
      actions.append(action)
      uppers.append(upper)
      lowers.append(state.lower[0])
    actions, uppers, lowers = (
      stacked_glimpses(rows, num_samples) for rows in (actions, uppers, lowers)
    )
    priors = views.priors_along(self, view, actions, uppers)
    return GlimpseSequences(
      actions=actions,
      upper=uppers,
      prior_parameters=priors,
      log_prior=distribution.log_prob(priors, actions),
      prior_entropy=distribution.entropy(priors),
      log_probs=samples_first(self.classifier(state.lower[0]), num_samples),
      lower=lowers,
    )

  def attend(self, view: View, uniforms: tf.Tensor | None = None) -> GlimpseSequences:
    """Takes glimpses where the prior chooses.

    Args:
      view: of B images.
      uniforms: float `[M, B, N, A]` in (0, 1), the random numbers that samples are made from; None
        for one sequence at the prior's mode.
    """
    distribution = self.location_distribution
    rows = None if uniforms is None else samples_last(uniforms)

    def choose_action(n: int, upper: tf.Tensor, prior: tf.Tensor) -> tf.Tensor:
      return distribution.mode(prior) if rows is None else distribution.sample(prior, rows[:, n])

    num_samples = 1 if uniforms is None else uniforms.shape[0]
    return self.unroll(view, num_samples, choose_action)

  def patches(
    self, images: tf.Tensor, locations: tf.Tensor, scales: tf.Tensor | None = None
  ) -> tf.Tensor:
    """The patches that the glimpse sensor cuts at given locations, for pictures.

    Args:
      images: float `[B, H, W, C]`.
      locations: float `[B, N, 2]`, (row, column) in [-1, 1].
      scales: int `[B, N]`, the chosen scales, with `choose_scale` alone.

    Returns:
      float `[B, N, S, G, G, C]`; with `choose_scale` `[B, N, 1, G, G, C]`.
    """
    return views.patches_at(self.observe(tf.convert_to_tensor(images)), locations, scales)

  def with_observation(self, observation: str) -> "PredictionNetwork":
    """Returns a network of the same weights that reads another form of images.

    Args:
      observation: as in `ModelConfig`.

    Returns:
      the network itself where it reads this form.
    """
    if observation == self.config.observation:
      return self
    config = dataclasses.replace(self.config, observation=observation).to_dict()
    network = type(self).from_config({**self.get_config(), "config": config})
    network.set_weights(self.get_weights())
    return network

  def log_probs_by_glimpse(self, sequences: GlimpseSequences) -> tf.Tensor:
    """The answer after each glimpse: float `[M, B, N, K]`, nats, log p(y | a_1..a_n, image)."""
    return along_sequences(self.classifier, sequences.lower)

  def classify_stepwise(self, images: tf.Tensor) -> dict[str, tf.Tensor]:
    """Classifies after each glimpse of one sequence at the prior's mode.

    Training with `stepwise_weight` makes the answers before the last good ones.

    Args:
      images: float `[B, H, W, C]` in 0..1.

    Returns:
      as the call, with `class_id` int64 `[B, N]` and `probabilities` float `[B, N, K]`.
    """
    self.check_images(images)
    sequences = self.attend(self.look(images))
    return views.answer(sequences, self.log_probs_by_glimpse(sequences)[0])

  def call(self, images: tf.Tensor) -> dict[str, tf.Tensor]:
    """Classifies by one sequence at the prior's mode; see the class."""
    sequences = self.attend(self.look(images))
    return views.answer(sequences, sequences.log_probs[0])

  def get_config(self):
    """Returns the constructor's arguments as JSON types."""
    own = {name: serialized(getattr(self, name)) for name in self._own_networks}
    return {"name": self.name, "config": self.config.to_dict(), **own}

  @classmethod
  def from_config(cls, config, custom_objects=None):
    """Makes a network from the result of `get_config`."""
    with layers.full_precision():  # The configuration decides, not the current policy.
      return cls(
        ModelConfig.from_dict(config["config"]),
        glimpse_network=deserialized(config.get("glimpse_network")),
        context_network=deserialized(config.get("context_network")),
        name=config["name"],
      )
