"""The language of scenes of digits: captions in five wordings, and a check of their truth.

A scene holds one to three digits, each small or large, that do not overlap. Two squares that do not
overlap are separated along the axis along which their centres differ most. Captions name the
relation along this axis:

  a large three left of a small seven which is above a large one
"""

import itertools
import re
from typing import NamedTuple

import numpy as np

from wsram_tf.captions.vocabulary import END, PADDING, Vocabulary

__all__ = [
  "DIGIT_WORDS",
  "MOST_DIGITS",
  "NUM_WORDINGS",
  "REVERSED_WORDINGS",
  "SIZE_WORDS",
  "VOCABULARY",
  "Judgement",
  "Scene",
  "caption_templates",
  "judge_caption",
  "longest_caption",
]

MOST_DIGITS = 3
SIZE_WORDS = ("small", "large")
DIGIT_WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
RELATIONS = ("left of", "right of", "above", "below")
# Index of the relation of the second digit to the first.
INVERSE = (1, 0, 3, 2)

_NAMES = tuple(f"a {{size{i}}} {{digit{i}}}" for i in range(MOST_DIGITS))
# Forms for one, two and three digits. r is the relation of a digit to the next, s its inverse.
_DIRECT = ("{0}", "{0} {r0} {1}", "{0} {r0} {1} which is {r1} {2}")
_WITH = ("{0}", "{0} with {1} {s0} it", "{0} with {1} {s0} it and {2} {s1} that")
_AND = ("{0}", "{0} and {s0} it {1}", "{0} and {s0} it {1} and {s1} that {2}")
_BEGINNINGS = ("just", "only", "there is", "here is")
_WORDINGS = (
  _DIRECT,
  ("just {0}", *_DIRECT[1:]),
  tuple(f"there is {form}" for form in _DIRECT),
  ("only {0}", *_WITH[1:]),
  ("here is {0}", *_AND[1:]),
)
NUM_WORDINGS = len(_WORDINGS)
# Wordings that mention the digits in reverse reading order.
REVERSED_WORDINGS = (1, 4)

VOCABULARY = Vocabulary(
  [
    *("a", "of", "it", "is", "and", "with", "which", "that", "there", "here", "just", "only"),
    *("left", "right", "above", "below"),
    *SIZE_WORDS,
    *DIGIT_WORDS,
  ]
)


class Scene(NamedTuple):
  """The K digits of a canvas.

  Attributes:
    labels: int `[K]`, 0 to 9.
    is_large: bool `[K]`.
    boxes: int `[K, 3]`, top, left and side of each digit's square, pixels.
  """

  labels: np.ndarray
  is_large: np.ndarray
  boxes: np.ndarray


class Judgement(NamedTuple):
  """Whether a caption describes a scene, and the digits that it mentions.

  Attributes:
    is_correct: whether the number of digits, their names, sizes and relations are all correct.
    mentions: for each word that names a digit, the position of the word and the indices of the
      digits that it may mean: one digit in a correct caption, otherwise all digits of this name.
  """

  is_correct: bool
  mentions: list[tuple[int, list[int]]]


def caption_templates(most_digits: int = MOST_DIGITS) -> np.ndarray:
  """Makes all captions, with gaps in place of the digits' sizes and names.

  Args:
    most_digits: largest number of digits, 1 to 3.

  Returns:
    int32 `[most_digits, wordings, 4, 4, T]`. The axes are the number of digits less 1, the
    wording, and the relations of the first mentioned digit to the second and of the second to the
    third. The gap for the size of digit i is `-1 - i`, the gap for its name is
    `-1 - MOST_DIGITS - i`. T is the length of the longest caption, its end included.

  Example:

  >>> caption_templates(2).shape
  (2, 5, 4, 4, 11)
  """
  shape = [most_digits, NUM_WORDINGS, len(RELATIONS), len(RELATIONS)]
  captions = {}
  gaps = {f"{{size{i}}}": -1 - i for i in range(MOST_DIGITS)}
  gaps |= {f"{{digit{i}}}": -1 - MOST_DIGITS - i for i in range(MOST_DIGITS)}
  numbers = {word: number for number, word in enumerate(VOCABULARY.words)}
  for place in np.ndindex(*shape):
    count, wording, *relations = place
    said = {f"r{i}": RELATIONS[relation] for i, relation in enumerate(relations)}
    said |= {f"s{i}": RELATIONS[INVERSE[relation]] for i, relation in enumerate(relations)}
    words = _WORDINGS[wording][count].format(*_NAMES, **said).split()
    encoded = [gaps[word] if word in gaps else numbers[word] for word in words]
    captions[place] = [*encoded, END]
  templates = np.full([*shape, max(map(len, captions.values()))], PADDING, np.int32)
  for place, caption in captions.items():
    templates[place][: len(caption)] = caption
  return templates


def longest_caption(most_digits: int = MOST_DIGITS) -> int:
  """Returns the length of the longest caption in words, its end included.

  Args:
    most_digits: largest number of digits in a scene, 1 to 3.

  Example:

  >>> longest_caption()
  18
  """
  return caption_templates(most_digits).shape[-1]


def _patterns() -> list[re.Pattern]:
  name = rf"a ({'|'.join(SIZE_WORDS)}) ({'|'.join(DIGIT_WORDS)})"
  relation = f"({'|'.join(RELATIONS)})"
  gaps = {f"{kind}{i}": relation for kind in "rs" for i in range(MOST_DIGITS - 1)}
  beginning = f"(?:(?:{'|'.join(_BEGINNINGS)}) )?"
  return [
    re.compile(beginning + form.format(*[name] * MOST_DIGITS, **gaps))
    for form in dict.fromkeys(_DIRECT + _WITH + _AND)
  ]


_PATTERNS = _patterns()


def _relations_said(caption: str) -> tuple[list[tuple[str, str]], list[str]] | None:
  """Parses a caption: (size, name) by digit, relations of each to the next; None if it fails."""
  for pattern in _PATTERNS:
    match = pattern.fullmatch(caption)
    if match is None:
      continue
    words = match.groups()
    relations = [word for word in words if word in RELATIONS]
    names = [word for word in words if word not in RELATIONS]
    if " it" in caption:  # These wordings give the relation of the second digit to the first.
      relations = [RELATIONS[INVERSE[RELATIONS.index(relation)]] for relation in relations]
    return list(zip(names[::2], names[1::2], strict=True)), relations
  return None


def holds(relation: str, first: np.ndarray, second: np.ndarray) -> bool:
  """Checks whether a relation holds between two boxes (top, left, side), without overlap."""
  axis = 0 if relation in ("above", "below") else 1
  if relation in ("right of", "below"):
    first, second = second, first
  return bool(first[axis] + first[2] <= second[axis])


def judge_caption(scene: Scene, caption: str) -> Judgement:
  """Compares every word of a caption with a scene.

  Args:
    scene: the digits of the canvas.
    caption: words separated by spaces.

  Returns:
    `Judgement`; a caption outside the language is incorrect.

  Example:

  >>> scene = Scene(
  ...   labels=np.array([3, 7]),
  ...   is_large=np.array([True, False]),
  ...   boxes=np.array([[2, 1, 24], [8, 40, 12]]),
  ... )
  >>> judge_caption(scene, "a large three left of a small seven").is_correct
  True
  >>> judge_caption(scene, "a large three above a small seven").is_correct
  False
  """
  words = caption.split()
  places = [place for place, word in enumerate(words) if word in DIGIT_WORDS]
  said = _relations_said(caption)
  if said is not None and len(said[0]) == len(scene.labels):
    names, relations = said
    # Digits of the same size and name are interchangeable.
    for order in itertools.permutations(range(len(scene.labels))):
      there = [(SIZE_WORDS[int(scene.is_large[i])], DIGIT_WORDS[scene.labels[i]]) for i in order]
      pairs = zip(relations, itertools.pairwise(order), strict=True)
      if there == names and all(holds(r, scene.boxes[i], scene.boxes[j]) for r, (i, j) in pairs):
        return Judgement(True, [(place, [i]) for place, i in zip(places, order, strict=True)])
  mentions = [
    (place, [i for i, label in enumerate(scene.labels) if DIGIT_WORDS[label] == words[place]])
    for place in places
  ]
  return Judgement(False, mentions)
