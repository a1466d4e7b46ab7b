"""Draws glimpse sequences from the prior, the proposal or a mixture, and scores them.

Uniform numbers are the only randomness, so that draws are equal eagerly, in a graph and compiled.
"""

from collections.abc import Callable
from typing import NamedTuple, Protocol

import tensorflow as tf

from wsram_tf.learning.no_return import restrict
from wsram_tf.learning.sequences import (
  ChooseAction,
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
  """The sampling distribution of training.

  Attributes:
    samples_from: `prior`, `inference` (the proposal) or `mixture` of both.
    prior_fraction: probability that a glimpse of a mixture comes from the prior.
    temperature: of the sampling distribution; 1 changes nothing.
    action_size: A, numbers an action; see `locations.action_size`.

  Example:

  >>> Sampler("mixture").numbers_a_glimpse
  3
  """

  samples_from: str
  prior_fraction: float = 0.5
  temperature: float | tf.Tensor = 1.0
  action_size: int = 2

  @property
  def numbers_a_glimpse(self) -> int:
    """Uniform numbers per glimpse: A for the action, one for the component of a mixture."""
    return self.action_size + (self.samples_from == "mixture")


class DrawnSequences(NamedTuple):
  """M glimpse sequences for each of B images, scored by both networks.

  Attributes:
    sequences: the sequences with the prediction network's outputs.
    log_sampling: float `[M, B, N]`, nats, of the sampling distribution of each action.
    log_proposal: float `[M, B, N]`, nats, of the inference network; None where there is none.
    proposal_entropy: float `[M, B, N]`, nats, of the inference network, else of the prior.
  """

  sequences: GlimpseSequences
  log_sampling: tf.Tensor
  log_proposal: tf.Tensor | None
  proposal_entropy: tf.Tensor


class ProposalNetwork(Protocol):
  """An inference network, for any kind of target."""

  def __call__(self, target: tf.Tensor, upper: tf.Tensor, keys: tf.Tensor | None) -> tf.Tensor:
    """The proposal's parameters, float `[R, P]`, from rows of targets and states, and the keys."""


class Proposal(NamedTuple):
  """An inference network with its targets.

  Attributes:
    network: maps rows of targets, states and the keys to the proposal's parameters `[R, P]`.
    targets: float `[M, B, N, E]`, the target's encoding before each glimpse.
    keys: what the network's `keys` returned.
    no_return: whether the cells that the prior's parameters exclude get no probability.
  """

  network: ProposalNetwork
  targets: tf.Tensor
  keys: tf.Tensor | None
  no_return: bool = False

  def before(self, n: int, upper: tf.Tensor, prior: tf.Tensor) -> tf.Tensor:
    """The parameters before glimpse n, float `[B * M, P]`.

    Args:
      n: from 0.
      upper: float `[B * M, D]`, as `ChooseAction` takes it.
      prior: float `[B * M, P]`, likewise.
    """
    proposed = self.network(samples_last(self.targets[:, :, n]), upper, self.keys)
    return restrict(proposed, prior) if self.no_return else proposed

  def along(self, sequences: GlimpseSequences) -> tf.Tensor:
    """The parameters before each glimpse of given sequences, float `[M, B, N, P]`."""
    proposed = along_sequences(
      lambda targets, rows: self.network(targets, rows, self.keys), self.targets, sequences.upper
    )
    return restrict(proposed, sequences.prior_parameters) if self.no_return else proposed


def stateless_uniforms(shape: list, seed: tf.Tensor) -> tf.Tensor:
  """Uniform numbers strictly inside (0, 1), equal eagerly, in a graph and compiled.

  Args:
    shape: of the result.
    seed: int `[2]`.

  Returns:
    float32, from 2**-24 to 1 - 2**-24, so that a normal's quantile is finite.

  Example:

  >>> stateless_uniforms([2, 3], tf.constant([0, 1])).shape
  TensorShape([2, 3])
  """
  # The default generator depends on the device, so the generator is explicit. Its bits are the
  # source, because XLA converts them to floats in its own way.
  bits = tf.random.stateless_uniform(shape, seed, None, None, tf.uint32, alg="philox")
  high = tf.bitwise.right_shift(bits, tf.constant(9, tf.uint32))
  return (tf.cast(high, tf.float32) + 0.5) * 2.0**-23


def draw(
  distribution: LocationDistribution,
  unroll: Callable[[int, ChooseAction], GlimpseSequences],
  proposal: Proposal | None,
  uniforms: tf.Tensor,
  sampler: Sampler,
) -> DrawnSequences:
  """Draws M sequences for each image and scores them under every distribution.

  Args:
    distribution: the family of prior and proposal.
    unroll: maps M and a function that chooses actions to sequences; see
      `PredictionNetwork.unroll`.
    proposal: the inference network with the targets; None if the sampler needs none.
    uniforms: float `[M, B, N, sampler.numbers_a_glimpse]` in (0, 1).
    sampler: the sampling distribution.
  """
  temperature = sampler.temperature
  rows = samples_last(uniforms)

  def choose_action(n: int, upper: tf.Tensor, prior: tf.Tensor) -> tf.Tensor:
    numbers = rows[:, n, : sampler.action_size]
    if sampler.samples_from == "prior":
      return distribution.sample(prior, numbers, temperature)
    proposed = proposal.before(n, upper, prior)
    from_proposal = distribution.sample(proposed, numbers, temperature)
    if sampler.samples_from == "inference":
      return from_proposal
    from_prior = distribution.sample(prior, numbers, temperature)
    return tf.where(
      rows[:, n, sampler.action_size :] < sampler.prior_fraction, from_prior, from_proposal
    )

  sequences = unroll(uniforms.shape[0], choose_action)
  parameters = proposal.along(sequences) if proposal else None
  return score_sequences(distribution, sequences, parameters, sampler)


def score_sequences(
  distribution: LocationDistribution,
  sequences: GlimpseSequences,
  proposal_parameters: tf.Tensor | None,
  sampler: Sampler,
) -> DrawnSequences:
  """Scores sequences of a sampler under every distribution.

  Args:
    distribution: the family of prior and proposal.
    sequences: M for each of B images.
    proposal_parameters: float `[M, B, N, P]`, the inference network's output before each glimpse;
      None where there is no inference network.
    sampler: the distribution that they come from.
  """
  actions, temperature = sequences.actions, sampler.temperature
  from_prior = distribution.log_prob(sequences.prior_parameters, actions, temperature)
  if proposal_parameters is None:
    return DrawnSequences(sequences, from_prior, None, sequences.prior_entropy)
  from_proposal = distribution.log_prob(proposal_parameters, actions, temperature)
  log_sampling = {
    "prior": lambda: from_prior,
    "inference": lambda: from_proposal,
    "mixture": lambda: log_mixture(from_prior, from_proposal, sampler.prior_fraction),
  }[sampler.samples_from]()
  return DrawnSequences(
    sequences=sequences,
    log_sampling=log_sampling,
    log_proposal=distribution.log_prob(proposal_parameters, actions),
    proposal_entropy=distribution.entropy(proposal_parameters),
  )


def log_mixture(log_first: tf.Tensor, log_second: tf.Tensor, fraction: float) -> tf.Tensor:
  """log(fraction exp(first) + (1 - fraction) exp(second)), nats; 0 < fraction < 1."""
  fraction = tf.constant(fraction, log_first.dtype)
  both = [log_first + tf.math.log(fraction), log_second + tf.math.log1p(-fraction)]
  return tf.reduce_logsumexp(tf.stack(both), axis=0)
