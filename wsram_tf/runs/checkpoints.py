"""Checkpoints: the learners that a run resumes from, and its best one."""

import pathlib
import re
import zipfile

import keras

from wsram_tf.model_files.loading import load_model
from wsram_tf.runs.folder import RunFolder, RunFolderError
from wsram_tf.runs.loop import intervals
from wsram_tf.runs.loop.intervals import Interval

__all__ = ["Checkpoints"]

LAST, BEST, STOPPED = "update", "best", "stopped"
_NAME = re.compile(rf"({LAST}|{BEST})-(\d{{8,}})\.keras")
_STOPPED_NAME = re.compile(rf"({STOPPED})-(\d{{8,}})\.keras")


class Checkpoints:
  """Saves and loads the learners of a run with their optimizers, in files named by the update.

  `update-N.keras` hold the last two evaluations, so that one remains if the other is damaged.
  `best-N.keras` hold the best evaluation up to each of the two. Each file appears complete, so a
  run resumes from the newest one; only metrics.csv, written before it, must agree with it.

  `stopped-N.keras` holds a learner that was stopped on request after the last evaluation, and
  `stopped-N.json` the interval since then. The next evaluation removes both.

  Args:
    run: the run's folder.
  """

  def __init__(self, run: RunFolder):
    self.run = run

  def save(self, learner: keras.Model, *, is_best: bool) -> None:
    """Saves a learner, then removes the files that the last two evaluations do not need.

    Args:
      learner: the learner at an evaluation.
      is_best: whether the evaluation is the best so far.

    Raises:
      RunFolderError: if the file cannot be written; the old files stay.
    """
    update = int(learner.optimizer.iterations)
    # First, because a run that resumes from the other file does not repeat this evaluation.
    if is_best:
      self.run.save_learner(self._path(BEST, update), learner)
    self.run.save_learner(self._path(LAST, update), learner)
    kept = [path for path in self._files() if path.name.startswith(LAST)][:2]
    kept += [self._best_until(_update(path)) for path in kept]
    for path in self._files():
      if path not in kept:
        path.unlink()
    self._remove_stopped()

  def save_stopped(self, learner: keras.Model, interval: Interval) -> None:
    """Saves a learner that stops before its next evaluation.

    Args:
      learner: the learner.
      interval: what it did since its last evaluation.

    Raises:
      RunFolderError: if a file cannot be written; the old files stay.
    """
    path = self._path(STOPPED, int(learner.optimizer.iterations))
    self.run.write_json(path.with_suffix(".json"), interval._asdict())
    self.run.save_learner(path, learner)
    self._remove_stopped(but=path)

  def load_newest(self) -> tuple[keras.Model | None, Interval | None]:
    """Loads the learner that a run resumes from; see `load_stopped` and `load_last`.

    Returns:
      the learner, None if there is no checkpoint yet; what it did since the last evaluation, None
      if nothing.
    """
    return self.load_stopped() or (self.load_last(), None)

  def load_stopped(self) -> tuple[keras.Model, Interval] | None:
    """Loads the learner that was stopped after the last evaluation.

    A damaged one is reported; the run then repeats the interval from the last evaluation.

    Returns:
      the learner, and what it did since that evaluation; None if there is no intact one.
    """
    last = max((_update(path) for path in self._files() if path.name.startswith(LAST)), default=0)
    problems: dict[pathlib.Path, str] = {}
    for path in self._stopped():
      if _update(path) <= last:
        continue  # The evaluation after it was recorded.
      try:
        interval = intervals.read(path.with_suffix(".json"))
        if interval.begin != last:
          raise ValueError(f"continues update {interval.begin}")
        best = self._best_until(last)
        if last and (best is None or _damage(best)):
          raise ValueError("the best checkpoint before it is damaged or missing")
      except ValueError as error:
        problems[path] = f"{error}"
        continue
      reason = _damage(path)
      learner = None if reason else self._load(path, problems)
      if learner is not None:
        print(f"resumes from {path}", flush=True)
        return learner, interval
      problems.setdefault(path, reason or "")
    if problems:
      print(f"damaged and skipped: {_listed(problems)}", flush=True)
    return None

  def load_last(self) -> keras.Model | None:
    """Loads the newest intact checkpoint whose best checkpoint is intact too.

    Damaged checkpoints are reported and deleted, together with newer ones; the run recreates them.

    Returns:
      the learner; None if there is no checkpoint yet.

    Raises:
      RunFolderError: if all checkpoints are damaged, with their names.
    """
    problems: dict[pathlib.Path, str] = {}
    without_best: list[pathlib.Path] = []
    for path in self._files():
      best = self._best_until(_update(path))
      for checked in dict.fromkeys((path, best)):
        if checked and checked not in problems and (reason := _damage(checked)):
          problems[checked] = reason
      if path in problems:
        continue
      if best is None or best in problems:
        without_best.append(path)
        continue
      learner = self._load(path, problems)
      if learner is not None:
        return self._resume(path, learner, problems)
    for path in without_best:
      learner = self._load(path, problems)
      if learner is not None:
        print(f"the best weights are lost; {path.name} replaces them", flush=True)
        if self.run.is_writer:
          self.run.save_learner(self._path(BEST, _update(path)), learner)
        return self._resume(path, learner, problems)
    if problems:
      raise RunFolderError(
        f"run_dir={self.run.path}: all checkpoints are damaged: {_listed(problems)}"
      )
    return None

  def load_best(self) -> keras.Model:
    """Loads the learner of the best evaluation.

    Raises:
      RunFolderError: if the file is missing or damaged.
    """
    problems: dict[pathlib.Path, str] = {}
    path = next((path for path in self._files() if path.name.startswith(BEST)), None)
    if path is not None and (reason := _damage(path)):
      problems[path] = reason
    learner = None if path is None or problems else self._load(path, problems)
    if learner is None:
      raise RunFolderError(
        f"run_dir={self.run.path}: the best checkpoint cannot be read: "
        f"{_listed(problems) or 'it is missing'}; add --resume"
      )
    return learner

  def _load(self, path: pathlib.Path, problems: dict[pathlib.Path, str]) -> keras.Model | None:
    try:
      learner = load_model(path)
    except Exception as error:  # A damaged file can raise anything.
      problems[path] = f"cannot be loaded: {str(error).splitlines()[0] if str(error) else error!r}"
      return None
    if int(learner.optimizer.iterations) != _update(path):
      problems[path] = f"is of update {int(learner.optimizer.iterations)}"
      return None
    return learner

  def _resume(
    self, path: pathlib.Path, learner: keras.Model, problems: dict[pathlib.Path, str]
  ) -> keras.Model:
    if problems:
      print(f"damaged and skipped: {_listed(problems)}", flush=True)
    for other in self._files():
      if self.run.is_writer and (other in problems or _update(other) > _update(path)):
        other.unlink(missing_ok=True)
    print(f"resumes from {path}", flush=True)
    return learner

  def _path(self, kind: str, update: int) -> pathlib.Path:
    return self.run.checkpoints / f"{kind}-{update:08d}.keras"

  def _files(self) -> list[pathlib.Path]:
    """Returns all checkpoints, newest first; `update-N` before `best-N`."""
    found = [path for path in self.run.checkpoints.glob("*.keras") if _NAME.fullmatch(path.name)]
    return sorted(found, key=lambda path: (_update(path), path.name), reverse=True)

  def _stopped(self) -> list[pathlib.Path]:
    """Returns the checkpoints of stopped learners, newest first."""
    found = self.run.checkpoints.glob(f"{STOPPED}-*.keras")
    stopped = (path for path in found if _STOPPED_NAME.fullmatch(path.name))
    return sorted(stopped, key=_update, reverse=True)

  def _remove_stopped(self, but: pathlib.Path | None = None) -> None:
    for path in self.run.checkpoints.glob(f"{STOPPED}-*"):
      if but is None or path.stem != but.stem:
        path.unlink()

  def _best_until(self, update: int) -> pathlib.Path | None:
    best = (path for path in self._files() if path.name.startswith(BEST))
    return next((path for path in best if _update(path) <= update), None)


def _update(path: pathlib.Path) -> int:
  return int(path.stem.partition("-")[2])


def _damage(path: pathlib.Path) -> str | None:
  """Returns how a file fails its own checksums; None if it is intact."""
  try:
    with zipfile.ZipFile(path) as archive:
      part = archive.testzip()
  except Exception as error:  # A damaged file can raise anything.
    return f"{error}"
  return f"the checksum of {part} is wrong" if part else None


def _listed(problems: dict[pathlib.Path, str]) -> str:
  return ", ".join(f"{path.name} ({reason})" for path, reason in problems.items())
