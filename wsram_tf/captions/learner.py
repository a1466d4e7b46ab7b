"""The caption learner: trains caption networks by reweighted wake-sleep and other estimators."""

import functools
from typing import Any

import keras
import tensorflow as tf

from wsram_tf import layers, numerics, objectives
from wsram_tf.captions.backbones import deserialized_backbone, serialized_backbone
from wsram_tf.captions.caption_network import CaptionNetwork
from wsram_tf.captions.config import CaptionLossConfig, CaptionModelConfig
from wsram_tf.captions.grid_network import Grid
from wsram_tf.captions.inference_network import CaptionInferenceNetwork
from wsram_tf.captions.vocabulary import word_mask
from wsram_tf.config import ExplorationConfig, ObjectiveConfig
from wsram_tf.learning import inputs, sampling, updates
from wsram_tf.learning.base_learner import BaseLearner
from wsram_tf.settings import check_instance, given_or_default

__all__ = ["CaptionLearner"]


@keras.saving.register_keras_serializable("wsram_tf")
class CaptionLearner(BaseLearner):
  """Trains a caption network with a chosen estimator, through `compile` and `fit`.

  `fit` and `evaluate` take images or feature grids, float `[B, H, W, C]`, and captions, integer
  `[B, T]`: words, the end, padding. Losses and metrics ignore padding. `predict` takes images and
  returns the output of `CaptionNetwork`.

  Args:
    model_config: sizes of the networks.
    objective_config: the estimator.
    exploration_config: temperature of the samples, entropy and coverage bonuses of the prior.
    loss_config: credit by word, label smoothing.
    backbone: network from images to grids; see `CaptionNetwork`.
    **kwargs: `clip_norm`, `num_evaluation_samples` and `seed`; see `WakeSleepLearner`.

  Raises:
    ValueError: if the settings contradict each other.

  Source: J. Ba, R. Grosse, R. Salakhutdinov, B. Frey, Learning Wake-Sleep Recurrent Attention
    Models, NIPS 2015, caption generation, arXiv 1509.06812.

  Example:

  >>> config = CaptionModelConfig(
  ...   height=8, width=8, grid_filters=(4,), vocabulary_size=7, max_words=3, units=8
  ... )
  >>> learner = CaptionLearner(config, ObjectiveConfig(num_samples=2), seed=1)
  >>> learner.compile("sgd", run_eagerly=True)
  >>> images, captions = tf.zeros([4, 8, 8, 1]), tf.constant([[4, 5, 2], [6, 2, 0]] * 2)
  >>> history = learner.fit(images, captions, batch_size=4, verbose=0).history
  >>> sorted(history)[:3]
  ['bound', 'effective_sample_size', 'inference_gradient_norm']
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
    "negative_log_likelihood",
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
    check_instance("model_config", model_config, CaptionModelConfig)
    # A backbone attribute would change the order of the weights: Keras would list its own first.
    self._make_network = functools.partial(
      CaptionNetwork, model_config, backbone, name="prediction_network"
    )
    super().__init__(model_config, objective_config, exploration_config, **kwargs)
    phase = self.objective_config.inference_phase
    if phase != "wake":
      raise ValueError(f"inference_phase={phase}: must be wake for captions")
    if self.objective_config.stepwise_weight:
      raise ValueError(
        f"stepwise_weight={self.objective_config.stepwise_weight}: must be 0 for captions"
      )
    soft_needs = ("variational", 1)
    given = (self.objective_config.estimator, self.objective_config.num_samples)
    if model_config.attention == "soft" and given != soft_needs:
      raise ValueError(
        "attention=soft: must go with estimator=variational and num_samples=1, because soft "
        f"attention samples nothing; got estimator={given[0]}, num_samples={given[1]}"
      )
    self.loss_config = given_or_default("loss_config", loss_config, CaptionLossConfig)

  def make_prediction_network(self) -> CaptionNetwork:
    """Makes the caption network, with new weights."""
    return self._make_network()

  def make_inference_network(self) -> CaptionInferenceNetwork:
    """Makes the inference network, with new weights."""
    return CaptionInferenceNetwork(self.model_config, name="inference_network")

  def make_baseline_network(self) -> layers.BaselineNetwork:
    """Makes the network of the learned baseline, which also reads the words; see `score`."""
    config = self.model_config
    network = layers.BaselineNetwork(config.units, reads_parts=True, name="baseline_network")
    network.build((None, config.units), (None, 2 * config.word_units))
    return network

  def weights_by_network(self) -> dict[str, list[keras.Variable]]:
    """Returns all weights by network; a backbone counts as a network."""
    groups, network = super().weights_by_network(), self.prediction_network
    groups["prediction"] = network.weights_but_backbone
    if network.backbone is not None:
      groups["backbone"] = network.backbone.weights
    return groups

  def take_weights(self, other: BaseLearner) -> None:
    """Copies the weights of another learner; see `BaseLearner`.

    Raises:
      ValueError: if the other learner has a backbone and this one has none, because its other
        weights fit its own backbone only.
    """
    theirs, mine = other.weights_by_network(), self.weights_by_network()
    if "backbone" in theirs and "backbone" not in mine:
      raise ValueError("other with a backbone: must have none, because this learner has none")
    super().take_weights(other)

  def training_sample(
    self, grid: Grid, captions: tf.Tensor, temperature: float | tf.Tensor, seed: tf.Tensor
  ) -> sampling.DrawnSequences:
    """Draws the glimpse sequences of one update, with dropout."""
    uniforms = self.uniforms(captions, self.objective_config.num_samples, seed)
    config, dropped = self.model_config, None
    if config.dropout:
      batch = tf.shape(captions)[0] * updates.num_parts()
      # A separate random stream, so that dropout does not change the samples' numbers.
      dropped = sampling.stateless_uniforms([batch, config.word_units + config.units], -1 - seed)
      dropped = updates.own_rows(dropped)
    return self.sample(grid, captions, uniforms, temperature, dropped)

  def sample(
    self,
    grid: Grid,
    captions: tf.Tensor,
    uniforms: tf.Tensor,
    temperature: float | tf.Tensor = 1.0,
    dropout_uniforms: tf.Tensor | None = None,
  ) -> sampling.DrawnSequences:
    """Draws glimpse sequences from the estimator's sampling distribution.

    Args:
      grid: of B images.
      captions: int `[B, T]`.
      uniforms: random numbers from `uniforms`.
      temperature: temperature of the sampling distribution.
      dropout_uniforms: float `[B, E + D]` in (0, 1); None for no dropout.

    Returns:
      `DrawnSequences`; at padding every log-density and entropy is 0.
    """
    network, inference = self.prediction_network, self.inference_network
    uniforms = uniforms[:, :, : captions.shape[1]]
    proposal = None
    if inference:
      encoded = tf.repeat(inference.encode(captions)[tf.newaxis], uniforms.shape[0], axis=0)
      proposal = sampling.Proposal(inference, encoded, inference.keys(grid.features))

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
    """Computes the estimator's inputs from sequences and true captions, int `[B, T]`."""
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
    # At padding the baseline equals the signal, so its error there is 0.
    signal = tf.stop_gradient(self.estimator.baseline_signal(scored))
    # A word's log-likelihood depends most on the word itself and the one before.
    words = self.prediction_network.embedding(captions)
    pairs = tf.concat([tf.pad(words[:, :-1], [[0, 0], [1, 0], [0, 0]]), words], axis=-1)
    of_states, of_words = self.baseline_network(drawn.sequences.upper, pairs)
    baseline = of_states + scored.credited(tf.where(mask, of_words, 0.0))
    return scored._replace(baseline=tf.where(mask, baseline, signal))

  def cell_probabilities(self, drawn: sampling.DrawnSequences, captions: tf.Tensor) -> tf.Tensor:
    """Returns the prior's probability of each cell before each word, 0 at padding."""
    cells = super().cell_probabilities(drawn, captions)
    return tf.where(word_mask(captions)[..., tf.newaxis], cells, 0.0)

  def losses(
    self, grid: Grid, captions: tf.Tensor, step: tf.Tensor, seed: tf.Tensor
  ) -> tuple[dict[str, tf.Tensor], sampling.DrawnSequences, objectives.ScoredSequences]:
    """Draws the samples of one update and computes each network's loss; see `BaseLearner`."""
    losses, drawn, scored = super().losses(grid, captions, step, seed)
    if self.loss_config.label_smoothing:
      # Added after the estimator, so that smoothing does not change the importance weights.
      spread = tf.reduce_mean(drawn.sequences.log_probs, axis=-1)
      spread = tf.where(word_mask(captions), spread, 0.0)
      smoothing = tf.reduce_sum(scored.log_likelihood - spread, axis=-1)
      losses["prediction"] += self.loss_config.label_smoothing * tf.reduce_mean(smoothing, axis=0)
    return losses, drawn, scored

  def training_figures(
    self, drawn: sampling.DrawnSequences, scored: objectives.ScoredSequences, captions: tf.Tensor
  ) -> dict[str, tf.Tensor]:
    """Returns the training metrics of captions; `BaseLearner` adds those of every learner.

    `negative_log_likelihood` is that of a caption, nats, given sampled glimpses.
    """
    words = tf.cast(tf.broadcast_to(word_mask(captions), tf.shape(scored.is_correct)), "float32")
    return {
      "log_likelihood_per_word": (scored.log_likelihood, words),
      "negative_log_likelihood": -tf.reduce_sum(scored.log_likelihood, axis=-1),
      "word_error_percent": (100.0 * (1.0 - scored.is_correct), words),
    }

  def sample_figures(
    self, drawn: sampling.DrawnSequences, scored: objectives.ScoredSequences
  ) -> dict[str, tf.Tensor]:
    """Returns the metrics of the samples; entropies are sums over a caption's words."""
    return {
      **super().sample_figures(drawn, scored),
      "prior_entropy": tf.reduce_sum(drawn.sequences.prior_entropy, axis=-1),
      "proposal_entropy": tf.reduce_sum(drawn.proposal_entropy, axis=-1),
    }

  def test_step(self, data: tuple[tf.Tensor, tf.Tensor]) -> dict[str, tf.Tensor]:
    """Evaluates one batch.

    The word error uses glimpses at the prior's mode. The loss and the log-likelihood average over
    samples of the prior. The bound and the metrics of the samples use samples as in training, at
    temperature 1.
    """
    images, captions, weights = inputs.unpack_batch(data, "captions")
    samples, network = self.num_evaluation_samples, self.prediction_network
    seed = tf.stack([self.seed, self.count("bound")])
    uniforms = self.uniforms(images, samples + self.objective_config.num_samples, seed)
    grid, length = self.look(images), captions.shape[1]
    actions = uniforms[:samples, :, :length, : self.sampler.action_size]
    greedy = network.attend(grid, captions).log_probs[0]
    sampled = network.attend(grid, captions, actions).log_probs
    drawn = self.sample(grid, captions, uniforms[samples:])
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
    """Returns the constructor's arguments, for JSON."""
    return {
      **super().get_config(),
      "loss_config": vars(self.loss_config).copy(),
      "backbone": serialized_backbone(self.prediction_network.backbone),
    }

  @classmethod
  def from_config(cls, config, custom_objects=None):
    """Makes the learner of a `get_config` dictionary, with new weights."""
    with layers.full_precision():  # The configuration overrides the current policy.
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
  """Computes the log-probability of each word of a caption.

  Args:
    log_probs: float `[M, B, T, V]`, nats, log-probabilities of all words.
    captions: int `[B, T]`.

  Returns:
    float `[M, B, T]`, nats; 0 at padding.
  """
  one_hot = tf.one_hot(captions, log_probs.shape[-1], dtype=log_probs.dtype)
  words = tf.reduce_sum(log_probs * one_hot, axis=-1)
  return tf.where(word_mask(captions), words, 0.0)
