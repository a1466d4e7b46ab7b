"""The training step that learners of every task share: samples, losses, gradients, metrics."""

import abc
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from wsram_tf import layers, numerics, objectives
from wsram_tf.config import ExplorationConfig, ObjectiveConfig
from wsram_tf.learning import inputs, sampling, update_guard, updates, weight_transfer
from wsram_tf.learning.trainable_model import TrainableModel
from wsram_tf.locations import action_size
from wsram_tf.settings import check_number, given_or_default

__all__ = ["BaseLearner"]

# The layers of a prediction network that the prior alone depends on.
LOCATION_LAYERS = ("location_network", "location_keys", "cell_network")


class BaseLearner(TrainableModel, abc.ABC):
  """Trains a prediction network by an estimator, for any kind of target.

  A subclass implements the abstract methods, names its metrics in `training_metrics` and
  `evaluation_metrics`, and may override `look` and `dream`. One update is `look` at the images,
  `sample` glimpse sequences, `score` them, one loss and gradient a network, `apply_update`.

  `fit` and `evaluate` take images and targets as arrays or lists, as a `tf.data.Dataset` or a
  `keras.utils.PyDataset` of batches, or from a generator of batches, with `class_weight` or
  `sample_weight`. Errors name the value that breaks a rule. `predict` takes images alone.

  In the metrics of `fit`, `loss` is the estimator's surrogate: only its gradient has meaning. In
  those of `evaluate`, with the prefix `val_` during `fit`, `loss` is the mean negative
  log-likelihood, nats. Lower is better for `loss` and for names with `error`; higher is better for
  `log_likelihood` and `bound`. Callbacks that monitor anything but `val_loss` need Keras' argument
  `mode` ("min" or "max").

  Args:
    model_config: the shape of the networks.
    objective_config: the estimator.
    exploration_config: temperature, entropy bonus and coverage bonus.
    clip_norm: largest norm of each network's gradient.
    num_evaluation_samples: sequences sampled from the prior in evaluations.
    seed: of the glimpse samples. The samples of update t depend on (seed, t) alone.
    on_nan: reaction to an update with a loss or a gradient that is NaN or infinite, which is never
      applied. `stop`: `fit` applies no further update and raises `NonFiniteUpdateError`. `skip`:
      training goes on; the update counts for data, samples and schedules.
    micro_batches: equal parts of a batch that are differentiated one after the other, so that
      memory holds one at a time. The update is that of the whole batch but for rounding.
  """

  @layers.follows_policy
  def __init__(
    self,
    model_config: Any,
    objective_config: ObjectiveConfig | None = None,
    exploration_config: ExplorationConfig | None = None,
    *,
    clip_norm: float = 5.0,
    num_evaluation_samples: int = 5,
    seed: int = 0,
    on_nan: str = "stop",
    micro_batches: int = 1,
    **kwargs,
  ):
    super().__init__(**kwargs)
    check_number("clip_norm", clip_norm, whole=False, above=0)
    check_number("num_evaluation_samples", num_evaluation_samples, whole=True, minimum=1)
    check_number("seed", seed, whole=True, minimum=0)
    check_number("micro_batches", micro_batches, whole=True, minimum=1)
    if on_nan not in update_guard.ON_NAN:
      raise ValueError(f"on_nan={on_nan!r}: must be one of {', '.join(update_guard.ON_NAN)}")
    self.model_config = model_config
    self.objective_config = given_or_default("objective_config", objective_config, ObjectiveConfig)
    self.exploration_config = given_or_default(
      "exploration_config", exploration_config, ExplorationConfig
    )
    self.clip_norm = clip_norm
    self.num_evaluation_samples = num_evaluation_samples
    self.seed = seed
    self.on_nan = on_nan
    self.micro_batches = micro_batches
    self.estimator = objectives.ESTIMATORS[self.objective_config.estimator]
    self.prediction_network = self.make_prediction_network()
    self.inference_network = self.baseline_network = None
    if not self.objective_config.learn_locations:
      for layer in self.prediction_network.layers:
        layer.trainable = layer.trainable and layer.name not in LOCATION_LAYERS
    if self.estimator.inference_loss:
      self.inference_network = self.make_inference_network()
    self.sampler = sampling.Sampler(
      self.estimator.samples_from,
      self.objective_config.prior_fraction,
      action_size=action_size(self.prediction_network.location_distribution),
    )
    if self.estimator.baseline_signal:
      self.baseline_network = self.make_baseline_network()
    self.guard = update_guard.UpdateGuard(list(self.network_variables()))
    self.built = True

  @property
  def input_rules(self) -> inputs.InputRules:
    """The rules of the prediction network's images and targets."""
    return self.prediction_network.input_rules

  def call(self, images: tf.Tensor) -> dict[str, tf.Tensor]:
    """Returns the prediction network's answer."""
    return self.prediction_network(images)

  @abc.abstractmethod
  def make_prediction_network(self) -> keras.Model:
    """Makes the network with `location_distribution`, `input_rules` and `look(images)`."""

  @abc.abstractmethod
  def make_inference_network(self) -> keras.Model:
    """Makes the inference network, with fresh weights; it is called as a `ProposalNetwork`."""

  def make_baseline_network(self) -> keras.layers.Layer:
    """Makes the network of the learned baseline, with fresh weights."""
    network = layers.BaselineNetwork(self.model_config.units, name="baseline_network")
    network.build((None, self.model_config.units))
    return network

  @abc.abstractmethod
  def sample(
    self, view: Any, targets: tf.Tensor, uniforms: tf.Tensor, temperature: float | tf.Tensor = 1.0
  ) -> sampling.DrawnSequences:
    """Draws glimpse sequences from the estimator's sampling distribution.

    Args:
      view: what `look` returned for B images.
      targets: one an image.
      uniforms: what the method `uniforms` returned.
      temperature: of the sampling distribution.
    """

  @abc.abstractmethod
  def score(self, drawn: sampling.DrawnSequences, targets: tf.Tensor) -> objectives.ScoredSequences:
    """The log-densities that the estimator takes, given the true targets."""

  @abc.abstractmethod
  def training_figures(
    self, drawn: sampling.DrawnSequences, scored: objectives.ScoredSequences, targets: tf.Tensor
  ) -> dict[str, tf.Tensor | tuple[tf.Tensor, tf.Tensor]]:
    """The task's own metrics of one update: values, or pairs of values and their weights."""

  @abc.abstractmethod
  def test_step(self, data: tuple[tf.Tensor, tf.Tensor]) -> dict[str, tf.Tensor]:
    """Adds one batch to the evaluation metrics and returns the means so far."""

  def dream(self, view: Any, seed: tf.Tensor) -> tf.Tensor:
    """Log-densities, float `[M, B, N]`, nats, of the proposal for glimpses of the sleep phase.

    The model itself draws these glimpses and targets, by a seed, int32 `[2]`.
    """
    raise ValueError(f"inference_phase: must be wake for {type(self).__name__}")

  def look(self, images: tf.Tensor) -> Any:
    """Prepares images `[B, H, W, C]` once for all glimpses and samples of a step."""
    return self.prediction_network.look(images)

  def uniforms(self, rows: tf.Tensor, num_samples: int, seed: tf.Tensor) -> tf.Tensor:
    """The random numbers that `sample` makes sequences from.

    Args:
      rows: images, targets or another tensor `[B, ...]` of the batch; only B counts.
      num_samples: M.
      seed: int32 `[2]`.

    Returns:
      float `[M, B, N, A]` in (0, 1); for a mixture estimator `[M, B, N, A + 1]`.
    """
    glimpses, numbers = self.model_config.num_glimpses, self.sampler.numbers_a_glimpse
    batch = tf.shape(rows)[0] * updates.num_parts()
    drawn = sampling.stateless_uniforms([num_samples, batch, glimpses, numbers], seed)
    return updates.own_rows(drawn, axis=1)

  def training_sample(
    self, view: Any, targets: tf.Tensor, temperature: float | tf.Tensor, seed: tf.Tensor
  ) -> sampling.DrawnSequences:
    """Draws the sequences of one update; see `losses`."""
    uniforms = self.uniforms(targets, self.objective_config.num_samples, seed)
    return self.sample(view, targets, uniforms, temperature)

  def cell_probabilities(self, drawn: sampling.DrawnSequences, targets: tf.Tensor) -> tf.Tensor:
    """The prior's probability of each cell before each glimpse, float `[M, B, N, L]`."""
    distribution = self.prediction_network.location_distribution
    return distribution.cell_probabilities(drawn.sequences.prior_parameters)

  def losses(
    self, view: Any, targets: tf.Tensor, step: tf.Tensor, seed: tf.Tensor
  ) -> tuple[dict[str, tf.Tensor], sampling.DrawnSequences, objectives.ScoredSequences]:
    """Draws the samples of one update and computes the loss of each network.

    Args:
      view: what `look` returned for B images.
      targets: one an image.
      step: int, updates made before; the schedules depend on it.
      seed: int32 `[2]`, the first not negative; the samples depend on it.

    Returns:
      the losses, float `[B]`, by network; the sequences; their log-densities.
    """
    exploration = self.exploration_config

    def scheduled(name: str, end: float = 0.0) -> tf.Tensor:
      start, updates = getattr(exploration, name), getattr(exploration, f"{name}_updates")
      return objectives.linear_schedule(start, end, updates, step)

    drawn = self.training_sample(view, targets, scheduled("temperature", 1.0), seed)
    scored = self.score(drawn, targets)
    losses = {"prediction": self.estimator.prediction_loss(scored)}
    if exploration.entropy_bonus:
      spread = objectives.entropy_loss(drawn.sequences.prior_entropy)
      losses["prediction"] += scheduled("entropy_bonus") * spread
    if exploration.coverage_bonus:
      coverage = objectives.coverage_loss(self.cell_probabilities(drawn, targets))
      losses["prediction"] += scheduled("coverage_bonus") * coverage
    if self.inference_network:
      losses["inference"] = self._inference_loss(view, scored, step, seed)
    if self.baseline_network:
      losses["baseline"] = self.estimator.baseline_loss(scored)
    return losses, drawn, scored

  def _inference_loss(
    self, view: Any, scored: objectives.ScoredSequences, step: tf.Tensor, seed: tf.Tensor
  ) -> tf.Tensor:
    objective = self.objective_config
    if objective.inference_phase == "wake":
      return self.estimator.inference_loss(scored)
    log_proposal = self.dream(view, seed)
    sleep = tf.reduce_sum(objectives.sleep_proposal_loss(log_proposal), axis=-1)
    if objective.inference_phase == "sleep":
      return sleep
    fraction = objectives.linear_schedule(1.0, 0.0, objective.sleep_updates, step)
    return fraction * sleep + (1.0 - fraction) * self.estimator.inference_loss(scored)

  def networks(self) -> dict[str, keras.Model]:
    """The existing networks, by the names of their losses."""
    networks = {
      "prediction": self.prediction_network,
      "inference": self.inference_network,
      "baseline": self.baseline_network,
    }
    return {name: network for name, network in networks.items() if network is not None}

  def weights_by_network(self) -> dict[str, list[keras.Variable]]:
    """All weights by network, trainable or not."""
    return {name: network.weights for name, network in self.networks().items()}

  def take_weights(self, other: "BaseLearner") -> None:
    """Copies the weights of the networks that both learners have.

    Raises:
      ValueError: if a network's weights have other shapes; no weight has changed then.
    """
    weight_transfer.copy_weights(other.weights_by_network(), self.weights_by_network())

  def network_variables(self) -> dict[str, list[keras.Variable]]:
    """The variables that each loss trains, by network."""
    return {name: network.trainable_variables for name, network in self.networks().items()}

  def trained_variables(self) -> list[keras.Variable]:
    """The variables that all losses train, network by network."""
    return [variable for group in self.network_variables().values() for variable in group]

  def build_optimizer(self) -> None:
    """Makes the optimizer's variables where they do not exist yet."""
    if not self.optimizer.built:
      self.optimizer.build(self.trained_variables())

  def make_train_function(self, force: bool = False) -> Callable:
    """Makes the optimizer's variables, then does as `keras.Model.make_train_function`.

    Variables that appear while Keras traces the step would cause a second trace.

    Raises:
      ValueError: under a `tf.distribute` strategy.
    """
    self._refuse_strategy()
    with self.distribute_strategy.scope():
      self.build_optimizer()
    return super().make_train_function(force)

  def train_step(self, data: tuple[tf.Tensor, tf.Tensor]) -> dict[str, tf.Tensor]:
    """One update of all networks on images `[B, H, W, C]` and their targets."""
    images, targets, weights = inputs.unpack_batch(data, self.input_rules.target_name)
    update = self.differentiate(images, targets, weights)
    gradients, norms = self.clip(update.gradients)
    step = tf.convert_to_tensor(self.optimizer.iterations)
    self.build_optimizer()  # A branch cannot make variables.
    tf.cond(
      self.guard.admits(update.losses, norms, step, self.on_nan == "skip"),
      lambda: self.apply_update(gradients, norms, update.figures),
      self.pass_over,
    )
    results = self.results(self.training_metrics)
    return results | self.compiled_results(targets, *update.log_probs, sample_weight=weights)

  def differentiate(
    self, images: tf.Tensor, targets: tf.Tensor, sample_weight: tf.Tensor | None = None
  ) -> updates.Update:
    """Losses and gradients of the next update, without applying it.

    Args:
      images: float `[B, H, W, C]`; B must be a multiple of `micro_batches`.
      targets: one an image.
      sample_weight: float `[B]`, factor of each image's losses; None: 1.
    """
    rows = (images, targets) if sample_weight is None else (images, targets, sample_weight)
    if self.micro_batches == 1:
      return self._differentiate(*rows)
    return updates.mean_over_micro_batches(
      self._differentiate, rows, self.micro_batches, self.network_variables()
    )

  def _differentiate(
    self, images: tf.Tensor, targets: tf.Tensor, sample_weight: tf.Tensor | None = None
  ) -> updates.Update:
    step, batch = self.optimizer.iterations, updates.counter_of_batches(self.optimizer)
    seed = tf.stack([self.seed, tf.cast(batch, tf.int32)])
    with tf.GradientTape() as tape:
      losses, drawn, scored = self.losses(self.look(images), targets, step, seed)
      if sample_weight is not None:
        losses = {name: sample_weight * one for name, one in losses.items()}
      loss = tf.reduce_mean(tf.add_n(list(losses.values())))
    # Each loss depends on one network's variables, so one backward pass serves all networks.
    variables = self.network_variables()
    gradients = tape.gradient(loss, list(variables.values()))
    figures = {
      "loss": loss,
      **self.training_figures(drawn, scored, targets),
      **self.sample_figures(drawn, scored),
    }
    means = {name: tf.reduce_mean(one) for name, one in losses.items()}
    log_probs = (drawn.sequences.log_probs,) if self._has_compiled_metrics else ()
    return updates.Update(means, dict(zip(variables, gradients, strict=True)), figures, log_probs)

  def clip(
    self, gradients: dict[str, list[tf.Tensor]]
  ) -> tuple[dict[str, list[tf.Tensor]], dict[str, tf.Tensor]]:
    """Scales each network's gradient down to `clip_norm`; also returns the norms before that."""
    clipped = {n: tf.clip_by_global_norm(group, self.clip_norm) for n, group in gradients.items()}
    return {n: group for n, (group, _) in clipped.items()}, {n: m for n, (_, m) in clipped.items()}

  def apply_update(
    self,
    gradients: dict[str, list[tf.Tensor]],
    norms: dict[str, tf.Tensor],
    figures: dict[str, tf.Tensor | tuple[tf.Tensor, tf.Tensor]],
  ) -> None:
    """Applies the gradients and adds the figures to the metrics."""
    flat = [gradient for group in gradients.values() for gradient in group]
    self.optimizer.apply(flat, self.trained_variables())
    self.update_figures(norms, figures)

  def update_figures(
    self, norms: dict[str, tf.Tensor], figures: dict[str, tf.Tensor | tuple[tf.Tensor, tf.Tensor]]
  ) -> None:
    """Adds the figures of one update to the metrics."""
    self.update(
      prediction_gradient_norm=norms["prediction"],
      inference_gradient_norm=norms.get("inference", 0.0),
      **figures,
    )

  def pass_over(self) -> None:
    """Counts an update that is not applied, where training goes on."""
    if self.on_nan == "skip":
      updates.count_skipped(self.optimizer, self.trained_variables())

  def sample_figures(
    self, drawn: sampling.DrawnSequences, scored: objectives.ScoredSequences
  ) -> dict[str, tf.Tensor]:
    """The metrics of the samples that every learner reports."""
    # Metrics describe whole sequences, also with credit by part.
    log_weights = scored._replace(credit_by_part=False).log_weights[..., 0]
    weights = numerics.normalize_log_weights(log_weights)
    return {
      "bound": objectives.multi_sample_bound(log_weights),
      "effective_sample_size": numerics.effective_sample_size(weights),
      "prior_entropy": drawn.sequences.prior_entropy,
      "proposal_entropy": drawn.proposal_entropy,
    }

  def get_config(self) -> dict[str, Any]:
    """Returns the constructor's arguments, ready for JSON."""
    return {
      "name": self.name,
      "model_config": self.model_config.to_dict(),
      "objective_config": vars(self.objective_config).copy(),
      "exploration_config": vars(self.exploration_config).copy(),
      "clip_norm": self.clip_norm,
      "num_evaluation_samples": self.num_evaluation_samples,
      "seed": self.seed,
      "on_nan": self.on_nan,
      "micro_batches": self.micro_batches,
    }
