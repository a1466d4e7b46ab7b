"""Trains on captions with several estimators and seeds; one table and the plots of all runs.

  python trainers/compare_captions.py --flagfile=trainers/flagfiles/scenes.flags --out_dir=DIR \\
    --estimators=wake_sleep_equal_likelihood,variational_leave_one_out --seeds=1,2

Every other flag is train_captions.py's and holds for all runs; see compare_estimators.py. Soft
attention, which is no estimator, is a variant:
`--variant='soft --attention=soft --estimator=variational --num_samples=1'`.
"""

import startup  # noqa: F401

# isort: split
import caption_sources
import comparing
import comparison
import flag_groups
import train_captions  # noqa: F401, defines the flags that hold for all runs
from absl import app

__all__ = ["LAYOUT", "main"]

LAYOUT = comparison.Layout(
  columns={
    "scenes_correct_percent": ("right in every word %", 1),
    "glimpse_on_digit_percent": ("glimpses on their digit %", 1),
    "bleu_4": ("BLEU-4", 1),
    "bleu_1": ("BLEU-1", 1),
    "rouge_l": ("ROUGE-L", 1),
    "cider": ("CIDEr", 3),
    "test_log_likelihood_per_word_nats": ("log-likelihood a word", 3),
    "effective_sample_size": ("ESS", 2),
    "train_seconds": ("seconds", 0),
  },
  plots=(
    ("update", "val_scenes_correct_percent", "validation scenes right in every word, %"),
    ("update", "val_glimpse_on_digit_percent", "glimpses on their digit, %"),
    ("train_seconds", "val_scenes_correct_percent", "validation scenes right in every word, %"),
    ("update", "val_bleu_4", "validation BLEU-4"),
    ("train_seconds", "val_bleu_4", "validation BLEU-4"),
    ("update", "val_log_likelihood_per_word", "validation log-likelihood a word, nats"),
  ),
  lowest_first=False,
)

comparing.define_flags(["wake_sleep_equal_likelihood", "variational_leave_one_out"])


def main(argv: list[str]) -> None:
  """Checks all flags, then compares."""
  comparing.run_comparison(
    "compare_captions", argv, "train_captions.py", caption_sources.read_settings, LAYOUT
  )


if __name__ == "__main__":
  app.run(main, flags_parser=flag_groups.parse)
