"""Trains with several estimators and seeds, and writes one table and the plots of all runs.

  python trainers/compare_estimators.py --flagfile=trainers/flagfiles/compare_small.flags \\
    --out_dir=DIR

Every other flag is train_mnist.py's and holds for all runs. Each run is a process of its own, in
DIR/LABEL/seed_SEED. Stopped and started again, the comparison passes by what is finished and goes
on with what is not; the table and the plots are written anew after each run.
"""

import startup  # noqa: F401

# isort: split
import comparing
import comparison
import flag_groups
import mnist
import train_mnist  # noqa: F401, defines the flags that hold for all runs
from absl import app

from wsram_tf import objectives

__all__ = ["LAYOUT", "main"]

LAYOUT = comparison.Layout(
  columns={
    "test_error_percent": ("error %", 2),
    "test_error_percent_averaged": ("averaged %", 2),
    "test_log_likelihood_nats": ("log-likelihood", 3),
    "bound_nats": ("bound", 3),
    "effective_sample_size": ("ESS", 2),
    "prediction_gradient_variance": ("gradient variance", 3),
    "inference_gradient_variance": ("its, inference network", 3),
    "train_seconds": ("seconds", 0),
  },
  plots=(
    ("update", "val_error_percent", "validation error, %"),
    ("train_seconds", "val_error_percent", "validation error, %"),
    ("update", "prediction_gradient_variance", "gradient variance, prediction network"),
    ("update", "val_log_likelihood", "validation log-likelihood, nats"),
    ("train_seconds", "val_log_likelihood", "validation log-likelihood, nats"),
    ("update", "val_effective_sample_size", "effective sample size"),
  ),
  lowest_first=True,
)

comparing.define_flags(list(objectives.ESTIMATORS))


def main(argv: list[str]) -> None:
  """Checks all flags, then compares."""
  comparing.run_comparison(
    "compare_estimators", argv, "train_mnist.py", mnist.read_settings, LAYOUT
  )


if __name__ == "__main__":
  app.run(main, flags_parser=flag_groups.parse)
