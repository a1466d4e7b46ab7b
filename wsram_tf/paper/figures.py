"""Plots of the paper's figures: the curves of the runs (solid), and the paper's (dashed)."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from wsram_tf.paper.measures import curve_of
from wsram_tf.paper.published import Curve, curves

__all__ = ["Rows", "caption_figure", "exploration_figure", "learning_figure", "mean_curve"]

# The evaluations of each run of a method, in the order of its seeds.
Rows = Mapping[str, Sequence[Sequence[Mapping[str, float]]]]

_COLOURS = {
  "VAR": "C0",
  "VAR+c": "C1",
  "WS-RAM": "C2",
  "WS-RAM+c": "C3",
  "WS-RAM+q": "C4",
  "WS-RAM+q+c": "C5",
  "VAR+c-without-exploration": "C8",
  "WS-RAM+q+c-without-exploration": "C9",
}


def mean_curve(runs: Iterable[Sequence[Mapping[str, float]]], column: str) -> Curve:
  """The mean of a figure over the runs of a method, at the evaluations that all of them have."""
  found = [curve_of(rows, column) for rows in runs]
  length = min(len(x) for x, _ in found)
  return found[0][0][:length], np.mean([values[:length] for _, values in found], axis=0)


def learning_figure(rows: Rows) -> Figure:
  """Figure 2: training error, gradient variance and effective sample size by updates."""
  return _panels(
    rows,
    (
      ("error_percent", "training_error", "training error, %", 100.0),
      ("prediction_gradient_variance", "gradient_variance", "variance of the gradient", 1.0),
      (
        "effective_sample_size",
        "effective_sample_size",
        "effective sample size (of 5)",
        1.0,
      ),
    ),
  )


def exploration_figure(rows: Rows) -> Figure:
  """Figure 3: training error with and without exploration, and the share of each scale."""
  shown = {method: runs for method, runs in rows.items() if runs}
  figure = Figure(figsize=(5 + 3.2 * len(shown), 4.6), layout="constrained")
  panels = figure.subplots(1, 1 + len(shown), squeeze=False)[0]
  _draw(
    panels[0],
    rows,
    ("error_percent", "exploration_training_error", "training error, %", 100.0),
  )
  panels[0].set_yscale("log")
  # Outside, where it covers no curve.
  handles, names = panels[0].get_legend_handles_labels()
  figure.legend(handles, names, loc="outside lower center", ncols=len(shown), fontsize="small")
  for axes, (method, runs) in zip(panels[1:], shown.items(), strict=True):
    scales = sum(name.startswith("val_scale_") for name in runs[0][0])
    shares = [mean_curve(runs, f"val_scale_{scale}_percent") for scale in range(scales)]
    axes.stackplot(
      shares[0][0],
      *(values for _, values in shares),
      labels=[f"scale {scale}" for scale in range(scales)],
      colors=[f"C{scale}" for scale in range(scales)],
      alpha=0.7,
    )
    axes.set(title=method, xlabel="updates", ylabel="share of glimpses, %", ylim=(0, 100))
    axes.legend(fontsize="x-small", loc="lower right")
  return figure


def caption_figure(rows: Rows) -> Figure:
  """Figure 4: training negative log-likelihood of a caption by updates."""
  figure = _panels(
    rows,
    (
      (
        "negative_log_likelihood",
        "caption_negative_log_likelihood",
        "training negative log-likelihood, nats a caption",
        1.0,
      ),
    ),
  )
  for axes in figure.axes:
    axes.set_yscale("linear")
  return figure


def _panels(rows: Rows, panels: Sequence[tuple[str, str, str, float]]) -> Figure:
  figure = Figure(figsize=(5.5 * len(panels) + 1.5, 4.6), layout="constrained")
  for axes, panel in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
    _draw(axes, rows, panel)
    if "variance" in panel[2] or "error" in panel[2]:
      axes.set_yscale("log")
  handles, names = figure.axes[0].get_legend_handles_labels()
  figure.legend(handles, names, loc="outside right center", fontsize="small")
  return figure


def _draw(axes: Axes, rows: Rows, panel: tuple[str, str, str, float]) -> None:
  """Draws each method's runs thin, their mean thick, and the paper's curve dashed."""
  column, name, title, factor = panel
  paper = curves(name)
  for method, runs in rows.items():
    runs = [one for one in runs if one and column in one[-1]]
    colour = _COLOURS.get(method, "C7")
    for one in runs:
      x, values = curve_of(one, column)
      axes.plot(x, values, lw=0.5, alpha=0.5, color=colour)
    if runs:
      axes.plot(*mean_curve(runs, column), lw=1.8, label=method, color=colour)
    if method in paper:
      x, values = paper[method]
      later = x > 0
      axes.plot(
        x[later],
        factor * values[later],
        ls="--",
        lw=1.0,
        label=f"{method}, paper",
        color=colour,
      )
  axes.set(xlabel="updates", ylabel=title, xscale="log")
  axes.grid(alpha=0.3)
