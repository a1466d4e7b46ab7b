"""The report on the runs that repeat the paper: its tables and figures beside those of the runs."""

import functools
import math
import os
import pathlib
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure

from wsram_tf import files
from wsram_tf.paper import experiments, figures, measures, published
from wsram_tf.paper.finished import FinishedRun
from wsram_tf.runs.comparison import mean_cell

__all__ = ["REPORT", "write"]

REPORT = "paper.md"
# Points of the training at which curves are compared, as fractions of its length.
POINTS = (0.25, 0.5, 1.0)
_SIX = experiments.EXPERIMENTS["figure2"][1]


class _Finished:
  """The finished runs of a group, by method.

  Args:
    runs: the runs, in the order of their seeds.

  Attributes:
    seeds: of each run.
    results: figures of each run.
    rows: evaluations of each run.
    layer_shares: the share of each layer by kind of word, of the runs that have them.
  """

  def __init__(self, runs: Iterable[FinishedRun]):
    self.seeds: dict[str, list[int]] = {}
    self.results: dict[str, list[dict[str, Any]]] = {}
    self.rows: dict[str, list[list[dict[str, float]]]] = {}
    self.layer_shares: dict[str, list[Mapping[str, Sequence[float]]]] = {}
    for run in runs:
      self.seeds.setdefault(run.method, []).append(run.seed)
      self.results.setdefault(run.method, []).append(run.results)
      self.rows.setdefault(run.method, []).append(run.rows)
      if run.layer_shares:
        self.layer_shares.setdefault(run.method, []).append(run.layer_shares)

  def rows_by_seed(self, method: str) -> dict[int, list[dict[str, float]]]:
    """Evaluations of the runs of a method."""
    return dict(zip(self.seeds.get(method, []), self.rows.get(method, []), strict=True))


def write(out_dir: str | os.PathLike, names: Iterable[str], runs: Iterable[FinishedRun]) -> None:
  """Writes the report and a plot for each figure, from finished runs.

  Args:
    out_dir: receives `paper.md` and the plots; it must exist.
    names: of `experiments.EXPERIMENTS`.
    runs: of all groups.

  Raises:
    OSError: if a file cannot be written; its old content stays.
  """
  out = pathlib.Path(out_dir)
  runs = sorted(runs, key=lambda run: run.seed)
  lines = ["# The paper's figures beside those of these runs", ""]
  for name in names:
    group, _ = experiments.EXPERIMENTS[name]
    text, figure = _SECTIONS[name](_Finished(run for run in runs if run.group == group.name))
    lines += [f"## {_TITLES[name]}", "", *text, ""]
    if figure is not None:
      with files.replacing(out / f"{name}.png") as partial:
        figure.savefig(partial, dpi=120)
      lines += [f"![{_TITLES[name]}]({name}.png)", ""]
  with files.replacing(out / REPORT) as partial:
    partial.write_text("\n".join(lines).rstrip() + "\n", encoding="utf-8")


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
  return [
    f"| {' | '.join(head)} |",
    "|" + "---|" * len(head),
    *(f"| {' | '.join(row)} |" for row in rows),
  ]


def _cell(values: Sequence[float | None], decimals: int) -> str:
  return mean_cell([value for value in values if value is not None], decimals) or "-"


def _table_1(finished: _Finished) -> tuple[list[str], None]:
  rows = []
  for method in experiments.EXPERIMENTS["table1"][1]:
    results = finished.results.get(method, [])
    paper = published.TABLE_1.get(method)
    cells = [method, str(len(results)), f"{paper:.2f}" if paper is not None else "-"]
    # The paper does not say how its 5 samples answer.
    for name in ("test_error_percent", "test_error_percent_averaged"):
      errors = [one[name] for one in results]
      cells += [_cell(errors, 2), _verdict(errors, paper)]
    rows.append((*cells, _cell([one["train_seconds"] / 60 for one in results], 0)))
  head = (
    "method",
    "seeds",
    "paper, error %",
    "glimpses at the mode, error %",
    "beside the paper",
    "averaged over 5 sequences, error %",
    "beside the paper",
    "minutes",
  )
  return _table(head, rows), None


def _verdict(errors: Sequence[float], paper: float | None) -> str:
  if not errors or paper is None:
    return "-"
  return "at or below" if statistics.mean(errors) <= paper else "above"


def _figure_2(finished: _Finished) -> tuple[list[str], Figure | None]:
  rows = {method: finished.rows[method] for method in _SIX if method in finished.rows}
  if not rows:
    return ["No run is finished."], None
  text = []
  ours = {}
  for column, panel, title, factor, decimals in (
    ("error_percent", "training_error", "training error, %", 100.0, 2),
    ("prediction_gradient_variance", "gradient_variance", "variance of the gradient", 1.0, 4),
    ("effective_sample_size", "effective_sample_size", "effective sample size", 1.0, 2),
  ):
    paper = published.curves(panel)
    body = []
    for method, runs in rows.items():
      runs = [one for one in runs if column in one[-1]]
      if not runs:
        continue
      cells = [method]
      for point in POINTS:
        if method in paper:
          cells.append(f"{factor * measures.smoothed_value(paper[method], point):.{decimals}f}")
        else:
          cells.append("-")
        values = [measures.smoothed_value(measures.curve_of(one, column), point) for one in runs]
        ours[panel, method, point] = statistics.mean(values)
        cells.append(_cell(values, decimals))
      body.append(cells)
    head = [title]
    for point in POINTS:
      head += [f"paper at {100 * point:.0f}%", f"at {100 * point:.0f}%"]
    text += [*_table(head, body), ""]
    text += [*_orders(panel, paper, ours, list(rows)), ""]
  text += _ratios(ours)
  text += ["", "### Updates and seconds to the same error", "", *_speed_ups(finished)]
  return text, figures.learning_figure(rows)


def _orders(
  panel: str,
  paper: Mapping[str, published.Curve],
  ours: Mapping[tuple[str, str, float], float],
  methods: Sequence[str],
) -> list[str]:
  """One line a point: the order of the methods in the paper and here; none for one method."""
  lines = []
  for point in POINTS:
    mine = {m: ours[panel, m, point] for m in methods if (panel, m, point) in ours}
    theirs = {m: measures.smoothed_value(paper[m], point) for m in mine if m in paper}
    if len(theirs) < 2:
      continue
    same, pairs = measures.agreeing_pairs(theirs, mine)
    verdict = "holds" if same == pairs else f"holds for {same} of {pairs} pairs"
    orders = [" < ".join(sorted(theirs, key=values.__getitem__)) for values in (theirs, mine)]
    lines.append(
      f"- Order at {100 * point:.0f}%: {verdict}. Paper: {orders[0]}. These runs: {orders[1]}."
    )
  return lines


def _ratios(ours: Mapping[tuple[str, str, float], float]) -> list[str]:
  paper = published.curves("gradient_variance")
  rows = []
  for more, less, change in (
    ("VAR", "VAR+c", "control variate"),
    ("WS-RAM", "WS-RAM+c", "control variate"),
    ("WS-RAM+q", "WS-RAM+q+c", "control variate"),
    ("WS-RAM", "WS-RAM+q", "inference network"),
    ("WS-RAM+c", "WS-RAM+q+c", "inference network"),
  ):
    cells = [f"{more} / {less}", change]
    for point in POINTS:
      theirs = measures.smoothed_value(paper[more], point) / measures.smoothed_value(
        paper[less], point
      )
      keys = [("gradient_variance", method, point) for method in (more, less)]
      if all(key in ours for key in keys):
        mine = ours[keys[0]] / ours[keys[1]]
        verdict = "holds" if (theirs > 1) == (mine > 1) else "does not hold"
        cells += [f"{theirs:.1f}", f"{mine:.1f}, {verdict}"]
      else:
        cells += [f"{theirs:.1f}", "-"]
    rows.append(cells)
  head = ["ratio of gradient variances", "effect of"]
  for point in POINTS:
    head += [f"paper at {100 * point:.0f}%", f"at {100 * point:.0f}%"]
  return _table(head, rows)


def _speed_ups(finished: _Finished) -> list[str]:
  """The claim: how much sooner WS-RAM+q+c reaches the error that VAR+c has at a point."""
  slow_runs, fast_runs = (finished.rows_by_seed(name) for name in ("VAR+c", "WS-RAM+q+c"))
  # Runs of one seed see the same canvases.
  pairs = [(slow_runs[seed], fast_runs[seed]) for seed in slow_runs if seed in fast_runs]
  curves = published.curves("training_error")
  rows = []
  for point in POINTS:
    theirs = measures.speed_up(curves["VAR+c"], curves["WS-RAM+q+c"], point)
    cells = [f"{100 * point:.0f}%", f"{theirs:.1f}" if theirs else "-"]
    rows.append(cells + _sooner(pairs, functools.partial(measures.speed_up, fraction=point)))
  for point in POINTS:
    level = measures.smoothed_value(curves["VAR+c"], point)
    theirs = measures.speed_up_to(curves["VAR+c"], curves["WS-RAM+q+c"], level)
    cells = [f"an error of {100 * level:.0f}%", f"{theirs:.1f}" if theirs else "-"]
    percent = functools.partial(measures.speed_up_to, level=100 * level)
    rows.append(cells + _sooner(pairs, percent))
  head = (
    "point of VAR+c's training",
    "paper, updates",
    "updates, training error",
    "seconds, training error",
    "updates, validation error",
    "seconds, validation error",
  )
  return [
    "How many times sooner WS-RAM+q+c reaches the error that VAR+c has at a point of its training, "
    "and the errors that the paper's VAR+c has at these points.",
    "",
    *_table(head, rows),
  ]


def _sooner(
  pairs: Sequence[tuple[list[dict[str, float]], list[dict[str, float]]]],
  measure: Callable[[published.Curve, published.Curve], float | None],
) -> list[str]:
  """Cells of one row of the claim: training and validation error, each by updates and seconds."""
  cells = []
  for column in ("error_percent", "val_error_percent"):
    for x in ("update", "train_seconds"):
      found = [measure(*(measures.curve_of(rows, column, x) for rows in pair)) for pair in pairs]
      missing = sum(value is None for value in found)
      cells.append(_cell(found, 1) + (f" ({missing} missing)" if missing else ""))
  return cells


def _figure_3(finished: _Finished) -> tuple[list[str], Figure | None]:
  methods = experiments.EXPERIMENTS["figure3"][1]
  rows = {method: finished.rows[method] for method in methods if method in finished.rows}
  if not rows:
    return ["No run is finished."], None
  paper = published.curves("exploration_training_error")
  scales = sum(name.startswith("val_scale_") for name in next(iter(rows.values()))[0][0])
  body = []
  for method, runs in rows.items():
    last = [measures.smoothed_value(measures.curve_of(one, "error_percent"), 1.0) for one in runs]
    shares = [
      _cell([one[-1].get(f"val_scale_{scale}_percent") for one in runs], 0)
      for scale in range(scales)
    ]
    theirs = 100 * measures.smoothed_value(paper[method], 1.0, width=0.0)
    body.append((method, f"{theirs:.1f}", _cell(last, 2), *shares))
  head = (
    "method",
    "paper, training error % at its end",
    "training error %",
    *(f"glimpses of scale {scale}, %" for scale in range(scales)),
  )
  return _table(head, body), figures.exploration_figure(rows)


def _table_2(finished: _Finished) -> tuple[list[str], None]:
  rows = []
  for method in experiments.EXPERIMENTS["table2"][1]:
    results = finished.results.get(method, [])
    paper = published.TABLE_2.get(method)
    cells = [method, str(len(results))]
    for n in range(1, 5):
      cells.append(f"{paper[n - 1]:.1f}" if paper else "-")
      cells.append(_cell([one[f"bleu_{n}"] for one in results], 1))
    cells.append(_cell([one.get("brevity_penalty") for one in results], 3))
    rows.append(cells)
  head = ["method", "seeds"]
  for n in range(1, 5):
    head += [f"paper, BLEU-{n}", f"BLEU-{n}"]
  head.append("brevity penalty")
  return [*_table(head, rows), *_layers(finished)], None


def _layers(finished: _Finished) -> list[str]:
  """The share of each layer among the glimpses before each kind of word."""
  text = []
  for method, runs in finished.layer_shares.items():
    num_layers = max(len(share) for shares in runs for share in shares.values())
    body = []
    for kind in runs[0]:
      # A run that never chose the last layers has no share of them.
      found = [one[kind] for one in runs if kind in one]
      shares = [[*one, *[0.0] * (num_layers - len(one))] for one in found]
      body.append((kind, *(_cell(layer, 0) for layer in zip(*shares, strict=True))))
    head = (method, *(f"glimpses in layer {layer}, %" for layer in range(num_layers)))
    text += ["", *_table(head, body)]
  return text


def _figure_4(finished: _Finished) -> tuple[list[str], Figure | None]:
  methods = experiments.EXPERIMENTS["figure4"][1]
  rows = {method: finished.rows[method] for method in methods if method in finished.rows}
  if not rows:
    return ["No run is finished."], None
  paper = published.curves("caption_negative_log_likelihood")
  body = []
  for method, runs in rows.items():
    found = [measures.curve_of(one, "negative_log_likelihood") for one in runs]
    cells = [method]
    for point in POINTS:
      updates = math.floor(point * min(x[-1] for x, _ in found))
      theirs = paper[method][1][abs(paper[method][0] - updates).argmin()]
      cells += [f"{theirs:.1f}", _cell([measures.smoothed_value(one, point) for one in found], 1)]
    body.append(cells)
  head = ["method"]
  for point in POINTS:
    head += [f"paper at {100 * point:.0f}% of these updates", f"at {100 * point:.0f}%"]
  return _table(head, body), figures.caption_figure(rows)


_Section = Callable[[_Finished], tuple[list[str], Figure | None]]
_SECTIONS: dict[str, _Section] = {
  "table1": _table_1,
  "figure2": _figure_2,
  "figure3": _figure_3,
  "table2": _table_2,
  "figure4": _figure_4,
}
_TITLES = {
  "table1": "Table 1: test error of translated, scaled MNIST",
  "figure2": "Figure 2: training error, gradient variance, effective sample size",
  "figure3": "Figure 3: exploration",
  "table2": "Table 2: captions of Flickr8k",
  "figure4": "Figure 4: training negative log-likelihood of captions",
}
