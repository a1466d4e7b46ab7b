"""The folder of one run: its files, its lock, and atomic writes."""

import contextlib
import csv
import json
import os
import pathlib
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import filelock

from wsram_tf import files
from wsram_tf.runs import record
from wsram_tf.settings import check_path

if TYPE_CHECKING:
  import keras
  from matplotlib.figure import Figure

__all__ = ["BACKBONE", "CAPTIONS", "CLASS_NAMES", "VOCABULARY", "RunFolder", "RunFolderError"]

# Files of single tasks that others read too.
CAPTIONS = "captions.json"
CLASS_NAMES = "class_names.txt"
VOCABULARY = "vocabulary.txt"
BACKBONE = "backbone.keras"


class RunFolderError(ValueError):
  """A run cannot use its folder; the message names the folder and the reason."""


class RunFolder:
  """Paths, atomic writes, and a lock that keeps a second run out of the folder.

  Args:
    path: the folder; it need not exist.
    is_writer: whether this process writes the folder; the other workers of a run only read it.

  Attributes:
    path: the folder.
    is_writer: as given.
    flagfile: the settings that reproduce the run, as a flagfile.
    checkpoints: the folder of checkpoints; see `Checkpoints`.
    model: the learner with the chosen weights.
    metrics: one row for each evaluation.
    tensorboard: the folder of TensorBoard's logs.
    glimpses: the picture of the glimpses.
    results: the figures of the finished run.

  Raises:
    ValueError: if `path` is no path.
  """

  def __init__(self, path: str | os.PathLike, *, is_writer: bool = True):
    check_path("run_dir", path)
    self.path = pathlib.Path(path)
    self.is_writer = is_writer
    self.flagfile = self.path / "flags.flags"
    self.checkpoints = self.path / "checkpoints"
    self.model = self.path / "model.keras"
    self.metrics = self.path / "metrics.csv"
    self.tensorboard = self.path / "tensorboard"
    self.glimpses = self.path / "glimpses.png"
    self.results = self.path / "results.json"
    self._lock = filelock.FileLock(self.path / ".lock")
    self._is_created = False

  def check_new(self) -> None:
    """Checks that the folder is empty or can be made.

    Files of a run that was killed before it wrote its flags do not count.

    Raises:
      RunFolderError: otherwise, with the folder and the rule.
    """
    try:
      is_run = self.flagfile.exists()
    except OSError as error:  # For example a path that is too long.
      raise RunFolderError(f"run_dir={self.path}: cannot be made, {error.strerror}") from error
    if is_run:
      raise RunFolderError(
        f"run_dir={self.path}: holds another run; add --resume to continue it (resume=True from "
        "Python), or name a new folder"
      )
    if self.path.exists() and not self.path.is_dir():
      raise RunFolderError(f"run_dir={self.path}: must be a folder, and is a file")
    early = {".lock", f"{files.PARTIAL}{self.flagfile.name}"}
    if self.path.exists() and any(path.name not in early for path in self.path.iterdir()):
      raise RunFolderError(f"run_dir={self.path}: must be empty or not exist yet")
    existing = next(p for p in (self.path, *self.path.absolute().parents) if p.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
      raise RunFolderError(f"run_dir={self.path}: cannot be made, {existing} is not writable")

  def check_resumable(self, settings: record.Settings) -> None:
    """Checks that the folder holds a run with these settings.

    Raises:
      RunFolderError: otherwise, with the settings that differ.
    """
    differing = record.differences(self.read_flags(), settings, may_move=True)
    if differing:
      raise RunFolderError(
        f"run_dir={self.path}: its run has other flags than these ({', '.join(differing)}); leave "
        f"them out, or give --flagfile={self.flagfile}"
      )

  def read_flags(self) -> list[str]:
    """Reads the lines of the run's flagfile.

    Raises:
      RunFolderError: if there is no run, the file cannot be read, or a link leads out of it.
    """
    self._check_links("run_dir")
    try:
      return self.flagfile.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError as error:
      raise RunFolderError(f"run_dir={self.path}: holds no run to resume") from error
    except (OSError, ValueError) as error:
      raise RunFolderError(
        f"run_dir={self.path}: {self.flagfile.name} cannot be read: {error}"
      ) from error

  def check_extensions(self, paths: Iterable[str]) -> None:
    """Checks the extensions that the run recorded, before programs execute them.

    A run records absolute paths. A file in its folder, or one of a relative path, came with the run
    from somebody else.

    Args:
      paths: of the extensions.

    Raises:
      RunFolderError: if one came with the run.
    """
    root = os.path.realpath(self.path)
    for path in paths:
      inside = os.path.commonpath([root, os.path.realpath(path)]) == root
      if inside or not os.path.isabs(path):
        raise RunFolderError(
          f"run_dir={self.path}: extension={path}: must not come with the run, because it is a "
          f"program; if you trust it, add --extension={path}"
        )

  def check_finished(self, name: str = "run_dir") -> None:
    """Checks that the folder holds a finished run.

    Args:
      name: the argument that named the folder, for the message.

    Raises:
      RunFolderError: otherwise, or if a link leads out of it.
    """
    if not os.path.isfile(self.model):  # Also a name that is too long is none.
      raise RunFolderError(
        f"{name}={self.path}: holds no finished run, {self.model.name} is missing"
      )
    self._check_links(name)

  def _check_links(self, name: str) -> None:
    """Checks that no link in the folder leads out of it, to files that are no part of the run."""
    try:
      files.check_links(self.path, f"{name}={self.path}")
    except (OSError, ValueError) as error:
      raise RunFolderError(str(error)) from error

  def lock(self) -> None:
    """Locks the folder until `release` or the end of this process.

    Raises:
      RunFolderError: if another process holds the lock.
    """
    if self._lock.is_locked or not self.is_writer:
      return
    try:
      self._lock.acquire(timeout=0)
    except filelock.Timeout as error:
      raise RunFolderError(
        f"run_dir={self.path}: another process is training in it; let it end, or name another "
        "folder"
      ) from error
    except OSError as error:
      raise RunFolderError(f"run_dir={self.path}: cannot be locked, {error.strerror}") from error

  def release(self) -> None:
    """Releases the lock."""
    if self._lock.is_locked:
      self._lock.release()
      self._is_created = False

  def create(self, settings: record.Settings, *, resume: bool = False) -> None:
    """Locks the folder, and makes it for a new run; further calls do nothing.

    Args:
      settings: the settings that reproduce the run.
      resume: whether the run must exist already.

    Raises:
      RunFolderError: if the folder cannot be written, or another run uses it by now.
    """
    if self._is_created or not self.is_writer:
      return
    try:
      if not resume:
        self.path.mkdir(parents=True, exist_ok=True)
      self.lock()
      # Again, since no other process can change the answer any more.
      if resume:
        self.check_resumable(settings)
      else:
        self.check_new()
      for folder in (self.path, self.checkpoints):
        files.remove_leftovers(folder)
      if not resume:
        self.write_text(self.flagfile, "\n".join(settings.lines) + "\n")
      self.checkpoints.mkdir(exist_ok=True)
      self._is_created = True
    except OSError as error:
      raise RunFolderError(f"run_dir={self.path}: cannot be written, {error.strerror}") from error

  @contextlib.contextmanager
  def writing(self, path: pathlib.Path) -> Iterator[pathlib.Path]:
    """Replaces a file of the run atomically; see `files.replacing`.

    Raises:
      RunFolderError: if the file cannot be written; the old content stays.
    """
    try:
      with files.replacing(path) as partial:
        yield partial
    except OSError as error:
      raise self.write_error(path, error.strerror or str(error)) from error

  def write_error(self, path: pathlib.Path, reason: str) -> RunFolderError:
    """Makes the error for a file of the run that cannot be written."""
    return RunFolderError(
      f"run_dir={self.path}: {path.relative_to(self.path)} cannot be written, {reason}; its old "
      "content is kept"
    )

  def write_text(self, path: pathlib.Path, text: str) -> None:
    """Writes a text file atomically."""
    with self.writing(path) as partial:
      partial.write_text(text, encoding="utf-8")

  def write_json(self, path: pathlib.Path, values: Any) -> None:
    """Writes a JSON file atomically."""
    self.write_text(path, json.dumps(values, indent=2) + "\n")

  def save_learner(self, path: pathlib.Path, learner: "keras.Model") -> None:
    """Writes a `.keras` file atomically."""
    with self.writing(path) as partial:
      learner.save(partial)

  def save_figure(self, path: pathlib.Path, figure: "Figure") -> None:
    """Writes a Matplotlib figure atomically."""
    with self.writing(path) as partial:
      figure.savefig(partial, dpi=150)

  def read_results(self) -> dict[str, Any]:
    """Reads the figures of the finished run; empty where there are none.

    Raises:
      RunFolderError: if the file is damaged.
    """
    if not self.results.is_file():
      return {}
    try:
      return dict(json.loads(self.results.read_text(encoding="utf-8")).items())
    except (ValueError, AttributeError) as error:
      raise RunFolderError(
        f"run_dir={self.path}: {self.results.name} must be as training wrote it: {error}"
      ) from error

  def read_metrics(self, until_update: int) -> list[dict[str, float]]:
    """Reads the rows of `metrics` up to an update; none where there is no file.

    Raises:
      RunFolderError: if the file is damaged.
    """
    if not self.metrics.exists():
      return []
    try:
      with self.metrics.open(newline="", encoding="utf-8") as file:
        rows = [
          {key: float(value) for key, value in row.items() if value != ""}
          for row in csv.DictReader(file)
        ]
      # An integer again, so that a resumed run writes the row as it was.
      rows = [{**row, "update": int(row["update"])} for row in rows]
    except (KeyError, TypeError, ValueError, OverflowError, csv.Error) as error:
      raise RunFolderError(f"run_dir={self.path}: {self.metrics.name} is damaged") from error
    return [row for row in rows if row["update"] <= until_update]

  def write_metrics(self, rows: list[dict[str, float]]) -> None:
    """Writes all rows of `metrics` atomically.

    Runs that an older version began lack newer figures; these cells stay empty.
    """
    names = list(dict.fromkeys(name for row in reversed(rows) for name in row))
    with (
      self.writing(self.metrics) as partial,
      partial.open("w", newline="", encoding="utf-8") as file,
    ):
      writer = csv.DictWriter(file, fieldnames=names)
      writer.writeheader()
      writer.writerows(rows)

  def read_names(self, name: str) -> tuple[str, ...]:
    """Reads a file of one name a line, such as `CLASS_NAMES`; empty where there is none."""
    path = self.path / name
    return tuple(path.read_text(encoding="utf-8").splitlines()) if path.is_file() else ()

  def write_names(self, name: str, names: Iterable[str]) -> None:
    """Writes one name a line, atomically."""
    self.write_text(self.path / name, "".join(f"{one}\n" for one in names))
