"""The words of captions and their numbers, and how a caption becomes words."""

import os
import re
from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np

__all__ = ["END", "PADDING", "SPECIAL_WORDS", "START", "UNKNOWN", "Vocabulary", "split_words"]

# Numbers of the words that no caption holds. Padding is 0, so that zeros are padding.
PADDING, START, END, UNKNOWN = range(4)
SPECIAL_WORDS = ("<padding>", "<start>", "<end>", "<unknown>")


def split_words(caption: str) -> list[str]:
  """The words of a caption: lower case, letters and digits alone, an apostrophe inside a word."""
  return re.findall(r"[^\W_]+(?:'[^\W_]+)*", caption.lower())


class Vocabulary:
  """Words by number and numbers by word; the special words come first.

  Args:
    words: the words without the special ones, each once.

  Raises:
    ValueError: if a word comes twice, is empty or is special.
  """

  def __init__(self, words: Sequence[str]):
    self.words = (*SPECIAL_WORDS, *words)
    self._numbers = {word: number for number, word in enumerate(self.words)}
    if len(self._numbers) < len(self.words) or "" in self._numbers:
      twice = [word for word, count in Counter(self.words).items() if count > 1 or not word]
      raise ValueError(f"words={twice[:5]}: must be given once each, and not be empty or special")

  def __len__(self) -> int:
    return len(self.words)

  @classmethod
  def from_captions(cls, captions: Iterable[str], least_count: int = 1) -> "Vocabulary":
    """The words that captions hold at least `least_count` times, the commonest first."""
    counts = Counter(word for caption in captions for word in split_words(caption))
    common = [word for word in sorted(counts) if counts[word] >= least_count]
    return cls(sorted(common, key=lambda word: -counts[word]))

  def encode(self, caption: str, max_words: int) -> np.ndarray:
    """The numbers of a caption's words, then the end, then padding: int32 `[max_words]`.

    Raises:
      ValueError: if the caption has no word, or with its end more than max_words.
    """
    words = split_words(caption)
    if not words:
      raise ValueError(f"caption={caption!r}: must hold a word")
    if len(words) >= max_words:
      raise ValueError(
        f"caption={caption!r}: must have fewer words than max_words={max_words}, which counts the "
        f"end, and has {len(words)}"
      )
    numbers = [self._numbers.get(word, UNKNOWN) for word in words]
    encoded = np.full(max_words, PADDING, np.int32)
    encoded[: len(numbers) + 1] = [*numbers, END]
    return encoded

  def decode(self, numbers: Iterable[int]) -> str:
    """The caption that numbers stand for, up to the end or the first padding."""
    words = []
    for number in numbers:
      if number in (END, PADDING):
        break
      words.append(self.words[number])
    return " ".join(words)

  def save(self, path: str | os.PathLike) -> None:
    """Writes all words to a text file, one a line; the line's number from 0 is the word's."""
    with open(path, "w", encoding="utf-8") as file:
      file.writelines(f"{word}\n" for word in self.words)

  @classmethod
  def load(cls, path: str | os.PathLike) -> "Vocabulary":
    """Reads what `save` wrote.

    Raises:
      OSError: if the file cannot be opened.
      ValueError: if it is no text, does not begin with the special words, or holds a word twice;
        naming the file.
    """
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
