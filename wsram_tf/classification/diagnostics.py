"""How noisy an estimator's gradient is, and how far it and the proposal are from the exact answers.

The variance comes from repeated draws at fixed parameters, for any model. What is exact comes from
enumerating all glimpse sequences, for categorical locations on a grid that is small enough.
"""

import itertools
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from wsram_tf.classification.learner import WakeSleepLearner
from wsram_tf.classification.sampling import label_proposal
from wsram_tf.learning import sampling
from wsram_tf.locations import GridLocations

__all__ = [
  "MOST_SEQUENCES",
  "EnumeratedModel",
  "GradientMoments",
  "GradientProbe",
  "count_sequences",
  "enumerate_gradient",
  "enumerate_model",
]

# Glimpse sequences that are enumerated at most, and tuples of M of them.
MOST_SEQUENCES = 4096


class GradientMoments(NamedTuple):
  """The distribution of one network's gradient at fixed parameters.

  Attributes:
    mean: float64 `[P]`, over all of the network's parameters.
    variance: float, the sum over parameters of the variance.
  """

  mean: np.ndarray
  variance: float


class EnumeratedModel(NamedTuple):
  """The exact answers for each image.

  Attributes:
    log_marginal_likelihood: float `[B]`, nats, log p(y | image).
    proposal_divergence: float `[B]`, nats, KL(p(a | y, image) || q(a | y, image)), q being the
      inference network, or without one the prior.
  """

  log_marginal_likelihood: tf.Tensor
  proposal_divergence: tf.Tensor


class GradientProbe:
  """Measures the variance of a learner's gradient on one batch from repeated draws.

  Args:
    learner: what is measured; it is not changed.
    images: float `[B, H, W, C]` in 0..1.
    labels: int `[B]`.
    draws: how many gradients are drawn, at least 2.

  Raises:
    ValueError: if draws is below 2.
  """

  def __init__(self, learner: WakeSleepLearner, images: tf.Tensor, labels: tf.Tensor, draws: int):
    if draws < 2:
      raise ValueError(f"draws={draws}: must be at least 2, since a variance needs two")
    self.draws = draws

    @tf.function(autograph=False)
    def gradients(step: tf.Tensor, draw: tf.Tensor) -> dict[str, tf.Tensor]:
      # Training's own samples have the learner's seed and other second numbers.
      seed = tf.stack([learner.seed, -1 - draw])
      with tf.GradientTape() as tape:
        view = learner.prediction_network.look(images)
        losses, _, _ = learner.losses(view, labels, step, seed)
        loss = tf.reduce_mean(tf.add_n(list(losses.values())))
      return _flat_gradients(tape, loss, learner)

    self._gradients = gradients

  def moments(self, step: int) -> dict[str, GradientMoments]:
    """Mean and unbiased variance of each network's gradient, the schedules being at `step`."""
    drawn = [
      {name: value.numpy() for name, value in self._gradients(tf.constant(step), draw).items()}
      for draw in tf.range(self.draws)
    ]
    return {
      name: GradientMoments(
        np.mean([one[name] for one in drawn], axis=0, dtype=np.float64),
        float(np.var([one[name] for one in drawn], axis=0, ddof=1, dtype=np.float64).sum()),
      )
      for name in drawn[0]
    }


def enumerate_model(
  learner: WakeSleepLearner, images: tf.Tensor, labels: tf.Tensor
) -> EnumeratedModel:
  """The exact log-likelihood and the proposal's distance from the exact posterior.

  Args:
    learner: with categorical locations on a grid; differentiable.
    images: float `[B, H, W, C]` in 0..1.
    labels: int `[B]`.

  Raises:
    ValueError: if the locations are not categorical, or sequences are too many.
  """
  cells = _all_cells(learner)
  drawn = _score_cells(learner, images, labels, cells)
  scored = learner.score(drawn, labels)
  log_joint = tf.reduce_sum(scored.log_prior, axis=-1) + scored.log_likelihood[..., 0]  # [A, B]
  log_marginal = tf.reduce_logsumexp(log_joint, axis=0)
  log_posterior = log_joint - log_marginal
  proposal = scored.log_prior if scored.log_proposal is None else scored.log_proposal
  gap = log_posterior - tf.reduce_sum(proposal, axis=-1)
  divergence = tf.reduce_sum(tf.exp(log_posterior) * gap, axis=0)
  return EnumeratedModel(log_marginal, divergence)


def enumerate_gradient(
  learner: WakeSleepLearner, image: tf.Tensor, label: int, num_samples: int
) -> tuple[dict[str, GradientMoments], np.ndarray]:
  """The exact distribution of an estimator's gradient for one image, and what it estimates.

  Args:
    learner: with categorical locations on a grid; its own number of samples is not used.
    image: float `[H, W, C]` in 0..1.
    label: of the image.
    num_samples: M; all tuples of M sequences are laid out.

  Returns:
    moments of each network's gradient, in the wake phase, without exploration; the exact gradient
    of -log p(y | image) by the prediction network's parameters, float64 `[P]`.

  Raises:
    ValueError: if the locations are not categorical, or tuples are too many.
  """
  cells = _all_cells(learner)
  if len(cells) ** num_samples > MOST_SEQUENCES:
    raise ValueError(
      f"num_samples={num_samples}: {len(cells)} sequences make more than {MOST_SEQUENCES} tuples"
    )
  images, labels = image[tf.newaxis], tf.constant([label])

  @tf.function(autograph=False)
  def gradients(chosen: tf.Tensor) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
    with tf.GradientTape() as tape:
      drawn = _score_cells(learner, images, labels, chosen)
      scored = learner.score(drawn, labels)
      loss = learner.estimator.prediction_loss(scored)
      if learner.estimator.inference_loss:
        loss += learner.estimator.inference_loss(scored)
      if learner.estimator.baseline_signal:
        loss += learner.estimator.baseline_loss(scored)
      loss = tf.reduce_sum(loss)
    return tf.reduce_sum(scored.log_sampling), _flat_gradients(tape, loss, learner)

  tuples = itertools.product(range(len(cells)), repeat=num_samples)
  drawn = [gradients(tf.constant(cells[list(chosen)])) for chosen in tuples]
  probabilities = np.exp([log_probability.numpy() for log_probability, _ in drawn])
  moments = {}
  for name in drawn[0][1]:
    values = np.array([one[name].numpy() for _, one in drawn], np.float64)
    mean = probabilities @ values
    moments[name] = GradientMoments(mean, float((probabilities @ np.square(values - mean)).sum()))
  with tf.GradientTape() as tape:
    loss = -tf.reduce_sum(enumerate_model(learner, images, labels).log_marginal_likelihood)
  return moments, _flat_gradients(tape, loss, learner)["prediction"].numpy().astype(np.float64)


def _flat_gradients(
  tape: tf.GradientTape, loss: tf.Tensor, learner: WakeSleepLearner
) -> dict[str, tf.Tensor]:
  # TensorFlow's own variables: it cannot make up zeros for Keras' ones.
  variables = {
    name: [variable.value for variable in group]
    for name, group in learner.network_variables().items()
  }
  gradients = tape.gradient(loss, list(variables.values()), unconnected_gradients="zero")
  return {
    name: tf.concat([tf.reshape(gradient, [-1]) for gradient in group], axis=0)
    for name, group in zip(variables, gradients, strict=True)
  }


def count_sequences(learner: WakeSleepLearner) -> int | None:
  """The number of different glimpse sequences; None where locations are not categorical."""
  distribution = learner.prediction_network.location_distribution
  if not isinstance(distribution, GridLocations):
    return None
  return distribution.num_parameters**learner.model_config.num_glimpses


def _all_cells(learner: WakeSleepLearner) -> np.ndarray:
  """All sequences of cells, int `[A, N]`."""
  sequences, glimpses = count_sequences(learner), learner.model_config.num_glimpses
  if sequences is None:
    raise ValueError(
      f"location_distribution={learner.model_config.location.location_distribution}: must be grid "
      "or keyed_grid for sequences to be enumerated"
    )
  cells = learner.prediction_network.location_distribution.num_parameters
  if sequences > MOST_SEQUENCES:
    raise ValueError(
      f"num_glimpses={glimpses}: with {cells} cells there are more than {MOST_SEQUENCES} sequences"
    )
  return np.array(list(itertools.product(range(cells), repeat=glimpses)), np.int32)


def _score_cells(
  learner: WakeSleepLearner, images: tf.Tensor, labels: tf.Tensor, cells: tf.Tensor
) -> sampling.DrawnSequences:
  """Scores the same M sequences of cells, int `[M, N]`, for each image."""
  network, batch = learner.prediction_network, images.shape[0]
  distribution = network.location_distribution
  locations = distribution.centres(tf.convert_to_tensor(cells), images.dtype)  # [M, N, 2]
  samples = locations.shape[0]
  view = network.look(images)
  sequences = network.unroll(
    view, samples, lambda n, upper, prior: tf.tile(locations[:, n], [batch, 1])
  )
  proposal = None
  if learner.inference_network:
    target = tf.one_hot(labels, learner.model_config.num_classes, dtype=images.dtype)
    target = tf.broadcast_to(target, [samples, *target.shape])
    proposal = label_proposal(learner.inference_network, view, target, locations.shape[1])
    proposal = proposal.along(sequences.upper)
  return sampling.score_sequences(distribution, sequences, proposal, learner.sampler)
