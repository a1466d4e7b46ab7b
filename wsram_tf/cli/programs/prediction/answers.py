"""Prints the answers of predict: as text, as JSON Lines or as CSV."""

import csv
import glob
import json
import os
import pathlib
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from wsram_tf import files
from wsram_tf.serving import models

__all__ = ["FORMATS", "AnswerWriter", "find_files"]

FORMATS = ("text", "json", "csv")
_CLASSES = ("class", "probability", "class_2", "probability_2", "class_3", "probability_3")
_CAPTION = ("caption", "log_prob")


class AnswerWriter:
  """Prints the answer to each file on the standard output, and failures on the standard error.

  `text` is a line a file, for people. `json` is one JSON object a line, with all outputs; that of a
  file without an answer has its `error`. `csv` is a table with a header and a column `error`.

  Args:
    form: one of `FORMATS`.
    class_names: K names, by label; empty where classes have numbers alone.
    describes: whether the model writes captions.

  Attributes:
    failures: the errors of files without an answer, by path.
  """

  def __init__(self, form: str, class_names: Sequence[str], describes: bool):
    self._form = form
    self._names = class_names
    self.failures: dict[str, str] = {}
    columns = ["path", *(_CAPTION if describes else _CLASSES), "error"]
    self._csv: csv.DictWriter[str] = csv.DictWriter(sys.stdout, columns, lineterminator="\n")
    if form == "csv":
      self._csv.writeheader()

  def answer(
    self, path: str, answer: Mapping[str, np.ndarray], text: str = "", **details: Any
  ) -> None:
    """Prints the answer to a file.

    Args:
      path: of the file.
      answer: the outputs by name, of one row.
      text: what text says; by default the description of the answer.
      **details: what JSON says besides the outputs.
    """
    if self._form == "text":
      print(f"{path}: {text or models.describe(answer, self._names)}", flush=True)
    elif self._form == "json":
      record = {"path": path, **self._values(answer), **details}
      print(json.dumps(record, ensure_ascii=False), flush=True)
    else:
      self._csv.writerow({"path": path, **self._row(answer)})

  def note(self, path: str, text: str) -> None:
    """Prints a note for people."""
    print(f"{path}: {text}", file=sys.stdout if self._form == "text" else sys.stderr, flush=True)

  def fail(self, path: str, error: Exception | str) -> None:
    """Records why a file has no answer; `finish` prints it."""
    message = " ".join(str(error).split())  # A model's message may have several lines.
    self.failures[path] = message if path in message else f"{path}: {message}"
    message = message.removeprefix(f"{path}: ")
    if self._form == "json":
      print(json.dumps({"path": path, "error": message}, ensure_ascii=False), flush=True)
    elif self._form == "csv":
      self._csv.writerow({"path": path, "error": message})

  def finish(self, count: int) -> None:
    """Ends the program with an error if a file has no answer.

    Args:
      count: files asked about.

    Raises:
      ValueError: if one failed; other errors are printed before.
    """
    if not self.failures:
      return
    if count == 1:
      raise ValueError(*self.failures.values())
    for message in self.failures.values():
      print(f"predict: {message}", file=sys.stderr)
    raise ValueError(f"{len(self.failures)} of {count} files have no answer")

  def _values(self, answer: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """The outputs as JSON carries them."""
    if "caption" in answer:
      words = models.caption_words(answer)
      values = {
        "caption": " ".join(words),
        "log_prob": float(answer["log_prob"][0]),
        "words": words,
      }
      own = ("locations", "layers")
      return values | {
        name: np.asarray(answer[name][0])[: len(words)].tolist() for name in own if name in answer
      }
    ranked = models.ranked_classes(answer, self._names)
    values = {"class_id": int(answer["class_id"][0]), "class": ranked[0][0]}
    top = [{"class": name, "probability": probability} for name, probability in ranked]
    own = ("probabilities", "locations", "scales")
    arrays = {name: np.asarray(answer[name][0]).tolist() for name in own if name in answer}
    return values | {"top": top} | arrays

  def _row(self, answer: Mapping[str, np.ndarray]) -> dict[str, Any]:
    if "caption" in answer:
      caption = " ".join(models.caption_words(answer))
      return {"caption": caption, "log_prob": f"{answer['log_prob'][0]:.6g}"}
    ranked = models.ranked_classes(answer, self._names)
    cells = [cell for name, probability in ranked for cell in (name, f"{probability:.6g}")]
    return dict(zip(_CLASSES, cells, strict=False))  # A model may have two classes.


def find_files(named: Sequence[str], suffixes: Sequence[str]) -> tuple[list[str], dict[str, str]]:
  """Finds the files that a command line names.

  Args:
    named: files; folders, for the files in them and in their folders; or patterns such as
      `scans/*.png`, where the shell has not expanded them.
    suffixes: of the files to take from folders, lower case.

  Returns:
    the paths, and the error of each argument that names none.
  """
  paths, errors = [], {}
  for name in named:
    if not name:  # As a variable of a shell may be.
      found, name, rule = [], "''", "must name a file, a folder or a pattern"
    elif os.path.isdir(name):
      found = [str(path) for path in files.found_in(pathlib.Path(name), suffixes)]
      rule = f"must hold a file that ends in {', '.join(suffixes)}"
    elif glob.has_magic(name) and not os.path.exists(name):
      found = sorted(path for path in glob.glob(name, recursive=True) if os.path.isfile(path))
      rule = "must match a file"
    else:
      found, rule = [name], ""
    if not found:
      errors[name] = rule
    paths += found
  return list(dict.fromkeys(paths)), errors
