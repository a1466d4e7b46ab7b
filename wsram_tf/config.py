"""The settings of training that every task shares: estimator, exploration, optimizer, run."""

import dataclasses

from wsram_tf.objectives.estimators import ESTIMATORS
from wsram_tf.settings import check_settings, documented, setting

__all__ = ["ExplorationConfig", "ObjectiveConfig", "OptimizerConfig", "TrainingConfig"]


@documented
@dataclasses.dataclass(frozen=True)
class ObjectiveConfig:
  """The estimator of the gradient, and its number of samples.

  Example:

  >>> ObjectiveConfig(estimator="vimco", num_samples=10).num_samples
  10
  """

  estimator: str = setting(
    "wake_sleep",
    "estimator of the gradient: "
    + "; ".join(f"{name}: {estimator.help}" for name, estimator in ESTIMATORS.items()),
    choices=ESTIMATORS,
  )
  num_samples: int = setting(5, "glimpse sequences sampled for each image (M)", minimum=1)
  prior_fraction: float = setting(
    0.5,
    "with a mixture estimator, probability that a glimpse comes from the prior",
    above=0,
    maximum=0.99,
  )
  inference_phase: str = setting(
    "wake",
    "training data of the inference network: wake (the weighted samples), sleep (samples of the "
    "model itself) or mix (shifts from sleep to wake over sleep_updates)",
    choices=("wake", "sleep", "mix"),
  )
  sleep_updates: int = setting(5_000, "length of that shift, in updates", minimum=1)
  stepwise_weight: float = setting(
    0.0,
    "weight in the loss of the class's log-likelihood after each glimpse before the last, so that "
    "the model can answer early; 0: the answer after the last glimpse alone",
    minimum=0,
  )
  learn_locations: bool = setting(
    True,
    "learn where to look; without it the prior stays as it starts, a baseline of random glimpses: "
    "with grid and keyed_grid all cells are about equally likely, but for location_saliency",
  )

  def __post_init__(self):
    check_settings(self)
    estimator = ESTIMATORS[self.estimator]
    if not self.learn_locations and estimator.inference_loss:
      raise ValueError(
        f"learn_locations=False: must be True for estimator={self.estimator}, which trains an "
        "inference network"
      )
    if self.num_samples < estimator.least_samples:
      raise ValueError(
        f"num_samples={self.num_samples}: must be at least {estimator.least_samples} for "
        f"estimator={self.estimator}, which compares samples with each other"
      )
    if self.inference_phase != "wake" and not estimator.inference_loss:
      raise ValueError(
        f"inference_phase={self.inference_phase}: must be wake for estimator={self.estimator}, "
        "which has no inference network"
      )


@documented
@dataclasses.dataclass(frozen=True)
class ExplorationConfig:
  """Temperature and regularisers that spread the samples and the prior, for any estimator.

  Example:

  >>> ExplorationConfig(entropy_bonus=0.01, entropy_bonus_updates=5_000).entropy_bonus
  0.01
  """

  temperature: float = setting(
    1.0,
    "temperature, without unit, of the sampling distribution in training; above 1 it is wider, and "
    "the importance weights correct for it",
    above=0,
  )
  temperature_updates: int = setting(
    0, "updates over which the temperature falls or rises to 1; 0: it stays constant", minimum=0
  )
  entropy_bonus: float = setting(
    0.0, "weight of the prior's entropy (nats, summed over glimpses) in the objective", minimum=0
  )
  entropy_bonus_updates: int = setting(
    0, "updates over which the entropy bonus falls to 0; 0: it stays constant", minimum=0
  )
  coverage_bonus: float = setting(
    0.0, "weight of the bonus for covering all cells of the image equally", minimum=0
  )
  coverage_bonus_updates: int = setting(
    0, "updates over which the coverage bonus falls to 0; 0: it stays constant", minimum=0
  )

  def __post_init__(self):
    check_settings(self)


@documented
@dataclasses.dataclass(frozen=True)
class OptimizerConfig:
  """Adam, its learning-rate schedule and the clipping of gradients.

  Example:

  >>> OptimizerConfig(updates=10, warmup_updates=10)
  Traceback (most recent call last):
  ValueError: warmup_updates=10: must be below updates=10
  """

  updates: int = setting(20_000, "length of the training, in updates", minimum=1)
  learning_rate: float = setting(1e-3, "maximum learning rate of Adam", above=0)
  schedule: str = setting(
    "cosine",
    "learning rate after the warm-up: cosine (falls to 0 at the last update) or constant",
    choices=("cosine", "constant"),
  )
  warmup_updates: int = setting(0, "updates over which the learning rate rises from 0", minimum=0)
  clip_norm: float = setting(
    5.0, "maximum norm of each network's gradient; larger gradients are scaled down", above=0
  )

  def __post_init__(self):
    check_settings(self)
    if self.warmup_updates >= self.updates:
      raise ValueError(
        f"warmup_updates={self.warmup_updates}: must be below updates={self.updates}"
      )


@documented
@dataclasses.dataclass(frozen=True)
class TrainingConfig:
  """The course of a training run: batches, seed, evaluations and devices.

  Example:

  >>> TrainingConfig(batch_size=64).evaluate_every
  1000
  """

  batch_size: int = setting(128, "images an update", minimum=1)
  micro_batches: int = setting(
    1,
    "equal parts of a device's images that are differentiated one after the other: less memory, "
    "and one exchange between devices, for the same update but for rounding",
    minimum=1,
  )
  seed: int = setting(
    1, "seed of the weights, the order of the data, augmentation and the samples", minimum=0
  )
  evaluate_every: int = setting(
    1_000, "updates between evaluations, each with a checkpoint; must divide updates", minimum=1
  )
  jit_compile: str = setting(
    "auto",
    "compile the training step with XLA: on, off, or auto (on, except for convolutions on a CPU, "
    "which XLA slows)",
    choices=("auto", "on", "off"),
  )
  on_nan: str = setting(
    "stop",
    "reaction to a loss or gradient that is NaN or infinite: stop (save the update in the run's "
    "folder nan and end the training) or skip (count the update and go on); neither applies it",
    choices=("stop", "skip"),
  )
  max_hours: float = setting(
    0.0,
    "hours after which the run stops with a checkpoint and exit status 75; 0: no limit",
    minimum=0.0,
  )
  strategy: str = setting(
    "none",
    "devices that share each batch: none (one device), mirrored (all GPUs of this machine) or "
    "multi_worker (several machines, one process each; TF_CONFIG lists them, and all see the run's "
    "folder)",
    choices=("none", "mirrored", "multi_worker"),
  )

  def __post_init__(self):
    check_settings(self)
