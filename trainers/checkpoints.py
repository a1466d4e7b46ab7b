"""What a run goes on from, and what it ends with: its checkpoints."""

import pathlib
import re
import zipfile

import keras
from run_folder import RunFolder, RunFolderError

__all__ = ["Checkpoints"]

LAST, BEST = "update", "best"
_NAME = re.compile(rf"({LAST}|{BEST})-(\d{{8,}})\.keras")


class Checkpoints:
  """The learners of a run with their optimizers, in files named by the updates made.

  `update-N.keras` are of the last two evaluations, so that one is left where the other is damaged.
  `best-N.keras` are the best of all evaluations up to either of them. Every file is whole when it
  appears, so the newest decides where a run goes on; nothing else needs to agree with it but
  metrics.csv, whose rows are written before.

  Args:
    run: the run's folder.
  """

  def __init__(self, run: RunFolder):
    self.run = run

  def save(self, learner: keras.Model, *, is_best: bool) -> None:
    """Saves a learner, then removes what neither of the last two evaluations needs.

    Args:
      learner: as of an evaluation.
      is_best: whether the evaluation was the best so far.

    Raises:
      RunFolderError: if it cannot be written; what was there is kept.
    """
    update = int(learner.optimizer.iterations)
    if is_best:  # First: once the other is there, a resumed run does not evaluate this update.
      self.run.save_learner(self._path(BEST, update), learner)
    self.run.save_learner(self._path(LAST, update), learner)
    kept = [path for path in self._files() if path.name.startswith(LAST)][:2]
    kept += [self._best_until(_update(path)) for path in kept]
    for path in self._files():
      if path not in kept:
        path.unlink()

  def load_last(self) -> keras.Model | None:
    """Loads what the run goes on from: the newest that is sound and whose best one is sound too.

    What is damaged is said. It is removed with everything newer, which the run will make again.

    Returns:
      the learner; None where nothing was saved yet.

    Raises:
      RunFolderError: if there are checkpoints and all are damaged, naming them.
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
        return self._go_on(path, learner, problems)
    for path in without_best:
      learner = self._load(path, problems)
      if learner is not None:
        print(f"the best weights are lost; those of {path.name} stand in for them", flush=True)
        self.run.save_learner(self._path(BEST, _update(path)), learner)
        return self._go_on(path, learner, problems)
    if problems:
      raise RunFolderError(f"run_dir={self.run.path}: no checkpoint is sound: {_said(problems)}")
    return None

  def load_best(self) -> keras.Model:
    """Loads the learner of the best evaluation.

    Raises:
      RunFolderError: if it is missing or damaged.
    """
    problems: dict[pathlib.Path, str] = {}
    path = next((path for path in self._files() if path.name.startswith(BEST)), None)
    if path is not None and (reason := _damage(path)):
      problems[path] = reason
    learner = None if path is None or problems else self._load(path, problems)
    if learner is None:
      raise RunFolderError(
        f"run_dir={self.run.path}: the best checkpoint cannot be read: "
        f"{_said(problems) or 'it is missing'}; add --resume"
      )
    return learner

  def _load(self, path: pathlib.Path, problems: dict[pathlib.Path, str]) -> keras.Model | None:
    try:
      learner = keras.saving.load_model(path)
    except Exception as error:  # What a wrong byte does to a reader cannot be foreseen.
      problems[path] = f"cannot be loaded: {str(error).splitlines()[0] if str(error) else error!r}"
      return None
    if int(learner.optimizer.iterations) != _update(path):
      problems[path] = f"is of update {int(learner.optimizer.iterations)}"
      return None
    return learner

  def _go_on(
    self, path: pathlib.Path, learner: keras.Model, problems: dict[pathlib.Path, str]
  ) -> keras.Model:
    if problems:
      print(f"damaged and left out: {_said(problems)}", flush=True)
    for other in self._files():
      if other in problems or _update(other) > _update(path):
        other.unlink()
    print(f"goes on from {path}", flush=True)
    return learner

  def _path(self, kind: str, update: int) -> pathlib.Path:
    return self.run.checkpoints / f"{kind}-{update:08d}.keras"

  def _files(self) -> list[pathlib.Path]:
    """All checkpoints, the newest first; of one update the last before the best."""
    found = [path for path in self.run.checkpoints.glob("*.keras") if _NAME.fullmatch(path.name)]
    return sorted(found, key=lambda path: (_update(path), path.name), reverse=True)

  def _best_until(self, update: int) -> pathlib.Path | None:
    best = (path for path in self._files() if path.name.startswith(BEST))
    return next((path for path in best if _update(path) <= update), None)


def _update(path: pathlib.Path) -> int:
  return int(_NAME.fullmatch(path.name)[2])


def _damage(path: pathlib.Path) -> str | None:
  """Why a file is not whole, by the checksums that it carries; None where it is."""
  try:
    with zipfile.ZipFile(path) as archive:
      part = archive.testzip()
  except Exception as error:  # What a wrong byte does to a reader cannot be foreseen.
    return f"{error}"
  return f"the checksum of {part} is wrong" if part else None


def _said(problems: dict[pathlib.Path, str]) -> str:
  return ", ".join(f"{path.name} ({reason})" for path, reason in problems.items())
