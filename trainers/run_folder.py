"""The folder of one run: what lies where in it, and how it is written without halves."""

import contextlib
import csv
import json
import os
import pathlib
from collections.abc import Iterator
from typing import Any

import file_locks
import keras
import run_flags
import whole_files

__all__ = ["RunFolder", "RunFolderError"]


class RunFolderError(ValueError):
  """A folder that a run cannot use; the message names it and says why."""


class RunFolder:
  """Paths, safe writing, and the lock that keeps a second run out.

  Files appear whole or not at all; see `whole_files`.

  Args:
    path: of the folder.
    is_writer: whether this process writes it; the other workers of a run only read what is there.

  Attributes:
    path: the folder.
    is_writer: as given.
    flagfile: the flags that reproduce the run.
    checkpoints: the folder of learners with their optimizers; see `checkpoints.py`.
    model: the learner that the results are of.
    metrics: one row an evaluation.
    tensorboard: the folder of TensorBoard's logs.
    glimpses: the picture.
    results: the figures.
    class_names: the classes' names by label, one a line, where they have any.
    vocabulary: the words of captions, one a line.
    captions: what was said of the test images.
    features: feature grids of all images, without the files' endings.
    backbone: what computed them.
  """

  def __init__(self, path: str, *, is_writer: bool = True):
    self.path = pathlib.Path(path)
    self.is_writer = is_writer
    self.flagfile = self.path / "flags.flags"
    self.checkpoints = self.path / "checkpoints"
    self.model = self.path / "model.keras"
    self.metrics = self.path / "metrics.csv"
    self.tensorboard = self.path / "tensorboard"
    self.glimpses = self.path / "glimpses.png"
    self.results = self.path / "results.json"
    self.class_names = self.path / "class_names.txt"
    self.vocabulary = self.path / "vocabulary.txt"
    self.captions = self.path / "captions.json"
    self.features = self.path / "features"
    self.backbone = self.path / "backbone.keras"
    self._lock_file = self.path / ".lock"
    self._lock: int | None = None
    self._is_created = False

  def check_new(self) -> None:
    """Refuses a folder that holds anything or that cannot be made.

    What a run leaves that was killed before it had written its flags does not count.

    Raises:
      RunFolderError: naming the folder and the rule.
    """
    try:
      is_run = self.flagfile.exists()
    except OSError as error:  # The path is too long, say.
      raise RunFolderError(f"run_dir={self.path}: cannot be made, {error.strerror}") from error
    if is_run:
      raise RunFolderError(
        f"run_dir={self.path}: holds another run; add --resume to go on with it, or name a new "
        "folder"
      )
    if self.path.exists() and not self.path.is_dir():
      raise RunFolderError(f"run_dir={self.path}: must be a folder, and is a file")
    early = {self._lock_file.name, f"{whole_files.PARTIAL}{self.flagfile.name}"}
    if self.path.exists() and any(path.name not in early for path in self.path.iterdir()):
      raise RunFolderError(f"run_dir={self.path}: must be empty or not exist yet")
    existing = next(p for p in (self.path, *self.path.absolute().parents) if p.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
      raise RunFolderError(f"run_dir={self.path}: cannot be made, {existing} is not writable")

  def check_resumable(self, flag_lines: list[str]) -> None:
    """Refuses a folder without a run, or whose run had other flags.

    Raises:
      RunFolderError: naming the folder, and the flags that differ.
    """
    differing = run_flags.differences(self.read_flags(), flag_lines, may_move=True)
    if differing:
      raise RunFolderError(
        f"run_dir={self.path}: its run has other flags than these ({', '.join(differing)}); leave "
        f"them out, or give --flagfile={self.flagfile}"
      )

  def read_flags(self) -> list[str]:
    """The lines of the run's flagfile.

    Raises:
      RunFolderError: if there is no run, or the file cannot be read.
    """
    try:
      return self.flagfile.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError as error:
      raise RunFolderError(f"run_dir={self.path}: holds no run to resume") from error
    except (OSError, ValueError) as error:
      raise RunFolderError(
        f"run_dir={self.path}: {self.flagfile.name} cannot be read: {error}"
      ) from error

  def lock(self) -> None:
    """Keeps other processes from the folder until `release` or the end of this one, by any means.

    Raises:
      RunFolderError: if another holds it.
    """
    if self._lock is not None or not self.is_writer:
      return
    try:
      self._lock = file_locks.take(self._lock_file)
    except OSError as error:
      reason = f"cannot be locked, {error.strerror}"
      if isinstance(error, BlockingIOError):
        reason = "another process is training in it; let it end, or name another folder"
      raise RunFolderError(f"run_dir={self.path}: {reason}") from error

  def release(self) -> None:
    """Lets other processes use the folder."""
    if self._lock is not None:
      os.close(self._lock)
      self._lock, self._is_created = None, False

  def create(self, flag_lines: list[str], *, resume: bool = False) -> None:
    """Takes the folder for this process, and makes it where the run is new; once is enough.

    Args:
      flag_lines: the flags that reproduce the run.
      resume: whether the run is to be there already.

    Raises:
      RunFolderError: if the folder cannot be written, or has become another run's.
    """
    if self._is_created or not self.is_writer:
      return
    try:
      if not resume:
        self.path.mkdir(parents=True, exist_ok=True)
      self.lock()
      # Again, now that nobody else can change the answer.
      if resume:
        self.check_resumable(flag_lines)
      else:
        self.check_new()
      for folder in (self.path, self.checkpoints):
        whole_files.remove_leftovers(folder)
      if not resume:
        self.write_text(self.flagfile, "\n".join(flag_lines) + "\n")
      self.checkpoints.mkdir(exist_ok=True)
      self._is_created = True
    except OSError as error:
      raise RunFolderError(f"run_dir={self.path}: cannot be written, {error.strerror}") from error

  @contextlib.contextmanager
  def writing(self, path: pathlib.Path) -> Iterator[pathlib.Path]:
    """Gives a path to write a file of the run to, which then takes its place whole.

    Raises:
      RunFolderError: if it cannot be written; what was there is kept.
    """
    try:
      with whole_files.replacing(path) as aside:
        yield aside
    except OSError as error:
      raise self.write_error(path, error.strerror or str(error)) from error

  def write_error(self, path: pathlib.Path, reason: str) -> RunFolderError:
    """The error of a file of the run that cannot be written."""
    return RunFolderError(
      f"run_dir={self.path}: {path.relative_to(self.path)} cannot be written, {reason}; what was "
      "there is kept"
    )

  def write_text(self, path: pathlib.Path, text: str) -> None:
    """Writes a whole text file, or leaves what was there."""
    with self.writing(path) as aside:
      aside.write_text(text)

  def write_json(self, path: pathlib.Path, values: Any) -> None:
    """Writes a whole JSON file, or leaves what was there."""
    self.write_text(path, json.dumps(values, indent=2) + "\n")

  def save_learner(self, path: pathlib.Path, learner: keras.Model) -> None:
    """Writes a whole `.keras` file, or leaves what was there."""
    with self.writing(path) as aside:
      learner.save(aside)

  def save_figure(self, path: pathlib.Path, figure: Any) -> None:
    """Writes a whole picture, or leaves what was there."""
    with self.writing(path) as aside:
      figure.savefig(aside, dpi=150)

  def read_metrics(self, until_update: int) -> list[dict[str, float]]:
    """The rows of `metrics` up to an update; none where there is no file.

    Raises:
      RunFolderError: if the file is damaged.
    """
    if not self.metrics.exists():
      return []
    try:
      with self.metrics.open(newline="") as file:
        rows = [
          {key: float(value) for key, value in row.items() if value != ""}
          for row in csv.DictReader(file)
        ]
      # Written again, it is to look as it did.
      rows = [{**row, "update": int(row["update"])} for row in rows]
    except (KeyError, TypeError, ValueError, OverflowError, csv.Error) as error:
      raise RunFolderError(f"run_dir={self.path}: {self.metrics.name} is damaged") from error
    return [row for row in rows if row["update"] <= until_update]

  def write_metrics(self, rows: list[dict[str, float]]) -> None:
    """Writes all rows of `metrics`; each update of the file is whole.

    The rows of a run that an older version began lack newer figures: their cells stay empty.
    """
    names = list(dict.fromkeys(name for row in reversed(rows) for name in row))
    with self.writing(self.metrics) as aside, aside.open("w", newline="") as file:
      writer = csv.DictWriter(file, fieldnames=names)
      writer.writeheader()
      writer.writerows(rows)
