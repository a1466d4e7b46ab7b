"""Variance of gradients, and exact likelihoods, posteriors and gradients by enumeration.

`GradientProbe` estimates the variance of any model's gradient from repeated draws at fixed
parameters. The enumeration covers all glimpse sequences; it needs categorical locations on a small
grid, and covers the chosen scales too.
"""

import itertools
import math
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from wsram_tf.classification.learner import WakeSleepLearner
from wsram_tf.classification.sampling import label_proposal
from wsram_tf.learning import sampling
from wsram_tf.locations import GridLocations, LocationDistribution, ScaledLocations

__all__ = [
  "MOST_SEQUENCES",
  "EnumeratedModel",
  "GradientMoments",
  "GradientProbe",
  "count_sequences",
  "enumerate_gradient",
  "enumerate_model",
]

# The largest number of glimpse sequences, and of tuples of M sequences, to enumerate.
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
  """Exact log-likelihood and divergence of each image.

  Attributes:
    log_marginal_likelihood: float `[B]`, nats, log p(y | image).
    proposal_divergence: float `[B]`, nats, KL(p(a | y, image) || q(a | y, image)), where q is the
      inference network, or the prior where there is none.
  """

  log_marginal_likelihood: tf.Tensor
  proposal_divergence: tf.Tensor


class GradientProbe:
  """Measures the variance of a learner's gradient on one batch from repeated draws.

  Args:
    learner: the learner to measure; its weights stay.
    images: float `[B, H, W, C]` in 0..1.
    labels: int `[B]`.
    draws: number of gradients to draw, at least 2.

  Raises:
    ValueError: if draws is below 2.
  """

  def __init__(self, learner: WakeSleepLearner, images: tf.Tensor, labels: tf.Tensor, draws: int):
    if draws < 2:
      raise ValueError(f"draws={draws}: must be at least 2, because one draw has no variance")
    self.draws = draws

    @tf.function(autograph=False)
    def gradients(step: tf.Tensor, draw: tf.Tensor) -> dict[str, tf.Tensor]:
      # Training uses the same first number and second numbers of at least 0.
      seed = tf.stack([learner.seed, -1 - draw])
      with tf.GradientTape() as tape:
        view = learner.prediction_network.look(images)
        losses, _, _ = learner.losses(view, labels, step, seed)
        loss = tf.reduce_mean(tf.add_n(list(losses.values())))
      return _flat_gradients(tape, loss, learner)

    self._gradients = gradients

  def moments(self, step: int) -> dict[str, GradientMoments]:
    """Mean and unbiased variance of each network's gradient, with the schedules at `step`."""
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
  """The exact log-likelihood, and the proposal's divergence from the exact posterior.

  Gradients pass to the learner's weights.

  Args:
    learner: with categorical locations on a grid.
    images: float `[B, H, W, C]` in 0..1.
    labels: int `[B]`.

  Raises:
    ValueError: if the locations are not categorical, or there are too many sequences.
  """
  actions = _all_sequences(learner)
  drawn = _score_sequences(learner, images, labels, actions)
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
  """The exact moments of an estimator's gradient for one image, and the exact gradient.

  Args:
    learner: with categorical locations on a grid; its own number of samples does not count.
    image: float `[H, W, C]` in 0..1.
    label: of the image.
    num_samples: M; the enumeration covers all tuples of M sequences.

  Returns:
    moments of each network's gradient, in the wake phase, without exploration; the exact gradient
    of -log p(y | image) with respect to the prediction network's parameters, float64 `[P]`.

  Raises:
    ValueError: if the locations are not categorical, or there are too many tuples.
  """
  sequences = _all_sequences(learner)
  if len(sequences) ** num_samples > MOST_SEQUENCES:
    raise ValueError(
      f"num_samples={num_samples}: must give at most {MOST_SEQUENCES} tuples of the "
      f"{len(sequences)} sequences"
    )
  images, labels = image[tf.newaxis], tf.constant([label])

  @tf.function(autograph=False)
  def gradients(chosen: tf.Tensor) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
    with tf.GradientTape() as tape:
      drawn = _score_sequences(learner, images, labels, chosen)
      scored = learner.score(drawn, labels)
      loss = learner.estimator.prediction_loss(scored)
      if learner.estimator.inference_loss:
        loss += learner.estimator.inference_loss(scored)
      if learner.estimator.baseline_signal:
        loss += learner.estimator.baseline_loss(scored)
      loss = tf.reduce_sum(loss)
    return tf.reduce_sum(scored.log_sampling), _flat_gradients(tape, loss, learner)

  tuples = itertools.product(range(len(sequences)), repeat=num_samples)
  drawn = [gradients(tf.gather(sequences, chosen)) for chosen in tuples]
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
  # The tape gives zeros for unconnected TensorFlow variables, but not for Keras variables.
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
  """The number of distinct glimpse sequences; None where locations are not categorical.

  With `no_return_radius` it is an upper bound.
  """
  family, config = learner.prediction_network.location_distribution, learner.model_config
  actions = _count_actions(family)
  if actions is None:
    return None
  # A glimpse takes its cell, at every scale, from the glimpses after it.
  taken = getattr(family, "num_scales", 1) if config.location.no_return else 0
  return math.prod(actions - n * taken for n in range(config.num_glimpses))


def _count_actions(distribution: LocationDistribution) -> int | None:
  if isinstance(distribution, ScaledLocations):
    cells = _count_actions(distribution.locations)
    return None if cells is None else cells * distribution.num_scales
  return distribution.num_parameters if isinstance(distribution, GridLocations) else None


def _all_actions(distribution: LocationDistribution, dtype: tf.DType) -> tf.Tensor:
  """All actions of one glimpse, float `[actions, A]`; the scale varies fastest."""
  if isinstance(distribution, ScaledLocations):
    locations = _all_actions(distribution.locations, dtype)
    scales = tf.tile(tf.range(distribution.num_scales), [locations.shape[0]])
    locations = tf.repeat(locations, distribution.num_scales, axis=0)
    return tf.concat([locations, tf.cast(scales, dtype)[:, tf.newaxis]], axis=-1)
  return distribution.centres(tf.range(distribution.num_parameters), dtype)


def _all_sequences(learner: WakeSleepLearner) -> tf.Tensor:
  """All sequences of actions, float `[sequences, N, A]`."""
  sequences, glimpses = count_sequences(learner), learner.model_config.num_glimpses
  if sequences is None:
    raise ValueError(
      f"location_distribution={learner.model_config.location.location_distribution}: must be grid "
      "or keyed_grid, because only their sequences can be enumerated"
    )
  network = learner.prediction_network
  actions = _all_actions(network.location_distribution, network.variable_dtype)
  if sequences > MOST_SEQUENCES:
    raise ValueError(
      f"num_glimpses={glimpses}: must give at most {MOST_SEQUENCES} sequences of "
      f"{actions.shape[0]} actions"
    )
  numbers = list(itertools.product(range(actions.shape[0]), repeat=glimpses))
  if learner.model_config.location.no_return:
    places = np.stack(
      np.divmod(network.cells(actions).numpy(), learner.model_config.context_side), axis=-1
    )
    radius = learner.model_config.location.no_return_radius
    numbers = [
      row
      for row in numbers
      if all(
        np.abs(places[one] - places[other]).max() > radius
        for one, other in itertools.combinations(row, 2)
      )
    ]
  return tf.gather(actions, np.array(numbers, np.int32))


def _score_sequences(
  learner: WakeSleepLearner, images: tf.Tensor, labels: tf.Tensor, actions: tf.Tensor
) -> sampling.DrawnSequences:
  """Scores the same M sequences of actions, float `[M, N, A]`, for each image."""
  network, batch = learner.prediction_network, images.shape[0]
  samples = actions.shape[0]
  view = network.look(images)
  sequences = network.unroll(
    view, samples, lambda n, upper, prior: tf.tile(actions[:, n], [batch, 1])
  )
  proposal = None
  if learner.inference_network:
    target = tf.one_hot(labels, learner.model_config.num_classes, dtype=actions.dtype)
    target = tf.broadcast_to(target, [samples, *target.shape])
    proposal = label_proposal(network, learner.inference_network, view, target)
    proposal = proposal.along(sequences)
  return sampling.score_sequences(
    network.location_distribution, sequences, proposal, learner.sampler
  )
