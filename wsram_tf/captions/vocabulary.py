"""Splits captions into words, and converts between words and numbers."""

import os
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from wsram_tf import presets
from wsram_tf.settings import check_instance, check_number, check_path

__all__ = [
  "END",
  "PADDING",
  "SPECIAL_WORDS",
  "START",
  "UNKNOWN",
  "Vocabulary",
  "check_texts",
  "split_words",
  "word_mask",
]

# Numbers of the special words. Padding is 0, so an array of zeros is padding.
PADDING, START, END, UNKNOWN = range(4)
SPECIAL_WORDS = ("<padding>", "<start>", "<end>", "<unknown>")


def word_mask(captions: Any) -> Any:
  """Returns True at words and False at padding, bool `[..., T]`, for captions int `[..., T]`.

  Example:

  >>> word_mask(np.array([4, 5, 2, 0])).tolist()
  [True, True, True, False]
  """
  return captions != PADDING


def check_texts(name: str, texts: Any) -> list[str]:
  """Returns texts as a list.

  Args:
    name: of the argument.
    texts: of the argument.

  Raises:
    ValueError: if it is no list of text: a text alone would be a list of its letters.
  """
  if (
    isinstance(texts, str | bytes)
    or not isinstance(texts, Iterable)
    or getattr(texts, "ndim", 1) == 0
  ):
    raise ValueError(f"{name}={texts!r:.200}: must be a list of text")
  texts = list(texts)
  wrong = [text for text in texts if not isinstance(text, str)]
  if wrong:
    raise ValueError(f"{name}={wrong[:5]!r:.200}: must be text")
  return texts


def split_words(caption: str) -> list[str]:
  """Splits a caption into lower-case words of letters, digits and inner apostrophes.

  Example:

  >>> split_words("A dog's ball, 4x4.")
  ['a', "dog's", 'ball', '4x4']
  """
  return re.findall(r"[^\W_]+(?:'[^\W_]+)*", caption.lower())


class Vocabulary:
  """Maps words to numbers and numbers to words; the special words come first.

  Args:
    words: distinct words of one line each, without the special ones.

  Raises:
    ValueError: if a word is repeated, empty, special, no text or of several lines.

  Example:

  >>> vocabulary = Vocabulary.from_captions(["A dog runs .", "A dog ."], least_count=2)
  >>> vocabulary.encode("A dog!", max_words=5).tolist()
  [4, 5, 2, 0, 0]
  >>> vocabulary.decode([4, 5, 2, 0, 0])
  'a dog'
  """

  def __init__(self, words: Sequence[str]):
    words = check_texts("words", words)
    wrong = [word for word in words if word.splitlines() != [word]]
    if wrong:
      raise ValueError(f"words={wrong[:5]!r:.200}: must have one line each, and not be empty")
    self.words = (*SPECIAL_WORDS, *words)
    self._numbers = {word: number for number, word in enumerate(self.words)}
    if len(self._numbers) < len(self.words):
      twice = [word for word, count in Counter(self.words).items() if count > 1]
      raise ValueError(f"words={twice[:5]}: must be distinct, and not special")

  def __len__(self) -> int:
    return len(self.words)

  @classmethod
  def from_preset(cls, preset: str | os.PathLike) -> "Vocabulary":
    """Loads the vocabulary of a captioner's preset; see `CaptionNetwork.from_preset`.

    Args:
      preset: name of a preset of the package, or the folder of one.

    Raises:
      ValueError: if there is no such preset, or it is no captioner's.

    Example:

    >>> Vocabulary.from_preset("scenes").words[:6]
    ('<padding>', '<start>', '<end>', '<unknown>', 'a', 'of')
    """
    words = tuple(presets.preset_names(preset))
    if words[: len(SPECIAL_WORDS)] != SPECIAL_WORDS:
      raise ValueError(
        f"preset={os.fspath(preset)!r}: must have the words of a captioner as its names, first "
        f"{', '.join(SPECIAL_WORDS)}"
      )
    return cls(words[len(SPECIAL_WORDS) :])

  @classmethod
  def from_captions(cls, captions: Iterable[str], least_count: int = 1) -> "Vocabulary":
    """Makes a vocabulary of frequent words, in the order of their frequency.

    Args:
      captions: captions as written.
      least_count: number of times that a word must occur.

    Raises:
      ValueError: if the captions are no list of text, or the number is none.
    """
    captions = check_texts("captions", captions)
    check_number("least_count", least_count, whole=True)
    counts = Counter(word for caption in captions for word in split_words(caption))
    common = [word for word in sorted(counts) if counts[word] >= least_count]
    return cls(sorted(common, key=lambda word: -counts[word]))

  def encode(self, caption: str, max_words: int) -> np.ndarray:
    """Converts a caption to numbers: its words, the end, padding.

    Args:
      caption: caption as written; words outside the vocabulary become `UNKNOWN`.
      max_words: length of the result.

    Returns:
      int32 `[max_words]`.

    Raises:
      ValueError: if the caption has no word, or does not fit with its end.
    """
    check_instance("caption", caption, str)
    check_number("max_words", max_words, whole=True, minimum=1)
    words = split_words(caption)
    if not words:
      raise ValueError(f"caption={caption!r}: must hold at least one word")
    if len(words) >= max_words:
      raise ValueError(
        f"caption={caption!r}: must have fewer than max_words={max_words} words, because the end "
        f"counts as one; it has {len(words)}"
      )
    numbers = [self._numbers.get(word, UNKNOWN) for word in words]
    encoded = np.full(max_words, PADDING, np.int32)
    encoded[: len(numbers) + 1] = [*numbers, END]
    return encoded

  def decode(self, numbers: Iterable[int]) -> str:
    """Converts numbers to a caption, up to the end or the first padding.

    Raises:
      ValueError: if the numbers are no whole numbers, or there is no word of a number.
    """
    flat = np.asarray(list(numbers) if isinstance(numbers, Iterable) else numbers)
    if flat.ndim != 1 or (flat.size and not np.issubdtype(flat.dtype, np.integer)):
      raise ValueError(f"numbers={numbers!r:.200}: must be a list of whole numbers")
    words = []
    for number in flat.tolist():
      if number in (END, PADDING):
        break
      if not 0 <= number < len(self):
        raise ValueError(f"numbers={number}: must be from 0 to {len(self) - 1}")
      words.append(self.words[number])
    return " ".join(words)

  def save(self, path: str | os.PathLike) -> None:
    """Writes all words to a text file, one per line, in the order of their numbers."""
    check_path("path", path)
    with open(path, "w", encoding="utf-8") as file:
      file.writelines(f"{word}\n" for word in self.words)

  @classmethod
  def load(cls, path: str | os.PathLike) -> "Vocabulary":
    """Reads a file that `save` wrote.

    Raises:
      OSError: if the file cannot be opened.
      ValueError: if the file is not text, does not begin with the special words, or repeats a
        word.
    """
    check_path("path", path)
    try:
      with open(path, encoding="utf-8") as file:
        words = file.read().splitlines()
    except UnicodeDecodeError as error:
      raise ValueError(f"{os.fspath(path)}: must be a text file in UTF-8: {error}") from error
    if tuple(words[: len(SPECIAL_WORDS)]) != SPECIAL_WORDS:
      raise ValueError(f"{os.fspath(path)}: must begin with the lines {', '.join(SPECIAL_WORDS)}")
    try:
      return cls(words[len(SPECIAL_WORDS) :])
    except ValueError as error:
      raise ValueError(f"{os.fspath(path)}: {error}") from error
