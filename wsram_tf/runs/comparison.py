"""Compares runs: trains each estimator with each seed, and writes one table and the plots."""

import contextlib
import csv
import dataclasses
import math
import os
import pathlib
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from wsram_tf import files
from wsram_tf.config import OptimizerConfig, TrainingConfig
from wsram_tf.runs.folder import RunFolder
from wsram_tf.runs.task import Layout, Task
from wsram_tf.runs.training import train
from wsram_tf.settings import check_instance, check_path

__all__ = ["ComparisonFolder", "compare", "make_runs", "markdown_table", "mean_cell", "plot"]


def compare(
  tasks: Mapping[str, Task],
  out_dir: str | os.PathLike,
  training: TrainingConfig | None = None,
  optimizer: OptimizerConfig | None = None,
  *,
  seeds: Iterable[int] = (1, 2, 3),
) -> str:
  """Trains each task with each seed in this process, and writes a table and plots.

  After a stop, the same call continues: it skips finished runs and resumes the others.

  Args:
    tasks: tasks of one kind that differ in their settings, by their label in the table.
    out_dir: the folder of all runs, the table and the plots.
    training: settings of all runs, but for the seed; None for the defaults of the task.
    optimizer: length of the training and learning rate; None for the defaults.
    seeds: one run is made for each task and seed.

  Returns:
    the table, as Markdown.

  Raises:
    ValueError: if there is no task or no seed, or a run's folder holds other settings.
  """
  check_instance("tasks", tasks, Mapping)
  for label, task in tasks.items():
    check_instance(f"tasks[{label!r}]", task, Task)
  check_path("out_dir", out_dir)
  seeds = list(seeds)
  if not tasks or not seeds:
    raise ValueError(f"tasks={list(tasks)}, seeds={seeds}: must each hold at least one item")
  first = next(iter(tasks.values()))
  if training is None:
    training = TrainingConfig(batch_size=first.batch_size)
  check_instance("training", training, TrainingConfig)
  out = ComparisonFolder(
    out_dir, [(label, seed) for seed in seeds for label in tasks], first.layout
  )

  def make(label: str, seed: int, run: RunFolder, resume: bool) -> str:
    seeded = dataclasses.replace(training, seed=seed)
    train(tasks[label], run.path, seeded, optimizer, resume=resume)
    return ""

  make_runs(out, make)
  return out.markdown.read_text(encoding="utf-8")


def make_runs(
  out: "ComparisonFolder",
  make: Callable[[str, int, RunFolder, bool], str],
  after_each: Callable[[], None] = lambda: None,
) -> list[str]:
  """Makes the missing runs of a comparison one after another, and writes the table after each.

  Several processes may share the work: each skips the runs that another is making.

  Args:
    out: the comparison.
    make: trains one run, given its label, seed, folder, and whether to resume; returns why it
      failed, or an empty text.
    after_each: called after each finished run, when the table is written.

  Returns:
    the failed runs, each with its reason.

  Raises:
    OSError: if the folder of the comparison cannot be written.
  """
  out.create()
  failed, written = [], False
  for number, ((label, seed), run) in enumerate(out.runs.items(), 1):
    print(f"run {number} of {len(out.runs)}: {label}, seed {seed}", end=" ", flush=True)
    with contextlib.ExitStack() as claims:
      try:
        claims.enter_context(out.claim(label, seed))
      except BlockingIOError:
        print("is being made by another process", flush=True)
        continue
      if run.results.exists():
        print("is finished", flush=True)
        continue
      resume = run.flagfile.exists()
      print("resumes" if resume else "starts", flush=True)
      reason = make(label, seed, run, resume)
      if reason:
        if (run.path / "nan" / "report.json").exists():
          reason = f"{reason}; --on_nan=skip continues without such updates"
        failed.append(f"{label}, seed {seed}: {reason}")
        continue
    out.write()
    after_each()
    written = True
  if any(run.results.exists() for run in out.runs.values()):
    if not written:
      out.write()
    print(f"table: {out.markdown}\nplots: {out.plots}")
  return failed


class ComparisonFolder:
  """The folder of a comparison: its runs, the table and the plots.

  Args:
    path: the folder.
    keys: label and seed of each run, in the order in which they are made.
    layout: the figures to show.

  Attributes:
    runs: the folder of each run, by label and seed.
    table: CSV with one row for each run.
    markdown: one row for each label, with mean and standard deviation over the seeds.
    plots: the picture.
  """

  def __init__(
    self,
    path: str | os.PathLike,
    keys: Iterable[tuple[str, int]],
    layout: Layout,
  ):
    self.path = pathlib.Path(path)
    self.layout = layout
    self.runs = {
      (label, seed): RunFolder(self.path / label / f"seed_{seed}") for label, seed in keys
    }
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
    """Locks a run while this process makes it.

    Raises:
      BlockingIOError: on entering, if another process is making the run.
      OSError: on entering, if the lock cannot be made.
    """
    run = self.runs[label, seed].path
    run.parent.mkdir(parents=True, exist_ok=True)
    return files.lock(run.with_name(f".{run.name}.lock"))

  def read(self) -> dict[tuple[str, int], dict[str, float]]:
    """Reads the figures of each finished run; variances come from its last evaluation."""
    found = {}
    for key, run in self.runs.items():
      if run.results.exists():
        last = run.read_metrics(until_update=2**31)[-1]
        results = run.read_results()
        found[key] = {name: results.get(name, last.get(name)) for name in self.layout.columns}
    return found

  def write(self) -> None:
    """Writes the table, the Markdown and the plots of the finished runs, each atomically.

    Raises:
      OSError: if a file cannot be written; its old content stays.
    """
    with files.lock(self._lock_file, wait=True):  # The last writer has read all finished runs.
      self._write(self.read())

  def _write(self, finished: dict[tuple[str, int], dict[str, float]]) -> None:
    with (
      files.replacing(self.table) as partial,
      partial.open("w", newline="", encoding="utf-8") as file,
    ):
      writer = csv.writer(file)
      writer.writerow(["label", "seed", *self.layout.columns])
      for (label, seed), figures in finished.items():
        writer.writerow([label, seed, *figures.values()])
    with files.replacing(self.markdown) as partial:
      partial.write_text(markdown_table(finished, self.layout))
    metrics = {key: self.runs[key].read_metrics(until_update=2**31) for key in finished}
    plots = plot(metrics, self.layout)
    with files.replacing(self.plots) as partial:
      plots.savefig(partial)


def markdown_table(finished: Mapping[tuple[str, int], Mapping[str, float]], layout: Layout) -> str:
  """Makes one row for each label, best first: the mean and, for several seeds, the deviation."""
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
    cells = [mean_cell(row[name], layout.columns[name][1]) for name in shown]
    lines.append(f"| {label} | {len(row[shown[0]])} | {' | '.join(cells)} |")
  return "\n".join(lines) + "\n"


def mean_cell(values: Sequence[float], decimals: int) -> str:
  """Formats the mean and, for several values, the standard deviation; empty without a value."""
  if not values:
    return ""
  mean = f"{statistics.mean(values):.{decimals}f}"
  return mean if len(values) < 2 else f"{mean} ± {statistics.stdev(values):.{decimals}f}"


def plain_number(value: float, _: int | None = None) -> str:
  """Formats a tick's label without a power of ten."""
  return f"{value:.15g}" if 1e-4 <= abs(value) < 1e6 else f"{value:g}"


def minor_number(value: float, axes: Axes) -> str:
  """Formats the label of a tick between powers of ten where there is room."""
  low, high = axes.get_ylim()
  decades = math.log10(high / low)
  first_digit = round(value / 10 ** math.floor(math.log10(value) + 1e-9))
  shown = decades < 1 or (decades < 2 and first_digit in (2, 5))
  return plain_number(value) if shown else ""


def plot(metrics: Mapping[tuple[str, int], list[dict[str, float]]], layout: Layout) -> Figure:
  """Plots figures against updates and seconds: seeds thin, their mean thick, a colour per label."""
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
