"""The folder of one run: what lies where in it, and how it is written without halves."""

import csv
import json
import os
import pathlib
from typing import Any

import keras

__all__ = ["RunFolder", "RunFolderError"]

# Flags that a run may be resumed with changed.
FREE_TO_CHANGE = ("--on_nan", "--strategy")


class RunFolderError(ValueError):
  """A folder that a run cannot use; the message names it and says why."""


class RunFolder:
  """Paths and safe writing. Files appear whole or not at all: written aside, then renamed.

  Attributes:
    path: the folder.
    flagfile: the flags that reproduce the run.
    last: the learner after the newest evaluation, with its optimizer.
    best: the learner of the best evaluation on the validation digits, with its optimizer.
    model: the learner that the results are of.
    metrics: one row an evaluation.
    tensorboard: the folder of TensorBoard's logs.
    glimpses: the picture.
    results: the figures.
    class_names: the classes' names by label, one a line, where they have any.
    vocabulary: the words of captions, one a line.
  """

  def __init__(self, path: str):
    self.path = pathlib.Path(path)
    self.flagfile = self.path / "flags.flags"
    self.last = self.path / "checkpoints" / "last.keras"
    self.best = self.path / "checkpoints" / "best.keras"
    self.model = self.path / "model.keras"
    self.metrics = self.path / "metrics.csv"
    self.tensorboard = self.path / "tensorboard"
    self.glimpses = self.path / "glimpses.png"
    self.results = self.path / "results.json"
    self.class_names = self.path / "class_names.txt"
    self.vocabulary = self.path / "vocabulary.txt"

  def check_new(self) -> None:
    """Refuses a folder that holds anything or that cannot be made.

    Raises:
      RunFolderError: naming the folder and the rule.
    """
    if self.flagfile.exists():
      raise RunFolderError(
        f"run_dir={self.path}: holds another run; add --resume to go on with it, or name a new "
        "folder"
      )
    if self.path.exists() and not self.path.is_dir():
      raise RunFolderError(f"run_dir={self.path}: must be a folder, and is a file")
    if self.path.exists() and any(self.path.iterdir()):
      raise RunFolderError(f"run_dir={self.path}: must be empty or not exist yet")
    existing = next(p for p in (self.path, *self.path.absolute().parents) if p.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
      raise RunFolderError(f"run_dir={self.path}: cannot be made, {existing} is not writable")

  def check_resumable(self, flag_lines: list[str]) -> None:
    """Refuses a folder without a run, or whose run had other flags.

    Raises:
      RunFolderError: naming the folder, and the flags that differ.
    """
    if not self.flagfile.exists():
      raise RunFolderError(f"run_dir={self.path}: holds no run to resume")
    there, here = (
      {line for line in lines if line.partition("=")[0] not in FREE_TO_CHANGE}
      for lines in (self.flagfile.read_text().splitlines(), flag_lines)
    )
    differing = sorted(here - there) + sorted(f"not {line}" for line in there - here)
    if differing:
      raise RunFolderError(
        f"run_dir={self.path}: its run has other flags than these ({', '.join(differing)}); give "
        f"--flagfile={self.flagfile}"
      )

  def create(self, flag_lines: list[str]) -> None:
    """Makes the folder and writes the flags that reproduce the run."""
    try:
      self.last.parent.mkdir(parents=True, exist_ok=True)
      self.write_text(self.flagfile, "\n".join(flag_lines) + "\n")
    except OSError as error:
      raise RunFolderError(f"run_dir={self.path}: cannot be written, {error.strerror}") from error

  def write_text(self, path: pathlib.Path, text: str) -> None:
    """Writes a whole text file, or leaves what was there."""
    aside = path.with_name(f"{path.name}.partial")
    aside.write_text(text)
    aside.replace(path)

  def write_json(self, path: pathlib.Path, values: dict[str, Any]) -> None:
    """Writes a whole JSON file, or leaves what was there."""
    self.write_text(path, json.dumps(values, indent=2) + "\n")

  def save_learner(self, path: pathlib.Path, learner: keras.Model) -> None:
    """Writes a whole `.keras` file, or leaves what was there."""
    aside = path.with_name(f"partial-{path.name}")  # Keras goes by the ending.
    learner.save(aside)
    aside.replace(path)

  def save_figure(self, path: pathlib.Path, figure: Any) -> None:
    """Writes a whole picture, or leaves what was there."""
    aside = path.with_name(f"partial-{path.name}")
    figure.savefig(aside, dpi=150)
    aside.replace(path)

  def read_metrics(self, until_update: int) -> list[dict[str, float]]:
    """The rows of `metrics` up to an update; none where there is no file."""
    if not self.metrics.exists():
      return []
    with self.metrics.open(newline="") as file:
      rows = [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]
    return [row for row in rows if row["update"] <= until_update]

  def write_metrics(self, rows: list[dict[str, float]]) -> None:
    """Writes all rows of `metrics`; each update of the file is whole."""
    aside = self.metrics.with_name(f"{self.metrics.name}.partial")
    with aside.open("w", newline="") as file:
      writer = csv.DictWriter(file, fieldnames=list(rows[0]))
      writer.writeheader()
      writer.writerows(rows)
    aside.replace(self.metrics)
