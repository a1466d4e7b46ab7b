"""The learner of labels: a Keras model that trains by wake-sleep or another estimator."""

import functools
from typing import Any

import keras
import tensorflow as tf

from wsram_tf import layers, numerics, objectives
from wsram_tf.classification.config import ModelConfig
from wsram_tf.classification.inference_network import InferenceNetwork
from wsram_tf.classification.own_networks import deserialized, fresh
from wsram_tf.classification.prediction_network import PredictionNetwork
from wsram_tf.classification.sampling import draw_sequences, dream
from wsram_tf.classification.views import View
from wsram_tf.config import ExplorationConfig, ObjectiveConfig
from wsram_tf.layers.glimpse_sensor import Cutting
from wsram_tf.learning import inputs, sampling
from wsram_tf.learning.base_learner import BaseLearner
from wsram_tf.learning.sequences import GlimpseSequences
from wsram_tf.settings import check_instance

__all__ = ["WakeSleepLearner"]

# So many pixels are gathered in about 10 ms.
_MANY_PIXELS = 2**21


@keras.saving.register_keras_serializable("wsram_tf")
class WakeSleepLearner(BaseLearner):
  """Trains a prediction network by an estimator, through `compile` and `fit`.

  `fit` and `evaluate` take float images `[B, H, W, C]` in 0..1 and labels: integers `[B]` or
  `[B, 1]`, or one-hot `[B, K]`; see `BaseLearner` for the forms of data and the figures. `predict`
  takes images and returns what `PredictionNetwork` returns.

  Args:
    model_config: the shape of the networks.
    objective_config: the estimator.
    exploration_config: temperature, entropy bonus and coverage bonus.
    clip_norm: largest norm of each network's gradient.
    num_evaluation_samples: sequences sampled from the prior for the averaged probabilities.
    glimpse_network: a layer of your own; see `PredictionNetwork`. The learner makes a new layer of
      the same configuration.
    context_network: likewise.
    seed: of the glimpse samples. The samples of update t depend on (seed, t) alone.

  Source: J. Ba, R. Grosse, R. Salakhutdinov, B. Frey, Learning Wake-Sleep Recurrent Attention
    Models, NIPS 2015, arXiv 1509.06812.

  Example:

  >>> import numpy as np
  >>> from wsram_tf import ModelConfig, ObjectiveConfig, WakeSleepLearner
  >>> config = ModelConfig(height=12, width=12, num_classes=3, num_glimpses=2, units=8)
  >>> learner = WakeSleepLearner(config, ObjectiveConfig(num_samples=2))
  >>> learner.compile("adam", jit_compile=False)
  >>> images, labels = np.zeros([4, 12, 12, 1], np.float32), np.array([0, 1, 2, 0])
  >>> history = learner.fit(images, labels, verbose=0)
  >>> "error_percent" in history.history
  True
  """

  training_metrics = (
    "loss",
    "bound",
    "log_likelihood",
    "effective_sample_size",
    "prior_entropy",
    "proposal_entropy",
    "prediction_gradient_norm",
    "inference_gradient_norm",
    "error_percent",
  )
  evaluation_metrics = (
    "loss",
    "error_percent",
    "error_percent_averaged",
    "log_likelihood",
    "bound",
    "effective_sample_size",
    "prior_entropy",
    "proposal_entropy",
  )

  @layers.follows_policy
  def __init__(
    self,
    model_config: ModelConfig,
    objective_config: ObjectiveConfig | None = None,
    exploration_config: ExplorationConfig | None = None,
    *,
    glimpse_network: keras.layers.Layer | None = None,
    context_network: keras.layers.Layer | None = None,
    **kwargs,
  ):
    check_instance("model_config", model_config, ModelConfig)
    # Not attributes: Keras would list their weights first. New ones, because several learners of
    # one run must not share weights.
    self._make_network = functools.partial(
      PredictionNetwork,
      model_config,
      glimpse_network=fresh(glimpse_network),
      context_network=fresh(context_network),
      name="prediction_network",
    )
    if model_config.glimpse.chooses_scale:
      scales = range(model_config.glimpse.glimpse_scales)
      self.evaluation_metrics += tuple(f"scale_{scale}_percent" for scale in scales)
    if getattr(objective_config, "stepwise_weight", 0):
      glimpses = range(1, model_config.num_glimpses)
      self.evaluation_metrics += tuple(f"error_percent_after_{n}" for n in glimpses)
    super().__init__(model_config, objective_config, exploration_config, **kwargs)

  def make_prediction_network(self) -> PredictionNetwork:
    """The network of prior and likelihood, with fresh weights."""
    return self._make_network()

  def make_inference_network(self) -> InferenceNetwork:
    """The network of the proposal, with fresh weights."""
    location, glimpse = self.model_config.location, self.model_config.glimpse
    keyed = location.location_distribution == "keyed_grid"
    return InferenceNetwork(
      self.prediction_network.location_distribution.num_parameters,
      units=self.model_config.units,
      target_size=self.model_config.num_classes,
      state_size=self.model_config.units,
      precision=self.model_config.precision,
      location_units=location.location_units if keyed else 0,
      num_scales=glimpse.glimpse_scales if keyed and glimpse.chooses_scale else 0,
      saliency=location.location_saliency,
      name="inference_network",
    )

  def compile(self, *args: Any, jit_compile: str | bool = "auto", **kwargs: Any) -> None:
    """Configures training; see `TrainableModel.compile`.

    Raises:
      ValueError: if `jit_compile` is true and the network reads regions of files, which XLA cannot
        compile.
    """
    if self.model_config.observation == "regions":
      if jit_compile is True:
        raise ValueError("jit_compile=True: must be False with observation='regions'")
      jit_compile = False
    super().compile(*args, jit_compile=jit_compile, **kwargs)

  def look(self, images: tf.Tensor) -> View:
    """Prepares images `[B, H, W, C]`, for the fastest way to cut glimpses on this device."""
    compiled = self.jit_compile and not tf.executing_eagerly()
    cutting = self._cutting(images, compiled)
    return self.prediction_network.look(images, cutting=cutting, compiled=compiled)

  def _cutting(self, images: tf.Tensor, compiled: bool) -> Cutting:
    if tf.config.list_logical_devices("GPU"):
      return "gather"
    if compiled:
      return "xla"
    if tf.executing_eagerly() or self.model_config.observation != "pixels":
      return "gather"
    # The pixels that a gather reads. Compiling for fewer takes longer than it saves.
    glimpses = self.objective_config.num_samples * self.model_config.num_glimpses
    extent = self.prediction_network.glimpse_sensor.extent
    pixels = (images.shape[0] or 1) * glimpses * extent**2
    return "xla" if pixels >= _MANY_PIXELS else "gather"

  def sample(
    self,
    view: View,
    labels: tf.Tensor,
    uniforms: tf.Tensor,
    temperature: float | tf.Tensor = 1.0,
  ) -> sampling.DrawnSequences:
    """Draws glimpse sequences from the estimator's sampling distribution.

    Args:
      view: of B images.
      labels: int `[B]`.
      uniforms: what `uniforms` returned.
      temperature: of the sampling distribution.
    """
    target = tf.one_hot(labels, self.model_config.num_classes, dtype=view.observation.dtype)
    sampler = self.sampler._replace(temperature=temperature)
    return draw_sequences(
      self.prediction_network, self.inference_network, view, target, uniforms, sampler
    )

  def score(self, drawn: sampling.DrawnSequences, labels: tf.Tensor) -> objectives.ScoredSequences:
    """The log-densities that the estimator takes, given the true labels, int `[B]`."""
    log_probs = drawn.sequences.log_probs
    one_hot = tf.one_hot(labels, self.model_config.num_classes, dtype=log_probs.dtype)
    is_correct = tf.argmax(log_probs, axis=-1) == tf.cast(labels, tf.int64)
    return objectives.ScoredSequences(
      log_prior=drawn.sequences.log_prior,
      log_likelihood=tf.reduce_sum(log_probs * one_hot, axis=-1, keepdims=True),
      log_sampling=drawn.log_sampling,
      log_proposal=drawn.log_proposal,
      is_correct=tf.cast(is_correct, log_probs.dtype)[..., tf.newaxis],
      baseline=self.baseline_network(drawn.sequences.upper) if self.baseline_network else None,
    )

  def losses(
    self, view: View, targets: tf.Tensor, step: tf.Tensor, seed: tf.Tensor
  ) -> tuple[dict[str, tf.Tensor], sampling.DrawnSequences, objectives.ScoredSequences]:
    """Computes the losses of one update, that of the earlier answers too; see `BaseLearner`."""
    losses, drawn, scored = super().losses(view, targets, step, seed)
    weight = self.objective_config.stepwise_weight
    if weight:
      log_probs = self.prediction_network.log_probs_by_glimpse(drawn.sequences)
      one_hot = tf.one_hot(targets, self.model_config.num_classes, dtype=log_probs.dtype)
      log_likelihood = tf.reduce_sum(log_probs * one_hot[:, tf.newaxis], axis=-1)
      losses["prediction"] += weight * objectives.stepwise_loss(
        scored.log_prior, scored.log_sampling, log_likelihood
      )
    return losses, drawn, scored

  def dream(self, view: View, seed: tf.Tensor) -> tf.Tensor:
    """log q of one sequence an image from the model, given its label: float `[1, B, N]`, nats."""
    # A random stream of its own leaves the wake phase's samples as they are.
    numbers = self.uniforms(view.context[0], 2, tf.stack([-1 - seed[0], seed[1]]))
    return dream(
      self.prediction_network,
      self.inference_network,
      view,
      numbers[:1, ..., : self.sampler.action_size],
      numbers[1:, :, 0, 0],
    )

  def training_figures(
    self, drawn: sampling.DrawnSequences, scored: objectives.ScoredSequences, labels: tf.Tensor
  ) -> dict[str, tf.Tensor]:
    """The log-likelihood and the error of the samples."""
    return {
      "log_likelihood": scored.log_likelihood,
      "error_percent": 100.0 * (1.0 - scored.is_correct),
    }

  def test_step(self, data: tuple[tf.Tensor, tf.Tensor]) -> dict[str, tf.Tensor]:
    """Scores images `[B, H, W, C]` and labels `[B]` with three kinds of glimpses.

    They lie at the prior's mode, come from the prior, or come from the sampling distribution of
    training at temperature 1. With `choose_scale`, `scale_S_percent` is the share of the glimpses
    from the prior that have scale S. With `stepwise_weight`, `error_percent_after_n` is the error
    of the answer after n glimpses at the prior's mode, for n below N.
    """
    images, labels, weights = inputs.unpack_batch(data, "labels")
    samples = self.num_evaluation_samples
    # The images so far. Keras resets the count, so each evaluation draws the same numbers.
    step = self.count("bound")
    seed = tf.stack([self.seed, step])
    uniforms = self.uniforms(images, samples + self.objective_config.num_samples, seed)
    actions = uniforms[:samples, ..., : self.sampler.action_size]
    view = self.look(images)
    at_mode = self.prediction_network.attend(view)
    greedy = at_mode.log_probs[0]
    from_prior = self.prediction_network.attend(view, actions)
    sampled = from_prior.log_probs
    drawn = self.sample(view, labels, uniforms[samples:])
    scored = self.score(drawn, labels)
    averaged = numerics.log_mean_exp(sampled)
    target = tf.cast(labels, tf.int64)
    one_hot = tf.one_hot(labels, self.model_config.num_classes, dtype=averaged.dtype)
    log_likelihood = tf.reduce_sum(averaged * one_hot, axis=-1)
    self.update(
      loss=-log_likelihood if weights is None else -weights * log_likelihood,
      error_percent=_errors(greedy, target),
      error_percent_averaged=_errors(averaged, target),
      log_likelihood=log_likelihood,
      **self.sample_figures(drawn, scored),
      **self._scale_figures(from_prior),
      **self._stepwise_figures(at_mode, target),
    )
    results = self.results(self.evaluation_metrics)
    log_probs = greedy[tf.newaxis] if self._has_compiled_metrics else None
    return results | self.compiled_results(labels, log_probs, weights)

  def _scale_figures(self, sequences: GlimpseSequences) -> dict[str, tf.Tensor]:
    """The share of each scale among the glimpses of each image; none without a choice."""
    if sequences.scales is None:
      return {}
    chosen = tf.one_hot(sequences.scales, self.model_config.glimpse.glimpse_scales)
    shares = 100.0 * tf.reduce_mean(chosen, axis=[0, 2])
    return {f"scale_{s}_percent": share for s, share in enumerate(tf.unstack(shares, axis=-1))}

  def _stepwise_figures(
    self, sequences: GlimpseSequences, target: tf.Tensor
  ) -> dict[str, tf.Tensor]:
    """The error after each glimpse before the last; none where training ignores these answers."""
    if not self.objective_config.stepwise_weight:
      return {}
    log_probs = self.prediction_network.log_probs_by_glimpse(sequences)[0, :, :-1]
    errors = tf.unstack(_errors(log_probs, target[:, tf.newaxis]), axis=-1)
    return {f"error_percent_after_{n}": error for n, error in enumerate(errors, start=1)}

  def get_config(self):
    """Returns the constructor's arguments, ready for JSON."""
    network = self.prediction_network.get_config()
    own = {
      name: network[name] for name in ("glimpse_network", "context_network") if name in network
    }
    return {**super().get_config(), **own}

  @classmethod
  def from_config(cls, config, custom_objects=None):
    """Makes a learner from the result of `get_config`."""
    with layers.full_precision():  # The configuration decides, not the current policy.
      return cls(
        **{
          **config,
          "model_config": ModelConfig.from_dict(config["model_config"]),
          "objective_config": ObjectiveConfig(**config["objective_config"]),
          "exploration_config": ExplorationConfig(**config["exploration_config"]),
          "glimpse_network": deserialized(config.get("glimpse_network")),
          "context_network": deserialized(config.get("context_network")),
        }
      )


def _errors(log_probs: tf.Tensor, target: tf.Tensor) -> tf.Tensor:
  """Returns 100 where the likeliest class is not the true one, else 0."""
  return 100.0 * tf.cast(tf.argmax(log_probs, axis=-1) != target, tf.float32)
