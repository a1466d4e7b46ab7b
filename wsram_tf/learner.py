"""The learner: a Keras model whose training step is reweighted wake-sleep."""

import contextlib
import math
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from wsram_tf import models, numerics, objectives
from wsram_tf.config import ModelConfig, ObjectiveConfig
from wsram_tf.data import checks

__all__ = ["TrainingSequences", "WakeSleepLearner", "stateless_uniforms"]

TRAINING_METRICS = (
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
EVALUATION_METRICS = (
  "error_percent",
  "error_percent_averaged",
  "log_likelihood",
  "bound",
  "effective_sample_size",
  "prior_entropy",
  "proposal_entropy",
)


class TrainingSequences(NamedTuple):
  """M glimpse sequences for each of B images, drawn from the proposal and scored by both networks.

  Attributes:
    sequences: `GlimpseSequences`, what the prediction network says of them.
    log_proposal: float `[M, B, N]`, nats, of the distribution that each location was drawn from.
    proposal_entropy: float `[M, B, N]`, nats.
    log_likelihood: float `[M, B]`, nats, log p(y | a, image) of the true label.
  """

  sequences: models.GlimpseSequences
  log_proposal: tf.Tensor
  proposal_entropy: tf.Tensor
  log_likelihood: tf.Tensor

  @property
  def log_weights(self) -> tf.Tensor:
    """Unnormalised importance log-weights, float `[M, B]`, nats; a constant."""
    return objectives.importance_log_weights(
      tf.reduce_sum(self.sequences.log_prior, axis=-1),
      self.log_likelihood,
      tf.reduce_sum(self.log_proposal, axis=-1),
    )


def stateless_uniforms(shape: list, seed: tf.Tensor) -> tf.Tensor:
  """Uniform numbers strictly inside (0, 1), the same eagerly, in a graph and compiled.

  Args:
    shape: of the result.
    seed: int `[2]`.

  Returns:
    float32, from 2**-24 to 1 - 2**-24, so that a normal's quantile is finite.
  """
  # The generator is named, because the default one differs between devices, and only its bits are
  # taken, because XLA turns them into floats in another way.
  bits = tf.random.stateless_uniform(shape, seed, None, None, tf.uint32, alg="philox")
  high = tf.bitwise.right_shift(bits, tf.constant(9, tf.uint32))
  return (tf.cast(high, tf.float32) + 0.5) * 2.0**-23


def images_and_labels(data: tuple) -> tuple[tf.Tensor, tf.Tensor]:
  """Takes a batch apart, as Keras hands it to a step.

  Raises:
    ValueError: if labels are missing, or samples carry weights, which the estimators do not know.
  """
  images, labels, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
  if labels is None:
    raise ValueError("labels=None: must be given with the images")
  if sample_weight is not None:
    raise ValueError("sample_weight: must be None, importance weights are the model's own")
  return images, labels


@keras.saving.register_keras_serializable("wsram_tf")
class WakeSleepLearner(keras.Model):
  """Trains a prediction network by reweighted wake-sleep, through `compile` and `fit`.

  `fit` and `evaluate` take float images `[B, H, W, C]` in 0..1 and integer labels `[B]`, as arrays
  or as a `tf.data.Dataset` of such batches, and refuse anything else by name. `predict` takes
  images and returns what `PredictionNetwork` returns.

  Args:
    model_config: the shape of the networks.
    objective_config: the estimator.
    clip_norm: largest norm of each network's gradient.
    num_evaluation_samples: sequences sampled from the prior that the averaged label comes from.
    seed: of the glimpse samples. The samples of update t depend on (seed, t) alone.

  Source: J. Ba, R. Grosse, R. Salakhutdinov, B. Frey, Learning Wake-Sleep Recurrent Attention
    Models, NIPS 2015, arXiv 1509.06812.
  """

  def __init__(
    self,
    model_config: ModelConfig,
    objective_config: ObjectiveConfig | None = None,
    *,
    clip_norm: float = 5.0,
    num_evaluation_samples: int = 5,
    seed: int = 0,
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
    self.model_config = model_config
    self.objective_config = objective_config or ObjectiveConfig()
    self.clip_norm = clip_norm
    self.num_evaluation_samples = num_evaluation_samples
    self.seed = seed
    self.prediction_network = models.PredictionNetwork(model_config, name="prediction_network")
    self.inference_network = None
    if self.objective_config.proposal == "inference":
      self.inference_network = models.InferenceNetwork(
        self.prediction_network.location_distribution.num_parameters,
        units=model_config.units,
        target_size=model_config.num_classes,
        state_size=model_config.units,
        name="inference_network",
      )
    self._trackers = {
      name: keras.metrics.Mean(name=name)
      for name in dict.fromkeys(TRAINING_METRICS + EVALUATION_METRICS)
    }
    self.built = True

  @property
  def metrics(self) -> list[keras.metrics.Metric]:
    """The means that `fit` and `evaluate` report; Keras resets them."""
    return list(self._trackers.values())

  def call(self, images: tf.Tensor) -> dict[str, tf.Tensor]:
    """Answers as `PredictionNetwork` does."""
    return self.prediction_network(images)

  def sample(self, images: tf.Tensor, labels: tf.Tensor, uniforms: tf.Tensor) -> TrainingSequences:
    """Draws glimpse sequences from the proposal.

    Args:
      images: float `[B, H, W, C]` in 0..1.
      labels: int `[B]`.
      uniforms: float `[M, B, N, 2]` in (0, 1), the random numbers that samples are made from.

    Returns:
      `TrainingSequences`.
    """
    num_samples = uniforms.shape[0]
    distribution = self.prediction_network.location_distribution
    rows = models.samples_last(uniforms)
    one_hot = tf.one_hot(labels, self.model_config.num_classes, dtype=images.dtype)
    target = tf.repeat(one_hot, num_samples, axis=0)
    log_proposal, entropy = [], []

    def choose_location(n: int, upper: tf.Tensor, prior: tf.Tensor) -> tf.Tensor:
      proposal = self.inference_network(target, upper) if self.inference_network else prior
      # Scores see the sample as a constant, so that no gradient flows along the draw.
      location = tf.stop_gradient(distribution.sample(proposal, rows[:, n]))
      log_proposal.append(distribution.log_prob(proposal, location))
      entropy.append(distribution.entropy(proposal))
      return location

    sequences = self.prediction_network.unroll(images, num_samples, choose_location)
    return TrainingSequences(
      sequences=sequences,
      log_proposal=models.samples_first(tf.stack(log_proposal, axis=1), num_samples),
      proposal_entropy=models.samples_first(tf.stack(entropy, axis=1), num_samples),
      log_likelihood=tf.reduce_sum(sequences.log_probs * one_hot, axis=-1),
    )

  def losses_per_image(self, drawn: TrainingSequences) -> tuple[tf.Tensor, tf.Tensor]:
    """The prediction network's and the inference network's loss, each float `[B]`, nats."""
    objective = self.objective_config
    log_prior = tf.reduce_sum(drawn.sequences.log_prior, axis=-1)
    log_proposal = tf.reduce_sum(drawn.log_proposal, axis=-1)
    prior_variate = proposal_variate = None
    if objective.prior_control_variate:
      prior_variate = objectives.prior_control_variate(log_prior, log_proposal)
    if objective.proposal_control_variate:
      proposal_variate = objectives.proposal_control_variate(log_proposal)
    prediction_loss = objectives.wake_likelihood_loss(
      drawn.log_weights,
      drawn.log_likelihood,
      equal_weights=objective.likelihood_weights == "equal",
    ) + objectives.wake_prior_loss(drawn.log_weights, log_prior, prior_variate)
    if not self.inference_network:
      return prediction_loss, tf.zeros_like(prediction_loss)
    return prediction_loss, objectives.wake_proposal_loss(
      drawn.log_weights, log_proposal, proposal_variate
    )

  def train_step(self, data: tuple[tf.Tensor, tf.Tensor]) -> dict[str, tf.Tensor]:
    """One update of both networks on images `[B, H, W, C]` and labels `[B]`."""
    images, labels = images_and_labels(data)
    uniforms = self._uniforms(images, self.objective_config.num_samples, self.optimizer.iterations)
    with self._tracing(), tf.GradientTape() as tape:
      drawn = self.sample(images, labels, uniforms)
      prediction_loss, inference_loss = self.losses_per_image(drawn)
      loss = tf.reduce_mean(prediction_loss + inference_loss)
    # Each loss reaches its own network alone, so one backward pass serves both.
    variables = [self.prediction_network.trainable_variables]
    if self.inference_network:
      variables.append(self.inference_network.trainable_variables)
    gradients, norms = zip(
      *(tf.clip_by_global_norm(group, self.clip_norm) for group in tape.gradient(loss, variables)),
      strict=True,
    )
    self.optimizer.apply(
      [gradient for group in gradients for gradient in group],
      [variable for group in variables for variable in group],
    )
    wrong = tf.argmax(drawn.sequences.log_probs, axis=-1) != tf.cast(labels, tf.int64)
    self._update(
      loss=loss,
      log_likelihood=drawn.log_likelihood,
      error_percent=100.0 * tf.cast(wrong, tf.float32),
      prediction_gradient_norm=norms[0],
      inference_gradient_norm=norms[1] if self.inference_network else 0.0,
      **self._proposal_figures(drawn),
    )
    return {name: self._trackers[name].result() for name in TRAINING_METRICS}

  def test_step(self, data: tuple[tf.Tensor, tf.Tensor]) -> dict[str, tf.Tensor]:
    """Scores images `[B, H, W, C]` and labels `[B]`, with glimpses at the prior's mode, sampled
    from the prior, and sampled from the proposal."""
    images, labels = images_and_labels(data)
    samples = self.num_evaluation_samples
    # Counts the images so far: Keras resets it, so each evaluation draws the same numbers.
    step = tf.cast(self._trackers["bound"].count, tf.int32)
    uniforms = self._uniforms(images, samples + self.objective_config.num_samples, step)
    with self._tracing():
      greedy = self.prediction_network.attend(images).log_probs[0]
      sampled = self.prediction_network.attend(images, uniforms[:samples]).log_probs
      drawn = self.sample(images, labels, uniforms[samples:])
    averaged = numerics.log_mean_exp(sampled)
    target = tf.cast(labels, tf.int64)
    one_hot = tf.one_hot(labels, self.model_config.num_classes, dtype=images.dtype)
    self._update(
      error_percent=100.0 * tf.cast(tf.argmax(greedy, axis=-1) != target, tf.float32),
      error_percent_averaged=100.0 * tf.cast(tf.argmax(averaged, axis=-1) != target, tf.float32),
      log_likelihood=tf.reduce_sum(averaged * one_hot, axis=-1),
      **self._proposal_figures(drawn),
    )
    return {name: self._trackers[name].result() for name in EVALUATION_METRICS}

  def predict_step(self, data: Any) -> dict[str, tf.Tensor]:
    """Answers for one batch of images."""
    with self._tracing():
      return super().predict_step(data)

  def fit(self, x: Any = None, y: Any = None, **kwargs) -> keras.callbacks.History:
    """Trains as `keras.Model.fit` does, on checked images and labels.

    Raises:
      ValueError: if arrays break a rule of the input (shape, range, finite pixels, labels).
      tf.errors.InvalidArgumentError: if a batch of a dataset does.
    """
    if kwargs.get("validation_data") is not None:
      validation = kwargs["validation_data"]
      checked = (
        self._checked(*images_and_labels(validation))
        if isinstance(validation, tuple | list)
        else self._checked(validation, None)
      )
      kwargs["validation_data"] = checked if checked[1] is not None else checked[0]
    if isinstance(x, tf.data.Dataset):
      kwargs.setdefault("shuffle", False)  # Keras cannot shuffle a dataset, and warns by default.
    x, y = self._checked(x, y)
    return super().fit(x, y, **kwargs)

  def evaluate(self, x: Any = None, y: Any = None, **kwargs) -> Any:
    """Evaluates as `keras.Model.evaluate` does, on checked images and labels; see `fit`."""
    if not kwargs.get("_use_cached_eval_dataset"):  # During `fit`, Keras brings checked data.
      x, y = self._checked(x, y)
    return super().evaluate(x, y, **kwargs)

  def _checked(self, x: Any, y: Any) -> tuple[Any, Any]:
    shape, classes = self.model_config.image_shape, self.model_config.num_classes
    if isinstance(x, tf.data.Dataset):
      checked = x.map(
        lambda *batch: checks.check_batch(*images_and_labels(batch), shape, classes),
        num_parallel_calls=tf.data.AUTOTUNE,
      )
      return checked.prefetch(tf.data.AUTOTUNE), None
    if not hasattr(x, "__array__") or not hasattr(y, "__array__"):
      raise ValueError(
        f"x of {type(x).__name__} and y of {type(y).__name__}: must be arrays of images and "
        "labels, or x a tf.data.Dataset of such batches"
      )
    x, y = np.asarray(x), np.asarray(y)
    checks.check_arrays(x, y, shape, classes)
    return x, y

  def _tracing(self) -> contextlib.AbstractContextManager:
    """The way to cut glimpses that is fastest on this device, for what is traced inside."""
    on_cpu = not tf.config.list_logical_devices("GPU")
    compiled = self.jit_compile and not tf.executing_eagerly()
    return self.prediction_network.glimpse_sensor.loop_over_images(compiled and on_cpu)

  def _uniforms(self, images: tf.Tensor, samples: int, step: tf.Tensor) -> tf.Tensor:
    shape = [samples, tf.shape(images)[0], self.model_config.num_glimpses, 2]
    return stateless_uniforms(shape, tf.stack([self.seed, tf.cast(step, tf.int32)]))

  def _proposal_figures(self, drawn: TrainingSequences) -> dict[str, tf.Tensor]:
    weights = numerics.normalize_log_weights(drawn.log_weights)
    return {
      "bound": objectives.multi_sample_bound(drawn.log_weights),
      "effective_sample_size": numerics.effective_sample_size(weights),
      "prior_entropy": drawn.sequences.prior_entropy,
      "proposal_entropy": drawn.proposal_entropy,
    }

  def _update(self, **values: tf.Tensor) -> None:
    for name, value in values.items():
      self._trackers[name].update_state(value)

  def get_config(self) -> dict[str, Any]:
    """Returns the constructor's arguments, ready for JSON."""
    return {
      "name": self.name,
      "model_config": self.model_config.to_dict(),
      "objective_config": vars(self.objective_config).copy(),
      "clip_norm": self.clip_norm,
      "num_evaluation_samples": self.num_evaluation_samples,
      "seed": self.seed,
    }

  @classmethod
  def from_config(cls, config, custom_objects=None):
    """Makes the learner that `get_config` described."""
    return cls(
      **{
        **config,
        "model_config": ModelConfig.from_dict(config["model_config"]),
        "objective_config": ObjectiveConfig(**config["objective_config"]),
      }
    )
