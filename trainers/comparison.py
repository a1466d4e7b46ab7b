"""The table and the plots of a comparison, made from the folders of its runs."""

import contextlib
import csv
import json
import math
import pathlib
import statistics
from collections.abc import Mapping
from typing import NamedTuple

import file_locks
import numpy as np
import whole_files
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from run_folder import RunFolder

__all__ = ["ComparisonFolder", "Layout", "markdown_table", "plot"]


class Layout(NamedTuple):
  """What a comparison shows; what no run has is left out.

  Attributes:
    columns: of the table: the name in results.json or metrics.csv, what it is called, its decimals.
      Rows are ordered by the first.
    plots: a column of metrics.csv, another against it, what that is called.
    lowest_first: whether the first column is better where it is lower.
  """

  columns: dict[str, tuple[str, int]]
  plots: tuple[tuple[str, str, str], ...]
  lowest_first: bool


class ComparisonFolder:
  """Where a comparison is written; see comparing.py.

  Args:
    path: the folder.
    runs: each run's folder, by label and seed.
    layout: what is shown.

  Attributes:
    table: one row a run, CSV.
    markdown: one row a label: mean and standard deviation over the seeds.
    plots: the picture.
  """

  def __init__(
    self,
    path: str,
    runs: Mapping[tuple[str, int], RunFolder],
    layout: Layout,
  ):
    self.path = pathlib.Path(path)
    self.layout = layout
    self.runs = dict(runs)
    self.table = self.path / "comparison.csv"
    self.markdown = self.path / "comparison.md"
    self.plots = self.path / "comparison.png"
    self._lock_file = self.path / ".lock"

  def create(self) -> None:
    """Makes the folder.

    Raises:
      OSError: if it cannot be made.
    """
    self.path.mkdir(parents=True, exist_ok=True)

  def claim(self, label: str, seed: int) -> contextlib.AbstractContextManager[None]:
    """Keeps a run for this process while it makes it.

    Raises:
      BlockingIOError: on entering, if another process makes it.
      OSError: likewise, if it cannot be kept.
    """
    run = self.runs[label, seed].path
    run.parent.mkdir(parents=True, exist_ok=True)
    return file_locks.held(run.with_name(f".{run.name}.lock"))

  def read(self) -> dict[tuple[str, int], dict[str, float]]:
    """The figures of each finished run; variances are those of its last evaluation."""
    found = {}
    for key, run in self.runs.items():
      if run.results.exists():
        last = run.read_metrics(until_update=2**31)[-1]
        results = json.loads(run.results.read_text())
        found[key] = {name: results.get(name, last.get(name)) for name in self.layout.columns}
    return found

  def write(self) -> None:
    """Writes the table, the Markdown and the plots of what is finished; each appears whole.

    Raises:
      OSError: if one cannot be written; what was there is kept.
    """
    with file_locks.held(self._lock_file, wait=True):  # Whoever writes last knows of all.
      self._write(self.read())

  def _write(self, finished: dict[tuple[str, int], dict[str, float]]) -> None:
    with whole_files.replacing(self.table) as aside, aside.open("w", newline="") as file:
      writer = csv.writer(file)
      writer.writerow(["label", "seed", *self.layout.columns])
      for (label, seed), figures in finished.items():
        writer.writerow([label, seed, *figures.values()])
    with whole_files.replacing(self.markdown) as aside:
      aside.write_text(markdown_table(finished, self.layout))
    metrics = {key: self.runs[key].read_metrics(until_update=2**31) for key in finished}
    plots = plot(metrics, self.layout)
    with whole_files.replacing(self.plots) as aside:
      plots.savefig(aside)


def markdown_table(finished: Mapping[tuple[str, int], Mapping[str, float]], layout: Layout) -> str:
  """One row a label, the best first: mean and, of several seeds, the deviation."""
  rows = {}
  for label in dict.fromkeys(label for label, _ in finished):
    of_label = [figures for (name, _), figures in finished.items() if name == label]
    rows[label] = {
      name: [one[name] for one in of_label if one[name] is not None] for name in layout.columns
    }
  shown = [name for name in layout.columns if any(row[name] for row in rows.values())]
  names = [layout.columns[name][0] for name in shown]
  lines = [f"| | seeds | {' | '.join(names)} |", f"|---|---|{'---|' * len(names)}"]
  ordered = sorted(
    rows.items(),
    key=lambda item: statistics.mean(item[1][shown[0]]),
    reverse=not layout.lowest_first,
  )
  for label, row in ordered:
    cells = [_cell(row[name], layout.columns[name][1]) for name in shown]
    lines.append(f"| {label} | {len(row[shown[0]])} | {' | '.join(cells)} |")
  return "\n".join(lines) + "\n"


def _cell(values: list[float], decimals: int) -> str:
  if not values:
    return ""
  mean = f"{statistics.mean(values):.{decimals}f}"
  return mean if len(values) < 2 else f"{mean} ± {statistics.stdev(values):.{decimals}f}"


def plain_number(value: float, _: int | None = None) -> str:
  """A tick's label without a power of ten."""
  return f"{value:.15g}" if 1e-4 <= abs(value) < 1e6 else f"{value:g}"


def minor_number(value: float, axes: Axes) -> str:
  """The label of a tick between powers of ten, as far as there is room for it."""
  low, high = axes.get_ylim()
  decades = math.log10(high / low)
  first_digit = round(value / 10 ** math.floor(math.log10(value) + 1e-9))
  shown = decades < 1 or (decades < 2 and first_digit in (2, 5))
  return plain_number(value) if shown else ""


def plot(metrics: Mapping[tuple[str, int], list[dict[str, float]]], layout: Layout) -> Figure:
  """Figures against updates and seconds: the seeds thin, their mean thick, one colour a label."""
  plots = [one for one in layout.plots if any(one[1] in rows[0] for rows in metrics.values())]
  columns = 3 if len(plots) > 4 else 2
  rows = -(-len(plots) // columns)
  figure = Figure(figsize=(6 * columns, 5 * rows), layout="constrained")
  panels = figure.subplots(rows, columns, squeeze=False)
  for axes in panels.flat[len(plots) :]:
    axes.set_axis_off()
  labels = list(dict.fromkeys(label for label, _ in metrics))
  for axes, (x, y, title) in zip(panels.flat, plots, strict=False):
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
    if "error" in y or "variance" in y:
      axes.set_yscale("log")
      axes.yaxis.set_major_formatter(plain_number)
      axes.yaxis.set_minor_formatter(lambda value, _, axes=axes: minor_number(value, axes))
    axes.grid(alpha=0.3)
  handles, names = figure.axes[0].get_legend_handles_labels()
  figure.legend(handles, names, loc="outside right center", fontsize="small")
  return figure
