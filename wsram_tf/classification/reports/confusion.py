"""Which classes a classifier confuses: counts, tables and a picture."""

import csv
import io
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

__all__ = ["classes_csv", "confusion_csv", "count_answers", "draw_confusion"]

# The largest number of classes whose cells have numbers, and whose names stand at the axes.
MOST_NUMBERED, MOST_NAMED = 15, 60


def count_answers(class_ids: np.ndarray, labels: np.ndarray, num_classes: int) -> np.ndarray:
  """Counts the answers to the images of each class.

  Args:
    class_ids: int `[n]`, the answers.
    labels: int `[n]`.
    num_classes: K.

  Returns:
    int64 `[K, K]`: in row k the answers to the images of class k.

  Example:

  >>> count_answers(np.array([0, 1, 1]), np.array([0, 0, 1]), num_classes=2).tolist()
  [[1, 1], [0, 1]]
  """
  counts = np.zeros([num_classes] * 2, np.int64)
  np.add.at(counts, (labels, class_ids), 1)
  return counts


def confusion_csv(counts: np.ndarray, names: Sequence[str]) -> str:
  """Writes the counts as CSV, with a row for each class and a column for each answer.

  Example:

  >>> print(confusion_csv(np.array([[5, 1], [0, 4]]), ["cat", "dog"]), end="")
  class,cat,dog
  cat,5,1
  dog,0,4
  """
  rows = ([name, *row] for name, row in zip(names, counts.tolist(), strict=True))
  return _csv([["class", *names], *rows])


def classes_csv(counts: np.ndarray, names: Sequence[str]) -> str:
  """Writes for each class its images, the share that is answered rightly, and the worst confusion.

  Example:

  >>> print(classes_csv(np.array([[5, 1], [0, 4]]), ["cat", "dog"]), end="")
  class,images,accuracy_percent,most_confused_with,its_percent
  cat,6,83.33,dog,16.67
  dog,4,100.00,,
  """
  rows = []
  for label, row in enumerate(counts):
    total, wrong = row.sum(), np.where(np.arange(len(row)) == label, 0, row)
    worst = int(wrong.argmax())
    confused = [names[worst], f"{100 * wrong[worst] / total:.2f}"] if wrong[worst] else ["", ""]
    accuracy = f"{100 * row[label] / total:.2f}" if total else ""
    rows.append([names[label], int(total), accuracy, *confused])
  header = ["class", "images", "accuracy_percent", "most_confused_with", "its_percent"]
  return _csv([header, *rows])


def draw_confusion(counts: np.ndarray, names: Sequence[str]) -> Figure:
  """Draws the share of each answer in the images of each class, with the counts.

  Args:
    counts: int `[K, K]`, as `count_answers` returns them.
    names: K names, by label.
  """
  size = min(3.0 + 0.4 * len(counts), 12.0)
  figure = Figure(figsize=(size, size), layout="constrained")
  axes = figure.subplots()
  shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
  axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
  axes.set_xlabel("answer")
  axes.set_ylabel("class")
  places = range(len(counts)) if len(counts) <= MOST_NAMED else []
  shown = [names[place] for place in places]
  axes.set_xticks(places, shown, rotation=90 if max(map(len, shown), default=0) > 2 else 0)
  axes.set_yticks(places, shown)
  if len(counts) <= MOST_NUMBERED:
    for (row, column), count in np.ndenumerate(counts):
      colour = "white" if shares[row, column] > 0.5 else "black"
      axes.text(column, row, str(count), ha="center", va="center", color=colour, size=8)
  return figure


def _csv(rows: Sequence[Sequence[object]]) -> str:
  file = io.StringIO()
  csv.writer(file, lineterminator="\n").writerows(rows)
  return file.getvalue()
