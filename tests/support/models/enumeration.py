"""A toy with six glimpse sequences, so that every expectation is a finite sum.

A sequence is two glimpses: the first looks at one of two cells, the second at one of three, given
the first. All tuples of M sequences lie on the batch axis, and an expectation is the sum over them
weighted by their probabilities. Float64, and no random numbers.
"""

import dataclasses
import decimal
import itertools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import tensorflow as tf

FIRST, SECOND = 2, 3
NUM_SEQUENCES = FIRST * SECOND


@dataclasses.dataclass(frozen=True)
class Toy:
  """The parameters of a prior, a likelihood and a proposal over six sequences.

  Attributes:
    prior: float64 `[8]`, logits of the first cell, then of the second given each first one.
    likelihood: float64 `[6]`, log-odds of the label given each sequence.
    proposal: float64 `[8]`, as `prior`.
  """

  prior: np.ndarray
  likelihood: np.ndarray
  proposal: np.ndarray

  @property
  def log_joint(self) -> np.ndarray:
    """log p(a, y) of each sequence, float64 `[6]`."""
    return log_probs(self.prior).numpy() + tf.math.log_sigmoid(self.likelihood).numpy()

  @property
  def log_marginal_likelihood(self) -> float:
    """log p(y)."""
    return float(np.log(np.exp(self.log_joint).sum()))

  @property
  def posterior(self) -> np.ndarray:
    """p(a | y), float64 `[6]`."""
    return np.exp(self.log_joint - self.log_marginal_likelihood)


TOY = Toy(
  prior=np.array([0.2, 0.5, -1.2, 0.2, 0.9, -0.2, -0.6, 0.5]),
  likelihood=np.array([0.4, 1.3, -0.5, -2.2, -0.2, -0.7]),
  proposal=np.array([0.4, 0.1, -0.8, -0.6, 0.4, 0.3, -0.3, 0.0]),
)
PRIOR_AS_PROPOSAL = dataclasses.replace(TOY, proposal=TOY.prior)

TOLERANCE = 1e-10


def log_probs(parameters: np.ndarray | tf.Tensor) -> tf.Tensor:
  """log p(a) of all six sequences, float64 `[..., 6]`, from parameters `[..., 8]`."""
  parameters = tf.convert_to_tensor(parameters)
  leading = parameters.shape[:-1]
  first = tf.nn.log_softmax(parameters[..., :FIRST])
  second = tf.nn.log_softmax(tf.reshape(parameters[..., FIRST:], [*leading, FIRST, SECOND]))
  return tf.reshape(first[..., tf.newaxis] + second, [*leading, NUM_SEQUENCES])


def parameters_of(probabilities: np.ndarray) -> np.ndarray:
  """The parameters, `[8]`, of a given distribution over the sequences, `[6]`."""
  table = probabilities.reshape(FIRST, SECOND)
  return np.log(np.concatenate([table.sum(axis=1), probabilities]))


def scores(parameters: np.ndarray) -> np.ndarray:
  """d log p(a) / d parameters in closed form, float64 `[6, 8]`, with no automatic gradient."""
  table = np.exp(log_probs(parameters).numpy()).reshape(FIRST, SECOND)
  rows = []
  for first, second in itertools.product(range(FIRST), range(SECOND)):
    conditional = np.zeros([FIRST, SECOND])
    conditional[first] = np.eye(SECOND)[second] - table[first] / table[first].sum()
    rows.append(np.concatenate([np.eye(FIRST)[first] - table.sum(axis=1), conditional.ravel()]))
  return np.array(rows)


@dataclasses.dataclass(frozen=True)
class Tuples:
  """All T = 6**M tuples of M sequences drawn from the proposal, side by side on the batch axis.

  Each tuple has its own copy of the parameters, so the gradient of a sum of losses holds the
  gradient of every tuple.

  Attributes:
    sequences: int `[M, T]`, which sequence each sample is.
    probabilities: float64 `[T]`, of each tuple.
    prior, likelihood, proposal: float64 `[T, P]`, the copies of the parameters.
    log_prior, log_likelihood, log_proposal: float64 `[M, T]`, nats.
  """

  sequences: np.ndarray
  probabilities: np.ndarray
  prior: tf.Variable
  likelihood: tf.Variable
  proposal: tf.Variable
  log_prior: tf.Tensor
  log_likelihood: tf.Tensor
  log_proposal: tf.Tensor

  def expectation(self, values: np.ndarray | tf.Tensor) -> np.ndarray:
    """The expected value of `[T, ...]`."""
    return np.tensordot(self.probabilities, np.asarray(values), axes=1)

  def variance(self, values: np.ndarray | tf.Tensor) -> np.ndarray:
    """The variance of each component of `[T, ...]`."""
    return self.expectation(np.square(np.asarray(values) - self.expectation(values)))


def all_tuples(toy: Toy, num_samples: int) -> Tuples:
  """Lays out every tuple of `num_samples` sequences; inside a gradient tape, it sees how."""
  sequences = np.indices([NUM_SEQUENCES] * num_samples).reshape(num_samples, -1)

  def copies(parameters: np.ndarray) -> tf.Variable:
    return tf.Variable(np.tile(parameters, [sequences.shape[1], 1]))

  def pick(values: tf.Tensor) -> tf.Tensor:
    return tf.transpose(tf.gather(values, sequences.T, batch_dims=1))

  prior, likelihood, proposal = map(copies, (toy.prior, toy.likelihood, toy.proposal))
  log_proposal = pick(log_probs(proposal))
  return Tuples(
    sequences=sequences,
    probabilities=np.exp(log_proposal.numpy().sum(axis=0)),
    prior=prior,
    likelihood=likelihood,
    proposal=proposal,
    log_prior=pick(log_probs(prior)),
    log_likelihood=pick(tf.math.log_sigmoid(likelihood)),
    log_proposal=log_proposal,
  )


class Gradient(NamedTuple):
  """The enumerated distribution of a gradient: float64 `[P]` each, by parameter."""

  mean: np.ndarray
  variance: np.ndarray


def gradient(toy: Toy, num_samples: int, loss: Callable[[Tuples], tf.Tensor], of: str) -> Gradient:
  """The gradient of a loss `[T]` by the parameters of the `prior`, `likelihood` or `proposal`."""
  with tf.GradientTape() as tape:
    tuples = all_tuples(toy, num_samples)
    value = loss(tuples)
  by_tuple = tape.gradient(value, getattr(tuples, of))
  return Gradient(tuples.expectation(by_tuple), tuples.variance(by_tuple))


def exact_normalized_weights(log_weights: np.ndarray) -> np.ndarray:
  """Exponentials over their sum along the first axis, in 60-digit numbers that never underflow.

  Where all weights of a column are zero, each gets 1/M.
  """
  with decimal.localcontext(prec=60):
    exponentials = np.vectorize(lambda x: decimal.Decimal(float(x)).exp(), otypes=[object])(
      log_weights
    )
    total = exponentials.sum(axis=0)
    none = total == 0
    weights = np.where(none, decimal.Decimal(1), exponentials) / np.where(
      none, decimal.Decimal(len(log_weights)), total
    )
  return weights.astype(np.float64)
