"""Sets of large image files: a folder for each class, or a manifest; splits keep groups whole.

Loads no TensorFlow.
"""

import csv
import os
import pathlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from wsram_tf.data.orders import first_few, hold_out

__all__ = ["FileSet", "FileSplits", "LabelledFiles", "read_manifest", "split_files"]

# Names of a manifest's columns; the first is ours, the others occur in public sets.
COLUMNS = {
  "path": ("path", "slide_id", "wsi", "image_id", "location", "file"),
  "label": ("label", "class"),
  "group": ("group", "case_id", "patient", "patient_id"),
  "split": ("split",),
}
SPLITS = ("train", "validation", "test")
_ALIASES = {"": "train", "val": "validation", "valid": "validation"}


class LabelledFiles(NamedTuple):
  """Files and their classes.

  Attributes:
    paths: str `[n]`, objects.
    labels: int32 `[n]`, within 0..K - 1.
  """

  paths: np.ndarray
  labels: np.ndarray


class FileSet(NamedTuple):
  """Labelled files before they are split.

  Attributes:
    paths: str `[n]`, objects.
    labels: int32 `[n]`, within 0..K - 1.
    groups: str `[n]`, objects: files of one group, such as one patient, stay together.
    splits: str `[n]`, objects: `train`, `validation` or `test`.
    class_names: K names, by label.
  """

  paths: np.ndarray
  labels: np.ndarray
  groups: np.ndarray
  splits: np.ndarray
  class_names: tuple[str, ...]

  @classmethod
  def of_files(
    cls, paths: Sequence[str | os.PathLike], labels: np.ndarray, class_names: Sequence[str]
  ) -> "FileSet":
    """Makes a set of files that form a group each and have no split yet."""
    names = _texts(map(os.fspath, paths))
    return cls(names, labels, names, _texts(["train"] * len(names)), tuple(class_names))

  def only(self, kept: np.ndarray) -> "FileSet":
    """Returns the set with some of its files, bool `[n]`."""
    arrays = (array[kept] for array in self[:-1])
    return FileSet(*arrays, self.class_names)


class FileSplits(NamedTuple):
  """Three disjoint sets of files, and the names of their classes.

  Attributes:
    train: files to train on.
    validation: files to choose weights on.
    test: files to report results on.
    class_names: K names, by label.
  """

  train: LabelledFiles
  validation: LabelledFiles
  test: LabelledFiles
  class_names: tuple[str, ...]


def read_manifest(manifest: str | os.PathLike) -> FileSet:
  """Reads a CSV file with the columns path and label, and perhaps group and split.

  A relative path counts from the manifest's folder. Other columns are ignored; common other names
  of the four are known: `slide_id`, `wsi`, `image_id`, `case_id`, `patient` and so on.

  Args:
    manifest: the file, UTF-8, with a header.

  Raises:
    ValueError: if it cannot be read, or a row breaks a rule; the message names the line.

  Example:

  >>> import tempfile
  >>> with tempfile.TemporaryDirectory() as folder:
  ...   path = pathlib.Path(folder, "set.csv")
  ...   _ = path.write_text("path,label,patient\\na.tif,benign,1\\nb.tif,malignant,1\\n")
  ...   files = read_manifest(path)
  >>> files.labels.tolist(), files.class_names, files.groups.tolist()
  ([0, 1], ('benign', 'malignant'), ['1', '1'])
  """
  path = pathlib.Path(os.path.expanduser(manifest))
  name = f"manifest={str(manifest)!r}"
  try:
    with path.open(newline="", encoding="utf-8-sig") as file:
      reader = csv.DictReader(file)
      rows = list(reader)
      columns = reader.fieldnames or ()
      header = [column.strip().lower() for column in columns]
  except (OSError, UnicodeDecodeError, csv.Error) as error:
    raise ValueError(f"{name}: must be a readable CSV file: {error}") from error
  found = {
    column: next((header.index(other) for other in names if other in header), None)
    for column, names in COLUMNS.items()
  }
  if found["path"] is None or found["label"] is None:
    raise ValueError(f"{name}: must have the columns path and label, got {', '.join(header)}")
  paths, labels, groups, splits = [], [], [], []
  for line, row in enumerate(rows, start=2):
    # A column that is named twice has one value in a row.
    values = [row.get(column) for column in columns]
    values = [value.strip() if isinstance(value, str) else "" for value in values]
    of = {column: "" if at is None else values[at] for column, at in found.items()}
    split = _ALIASES.get(of["split"].lower(), of["split"].lower())
    if not (of["path"] and of["label"]):
      raise ValueError(f"{name}: line {line}: path and label must not be empty")
    if any("\0" in value for value in of.values()):
      raise ValueError(f"{name}: line {line}: a value must hold no null character")
    if split not in SPLITS:
      raise ValueError(
        f"{name}: line {line}: split={of['split']!r}: must be one of {', '.join(SPLITS)}"
      )
    paths.append(os.fspath(path.parent / os.path.expanduser(of["path"])))
    labels.append(of["label"])
    groups.append(of["group"] or paths[-1])
    splits.append(split)
  class_names = sorted(set(labels))
  if len(class_names) < 2:
    raise ValueError(f"{name}: must name at least 2 classes, got {len(class_names)}")
  if len(set(paths)) < len(paths):
    twice = next(one for i, one in enumerate(paths) if one in paths[:i])
    raise ValueError(f"{name}: must name each file once; {twice} occurs twice")
  numbers = np.array([class_names.index(label) for label in labels], np.int32)
  result = FileSet(_texts(paths), numbers, _texts(groups), _texts(splits), tuple(class_names))
  for group in set(groups):
    parts = set(result.splits[result.groups == group])
    if len(parts) > 1:
      raise ValueError(
        f"{name}: group={group!r}: must lie in one split, got {', '.join(sorted(parts))}"
      )
  return result


class _Groups(NamedTuple):
  """Groups of files; a group's label is the one that most of its files have."""

  names: np.ndarray
  labels: np.ndarray


def split_files(
  files: FileSet, *, test_percent: int, validation_percent: int, split_seed: int
) -> FileSplits:
  """Splits files into training, validation and test files, groups whole, classes in proportion.

  Args:
    files: the set. Splits that it names stay; a split that it does not name is held out from the
      training files.
    test_percent: share of the groups to hold out for testing.
    validation_percent: share of the remaining groups to hold out for validation.
    split_seed: seed of the splits, which depend on it and the set alone.

  Raises:
    ValueError: if a percentage holds out no group, or a class keeps no training file.

  Example:

  >>> paths = [f"{number}.tif" for number in range(10)]
  >>> files = FileSet.of_files(paths, np.arange(10, dtype=np.int32) % 2, ("cat", "dog"))
  >>> splits = split_files(files, test_percent=20, validation_percent=25, split_seed=1)
  >>> [len(part.paths) for part in splits[:3]]
  [6, 2, 2]
  """
  parts = files.splits.copy()
  for part, percent in (("test", test_percent), ("validation", validation_percent)):
    if part not in files.splits:
      _hold_out_groups(files, parts, part, percent, split_seed)
  train, validation, test = (
    LabelledFiles(files.paths[parts == part], files.labels[parts == part]) for part in SPLITS
  )
  lost = np.setdiff1d(np.arange(len(files.class_names)), train.labels)
  if lost.size:
    names = first_few([files.class_names[label] for label in lost])
    raise ValueError(f"files: every class must have a file to train on; {names} has none")
  return FileSplits(train, validation, test, files.class_names)


def _hold_out_groups(files: FileSet, parts: np.ndarray, part: str, percent: int, seed: int) -> None:
  """Moves a share of the training groups into another part, in place."""
  learning = parts == "train"
  if not learning.any():
    raise ValueError(
      f"{part}_percent={percent}: must take from files to train on, and none are left"
    )
  names = np.array(sorted(set(files.groups[learning])), object)
  labels = [np.bincount(files.labels[learning & (files.groups == name)]).argmax() for name in names]
  count, setting = round(len(names) * percent / 100), f"{part}_percent={percent}"
  if not count:
    raise ValueError(f"{setting}: must hold out at least one of the {len(names)} groups of files")
  _, held_out = hold_out(
    _Groups(names, np.array(labels, np.int32)),
    count,
    seed,
    setting,
    class_names=files.class_names,
    advice="add files, or hold out less",
  )
  parts[np.isin(files.groups, held_out.names)] = part


def _texts(values) -> np.ndarray:
  """Returns an array of objects, so that a longer text is never cut."""
  return np.array(list(values), object)
