"""Glimpse sequences for training: drawn from the prior, the proposal or a mixture, and scored.

All randomness comes in as uniform numbers, so that a draw is the same eagerly, in a graph and
compiled.
"""

from collections.abc import Callable
from typing import NamedTuple, Protocol

import tensorflow as tf

from wsram_tf.learning.sequences import (
  ChooseLocation,
  GlimpseSequences,
  along_sequences,
  samples_last,
)
from wsram_tf.locations import LocationDistribution

__all__ = [
  "DrawnSequences",
  "Proposal",
  "ProposalNetwork",
  "Sampler",
  "draw",
  "score_sequences",
  "stateless_uniforms",
]


class Sampler(NamedTuple):
  """The distribution that training samples come from.

  Attributes:
    samples_from: `prior`, `inference` (the proposal) or `mixture` of both.
    prior_fraction: of a mixture, the probability that a glimpse comes from the prior.
    temperature: of what is sampled from; 1 changes nothing.
  """

  samples_from: str
  prior_fraction: float = 0.5
  temperature: float | tf.Tensor = 1.0

  @property
  def numbers_a_glimpse(self) -> int:
    """Uniform numbers that a glimpse takes: for the location, and for a mixture's component."""
    return 3 if self.samples_from == "mixture" else 2


class DrawnSequences(NamedTuple):
  """M glimpse sequences for each of B images, scored by both networks.

  Attributes:
    sequences: what the prediction network says of them.
    log_sampling: float `[M, B, N]`, nats, of the distribution that each location was drawn from.
    log_proposal: float `[M, B, N]`, nats, of the inference network; None where there is none.
    proposal_entropy: float `[M, B, N]`, nats, of the inference network, else of the prior.
  """

  sequences: GlimpseSequences
  log_sampling: tf.Tensor
  log_proposal: tf.Tensor | None
  proposal_entropy: tf.Tensor


class ProposalNetwork(Protocol):
  """An inference network, whatever its target is."""

  def __call__(self, target: tf.Tensor, upper: tf.Tensor, keys: tf.Tensor | None) -> tf.Tensor:
    """The proposal's parameters, float `[R, P]`, of rows of targets and states, and the keys."""


class Proposal(NamedTuple):
  """An inference network with its targets.

  Attributes:
    network: maps rows of targets, states and the keys to the proposal's parameters `[R, P]`.
    targets: float `[M, B, N, E]`, the target's encoding before each glimpse.
    keys: what the network's `keys` returned.
  """

  network: ProposalNetwork
  targets: tf.Tensor
  keys: tf.Tensor | None

  def along(self, upper: tf.Tensor) -> tf.Tensor:
    """The parameters before each glimpse, float `[M, B, N, P]`, of sequences drawn before.

    Args:
      upper: float `[M, B, N, D]`, as `GlimpseSequences` has it.
    """
    return along_sequences(
      lambda targets, rows: self.network(targets, rows, self.keys), self.targets, upper
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


def draw(
  distribution: LocationDistribution,
  unroll: Callable[[int, ChooseLocation], GlimpseSequences],
  proposal: Proposal | None,
  uniforms: tf.Tensor,
  sampler: Sampler,
) -> DrawnSequences:
  """Draws M sequences for each image, whatever the networks are, and scores them.

  Args:
    distribution: the family that prior and proposal share.
    unroll: takes M and a choice of locations, as `PredictionNetwork.unroll` does.
    proposal: the inference network with the targets; None if the sampler needs none.
    uniforms: float `[M, B, N, sampler.numbers_a_glimpse]` in (0, 1).
    sampler: what to draw from.
  """
  temperature = sampler.temperature
  rows = samples_last(uniforms)
  targets = samples_last(proposal.targets) if proposal else None

  def choose_location(n: int, upper: tf.Tensor, prior: tf.Tensor) -> tf.Tensor:
    numbers = rows[:, n, :2]
    if sampler.samples_from == "prior":
      return distribution.sample(prior, numbers, temperature)
    proposed = proposal.network(targets[:, n], upper, proposal.keys)
    from_proposal = distribution.sample(proposed, numbers, temperature)
    if sampler.samples_from == "inference":
      return from_proposal
    from_prior = distribution.sample(prior, numbers, temperature)
    return tf.where(rows[:, n, 2:] < sampler.prior_fraction, from_prior, from_proposal)

  sequences = unroll(uniforms.shape[0], choose_location)
  parameters = proposal.along(sequences.upper) if proposal else None
  return score_sequences(distribution, sequences, parameters, sampler)


def score_sequences(
  distribution: LocationDistribution,
  sequences: GlimpseSequences,
  proposal_parameters: tf.Tensor | None,
  sampler: Sampler,
) -> DrawnSequences:
  """Scores sequences under every distribution, as drawn by a sampler.

  Args:
    distribution: the family that prior and proposal share.
    sequences: M for each of B images.
    proposal_parameters: float `[M, B, N, P]`, what the inference network emits before each glimpse;
      None where there is no inference network.
    sampler: what they were drawn from.
  """
  locations, temperature = sequences.locations, sampler.temperature
  from_prior = distribution.log_prob(sequences.prior_parameters, locations, temperature)
  if proposal_parameters is None:
    return DrawnSequences(sequences, from_prior, None, sequences.prior_entropy)
  from_proposal = distribution.log_prob(proposal_parameters, locations, temperature)
  log_sampling = {
    "prior": lambda: from_prior,
    "inference": lambda: from_proposal,
    "mixture": lambda: log_mixture(from_prior, from_proposal, sampler.prior_fraction),
  }[sampler.samples_from]()
  return DrawnSequences(
    sequences=sequences,
    log_sampling=log_sampling,
    log_proposal=distribution.log_prob(proposal_parameters, locations),
    proposal_entropy=distribution.entropy(proposal_parameters),
  )


def log_mixture(log_first: tf.Tensor, log_second: tf.Tensor, fraction: float) -> tf.Tensor:
  """log(fraction exp(first) + (1 - fraction) exp(second)), nats; 0 < fraction < 1."""
  fraction = tf.constant(fraction, log_first.dtype)
  both = [log_first + tf.math.log(fraction), log_second + tf.math.log1p(-fraction)]
  return tf.reduce_logsumexp(tf.stack(both), axis=0)
