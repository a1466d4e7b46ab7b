"""Finished runs of the experiments: what the report reads of them, and files that keep it.

A file of runs holds one JSON object a line, so that runs of several machines can be put together.
"""

import itertools
import json
import math
import os
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from wsram_tf import files
from wsram_tf.paper import experiments, words
from wsram_tf.runs.folder import CAPTIONS, RunFolder

__all__ = ["FILE", "FinishedRun", "read_file", "read_folder", "write_file"]

FILE = "runs.jsonl"


class _Kept(NamedTuple):
  """What is kept of the runs of a group: names in `results.json`, and columns of `metrics.csv`.

  Attributes:
    results: figures of each run.
    columns: figures of each evaluation.
    if_there: further columns, which not all runs have.
    results_if_there: further figures of a run, which runs of older versions lack.
  """

  results: tuple[str, ...]
  columns: tuple[str, ...]
  if_there: tuple[str, ...] = ()
  results_if_there: tuple[str, ...] = ()


_ERRORS = ("test_error_percent", "test_error_percent_averaged")
_KEPT = {
  experiments.DIGITS.name: _Kept(
    (*_ERRORS, "train_seconds"),
    ("update", "train_seconds", "error_percent", "val_error_percent"),
    (
      "effective_sample_size",
      "prediction_gradient_variance",
      *(f"val_scale_{scale}_percent" for scale in range(3)),
    ),
  ),
  experiments.CAPTIONS.name: _Kept(
    ("bleu_1", "bleu_2", "bleu_3", "bleu_4", "train_seconds"),
    ("update", "train_seconds", "negative_log_likelihood"),
    results_if_there=("brevity_penalty",),
  ),
}
_LAST = 2**31


class FinishedRun(NamedTuple):
  """One finished run.

  Attributes:
    group: name of its group of experiments.
    method: its label.
    seed: its seed.
    flags: its flags, but for its data, its folder and its seed.
    results: its figures.
    rows: the figures of its evaluations, in the order of updates.
    layer_shares: for a captioner, the share of each layer by kind of word; see
      `words.layer_shares`.
  """

  group: str
  method: str
  seed: int
  flags: tuple[str, ...]
  results: dict[str, float]
  rows: list[dict[str, float]]
  layer_shares: Mapping[str, Sequence[float]] | None = None

  @property
  def key(self) -> tuple[str, str, int]:
    """Group, method and seed."""
    return self.group, self.method, self.seed


def read_folder(
  run: RunFolder, group: str, method: str, seed: int, flags: Iterable[str]
) -> FinishedRun | None:
  """Reads a run from its folder; None where it is not finished.

  Raises:
    RunFolderError: if a file of the run is damaged.
  """
  results = run.read_results()
  if not results:
    return None
  kept = _KEPT[group]
  columns = (*kept.columns, *kept.if_there)
  return FinishedRun(
    group,
    method,
    seed,
    tuple(flags),
    {
      name: _rounded(results[name])
      for name in (*kept.results, *kept.results_if_there)
      if name in results
    },
    [
      {name: _rounded(row[name]) for name in columns if name in row}
      for row in run.read_metrics(until_update=_LAST)
    ],
    _layer_shares(run.path / CAPTIONS),
  )


def read_file(path: str | os.PathLike) -> list[FinishedRun]:
  """Reads a file of runs.

  Raises:
    OSError: if the file cannot be read.
    ValueError: if a line is no run, with its number.
  """
  found = []
  for number, line in enumerate(pathlib.Path(path).read_bytes().splitlines(), 1):
    try:
      found.append(_decoded(json.loads(line)))
    except (
      AttributeError,
      KeyError,
      OverflowError,
      RecursionError,
      TypeError,
      ValueError,
    ) as error:
      raise ValueError(f"{path}: line {number}: must be a finished run") from error
  return found


def write_file(path: pathlib.Path, runs: Iterable[FinishedRun]) -> None:
  """Writes a file of runs atomically.

  Raises:
    OSError: if the file cannot be written; its old content stays.
  """
  with files.replacing(path) as partial:
    partial.write_text("".join(f"{json.dumps(_encoded(run))}\n" for run in runs), encoding="utf-8")


def _encoded(run: FinishedRun) -> dict[str, Any]:
  # A run that is resumed with another version may have a column in some rows only.
  names = dict.fromkeys(name for row in run.rows for name in row)
  metrics = {name: [row.get(name) for row in run.rows] for name in names}
  values = {**run._asdict(), "metrics": metrics}
  del values["rows"]
  return {name: value for name, value in values.items() if value is not None}


def _decoded(values: dict[str, Any]) -> FinishedRun:
  """Makes a run of the object of a line.

  Raises:
    AttributeError, KeyError, OverflowError, TypeError, ValueError: if it is none.
  """
  kept = _KEPT[values["group"]]
  metrics = values["metrics"]
  there = [name for name in kept.if_there if name in metrics]
  columns = [[_number(value) for value in metrics[name]] for name in kept.columns]
  partial = [[None if value is None else _number(value) for value in metrics[n]] for n in there]
  rows = [
    {
      name: value
      for name, value in zip((*kept.columns, *there), row, strict=True)
      if value is not None
    }
    for row in zip(*columns, *partial, strict=True)
  ]
  results = values["results"]
  more = [name for name in kept.results_if_there if name in results]
  updates = columns[0]
  if not rows or updates[0] < 0 or any(a >= b for a, b in itertools.pairwise(updates)):
    raise ValueError("update: must rise")
  shares = values.get("layer_shares")
  if shares is not None:
    shares = {str(kind): tuple(map(_number, found)) for kind, found in shares.items()}
  return FinishedRun(
    values["group"],
    str(values["method"]),
    int(values["seed"]),
    tuple(map(str, values["flags"])),
    {name: _number(results[name]) for name in (*kept.results, *more)},
    rows,
    shares,
  )


def _number(value: Any) -> float:
  """Checks a number of a file.

  Raises:
    OverflowError, TypeError, ValueError: if it is none, or not finite.
  """
  if not math.isfinite(value):
    raise ValueError("must be finite")
  return float(value)


def _rounded(value: float) -> float:
  return float(f"{value:.6g}")


def _layer_shares(captions: pathlib.Path) -> Mapping[str, Sequence[float]] | None:
  """The share of each layer by kind of word; None without captions or layers."""
  if not captions.exists():
    return None
  rows = json.loads(captions.read_text(encoding="utf-8"))
  chosen = [layer for row in rows for layer in row.get("layers", ())]
  return words.layer_shares(rows, max(chosen) + 1) if chosen else None
