"""Scores of captions against what people wrote."""

from collections.abc import Sequence

import sacrebleu

from wsram_tf.data.vocabulary import split_words

__all__ = ["corpus_bleu"]


def corpus_bleu(captions: Sequence[str], references: Sequence[Sequence[str]]) -> dict[str, float]:
  """BLEU-1 to BLEU-4 of a whole set of captions, by sacrebleu.

  BLEU-k is the geometric mean of the precisions of 1- to k-grams, with the brevity penalty of the
  whole set, not smoothed. Captions and references are brought to the words of
  `vocabulary.split_words` first (lower case, no punctuation), and sacrebleu splits nothing further
  (`tokenize="none"`). So the figures are comparable with those of work that drops punctuation too.

  Args:
    captions: n captions; an empty one counts as no words.
    references: for each at least one caption of a person, in any number.

  Returns:
    percent, by `bleu_1` to `bleu_4`.

  Raises:
    ValueError: if there is no caption, or one without a reference.
  """
  if not captions or len(captions) != len(references):
    raise ValueError(
      f"captions of length {len(captions)}, references of length {len(references)}: must be "
      "equally many, and at least one"
    )
  for caption, written in zip(captions, references, strict=True):
    if not written:
      raise ValueError(f"references of caption {caption!r}: must be at least one")
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
