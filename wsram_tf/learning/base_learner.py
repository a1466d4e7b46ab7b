"""What learners of every task share: drawing, scoring, losses, one gradient, metrics."""

import contextlib
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from wsram_tf import layers, numerics, objectives
from wsram_tf.config import ExplorationConfig, ObjectiveConfig
from wsram_tf.learning import inputs, replicas, sampling, update_guard, weight_transfer
from wsram_tf.learning.trainable_model import TrainableModel

__all__ = ["BaseLearner", "Update"]


class Update(NamedTuple):
  """What one batch says of the weights, before anything is changed.

  Attributes:
    losses: float scalars, nats, by network.
    gradients: one tensor a variable, by network.
    figures: what metrics are made of: values, or pairs of values and their weights.
    log_probs: for metrics of `compile`, one tensor, float `[M, B, K]`, nats; without them, none.
  """

  losses: dict[str, tf.Tensor]
  gradients: dict[str, list[tf.Tensor]]
  figures: dict[str, tf.Tensor | tuple[tf.Tensor, tf.Tensor]]
  log_probs: tuple[tf.Tensor, ...] = ()


class BaseLearner(TrainableModel):
  """Trains a prediction network by the estimator that is named, whatever the target is.

  A subclass names its metrics and offers `make_prediction_network()`, `make_inference_network()`,
  `sample(images, targets, uniforms, temperature)`, `score(drawn, targets)`,
  `dream(images, seed)` (log q of what the model makes up, float `[M, B, N]`),
  `training_figures(drawn, scored, targets)` and `test_step(data)`.

  `fit` and `evaluate` take images and targets as arrays or lists, as a `tf.data.Dataset` or a
  `keras.utils.PyDataset` of batches, or from a generator of batches, with `class_weight` or
  `sample_weight`, and refuse bad values by name. `predict` takes images in the same forms.

  Figures of `fit`: `loss` is the estimator's surrogate, of which the gradient has a meaning and the
  value has none. Figures of `evaluate`, `val_` before their names during `fit`: `loss` is the mean
  negative log-likelihood, nats, and the lower the better, as are all names that hold `error`; of
  `log_likelihood` and `bound` the higher the better. Callbacks that monitor another figure than
  `val_loss` need Keras' argument `mode` ("min" or "max").

  Args:
    model_config: the shape of the networks.
    objective_config: the estimator.
    exploration_config: how the samples and the prior are kept looking around.
    clip_norm: largest norm of each network's gradient.
    num_evaluation_samples: sequences sampled from the prior in evaluations.
    seed: of the glimpse samples. The samples of update t depend on (seed, t) alone.
    on_nan: what follows an update with a loss or a gradient that is NaN or infinite; it is never
      applied. `stop`: nothing more is applied, and `fit` raises `NonFiniteUpdateError`; `skip`: it
      counts as made, since data, samples and schedules go by the count, and training goes on.
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
    **kwargs,
  ):
    super().__init__(**kwargs)
    if not 0 < clip_norm < math.inf:
      raise ValueError(f"clip_norm={clip_norm}: must be above 0 and finite")
    if not isinstance(num_evaluation_samples, int) or num_evaluation_samples < 1:
      raise ValueError(
        f"num_evaluation_samples={num_evaluation_samples}: must be a whole number of at least 1"
      )
    if not 0 <= seed < 2**31:
      raise ValueError(f"seed={seed}: must be from 0 to 2**31 - 1")
    if on_nan not in update_guard.ON_NAN:
      raise ValueError(f"on_nan={on_nan!r}: must be one of {', '.join(update_guard.ON_NAN)}")
    self.model_config = model_config
    self.objective_config = objective_config or ObjectiveConfig()
    self.exploration_config = exploration_config or ExplorationConfig()
    self.clip_norm = clip_norm
    self.num_evaluation_samples = num_evaluation_samples
    self.seed = seed
    self.on_nan = on_nan
    self.estimator = objectives.ESTIMATORS[self.objective_config.estimator]
    self.prediction_network = self.make_prediction_network()
    self.inference_network = self.baseline_network = None
    if self.estimator.inference_loss:
      self.inference_network = self.make_inference_network()
    self.sampler = sampling.Sampler(
      self.estimator.samples_from, self.objective_config.prior_fraction
    )
    if self.estimator.baseline_signal:
      self.baseline_network = layers.BaselineNetwork(model_config.units, name="baseline_network")
      self.baseline_network.build((None, model_config.units))
    self.guard = update_guard.UpdateGuard(list(self.network_variables()))
    self.built = True

  @property
  def input_rules(self) -> inputs.InputRules:
    """The rules of the prediction network's images and targets."""
    return self.prediction_network.input_rules

  def call(self, images: tf.Tensor) -> dict[str, tf.Tensor]:
    """Answers as the prediction network does."""
    return self.prediction_network(images)

  def uniforms(self, images: tf.Tensor, num_samples: int, seed: tf.Tensor) -> tf.Tensor:
    """The numbers that `sample` makes sequences from.

    Args:
      images: float `[B, H, W, C]`.
      num_samples: M.
      seed: int32 `[2]`.

    Returns:
      float `[M, B, N, 2]` in (0, 1); for a mixture estimator `[M, B, N, 3]`.
    """
    glimpses, numbers = self.model_config.num_glimpses, self.sampler.numbers_a_glimpse
    batch = tf.shape(images)[0] * replicas.num_replicas()
    drawn = sampling.stateless_uniforms([num_samples, batch, glimpses, numbers], seed)
    return replicas.own_rows(drawn, axis=1)

  def training_sample(
    self, images: tf.Tensor, targets: tf.Tensor, temperature: float | tf.Tensor, seed: tf.Tensor
  ) -> sampling.DrawnSequences:
    """Draws the sequences of one update; see `losses`."""
    uniforms = self.uniforms(images, self.objective_config.num_samples, seed)
    return self.sample(images, targets, uniforms, temperature)

  def cell_probabilities(self, drawn: sampling.DrawnSequences, targets: tf.Tensor) -> tf.Tensor:
    """The prior's probability of each cell before each glimpse, float `[M, B, N, L]`."""
    distribution = self.prediction_network.location_distribution
    return distribution.cell_probabilities(drawn.sequences.prior_parameters)

  def losses(
    self, images: tf.Tensor, targets: tf.Tensor, step: tf.Tensor, seed: tf.Tensor
  ) -> tuple[dict[str, tf.Tensor], sampling.DrawnSequences, objectives.ScoredSequences]:
    """Draws the samples of one update and takes each network's loss.

    Args:
      images: float `[B, H, W, C]` in 0..1.
      targets: what the images are of, one an image.
      step: int, updates made before, by which the schedules go.
      seed: int32 `[2]`, the first not negative; it decides the samples.

    Returns:
      the losses, float `[B]`, by network; the sequences; what the estimator saw of them.
    """
    exploration = self.exploration_config
    temperature = objectives.linear_schedule(
      exploration.temperature, 1.0, exploration.temperature_updates, step
    )
    drawn = self.training_sample(images, targets, temperature, seed)
    scored = self.score(drawn, targets)
    losses = {"prediction": self.estimator.prediction_loss(scored)}
    if exploration.entropy_bonus:
      bonus = objectives.linear_schedule(
        exploration.entropy_bonus, 0.0, exploration.entropy_bonus_updates, step
      )
      losses["prediction"] += bonus * objectives.entropy_loss(drawn.sequences.prior_entropy)
    if exploration.coverage_bonus:
      bonus = objectives.linear_schedule(
        exploration.coverage_bonus, 0.0, exploration.coverage_bonus_updates, step
      )
      cells = self.cell_probabilities(drawn, targets)
      losses["prediction"] += bonus * objectives.coverage_loss(cells)
    if self.inference_network:
      losses["inference"] = self._inference_loss(images, scored, step, seed)
    if self.baseline_network:
      losses["baseline"] = self.estimator.baseline_loss(scored)
    return losses, drawn, scored

  def _inference_loss(
    self,
    images: tf.Tensor,
    scored: objectives.ScoredSequences,
    step: tf.Tensor,
    seed: tf.Tensor,
  ) -> tf.Tensor:
    objective = self.objective_config
    if objective.inference_phase == "wake":
      return self.estimator.inference_loss(scored)
    log_proposal = self.dream(images, seed)
    sleep = tf.reduce_sum(objectives.sleep_proposal_loss(log_proposal), axis=-1)
    if objective.inference_phase == "sleep":
      return sleep
    fraction = objectives.linear_schedule(1.0, 0.0, objective.sleep_updates, step)
    return fraction * sleep + (1.0 - fraction) * self.estimator.inference_loss(scored)

  def networks(self) -> dict[str, keras.Model]:
    """The networks that there are, by the names of their losses."""
    networks = {
      "prediction": self.prediction_network,
      "inference": self.inference_network,
      "baseline": self.baseline_network,
    }
    return {name: network for name, network in networks.items() if network is not None}

  def weights_by_network(self) -> dict[str, list[keras.Variable]]:
    """All weights, those that do not learn included, by network."""
    return {name: network.weights for name, network in self.networks().items()}

  def take_weights(self, other: "BaseLearner") -> None:
    """Takes over the weights of another learner's networks, as far as both have them.

    Raises:
      ValueError: if a network's weights have other shapes; nothing is changed then.
    """
    weight_transfer.copy_weights(other.weights_by_network(), self.weights_by_network())

  def network_variables(self) -> dict[str, list[keras.Variable]]:
    """What each loss trains, by network."""
    return {name: network.trainable_variables for name, network in self.networks().items()}

  def trained_variables(self) -> list[keras.Variable]:
    """What all losses train, network by network."""
    return [variable for group in self.network_variables().values() for variable in group]

  def build_optimizer(self) -> None:
    """Makes the optimizer's variables, unless it has them."""
    if not self.optimizer.built:
      self.optimizer.build(self.trained_variables())

  def make_train_function(self, force: bool = False) -> Callable:
    """As `keras.Model.make_train_function`, after the optimizer's variables have been made.

    Made while the step is traced, they would have it traced a second time.

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
    step = self.optimizer.iterations
    self.build_optimizer()  # No variable can be made inside a branch.
    tf.cond(
      self.guard.admits(update.losses, norms, tf.convert_to_tensor(step), self.on_nan == "skip"),
      lambda: self.apply_update(gradients, norms, update.figures),
      self.pass_over,
    )
    results = self.results(self.training_metrics)
    return results | self.compiled_results(targets, *update.log_probs, sample_weight=weights)

  def differentiate(
    self, images: tf.Tensor, targets: tf.Tensor, sample_weight: tf.Tensor | None = None
  ) -> Update:
    """Losses and gradients of the next update; changes nothing.

    Args:
      images: float `[B, H, W, C]`.
      targets: one an image.
      sample_weight: float `[B]`, factors of each image's losses; None for ones.
    """
    step = self.optimizer.iterations
    seed = tf.stack([self.seed, tf.cast(step, tf.int32)])
    with self.tracing(), tf.GradientTape() as tape:
      losses, drawn, scored = self.losses(images, targets, step, seed)
      if sample_weight is not None:
        losses = {name: sample_weight * one for name, one in losses.items()}
      loss = tf.reduce_mean(tf.add_n(list(losses.values())))
    # Each loss reaches its own network alone, so one backward pass serves all.
    variables = self.network_variables()
    gradients = tape.gradient(loss, list(variables.values()))
    figures = {
      "loss": loss,
      **self.training_figures(drawn, scored, targets),
      **self.sample_figures(drawn, scored),
    }
    means = {name: tf.reduce_mean(one) for name, one in losses.items()}
    log_probs = (drawn.sequences.log_probs,) if self._has_compiled_metrics else ()
    return Update(means, dict(zip(variables, gradients, strict=True)), figures, log_probs)

  def clip(
    self, gradients: dict[str, list[tf.Tensor]]
  ) -> tuple[dict[str, list[tf.Tensor]], dict[str, tf.Tensor]]:
    """Scales each network's gradient down to `clip_norm`; returns their norms before it too."""
    clipped = {n: tf.clip_by_global_norm(group, self.clip_norm) for n, group in gradients.items()}
    return {n: group for n, (group, _) in clipped.items()}, {n: m for n, (_, m) in clipped.items()}

  def apply_update(
    self,
    gradients: dict[str, list[tf.Tensor]],
    norms: dict[str, tf.Tensor],
    figures: dict[str, tf.Tensor | tuple[tf.Tensor, tf.Tensor]],
  ) -> None:
    """Changes the weights, and adds the figures to the metrics."""
    flat = [gradient for group in gradients.values() for gradient in group]
    self.optimizer.apply(flat, self.trained_variables())
    self.update_figures(norms, figures)

  def update_figures(
    self,
    norms: dict[str, tf.Tensor],
    figures: dict[str, tf.Tensor | tuple[tf.Tensor, tf.Tensor]],
  ) -> None:
    """Adds the figures of one update to the metrics."""
    self.update(
      prediction_gradient_norm=norms["prediction"],
      inference_gradient_norm=norms.get("inference", 0.0),
      **figures,
    )

  def pass_over(self) -> None:
    """Does what is left of an update that is not applied."""
    if self.on_nan == "skip":
      self.optimizer.iterations.assign_add(1)

  def tracing(self) -> contextlib.AbstractContextManager:
    """What holds while a step is traced."""
    return contextlib.nullcontext()

  def sample_figures(
    self, drawn: sampling.DrawnSequences, scored: objectives.ScoredSequences
  ) -> dict[str, tf.Tensor]:
    """Figures of the samples that every learner reports."""
    # Of whole sequences, whatever the credit.
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
    }
