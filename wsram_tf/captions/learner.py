"""The caption learner: reweighted wake-sleep, or a rival, on captions as sequences of glimpses."""

import functools
from typing import Any

import keras
import tensorflow as tf

from wsram_tf import layers, numerics, objectives
from wsram_tf.captions.caption_network import (
  CaptionNetwork,
  deserialized_backbone,
  serialized_backbone,
  word_mask,
)
from wsram_tf.captions.config import CaptionLossConfig, CaptionModelConfig
from wsram_tf.captions.inference_network import CaptionInferenceNetwork
from wsram_tf.config import ExplorationConfig, ObjectiveConfig
from wsram_tf.learning import inputs, replicas, sampling
from wsram_tf.learning.base_learner import BaseLearner

__all__ = ["CaptionLearner"]


@keras.saving.register_keras_serializable("wsram_tf")
class CaptionLearner(BaseLearner):
  """Trains a caption network by the estimator that is named, through `compile` and `fit`.

  `fit` and `evaluate` take float images `[B, H, W, C]` (or features computed before) and captions,
  integers `[B, T]`: words, the end, then padding, which counts for nothing. `predict` takes images
  and returns what `CaptionNetwork` returns.

  Args:
    model_config: the shape of the networks.
    objective_config: the estimator.
    exploration_config: how the samples and the prior are kept looking around.
    loss_config: credit by word, label smoothing.
    backbone: what makes the grid of an image, as `CaptionNetwork` takes it.
    clip_norm, num_evaluation_samples, seed: as `WakeSleepLearner` has them.

  Source: J. Ba, R. Grosse, R. Salakhutdinov, B. Frey, Learning Wake-Sleep Recurrent Attention
    Models, NIPS 2015, caption generation, arXiv 1509.06812.
  """

  training_metrics = (
    "loss",
    "bound",
    "log_likelihood_per_word",
    "effective_sample_size",
    "prior_entropy",
    "proposal_entropy",
    "prediction_gradient_norm",
    "inference_gradient_norm",
    "word_error_percent",
  )
  evaluation_metrics = (
    "loss",
    "word_error_percent",
    "log_likelihood_per_word",
    "bound",
    "effective_sample_size",
    "prior_entropy",
    "proposal_entropy",
  )

  @layers.follows_policy
  def __init__(
    self,
    model_config: CaptionModelConfig,
    objective_config: ObjectiveConfig | None = None,
    exploration_config: ExplorationConfig | None = None,
    loss_config: CaptionLossConfig | None = None,
    *,
    backbone: keras.Model | None = None,
    **kwargs,
  ):
    # Not the backbone itself: Keras would count its weights first, and the optimizer's last.
    self._make_network = functools.partial(
      CaptionNetwork, model_config, backbone, name="prediction_network"
    )
    super().__init__(model_config, objective_config, exploration_config, **kwargs)
    phase = self.objective_config.inference_phase
    if phase != "wake":
      raise ValueError(f"inference_phase={phase}: must be wake for captions")
    soft_needs = ("variational", 1)
    given = (self.objective_config.estimator, self.objective_config.num_samples)
    if model_config.attention == "soft" and given != soft_needs:
      raise ValueError(
        f"attention=soft: needs estimator=variational and num_samples=1, since nothing is sampled; "
        f"got estimator={given[0]}, num_samples={given[1]}"
      )
    self.loss_config = loss_config or CaptionLossConfig()

  def make_prediction_network(self) -> CaptionNetwork:
    """The network that looks and speaks, with fresh weights."""
    return self._make_network()

  def make_inference_network(self) -> CaptionInferenceNetwork:
    """The network that proposes glimpses, with fresh weights."""
    return CaptionInferenceNetwork(self.model_config, name="inference_network")

  def weights_by_network(self) -> dict[str, list[keras.Variable]]:
    """All weights by network; those of a backbone apart."""
    groups, network = super().weights_by_network(), self.prediction_network
    groups["prediction"] = network.weights_but_backbone
    if network.backbone is not None:
      groups["backbone"] = network.backbone.weights
    return groups

  def take_weights(self, other: BaseLearner) -> None:
    """Takes over weights; see `BaseLearner`. Without the other's backbone they mean nothing."""
    theirs, mine = other.weights_by_network(), self.weights_by_network()
    if "backbone" in theirs and "backbone" not in mine:
      raise ValueError("other: has a backbone that learnt with it, which this learner lacks")
    super().take_weights(other)

  def training_sample(
    self, images: tf.Tensor, captions: tf.Tensor, temperature: float | tf.Tensor, seed: tf.Tensor
  ) -> sampling.DrawnSequences:
    """Draws the sequences of one update, with dropout."""
    uniforms = self.uniforms(images, self.objective_config.num_samples, seed)
    config, dropped = self.model_config, None
    if config.dropout:
      batch = tf.shape(images)[0] * replicas.num_replicas()
      # A stream of its own, so that the samples stay what they are.
      dropped = sampling.stateless_uniforms([batch, config.word_units + config.units], -1 - seed)
      dropped = replicas.own_rows(dropped)
    return self.sample(images, captions, uniforms, temperature, dropped)

  def sample(
    self,
    images: tf.Tensor,
    captions: tf.Tensor,
    uniforms: tf.Tensor,
    temperature: float | tf.Tensor = 1.0,
    dropout_uniforms: tf.Tensor | None = None,
  ) -> sampling.DrawnSequences:
    """Draws glimpse sequences from the estimator's sampling distribution.

    Args:
      images: float `[B, H, W, C]`.
      captions: int `[B, T]`.
      uniforms: what `uniforms` returned.
      temperature: of what is sampled from.
      dropout_uniforms: float `[B, E + D]` in (0, 1); None to drop nothing.

    Returns:
      `DrawnSequences`; at padding every log-density and entropy is 0.
    """
    network, inference = self.prediction_network, self.inference_network
    uniforms = uniforms[:, :, : captions.shape[1]]
    grid = network.look(images)
    proposal = None
    if inference:
      told = tf.repeat(inference.encode(captions)[tf.newaxis], uniforms.shape[0], axis=0)
      proposal = sampling.Proposal(inference, told, inference.keys(grid.features))

    drawn = sampling.draw(
      network.location_distribution,
      lambda samples, choose: network.unroll(grid, captions, samples, choose, dropout_uniforms),
      proposal,
      uniforms,
      self.sampler._replace(temperature=temperature),
    )
    mask = word_mask(captions)
    log_proposal = drawn.log_proposal
    return drawn._replace(
      log_sampling=tf.where(mask & (network.config.attention == "hard"), drawn.log_sampling, 0.0),
      log_proposal=None if log_proposal is None else tf.where(mask, log_proposal, 0.0),
      proposal_entropy=tf.where(mask, drawn.proposal_entropy, 0.0),
    )

  def score(
    self, drawn: sampling.DrawnSequences, captions: tf.Tensor
  ) -> objectives.ScoredSequences:
    """What an estimator sees of sequences, given the true captions, int `[B, T]`."""
    log_probs, mask = drawn.sequences.log_probs, word_mask(captions)
    is_correct = tf.argmax(log_probs, axis=-1, output_type=captions.dtype) == captions
    scored = objectives.ScoredSequences(
      log_prior=drawn.sequences.log_prior,
      log_likelihood=log_likelihood(log_probs, captions),
      log_sampling=drawn.log_sampling,
      log_proposal=drawn.log_proposal,
      is_correct=tf.cast(is_correct & mask, log_probs.dtype),
      credit_by_part=self.loss_config.credit_by_word,
      credit_horizon=self.loss_config.credit_horizon,
    )
    if not self.baseline_network:
      return scored
    # At padding the baseline is the signal itself, so that its error there is none.
    signal = tf.stop_gradient(self.estimator.baseline_signal(scored))
    baseline = self.baseline_network(drawn.sequences.upper)
    return scored._replace(baseline=tf.where(mask, baseline, signal))

  def cell_probabilities(self, drawn: sampling.DrawnSequences, captions: tf.Tensor) -> tf.Tensor:
    """The prior's probability of each cell before each word, 0 at padding."""
    cells = super().cell_probabilities(drawn, captions)
    return tf.where(word_mask(captions)[..., tf.newaxis], cells, 0.0)

  def losses(
    self, images: tf.Tensor, captions: tf.Tensor, step: tf.Tensor, seed: tf.Tensor
  ) -> tuple[dict[str, tf.Tensor], sampling.DrawnSequences, objectives.ScoredSequences]:
    """Draws the samples of one update and takes each network's loss; see `BaseLearner`."""
    losses, drawn, scored = super().losses(images, captions, step, seed)
    if self.loss_config.label_smoothing:
      # Beside the estimator's loss, so that the weights are those of the words themselves.
      spread = tf.reduce_mean(drawn.sequences.log_probs, axis=-1)
      spread = tf.where(word_mask(captions), spread, 0.0)
      smoothing = tf.reduce_sum(scored.log_likelihood - spread, axis=-1)
      losses["prediction"] += self.loss_config.label_smoothing * tf.reduce_mean(smoothing, axis=0)
    return losses, drawn, scored

  def training_figures(
    self, drawn: sampling.DrawnSequences, scored: objectives.ScoredSequences, captions: tf.Tensor
  ) -> dict[str, tf.Tensor]:
    """What a training step reports beside the figures of every learner."""
    words = tf.cast(tf.broadcast_to(word_mask(captions), tf.shape(scored.is_correct)), "float32")
    return {
      "log_likelihood_per_word": (scored.log_likelihood, words),
      "word_error_percent": (100.0 * (1.0 - scored.is_correct), words),
    }

  def sample_figures(
    self, drawn: sampling.DrawnSequences, scored: objectives.ScoredSequences
  ) -> dict[str, tf.Tensor]:
    """Figures of the samples; entropies are summed over a caption's words."""
    return {
      **super().sample_figures(drawn, scored),
      "prior_entropy": tf.reduce_sum(drawn.sequences.prior_entropy, axis=-1),
      "proposal_entropy": tf.reduce_sum(drawn.proposal_entropy, axis=-1),
    }

  def test_step(self, data: tuple[tf.Tensor, tf.Tensor]) -> dict[str, tf.Tensor]:
    """Scores images and captions, with glimpses at the prior's mode, sampled from the prior, and
    sampled as in training at temperature 1."""
    images, captions, weights = inputs.unpack_batch(data, "captions")
    samples, network = self.num_evaluation_samples, self.prediction_network
    seed = tf.stack([self.seed, self.count("bound")])
    uniforms = self.uniforms(images, samples + self.objective_config.num_samples, seed)
    grid, length = network.look(images), captions.shape[1]
    greedy = network.attend(grid, captions).log_probs[0]
    sampled = network.attend(grid, captions, uniforms[:samples, :, :length, :2]).log_probs
    drawn = self.sample(images, captions, uniforms[samples:])
    scored = self.score(drawn, captions)
    words = tf.cast(word_mask(captions), greedy.dtype)
    wrong = tf.argmax(greedy, axis=-1, output_type=captions.dtype) != captions
    averaged = numerics.log_mean_exp(tf.reduce_sum(log_likelihood(sampled, captions), axis=-1))
    lengths = tf.reduce_sum(words, axis=-1)
    counted = lengths if weights is None else weights * lengths
    self.update(
      loss=(-averaged / lengths, counted),
      word_error_percent=(100.0 * tf.cast(wrong, greedy.dtype), words),
      log_likelihood_per_word=(averaged / lengths, lengths),
      **self.sample_figures(drawn, scored),
    )
    return self.results(self.evaluation_metrics)

  def get_config(self) -> dict[str, Any]:
    """Returns the constructor's arguments, ready for JSON."""
    return {
      **super().get_config(),
      "loss_config": vars(self.loss_config).copy(),
      "backbone": serialized_backbone(self.prediction_network.backbone),
    }

  @classmethod
  def from_config(cls, config, custom_objects=None):
    """Makes the learner that `get_config` described."""
    with layers.full_precision():  # The configuration decides, whatever the policy is now.
      return cls(
        **{
          **config,
          "model_config": CaptionModelConfig(**config["model_config"]),
          "objective_config": ObjectiveConfig(**config["objective_config"]),
          "exploration_config": ExplorationConfig(**config["exploration_config"]),
          "loss_config": CaptionLossConfig(**config["loss_config"]),
          "backbone": deserialized_backbone(config.get("backbone")),
        }
      )


def log_likelihood(log_probs: tf.Tensor, captions: tf.Tensor) -> tf.Tensor:
  """log p of each word of captions `[B, T]`, float `[M, B, T]`, nats, of all words'
  `[M, B, T, V]`; 0 at padding."""
  one_hot = tf.one_hot(captions, log_probs.shape[-1], dtype=log_probs.dtype)
  words = tf.reduce_sum(log_probs * one_hot, axis=-1)
  return tf.where(word_mask(captions), words, 0.0)
