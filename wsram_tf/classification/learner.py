"""The learner: a Keras model whose training step is reweighted wake-sleep, or a rival of it."""

import keras
import tensorflow as tf

from wsram_tf import layers, numerics, objectives
from wsram_tf.classification.config import ModelConfig
from wsram_tf.classification.inference_network import InferenceNetwork
from wsram_tf.classification.prediction_network import PredictionNetwork, View
from wsram_tf.classification.sampling import draw_sequences, dream
from wsram_tf.config import ExplorationConfig, ObjectiveConfig
from wsram_tf.learning import inputs, sampling
from wsram_tf.learning.base_learner import BaseLearner

__all__ = ["WakeSleepLearner"]


@keras.saving.register_keras_serializable("wsram_tf")
class WakeSleepLearner(BaseLearner):
  """Trains a prediction network by the estimator that is named, through `compile` and `fit`.

  `fit` and `evaluate` take float images `[B, H, W, C]` in 0..1 and labels: integers `[B]` or
  `[B, 1]`, or one-hot `[B, K]`; see `BaseLearner` for the forms of data and the figures. `predict`
  takes images and returns what `PredictionNetwork` returns.

  Args:
    model_config: the shape of the networks.
    objective_config: the estimator.
    exploration_config: how the samples and the prior are kept looking around.
    clip_norm: largest norm of each network's gradient.
    num_evaluation_samples: sequences sampled from the prior that the averaged label comes from.
    seed: of the glimpse samples. The samples of update t depend on (seed, t) alone.

  Source: J. Ba, R. Grosse, R. Salakhutdinov, B. Frey, Learning Wake-Sleep Recurrent Attention
    Models, NIPS 2015, arXiv 1509.06812.
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

  def make_prediction_network(self) -> PredictionNetwork:
    """The network that looks and answers, with fresh weights."""
    return PredictionNetwork(self.model_config, name="prediction_network")

  def make_inference_network(self) -> InferenceNetwork:
    """The network that proposes glimpses, with fresh weights."""
    location = self.model_config.location
    keyed = location.location_distribution == "keyed_grid"
    return InferenceNetwork(
      self.prediction_network.location_distribution.num_parameters,
      units=self.model_config.units,
      target_size=self.model_config.num_classes,
      state_size=self.model_config.units,
      precision=self.model_config.precision,
      location_units=location.location_units if keyed else 0,
      name="inference_network",
    )

  def look(self, images: tf.Tensor) -> View:
    """Prepares images `[B, H, W, C]`, for the fastest way to cut glimpses on this device."""
    on_cpu = not tf.config.list_logical_devices("GPU")
    compiled = self.jit_compile and not tf.executing_eagerly()
    return self.prediction_network.look(images, loop_over_images=compiled and on_cpu)

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
    target = tf.one_hot(labels, self.model_config.num_classes, dtype=view.prepared.dtype)
    sampler = self.sampler._replace(temperature=temperature)
    return draw_sequences(
      self.prediction_network, self.inference_network, view, target, uniforms, sampler
    )

  def score(self, drawn: sampling.DrawnSequences, labels: tf.Tensor) -> objectives.ScoredSequences:
    """What an estimator sees of sequences, given the true labels, int `[B]`."""
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

  def dream(self, view: View, seed: tf.Tensor) -> tf.Tensor:
    """log q of one sequence an image from the model, given its label: float `[1, B, N]`, nats."""
    # A random stream of its own leaves the wake phase's samples as they are.
    numbers = self.uniforms(view.prepared, 2, tf.stack([-1 - seed[0], seed[1]]))
    return dream(
      self.prediction_network,
      self.inference_network,
      view,
      numbers[:1, ..., :2],
      numbers[1:, :, 0, 0],
    )

  def training_figures(
    self, drawn: sampling.DrawnSequences, scored: objectives.ScoredSequences, labels: tf.Tensor
  ) -> dict[str, tf.Tensor]:
    """What a training step reports beside the figures of every learner."""
    return {
      "log_likelihood": scored.log_likelihood,
      "error_percent": 100.0 * (1.0 - scored.is_correct),
    }

  def test_step(self, data: tuple[tf.Tensor, tf.Tensor]) -> dict[str, tf.Tensor]:
    """Scores images `[B, H, W, C]` and labels `[B]`, with glimpses at the prior's mode, sampled
    from the prior, and sampled as in training at temperature 1."""
    images, labels, weights = inputs.unpack_batch(data, "labels")
    samples = self.num_evaluation_samples
    # Counts the images so far: Keras resets it, so each evaluation draws the same numbers.
    step = self.count("bound")
    seed = tf.stack([self.seed, step])
    uniforms = self.uniforms(images, samples + self.objective_config.num_samples, seed)
    view = self.look(images)
    greedy = self.prediction_network.attend(view).log_probs[0]
    sampled = self.prediction_network.attend(view, uniforms[:samples, ..., :2]).log_probs
    drawn = self.sample(view, labels, uniforms[samples:])
    scored = self.score(drawn, labels)
    averaged = numerics.log_mean_exp(sampled)
    target = tf.cast(labels, tf.int64)
    one_hot = tf.one_hot(labels, self.model_config.num_classes, dtype=images.dtype)
    log_likelihood = tf.reduce_sum(averaged * one_hot, axis=-1)
    self.update(
      loss=-log_likelihood if weights is None else -weights * log_likelihood,
      error_percent=100.0 * tf.cast(tf.argmax(greedy, axis=-1) != target, tf.float32),
      error_percent_averaged=100.0 * tf.cast(tf.argmax(averaged, axis=-1) != target, tf.float32),
      log_likelihood=log_likelihood,
      **self.sample_figures(drawn, scored),
    )
    results = self.results(self.evaluation_metrics)
    log_probs = greedy[tf.newaxis] if self._has_compiled_metrics else None
    return results | self.compiled_results(labels, log_probs, weights)

  @classmethod
  def from_config(cls, config, custom_objects=None):
    """Makes the learner that `get_config` described."""
    with layers.full_precision():  # The configuration decides, whatever the policy is now.
      return cls(
        **{
          **config,
          "model_config": ModelConfig.from_dict(config["model_config"]),
          "objective_config": ObjectiveConfig(**config["objective_config"]),
          "exploration_config": ExplorationConfig(**config["exploration_config"]),
        }
      )
