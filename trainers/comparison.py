"""The table and the plots of a comparison, made from the folders of its runs."""

import csv
import json
import pathlib
import statistics
from collections.abc import Mapping

import numpy as np
import whole_files
from matplotlib.figure import Figure
from run_folder import RunFolder

__all__ = ["ComparisonFolder"]

# Column of the table: what it is called there, where it stands in results.json, its decimals.
COLUMNS = {
  "test_error_percent": ("error %", 2),
  "test_error_percent_averaged": ("averaged %", 2),
  "test_log_likelihood_nats": ("log-likelihood", 3),
  "bound_nats": ("bound", 3),
  "effective_sample_size": ("ESS", 2),
  "prediction_gradient_variance": ("gradient variance", 3),
  "inference_gradient_variance": ("its, inference network", 3),
  "train_seconds": ("seconds", 0),
}
# Column of metrics.csv against updates, and two of them against seconds.
PLOTS = (
  ("update", "val_error_percent", "validation error, %"),
  ("train_seconds", "val_error_percent", "validation error, %"),
  ("update", "prediction_gradient_variance", "gradient variance, prediction network"),
  ("update", "val_log_likelihood", "validation log-likelihood, nats"),
  ("train_seconds", "val_log_likelihood", "validation log-likelihood, nats"),
  ("update", "val_effective_sample_size", "effective sample size"),
)


class ComparisonFolder:
  """Where a comparison is written; see compare_estimators.py.

  Args:
    path: the folder.
    runs: each run's folder and flags, by label and seed.

  Attributes:
    table: one row a run, CSV.
    markdown: one row a label: mean and standard deviation over the seeds.
    plots: the picture.
  """

  def __init__(self, path: str, runs: Mapping[tuple[str, int], tuple[RunFolder, list[str]]]):
    self.path = pathlib.Path(path)
    self.runs = {key: run for key, (run, _) in runs.items()}
    self.table = self.path / "comparison.csv"
    self.markdown = self.path / "comparison.md"
    self.plots = self.path / "comparison.png"

  def create(self) -> None:
    """Makes the folder.

    Raises:
      OSError: if it cannot be made.
    """
    self.path.mkdir(parents=True, exist_ok=True)

  def read(self) -> dict[tuple[str, int], dict[str, float]]:
    """The figures of each finished run; variances are those of its last evaluation."""
    found = {}
    for key, run in self.runs.items():
      if run.results.exists():
        last = run.read_metrics(until_update=2**31)[-1]
        results = json.loads(run.results.read_text())
        found[key] = {name: results.get(name, last.get(name)) for name in COLUMNS}
    return found

  def write(self) -> None:
    """Writes the table, the Markdown and the plots of what is finished; each appears whole.

    Raises:
      OSError: if one cannot be written; what was there is kept.
    """
    finished = self.read()
    with whole_files.replacing(self.table) as aside, aside.open("w", newline="") as file:
      writer = csv.writer(file)
      writer.writerow(["label", "seed", *COLUMNS])
      for (label, seed), figures in finished.items():
        writer.writerow([label, seed, *figures.values()])
    with whole_files.replacing(self.markdown) as aside:
      aside.write_text(markdown_table(finished))
    plots = plot({key: self.runs[key].read_metrics(until_update=2**31) for key in finished})
    with whole_files.replacing(self.plots) as aside:
      plots.savefig(aside)


def markdown_table(finished: Mapping[tuple[str, int], Mapping[str, float]]) -> str:
  """One row a label, the lowest mean error first: mean and, of several seeds, the deviation."""
  rows = {}
  for label in dict.fromkeys(label for label, _ in finished):
    of_label = [figures for (name, _), figures in finished.items() if name == label]
    rows[label] = [[one[name] for one in of_label if one[name] is not None] for name in COLUMNS]
  shown = [name for i, name in enumerate(COLUMNS) if any(row[i] for row in rows.values())]
  names = [COLUMNS[name][0] for name in shown]
  lines = [f"| | seeds | {' | '.join(names)} |", f"|---|---|{'---|' * len(names)}"]
  for label, row in sorted(rows.items(), key=lambda item: statistics.mean(item[1][0])):
    cells = [_cell(row[i], COLUMNS[n][1]) for i, n in enumerate(COLUMNS) if n in shown]
    lines.append(f"| {label} | {len(row[0])} | {' | '.join(cells)} |")
  return "\n".join(lines) + "\n"


def _cell(values: list[float], decimals: int) -> str:
  if not values:
    return ""
  mean = f"{statistics.mean(values):.{decimals}f}"
  return mean if len(values) < 2 else f"{mean} ± {statistics.stdev(values):.{decimals}f}"


def plot(metrics: Mapping[tuple[str, int], list[dict[str, float]]]) -> Figure:
  """Figures against updates and seconds: the seeds thin, their mean thick, one colour a label."""
  figure = Figure(figsize=(18, 10), layout="constrained")
  labels = list(dict.fromkeys(label for label, _ in metrics))
  for axes, (x, y, title) in zip(figure.subplots(2, 3).flat, PLOTS, strict=True):
    for i, label in enumerate(labels):
      runs = [rows for (name, _), rows in metrics.items() if name == label and y in rows[0]]
      if not runs:
        continue
      style = {"color": f"C{i % 10}", "linestyle": ["-", "--", ":"][i // 10 % 3]}
      for rows in runs:
        axes.plot([row[x] for row in rows], [row[y] for row in rows], lw=0.5, alpha=0.5, **style)
      length = min(map(len, runs))
      mean = np.mean([[(row[x], row[y]) for row in rows[:length]] for rows in runs], axis=0)
      axes.plot(mean[:, 0], mean[:, 1], lw=1.8, label=label, **style)
    axes.set_xlabel({"update": "updates", "train_seconds": "seconds of training"}[x])
    axes.set_ylabel(title)
    if "log_likelihood" not in y and "sample" not in y:
      axes.set_yscale("log")
    axes.grid(alpha=0.3)
  handles, names = figure.axes[0].get_legend_handles_labels()
  figure.legend(handles, names, loc="outside right center", fontsize="small")
  return figure
