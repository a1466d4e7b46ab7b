"""The scores of captions, against a naive count."""

import collections
import math
import unittest

from wsram_tf import scores

_SAID = ["a dog runs on the grass", "a man", "the the the the", "two boys play in the water"]
_WRITTEN = [
  ["A dog runs on green grass .", "The brown dog is running on the grass"],
  ["A man rides a bike down a hill ."],
  ["The cat sits on the mat", "A cat is on the mat", "There is a cat"],
  ["Two boys play in the water .", "Boys swim"],
]


def naive_bleu(said: list[str], written: list[list[str]], order: int) -> float:
  """BLEU in percent, counted word by word."""
  words = [caption.split() for caption in said]
  references = [[r.lower().replace(" .", "").split() for r in some] for some in written]
  log_precision = 0.0
  for n in range(1, order + 1):
    right = total = 0
    for caption, some in zip(words, references, strict=True):
      counts, *reference_counts = (
        collections.Counter(tuple(text[i : i + n]) for i in range(len(text) - n + 1))
        for text in [caption, *some]
      )
      right += sum(min(c, max(r[gram] for r in reference_counts)) for gram, c in counts.items())
      total += sum(counts.values())
    log_precision += math.log(right / total) / order
  length = sum(map(len, words))
  closest = sum(
    min((abs(len(r) - len(caption)), len(r)) for r in some)[1]
    for caption, some in zip(words, references, strict=True)
  )
  return 100.0 * math.exp(log_precision + min(0.0, 1.0 - closest / length))


class CorpusBleuTest(unittest.TestCase):
  def test_is_what_a_naive_count_gives(self):
    figures = scores.corpus_bleu(_SAID, _WRITTEN)
    self.assertEqual(list(figures), ["bleu_1", "bleu_2", "bleu_3", "bleu_4"])
    for order in range(1, 5):
      self.assertAlmostEqual(figures[f"bleu_{order}"], naive_bleu(_SAID, _WRITTEN, order), places=6)
    self.assertLess(figures["bleu_4"], figures["bleu_1"])

  def test_case_and_punctuation_do_not_count(self):
    said = ["A dog, running: fast!", "two cats play in water"]
    written = [["a dog running fast ."], ["Two cats play in water"]]
    self.assertAlmostEqual(scores.corpus_bleu(said, written)["bleu_4"], 100.0)

  def test_an_empty_caption_lowers_the_score(self):
    whole = scores.corpus_bleu(_SAID, _WRITTEN)["bleu_1"]
    self.assertLess(scores.corpus_bleu(["", *_SAID[1:]], _WRITTEN)["bleu_1"], whole)
    self.assertEqual(scores.corpus_bleu([""], [["a dog"]])["bleu_1"], 0.0)

  def test_refuses_what_cannot_be_scored(self):
    for said, written, message in (
      ([], [], "at least one"),
      (["a dog"], [], "equally many"),
      (["a dog"], [[]], "references of caption 'a dog': must be at least one"),
    ):
      with self.subTest(message), self.assertRaisesRegex(ValueError, message):
        scores.corpus_bleu(said, written)


if __name__ == "__main__":
  unittest.main()
