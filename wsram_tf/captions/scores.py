"""Scores of captions against what people wrote: BLEU, ROUGE-L and CIDEr.

All of them bring captions and references to the words of `vocabulary.split_words` first (lower
case, no punctuation), so the figures are comparable with those of work that drops punctuation too.
"""

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np
import sacrebleu

from wsram_tf.captions.vocabulary import split_words

__all__ = ["all_scores", "corpus_bleu", "corpus_cider", "corpus_rouge_l"]

# As the evaluation code that COCO published has them.
_RECALL_WEIGHT = 1.2
_LONGEST_GRAM = 4
_LENGTH_TOLERANCE = 6.0


def all_scores(captions: Sequence[str], references: Sequence[Sequence[str]]) -> dict[str, float]:
  """All scores of a whole set of captions, by `bleu_1` to `bleu_4`, `rouge_l` and `cider`.

  See `corpus_bleu` for what is taken and refused.
  """
  return {
    **corpus_bleu(captions, references),
    "rouge_l": corpus_rouge_l(captions, references),
    "cider": corpus_cider(captions, references),
  }


def corpus_bleu(captions: Sequence[str], references: Sequence[Sequence[str]]) -> dict[str, float]:
  """BLEU-1 to BLEU-4 of a whole set of captions, by sacrebleu.

  BLEU-k is the geometric mean of the precisions of 1- to k-grams, with the brevity penalty of the
  whole set, not smoothed. sacrebleu splits the words no further (`tokenize="none"`).

  Args:
    captions: n captions; an empty one counts as no words.
    references: for each at least one caption of a person, in any number.

  Returns:
    percent, by `bleu_1` to `bleu_4`.

  Raises:
    ValueError: if there is no caption, or one without a reference.
  """
  _check(captions, references)
  said = [" ".join(split_words(caption)) for caption in captions]
  most = max(len(written) for written in references)
  # sacrebleu takes first references, second ones and so on; None where there is none.
  streams = [
    [" ".join(split_words(written[k])) if k < len(written) else None for written in references]
    for k in range(most)
  ]
  return {
    f"bleu_{order}": sacrebleu.BLEU(
      max_ngram_order=order, tokenize="none", smooth_method="none", force=True
    )
    .corpus_score(said, streams)
    .score
    for order in range(1, 5)
  }


def corpus_rouge_l(captions: Sequence[str], references: Sequence[Sequence[str]]) -> float:
  """ROUGE-L as COCO's evaluation has it: the mean over captions of an F-measure.

  A caption's precision and recall are the length of the longest common subsequence of words with a
  reference, over the caption's length and over the reference's. The greatest precision and the
  greatest recall over the references, perhaps those of two, make F with a weight of 1.2 on recall.

  Args:
    captions: n captions; an empty one scores 0.
    references: for each at least one caption of a person, in any number.

  Returns:
    percent.

  Raises:
    ValueError: see `corpus_bleu`.

  Source: C.-Y. Lin, ROUGE: A Package for Automatic Evaluation of Summaries, Text Summarization
    Branches Out, 2004; X. Chen et al., Microsoft COCO Captions: Data Collection and Evaluation
    Server, arXiv:1504.00325, 2015.
  """
  _check(captions, references)
  figures = []
  for caption, written in zip(captions, references, strict=True):
    said = split_words(caption)
    precision = recall = 0.0
    for reference in map(split_words, written):
      common = _common_length(said, reference)
      if common:
        precision = max(precision, common / len(said))
        recall = max(recall, common / len(reference))
    weight = _RECALL_WEIGHT**2
    both = precision and (1.0 + weight) * precision * recall / (recall + weight * precision)
    figures.append(both)
  return 100.0 * float(np.mean(figures))


def corpus_cider(captions: Sequence[str], references: Sequence[Sequence[str]]) -> float:
  """CIDEr-D, which is what COCO's evaluation reports as CIDEr: the mean over captions.

  N-grams of 1 to 4 words weigh as often as they occur, times the logarithm of how few of the
  images have them in a reference. A caption's weights are clipped to the reference's, and their
  cosine with the reference's counts less the more the lengths differ (Gaussian, sigma 6 words).
  Means over references and n, times 10. How rare an n-gram is comes from these references alone:
  the figure is of a whole test set, and of a single image always 0.

  Args:
    captions: n captions; an empty one scores 0.
    references: for each at least one caption of a person, in any number.

  Returns:
    at most 10; tables of papers often print it times 100.

  Raises:
    ValueError: see `corpus_bleu`.

  Source: R. Vedantam, C. L. Zitnick, D. Parikh, CIDEr: Consensus-based Image Description
    Evaluation, CVPR 2015, section 6 (https://arxiv.org/abs/1411.5726).
  """
  _check(captions, references)
  counts = [[_gram_counts(split_words(one)) for one in written] for written in references]
  images_with = Counter(gram for written in counts for gram in set().union(*written))
  rarity = {gram: math.log(len(captions) / count) for gram, count in images_with.items()}
  unseen = math.log(len(captions))
  figures = []
  for caption, written in zip(captions, counts, strict=True):
    said = _gram_counts(split_words(caption))
    figures.append(np.mean([_cider(said, one, rarity, unseen) for one in written]))
  return float(np.mean(figures))


def _check(captions: Sequence[str], references: Sequence[Sequence[str]]) -> None:
  if not captions or len(captions) != len(references):
    raise ValueError(
      f"captions of length {len(captions)}, references of length {len(references)}: must be "
      "equally many, and at least one"
    )
  for caption, written in zip(captions, references, strict=True):
    if not written:
      raise ValueError(f"references of caption {caption!r}: must be at least one")


def _common_length(first: Sequence[str], second: Sequence[str]) -> int:
  lengths = [0] * (len(second) + 1)  # Of what is read of the first, by words of the second.
  for word in first:
    before = lengths
    lengths = [0]
    for place, other in enumerate(second):
      longer = before[place] + 1 if word == other else max(before[place + 1], lengths[place])
      lengths.append(longer)
  return lengths[-1]


def _gram_counts(words: Sequence[str]) -> Counter:
  return Counter(
    tuple(words[i : i + n]) for n in range(1, _LONGEST_GRAM + 1) for i in range(len(words) - n + 1)
  )


def _cider(
  said: Counter, written: Counter, rarity: dict[tuple[str, ...], float], unseen: float
) -> float:
  products, said_squares, written_squares = np.zeros([3, _LONGEST_GRAM])
  for gram, count in said.items():
    weight = count * rarity.get(gram, unseen)
    other = written[gram] * rarity.get(gram, unseen)
    products[len(gram) - 1] += min(weight, other) * other
    said_squares[len(gram) - 1] += weight**2
  for gram, count in written.items():
    written_squares[len(gram) - 1] += (count * rarity[gram]) ** 2
  norms = np.sqrt(said_squares * written_squares)
  cosines = np.divide(products, norms, out=np.zeros_like(norms), where=norms > 0)
  difference = _length(said) - _length(written)
  return 10.0 * cosines.mean() * math.exp(-(difference**2) / (2.0 * _LENGTH_TOLERANCE**2))


def _length(counts: Counter) -> int:
  return sum(count for gram, count in counts.items() if len(gram) == 1)
