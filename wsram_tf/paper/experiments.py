"""The runs that repeat the paper's experiments, as flags of the training programs."""

import dataclasses
from collections.abc import Collection, Iterable

__all__ = [
  "CAPTIONS",
  "DIGITS",
  "EXPERIMENTS",
  "OURS",
  "SCALES",
  "Group",
  "all_labels",
  "flags_of",
  "labels_of",
]

# The best settings of this package: all scales in each glimpse, LSTM, equal likelihood weights.
OURS = "all-scales"

_ESTIMATORS = {
  "VAR": "variational",
  "VAR+c": "variational_learned_baseline",
  "WS-RAM": "wake_sleep_prior_no_control_variate",
  "WS-RAM+c": "wake_sleep_prior",
  "WS-RAM+q": "wake_sleep_no_control_variate",
  "WS-RAM+q+c": "wake_sleep",
  "VAR+leave-one-out": "variational_leave_one_out",
}
# Temperature of the samples, entropy of the prior, and coverage of all locations and scales.
_EXPLORATION = ("--temperature=1.5", "--entropy_bonus=0.02", "--coverage_bonus=0.1")
_NO_EXPLORATION = ("--temperature=1", "--entropy_bonus=0", "--coverage_bonus=0")
# Without a control variate the signal is negative for all samples. Self-normalised weights of few
# samples correct in part only for another temperature, so that a wider sampling distribution then
# sharpens the prior, within 250 updates to one scale.
_VAR_TEMPERATURE = "--temperature=1"
# The signal of a variational method is a log-likelihood, of several nats a word, and that of
# wake-sleep a difference of normalised weights, below 1. With the bonus of wake-sleep, 0.01, the
# prior of captions stops choosing within 222 updates.
_VAR_ENTROPY = "--entropy_bonus=0.1"
# All cells equally over a caption, throughout the training. Without it, almost all glimpses of
# captions are in the coarsest layer, before words of every kind.
_COVERAGE = ("--coverage_bonus=1", "--coverage_bonus_updates=0")
SCALES = ("small", "full")


@dataclasses.dataclass(frozen=True, eq=False)
class Group:
  """Runs of one task with the same settings but for the method.

  Attributes:
    name: folder of the runs within the folder of all.
    program: the training program.
    shared: flags of all runs, by scale.
    updates: length of each run, by scale.
    evaluations: number of evaluations in each run.
    methods: flags of each method, by label.
    seeds: seeds of each method, by scale.
  """

  name: str
  program: str
  shared: dict[str, tuple[str, ...]]
  updates: dict[str, int]
  evaluations: int
  methods: dict[str, tuple[str, ...]]
  seeds: dict[str, tuple[int, ...]]


_DIGITS = (
  "--canvas_side=100",
  "--num_glimpses=4",
  "--num_samples=5",
  "--choose_scale",
  "--cell=relu",
  "--context_side=24",
  "--glimpse_side=18",
  "--glimpse_scales=3",
  "--learning_rate=0.002",
  *_EXPLORATION,
)
DIGITS = Group(
  name="digits",
  program="train_mnist",
  shared={
    "small": (
      *_DIGITS,
      "--units=64",
      "--batch_size=64",
      "--validation_canvases=500",
      "--test_canvases=2000",
      "--gradient_draws=10",
      "--gradient_images=32",
    ),
    "full": (
      *_DIGITS,
      "--digits=mnist",
      "--validation_digits=5000",
      "--validation_canvases=2000",
      "--units=128",
      "--glimpse_filters=8,8",
      "--batch_size=128",
      "--gradient_draws=20",
      "--gradient_images=64",
    ),
  },
  updates={"small": 2_000, "full": 20_000},
  evaluations=40,
  methods={
    **{label: (f"--estimator={name}",) for label, name in _ESTIMATORS.items()},
    "VAR": ("--estimator=variational", _VAR_TEMPERATURE),
    **{
      f"{label}-without-exploration": (f"--estimator={_ESTIMATORS[label]}", *_NO_EXPLORATION)
      for label in ("VAR+c", "WS-RAM+q+c")
    },
    OURS: (
      "--estimator=wake_sleep_equal_likelihood",
      "--nochoose_scale",
      "--cell=lstm",
      *_NO_EXPLORATION,
    ),
  },
  seeds={"small": (1, 2), "full": (1, 2, 3)},
)
_CAPTIONS = (
  "--dataset=flickr8k",
  "--grid_filters=",
  "--grid_reach=1",
  "--max_words=18",
  "--inference_reads=previous_word",
  "--credit_horizon=4",
  "--entropy_bonus=0.01",
  "--num_samples=3",
  "--batch_size=128",
  "--beam_width=3",
)
CAPTIONS = Group(
  name="captions",
  program="train_captions",
  shared={
    "small": (*_CAPTIONS, "--units=128", "--word_units=64", "--location_units=64"),
    "full": (
      *_CAPTIONS,
      "--units=384",
      "--word_units=256",
      "--location_units=128",
      "--dropout=0.3",
      "--precision=bfloat16",
    ),
  },
  updates={"small": 444, "full": 2_664},
  evaluations=12,
  methods={
    "VAR+c": (f"--estimator={_ESTIMATORS['VAR+c']}", _VAR_ENTROPY),
    "WS-RAM+q+c": (f"--estimator={_ESTIMATORS['WS-RAM+q+c']}",),
    "WS-RAM+q+c-with-coverage": (f"--estimator={_ESTIMATORS['WS-RAM+q+c']}", *_COVERAGE),
  },
  seeds={"small": (1,), "full": (1, 2)},
)

# The group and the methods of each experiment.
_SIX = tuple(_ESTIMATORS)[:6]
EXPERIMENTS = {
  "table1": (DIGITS, (*_SIX, "VAR+leave-one-out", OURS)),
  "figure2": (DIGITS, _SIX),
  "figure3": (
    DIGITS,
    ("VAR+c", "VAR+c-without-exploration", "WS-RAM+q+c", "WS-RAM+q+c-without-exploration"),
  ),
  "table2": (CAPTIONS, ("VAR+c", "WS-RAM+q+c", "WS-RAM+q+c-with-coverage")),
  "figure4": (CAPTIONS, ("VAR+c", "WS-RAM+q+c")),
}


def labels_of(group: Group, experiments: Iterable[str], methods: Collection[str] = ()) -> list[str]:
  """Lists the methods of a group that experiments need, each once.

  Args:
    group: of the methods.
    experiments: names of `EXPERIMENTS`.
    methods: only these; empty: all.

  Example:

  >>> labels_of(DIGITS, ["figure3"])
  ['VAR+c', 'WS-RAM+q+c', 'VAR+c-without-exploration', 'WS-RAM+q+c-without-exploration']
  >>> labels_of(DIGITS, ["figure3"], methods=["WS-RAM+q+c", "VAR"])
  ['WS-RAM+q+c']
  """
  wanted = {
    label for name in experiments if EXPERIMENTS[name][0] is group for label in EXPERIMENTS[name][1]
  }
  return [label for label in group.methods if label in wanted and label in (methods or wanted)]


def all_labels() -> list[str]:
  """Lists the methods of all groups, each once.

  Example:

  >>> all_labels()[:3]
  ['VAR', 'VAR+c', 'WS-RAM']
  """
  return list(dict.fromkeys(label for group in (DIGITS, CAPTIONS) for label in group.methods))


def flags_of(group: Group, label: str, scale: str, updates: int = 0) -> list[str]:
  """Returns the flags of a run, without its data and its seed.

  Args:
    group: of the run.
    label: of the method.
    scale: `small` or `full`.
    updates: length of the run; 0: that of the scale.

  Example:

  >>> flags = flags_of(DIGITS, "WS-RAM", "small")
  >>> "--updates=2000" in flags, "--evaluate_every=50" in flags, flags[-1]
  (True, True, '--estimator=wake_sleep_prior_no_control_variate')
  >>> "--temperature_updates=20000" in flags_of(DIGITS, "WS-RAM", "full", updates=40_000)
  True
  """
  updates = updates or group.updates[scale]
  # Exploration ends after half of the training.
  falling = [
    f"--{name}_updates={updates // 2}"
    for name in ("temperature", "entropy_bonus", "coverage_bonus")
  ]
  length = [
    f"--updates={updates}",
    f"--evaluate_every={max(1, updates // group.evaluations)}",
    *falling,
  ]
  return [*group.shared[scale], *length, *group.methods[label]]
