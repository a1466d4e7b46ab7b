"""The estimators by name: the distribution that each samples from, and its losses.

Reading the table does not load TensorFlow. `register_estimator` adds an estimator.
"""

import re
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
  import tensorflow as tf

  from wsram_tf.objectives.losses import ScoredSequences

__all__ = ["ESTIMATORS", "Estimator", "register_estimator"]

# The distributions that an estimator may sample from.
SAMPLES_FROM = ("prior", "inference", "mixture")


class Estimator(NamedTuple):
  """A gradient estimator: the distribution that glimpses are sampled from, and the losses.

  Attributes:
    help: one line for users.
    samples_from: `prior`, `inference` (the proposal) or `mixture` of both.
    prediction_loss: maps `ScoredSequences` to the prediction network's loss, float `[B]`.
    inference_loss: maps them to the inference network's loss, float `[B]`; None where the estimator
      has no inference network.
    baseline_signal: maps them to the value that the learned baseline predicts, float
      `[M, B, 1 or N]`; None where the estimator has no learned baseline.
    least_samples: the smallest M that the losses are defined for.

  Example:

  >>> ESTIMATORS["wake_sleep"].samples_from
  'inference'
  """

  help: str
  samples_from: str
  prediction_loss: "Callable[[ScoredSequences], tf.Tensor]"
  inference_loss: "Callable[[ScoredSequences], tf.Tensor] | None" = None
  baseline_signal: "Callable[[ScoredSequences], tf.Tensor] | None" = None
  least_samples: int = 2

  def baseline_loss(self, scored: "ScoredSequences") -> "tf.Tensor":
    """The learned baseline's loss, float `[B]`."""
    return _call("learned_baseline_loss", scored, signal=self.baseline_signal(scored))


def _call(name: str, scored: "ScoredSequences", **options: Any) -> "tf.Tensor":
  # Not at the top: the programs' --help reads the table and must not wait for TensorFlow.
  from wsram_tf.objectives import losses

  return getattr(losses, name)(scored, **options)


def _loss(name: str, **options: Any) -> "Callable[[ScoredSequences], tf.Tensor]":
  """A function of `objectives.losses`, which loads when it is first called."""
  return partial(_call, name, **options)


def _variational(
  help: str, signal: str, baseline: str | None = None, least_samples: int = 1
) -> Estimator:
  return Estimator(
    help,
    "prior",
    _loss("variational_loss", signal=signal, baseline=baseline),
    baseline_signal=_loss(signal) if baseline == "learned" else None,
    least_samples=least_samples,
  )


def _wake_sleep(
  help: str,
  samples_from: str = "inference",
  *,
  prior_variate: bool = True,
  proposal_variate: bool = True,
  equal: bool = False,
) -> Estimator:
  inference = (
    None if samples_from == "prior" else _loss("proposal_loss", control_variate=proposal_variate)
  )
  prediction = _loss("wake_loss", control_variate=prior_variate, equal=equal)
  return Estimator(help, samples_from, prediction, inference)


ESTIMATORS: dict[str, Estimator] = {
  "wake_sleep": _wake_sleep("the paper's: inference network, both control variates"),
  "wake_sleep_equal_likelihood": _wake_sleep(
    "the same, the likelihood trained on all samples equally", equal=True
  ),
  "wake_sleep_no_control_variate": _wake_sleep(
    "the paper's without control variates", prior_variate=False, proposal_variate=False
  ),
  "wake_sleep_no_prior_control_variate": _wake_sleep(
    "the paper's without the prior's control variate", prior_variate=False
  ),
  "wake_sleep_no_proposal_control_variate": _wake_sleep(
    "the paper's without the inference network's control variate", proposal_variate=False
  ),
  "wake_sleep_prior": _wake_sleep("the prior as the proposal, control variate", "prior"),
  "wake_sleep_prior_equal_likelihood": _wake_sleep(
    "the same, the likelihood trained on all samples equally", "prior", equal=True
  ),
  "wake_sleep_prior_no_control_variate": _wake_sleep(
    "the prior as the proposal, no control variate", "prior", prior_variate=False
  ),
  "wake_sleep_mixture": _wake_sleep(
    "samples from a mixture of prior and inference network, both control variates", "mixture"
  ),
  "wake_sleep_mixture_equal_likelihood": _wake_sleep(
    "the same, the likelihood trained on all samples equally", "mixture", equal=True
  ),
  "variational": _variational(
    "variational bound, log-likelihood as the signal, no baseline",
    "log_likelihood",
  ),
  "variational_learned_baseline": _variational(
    "the same, less a learned baseline", "log_likelihood", "learned"
  ),
  "variational_leave_one_out": _variational(
    "the same, less the other samples' mean", "log_likelihood", "leave_one_out", 2
  ),
  "variational_correctness": _variational(
    "right or wrong as the signal, no baseline", "correctness"
  ),
  "variational_correctness_learned_baseline": _variational(
    "right or wrong, less a learned baseline", "correctness", "learned"
  ),
  "variational_correctness_leave_one_out": _variational(
    "right or wrong, less the other samples' mean", "correctness", "leave_one_out", 2
  ),
  "vimco": Estimator(
    "VIMCO on the M-sample bound, inference network",
    "inference",
    _loss("wake_loss", control_variate=False),
    _loss("vimco_loss"),
  ),
  "vimco_prior": Estimator(
    "VIMCO on the M-sample bound, the prior as the proposal", "prior", _loss("vimco_prior_loss")
  ),
}


_BUILT_IN = frozenset(ESTIMATORS)


def register_estimator(name: str, estimator: Estimator) -> None:
  """Adds an estimator, so that `ObjectiveConfig(estimator=name)` accepts its name.

  A saved learner stores the name alone: register the estimator before you load the learner.

  Args:
    name: a new name, of letters, digits and underscores.
    estimator: the distribution to sample from, and the losses.

  Raises:
    ValueError: if the name is malformed or built in, or the estimator lacks a loss that it needs.
    TypeError: if `estimator` is no `Estimator`.

  Example:

  >>> import tensorflow as tf
  >>> import wsram_tf
  >>> def likelihood_only_loss(scored):
  ...   return -tf.reduce_mean(tf.reduce_sum(scored.log_likelihood, axis=-1), axis=0)
  >>> wsram_tf.register_estimator(
  ...   "likelihood_only",
  ...   wsram_tf.Estimator("the likelihood alone", "prior", likelihood_only_loss, least_samples=1),
  ... )
  >>> wsram_tf.ObjectiveConfig(estimator="likelihood_only").estimator
  'likelihood_only'
  """
  if not isinstance(name, str) or not re.fullmatch(r"\w{1,100}", name, re.ASCII):
    raise ValueError(f"name={name!r}: must be 1 to 100 letters, digits and underscores")
  if not isinstance(estimator, Estimator):
    raise TypeError(f"estimator={estimator!r}: must be a wsram_tf.Estimator")
  if estimator.samples_from not in SAMPLES_FROM:
    raise ValueError(
      f"samples_from={estimator.samples_from!r}: must be one of {', '.join(SAMPLES_FROM)}"
    )
  if estimator.samples_from != "prior" and not estimator.inference_loss:
    raise ValueError(
      f"inference_loss=None: must be given for samples_from={estimator.samples_from!r}, "
      "which samples from an inference network"
    )
  # A notebook cell that runs again replaces its own estimator, never a built-in one.
  if name in _BUILT_IN:
    raise ValueError(
      f"name={name!r}: must be new, because the package has an estimator of this name"
    )
  ESTIMATORS[name] = estimator
