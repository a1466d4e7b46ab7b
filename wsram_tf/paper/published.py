"""The figures that the paper published.

Source: J. Ba, R. Grosse, R. Salakhutdinov, B. Frey, Learning Wake-Sleep Recurrent Attention Models,
NIPS 2015, arXiv 1509.06812. `curves.csv` holds the curves of its figures 2, 3 and 4, read from the
vector graphics, with columns `panel`, `method`, `updates` and `value`.
"""

import collections
import csv
import functools
import importlib.resources

import numpy as np

__all__ = ["TABLE_1", "TABLE_2", "Curve", "curves"]

# Two arrays of equal length: updates, and values.
Curve = tuple[np.ndarray, np.ndarray]

# Test error of translated, scaled MNIST after 10 million updates, %, by method.
TABLE_1 = {
  "VAR": 3.11,
  "VAR+c": 1.81,
  "WS-RAM": 4.23,
  "WS-RAM+c": 1.85,
  "WS-RAM+q": 2.59,
  "WS-RAM+q+c": 1.62,
}
# BLEU-1 to BLEU-4 of captions of Flickr8k's test split, by method.
TABLE_2 = {
  "VAR+c": (62.3, 41.6, 26.9, 17.2),
  "WS-RAM+q+c": (61.1, 40.4, 26.9, 17.8),
}


@functools.cache
def curves(panel: str) -> dict[str, Curve]:
  """Reads the curves of one panel of the paper's figures.

  Args:
    panel: `training_error` (a fraction), `gradient_variance` or `effective_sample_size` of figure
      2, `exploration_training_error` of figure 3, `caption_negative_log_likelihood` (nats a
      caption) of figure 4.

  Returns:
    the curve of each method, by rising updates.

  Raises:
    ValueError: if there is no such panel.

  Example:

  >>> updates, error = curves("training_error")["WS-RAM+q+c"]
  >>> int(updates[-1]), round(float(error[-1]), 3)
  (100000, 0.08)
  """
  points = collections.defaultdict(list)
  source = importlib.resources.files("wsram_tf.paper") / "curves.csv"
  for row in csv.DictReader(source.read_text(encoding="utf-8").splitlines()):
    if row["panel"] == panel:
      points[row["method"]].append((int(row["updates"]), float(row["value"])))
  if not points:
    raise ValueError(f"panel={panel!r}: must be a panel of curves.csv")
  found = {}
  for method, pairs in points.items():
    updates, values = np.array(sorted(pairs)).T
    found[method] = (updates, values)
  return found
