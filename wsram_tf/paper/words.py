"""Kinds of words in captions, and the layers of a backbone that glimpses choose before them."""

import collections
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

__all__ = ["KINDS", "layer_shares"]

# Frequent words of captions of photographs, by kind.
KINDS: dict[str, frozenset[str]] = {
  kind: frozenset(words.split())
  for kind, words in {
    "objects": (
      "man woman boy girl child children people person dog dogs group men women kids player crowd "
      "ball bike bicycle motorcycle car horse skateboard snowboard surfboard bench building "
      "street road rock rocks mountain hill water ocean beach pool lake river wave sand snow grass "
      "field tree trees woods shirt jacket hat dress shorts helmet face mouth hand camera"
    ),
    "colours": "black white brown red blue green yellow orange pink grey tan blond dark",
    "numbers": "one two three four five six several many",
    "function words": (
      "a an the is are be in on of at to with and by for from into onto through over near his her "
      "its their some that which who while as it"
    ),
  }.items()
}


def layer_shares(rows: Iterable[Mapping[str, Any]], num_layers: int) -> dict[str, Sequence[float]]:
  """Computes the share of each layer among the glimpses before words of each kind.

  Args:
    rows: captions with their `caption` and the `layers` of their words, as in a run's
      `captions.json`.
    num_layers: number of layers.

  Returns:
    shares in percent, one a layer, by kind; `all words` comes last. Kinds without a word are left
    out.

  Example:

  >>> layer_shares([{"caption": "a red dog", "layers": [1, 0, 1]}], num_layers=2)["colours"]
  [100.0, 0.0]
  """
  counts: dict[str, collections.Counter] = {
    kind: collections.Counter() for kind in (*KINDS, "all words")
  }
  for row in rows:
    for word, layer in zip(row["caption"].split(), row["layers"], strict=False):
      counts["all words"][layer] += 1
      for kind, words in KINDS.items():
        if word in words:
          counts[kind][layer] += 1
  return {
    kind: [100.0 * count[layer] / count.total() for layer in range(num_layers)]
    for kind, count in counts.items()
    if count
  }
