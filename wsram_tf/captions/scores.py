"""Scores of captions against human references: BLEU, its brevity penalty, ROUGE-L and CIDEr.

All scores compare the words of `vocabulary.split_words` (lower case, no punctuation). They are
comparable with published figures that also drop punctuation.
"""

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np
import sacrebleu
from sacrebleu.metrics.bleu import BLEUScore

from wsram_tf.captions.vocabulary import check_texts, split_words
from wsram_tf.settings import check_instance

__all__ = ["all_scores", "brevity_penalty", "corpus_bleu", "corpus_cider", "corpus_rouge_l"]

# The values of COCO's evaluation code.
_RECALL_WEIGHT = 1.2
_LONGEST_GRAM = 4
_LENGTH_TOLERANCE = 6.0


def all_scores(captions: Sequence[str], references: Sequence[Sequence[str]]) -> dict[str, float]:
  """Computes all scores of a set of captions.

  Args:
    captions: n captions; an empty caption counts as no words.
    references: n lists of at least one human caption each.

  Returns:
    scores by `bleu_1` to `bleu_4` and `rouge_l`, in percent, `brevity_penalty`, 0 to 1, and
    `cider`, 0 to 10.

  Raises:
    ValueError: if there is no caption, or a caption without a reference.

  Example:

  >>> figures = all_scores(["a dog runs", "two cats"], [["A dog runs ."], ["Two cats sit ."]])
  >>> round(figures["rouge_l"], 1)
  88.6
  """
  return {
    **corpus_bleu(captions, references),
    "brevity_penalty": brevity_penalty(captions, references),
    "rouge_l": corpus_rouge_l(captions, references),
    "cider": corpus_cider(captions, references),
  }


def corpus_bleu(captions: Sequence[str], references: Sequence[Sequence[str]]) -> dict[str, float]:
  """Computes BLEU-1 to BLEU-4 of a set of captions with sacrebleu.

  BLEU-k is the geometric mean of the precisions of 1- to k-grams, times the brevity penalty of the
  whole set (`brevity_penalty`), without smoothing.

  Args:
    captions: n captions; an empty caption counts as no words.
    references: n lists of at least one human caption each.

  Returns:
    percent, by `bleu_1` to `bleu_4`.

  Raises:
    ValueError: if there is no caption, or a caption without a reference.

  Example:

  >>> round(corpus_bleu(["a dog runs"], [["A dog runs .", "The dog runs ."]])["bleu_2"], 1)
  100.0
  """
  return {f"bleu_{order}": _bleu(captions, references, order).score for order in range(1, 5)}


def brevity_penalty(captions: Sequence[str], references: Sequence[Sequence[str]]) -> float:
  """Computes the factor by which BLEU is lower for captions shorter than their references.

  It is exp(1 - r / c) for c words in the captions and r in the references closest in length, r
  above c, and otherwise 1. BLEU divided by it is BLEU without the penalty, which some papers
  report, for instance *Show, Attend and Tell*. That figure rewards short captions, so it should
  stand beside the penalty.

  Args:
    captions: n captions; an empty caption counts as no words.
    references: n lists of at least one human caption each.

  Returns:
    0 to 1.

  Raises:
    ValueError: see `corpus_bleu`.

  Source: K. Papineni, S. Roukos, T. Ward, W. Zhu, BLEU: a Method for Automatic Evaluation of
    Machine Translation, ACL 2002, section 2.2; K. Xu et al., Show, Attend and Tell, ICML 2015,
    section 5.2.

  Example:

  >>> round(brevity_penalty(["a dog"], [["A dog runs .", "The dog runs fast ."]]), 4)
  0.6065
  """
  return _bleu(captions, references, 1).bp


def corpus_rouge_l(captions: Sequence[str], references: Sequence[Sequence[str]]) -> float:
  """Computes ROUGE-L as COCO's evaluation does: the mean over captions of an F-measure.

  Precision and recall are the length of the longest common subsequence of words with a reference,
  divided by the caption's length and by the reference's. F combines the highest precision and the
  highest recall over the references, which may come from two of them, with weight 1.2 on recall.

  Args:
    captions: n captions; an empty caption scores 0.
    references: n lists of at least one human caption each.

  Returns:
    percent.

  Raises:
    ValueError: see `corpus_bleu`.

  Source: C.-Y. Lin, ROUGE: A Package for Automatic Evaluation of Summaries, Text Summarization
    Branches Out, 2004; X. Chen et al., Microsoft COCO Captions: Data Collection and Evaluation
    Server, arXiv:1504.00325, 2015.

  Example:

  >>> round(corpus_rouge_l(["a dog runs fast"], [["A dog runs ."]]), 2)
  87.98
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
  """Computes CIDEr-D, which COCO's evaluation reports as CIDEr: the mean over captions.

  The weight of an n-gram, n from 1 to 4, is its count times its inverse document frequency: the
  logarithm of the number of images over the number of images with the n-gram in a reference. The
  caption's weights are clipped to the reference's. Their cosine is multiplied by a Gaussian of the
  difference in length (sigma 6 words). The score is 10 times the mean over references and n.

  The document frequencies come from the given references. The score is therefore meaningful for a
  whole test set only; for a single image it is always 0.

  Args:
    captions: n captions; an empty caption scores 0.
    references: n lists of at least one human caption each.

  Returns:
    0 to 10; papers often print 100 times this value.

  Raises:
    ValueError: see `corpus_bleu`.

  Source: R. Vedantam, C. L. Zitnick, D. Parikh, CIDEr: Consensus-based Image Description
    Evaluation, CVPR 2015, section 6 (https://arxiv.org/abs/1411.5726).

  Example:

  >>> references = [["A dog runs on grass ."], ["Two boys play in water ."]]
  >>> round(corpus_cider(["a dog runs on grass", "two boys play in water"], references), 2)
  10.0
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


def _bleu(captions: Sequence[str], references: Sequence[Sequence[str]], order: int) -> BLEUScore:
  """Computes BLEU of one order with sacrebleu, which does not split the words further."""
  _check(captions, references)
  said = [" ".join(split_words(caption)) for caption in captions]
  most = max(len(written) for written in references)
  # sacrebleu takes a list of all first references, one of all second references, and so on; None
  # marks a missing reference.
  streams = [
    [" ".join(split_words(written[k])) if k < len(written) else None for written in references]
    for k in range(most)
  ]
  metric = sacrebleu.BLEU(max_ngram_order=order, tokenize="none", smooth_method="none", force=True)
  return metric.corpus_score(said, streams)


def _check(captions: Sequence[str], references: Sequence[Sequence[str]]) -> None:
  check_texts("captions", captions)
  check_instance("references", references, Sequence)
  if not captions or len(captions) != len(references):
    raise ValueError(
      f"captions of length {len(captions)}, references of length {len(references)}: must have the "
      "same length, at least 1"
    )
  for caption, written in zip(captions, references, strict=True):
    if not check_texts("references", written):
      raise ValueError(f"references of caption {caption!r}: must hold at least one")


def _common_length(first: Sequence[str], second: Sequence[str]) -> int:
  lengths = [0] * (len(second) + 1)  # By prefix of `second`, for the words of `first` so far.
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
