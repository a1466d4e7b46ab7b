"""The learner: a Keras model whose training step is reweighted wake-sleep, or a rival of it."""

import contextlib
import math
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from wsram_tf import layers, models, numerics, objectives, sampling
from wsram_tf.config import ExplorationConfig, ModelConfig, ObjectiveConfig
from wsram_tf.data import checks

__all__ = ["WakeSleepLearner"]

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
  """Trains a prediction network by the estimator that is named, through `compile` and `fit`.

  `fit` and `evaluate` take float images `[B, H, W, C]` in 0..1 and integer labels `[B]`, as arrays
  or as a `tf.data.Dataset` of such batches, and refuse anything else by name. `predict` takes
  images and returns what `PredictionNetwork` returns.

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

  def __init__(
    self,
    model_config: ModelConfig,
    objective_config: ObjectiveConfig | None = None,
    exploration_config: ExplorationConfig | None = None,
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
    self.exploration_config = exploration_config or ExplorationConfig()
    self.clip_norm = clip_norm
    self.num_evaluation_samples = num_evaluation_samples
    self.seed = seed
    self.estimator = objectives.ESTIMATORS[self.objective_config.estimator]
    self.prediction_network = models.PredictionNetwork(model_config, name="prediction_network")
    self.inference_network = self.baseline_network = None
    if self.estimator.inference_loss:
      self.inference_network = models.InferenceNetwork(
        self.prediction_network.location_distribution.num_parameters,
        units=model_config.units,
        target_size=model_config.num_classes,
        state_size=model_config.units,
        name="inference_network",
      )
    self.sampler = sampling.Sampler(
      self.estimator.samples_from, self.objective_config.prior_fraction
    )
    if self.estimator.baseline_signal:
      self.baseline_network = layers.BaselineNetwork(model_config.units, name="baseline_network")
      self.baseline_network.build((None, model_config.units))
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
    shape = [num_samples, tf.shape(images)[0], glimpses, numbers]
    return sampling.stateless_uniforms(shape, seed)

  def sample(
    self,
    images: tf.Tensor,
    labels: tf.Tensor,
    uniforms: tf.Tensor,
    temperature: float | tf.Tensor = 1.0,
  ) -> sampling.DrawnSequences:
    """Draws glimpse sequences from the estimator's sampling distribution.

    Args:
      images: float `[B, H, W, C]` in 0..1.
      labels: int `[B]`.
      uniforms: what `uniforms` returned.
      temperature: of what is sampled from.
    """
    target = tf.one_hot(labels, self.model_config.num_classes, dtype=images.dtype)
    sampler = self.sampler._replace(temperature=temperature)
    return sampling.draw_sequences(
      self.prediction_network, self.inference_network, images, target, uniforms, sampler
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

  def losses(
    self, images: tf.Tensor, labels: tf.Tensor, step: tf.Tensor, seed: tf.Tensor
  ) -> tuple[dict[str, tf.Tensor], sampling.DrawnSequences, objectives.ScoredSequences]:
    """Draws the samples of one update and takes each network's loss.

    Args:
      images: float `[B, H, W, C]` in 0..1.
      labels: int `[B]`.
      step: int, updates made before, by which the schedules go.
      seed: int32 `[2]`, the first not negative; it decides the samples.

    Returns:
      the losses, float `[B]`, by network; the sequences; what the estimator saw of them.
    """
    exploration = self.exploration_config
    temperature = objectives.linear_schedule(
      exploration.temperature, 1.0, exploration.temperature_updates, step
    )
    uniforms = self.uniforms(images, self.objective_config.num_samples, seed)
    drawn = self.sample(images, labels, uniforms, temperature)
    scored = self.score(drawn, labels)
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
      distribution = self.prediction_network.location_distribution
      cells = distribution.cell_probabilities(drawn.sequences.prior_parameters)
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
    # One dream an image, from a stream of its own, so that the samples stay what they are.
    numbers = self.uniforms(images, 2, tf.stack([-1 - seed[0], seed[1]]))
    log_proposal = sampling.dream(
      self.prediction_network,
      self.inference_network,
      images,
      numbers[:1, ..., :2],
      numbers[1:, :, 0, 0],
    )
    sleep = tf.reduce_sum(objectives.sleep_proposal_loss(log_proposal), axis=-1)
    if objective.inference_phase == "sleep":
      return sleep
    fraction = objectives.linear_schedule(1.0, 0.0, objective.sleep_updates, step)
    return fraction * sleep + (1.0 - fraction) * self.estimator.inference_loss(scored)

  def network_variables(self) -> dict[str, list[keras.Variable]]:
    """What each loss trains, by network."""
    networks = {
      "prediction": self.prediction_network,
      "inference": self.inference_network,
      "baseline": self.baseline_network,
    }
    return {name: net.trainable_variables for name, net in networks.items() if net is not None}

  def train_step(self, data: tuple[tf.Tensor, tf.Tensor]) -> dict[str, tf.Tensor]:
    """One update of all networks on images `[B, H, W, C]` and labels `[B]`."""
    images, labels = images_and_labels(data)
    step = self.optimizer.iterations
    seed = tf.stack([self.seed, tf.cast(step, tf.int32)])
    with self._tracing(), tf.GradientTape() as tape:
      losses, drawn, scored = self.losses(images, labels, step, seed)
      loss = tf.reduce_mean(tf.add_n(list(losses.values())))
    # Each loss reaches its own network alone, so one backward pass serves all.
    variables = self.network_variables()
    groups = zip(variables, tape.gradient(loss, list(variables.values())), strict=True)
    clipped = {name: tf.clip_by_global_norm(group, self.clip_norm) for name, group in groups}
    norms = {name: norm for name, (_, norm) in clipped.items()}
    self.optimizer.apply(
      [gradient for group, _ in clipped.values() for gradient in group],
      [variable for group in variables.values() for variable in group],
    )
    self._update(
      loss=loss,
      log_likelihood=scored.log_likelihood,
      error_percent=100.0 * (1.0 - scored.is_correct),
      prediction_gradient_norm=norms["prediction"],
      inference_gradient_norm=norms.get("inference", 0.0),
      **self._sample_figures(drawn, scored),
    )
    return {name: self._trackers[name].result() for name in TRAINING_METRICS}

  def test_step(self, data: tuple[tf.Tensor, tf.Tensor]) -> dict[str, tf.Tensor]:
    """Scores images `[B, H, W, C]` and labels `[B]`, with glimpses at the prior's mode, sampled
    from the prior, and sampled as in training at temperature 1."""
    images, labels = images_and_labels(data)
    samples = self.num_evaluation_samples
    # Counts the images so far: Keras resets it, so each evaluation draws the same numbers.
    step = tf.cast(self._trackers["bound"].count, tf.int32)
    seed = tf.stack([self.seed, step])
    uniforms = self.uniforms(images, samples + self.objective_config.num_samples, seed)
    with self._tracing():
      greedy = self.prediction_network.attend(images).log_probs[0]
      sampled = self.prediction_network.attend(images, uniforms[:samples, ..., :2]).log_probs
      drawn = self.sample(images, labels, uniforms[samples:])
      scored = self.score(drawn, labels)
    averaged = numerics.log_mean_exp(sampled)
    target = tf.cast(labels, tf.int64)
    one_hot = tf.one_hot(labels, self.model_config.num_classes, dtype=images.dtype)
    self._update(
      error_percent=100.0 * tf.cast(tf.argmax(greedy, axis=-1) != target, tf.float32),
      error_percent_averaged=100.0 * tf.cast(tf.argmax(averaged, axis=-1) != target, tf.float32),
      log_likelihood=tf.reduce_sum(averaged * one_hot, axis=-1),
      **self._sample_figures(drawn, scored),
    )
    return {name: self._trackers[name].result() for name in EVALUATION_METRICS}

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
    """The way to cut glimpses that is fastest on this device, for what is traced inside.

    Not for `predict`, whose memory must not grow by a copy of large images.
    """
    on_cpu = not tf.config.list_logical_devices("GPU")
    compiled = self.jit_compile and not tf.executing_eagerly()
    return self.prediction_network.glimpse_sensor.loop_over_images(compiled and on_cpu)

  def _sample_figures(
    self, drawn: sampling.DrawnSequences, scored: objectives.ScoredSequences
  ) -> dict[str, tf.Tensor]:
    log_weights = scored.log_weights[..., 0]
    weights = numerics.normalize_log_weights(log_weights)
    return {
      "bound": objectives.multi_sample_bound(log_weights),
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
      "exploration_config": vars(self.exploration_config).copy(),
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
        "exploration_config": ExplorationConfig(**config["exploration_config"]),
      }
    )
