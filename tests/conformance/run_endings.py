"""What two runs with the same flags must share, and how far a run is."""

import csv
import io
import json
import pathlib
import zipfile

import h5py

__all__ = ["ending", "judged", "log_lines", "newest_update"]


def log_lines(run_dir: pathlib.Path) -> list[str]:
  """Returns all lines of the log."""
  return run_dir.with_suffix(".log").read_text().splitlines()


def ending(run_dir: pathlib.Path) -> dict[str, bytes | str]:
  """Returns everything that two runs with the same flags must share."""
  found: dict[str, bytes | str] = {}
  # A run that was killed between the two files of its last update has only the best one.
  newest = max(run_dir.glob("checkpoints/*.keras"), key=lambda path: path.stem.split("-")[1])
  for label, path in (("chosen", run_dir / "model.keras"), ("last", newest)):
    with (
      zipfile.ZipFile(path) as archive,
      h5py.File(io.BytesIO(archive.read("model.weights.h5"))) as weights,
    ):
      weights.visititems(
        lambda name, item, label=label: (
          found.update({f"{label}: {name}": item[()].tobytes()})
          if isinstance(item, h5py.Dataset)
          else None
        )
      )
  results = json.loads((run_dir / "results.json").read_text())
  # failed_reads counts those of the last process.
  found.update(
    {
      name: repr(value)
      for name, value in results.items()
      if "second" not in name and name != "failed_reads"
    }
  )
  with (run_dir / "metrics.csv").open(newline="") as file:
    for row in csv.DictReader(file):
      for name, value in row.items():
        if "second" not in name:
          found[f"update {row['update']}: {name}"] = value
  return found


def differences(run_dir: pathlib.Path, whole: dict[str, bytes | str]) -> list[str]:
  """Lists the names of everything that differs from an undisturbed run."""
  found = ending(run_dir)
  return sorted(name for name in whole.keys() | found.keys() if whole.get(name) != found.get(name))


def judged(run_dir: pathlib.Path, whole: dict[str, bytes | str]) -> str:
  """Returns `same`, or a list of differences."""
  names = differences(run_dir, whole)
  return f"DIFFERS in {len(names)}: {', '.join(names[:5])}" if names else "same"


def newest_update(run_dir: pathlib.Path) -> int:
  """Returns the update of the newest checkpoint; 0 where there is none."""
  found = [int(path.stem.split("-")[1]) for path in run_dir.glob("checkpoints/update-*.keras")]
  return max(found, default=0)
