"""Scores of captions, compared with a naive count and with COCO's evaluation code."""

import collections
import math
import unittest

from wsram_tf.captions import scores

_SAID = ["a dog runs on the grass", "a man", "the the the the", "two boys play in the water"]
_WRITTEN = [
  ["A dog runs on green grass .", "The brown dog is running on the grass"],
  ["A man rides a bike down a hill ."],
  ["The cat sits on the mat", "A cat is on the mat", "There is a cat"],
  ["Two boys play in the water .", "Boys swim"],
]
# pycocoevalcap 1.2 (COCO's evaluation code) computed the figures below from the two lists above and
# these, in lower case and without punctuation.
_MORE_SAID = [
  "a brown dog runs through the snow with a red ball in its mouth",
  "a group of people stand on a street",
  "a girl in a pink dress",
  "zebras graze",
  "",
]
_MORE_WRITTEN = [
  ["a brown dog carries a red ball in the snow", "the dog has a ball in its mouth", "a dog plays"],
  ["people are standing on a busy street", "a group of people wait on the street"],
  ["a girl in a pink dress", "the girl wears pink"],
  ["two men sit on a bench", "men rest"],
  ["a child jumps", "a child jumps into the pool"],
]
_ROUGE_L = 0.5503116675393765
_CIDER = 2.3408313883580005
_ROUGE_L_EACH = [0.83333333, 0.36094675, 0.38607595, 1.0, 0.62244898, 0.75, 1.0, 0.0, 0.0]


def naive_bleu(
  said: list[str], written: list[list[str]], order: int, penalty: bool = True
) -> float:
  """Counts BLEU word by word, in percent."""
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
  log_penalty = min(0.0, 1.0 - closest / length) if penalty else 0.0
  return 100.0 * math.exp(log_precision + log_penalty)


class CorpusBleuTest(unittest.TestCase):
  def test_matches_a_naive_count(self):
    figures = scores.corpus_bleu(_SAID, _WRITTEN)
    self.assertEqual(list(figures), ["bleu_1", "bleu_2", "bleu_3", "bleu_4"])
    for order in range(1, 5):
      self.assertAlmostEqual(figures[f"bleu_{order}"], naive_bleu(_SAID, _WRITTEN, order), places=6)
    self.assertLess(figures["bleu_4"], figures["bleu_1"])

  def test_divided_by_the_brevity_penalty_it_is_the_precision_alone(self):
    short = [caption.rsplit(" ", 1)[0] for caption in _SAID]
    figures = scores.all_scores(short, _WRITTEN)
    self.assertLess(figures["brevity_penalty"], 0.9)
    for order in range(1, 3):
      self.assertAlmostEqual(
        figures[f"bleu_{order}"] / figures["brevity_penalty"],
        naive_bleu(short, _WRITTEN, order, penalty=False),
        places=6,
      )

  def test_no_penalty_for_captions_longer_than_their_references(self):
    self.assertEqual(scores.brevity_penalty(["a dog runs on grass"], [["a dog", "dogs"]]), 1.0)

  def test_case_and_punctuation_do_not_count(self):
    said = ["A dog, running: fast!", "two cats play in water"]
    written = [["a dog running fast ."], ["Two cats play in water"]]
    self.assertAlmostEqual(scores.corpus_bleu(said, written)["bleu_4"], 100.0)

  def test_an_empty_caption_lowers_the_score(self):
    whole = scores.corpus_bleu(_SAID, _WRITTEN)["bleu_1"]
    self.assertLess(scores.corpus_bleu(["", *_SAID[1:]], _WRITTEN)["bleu_1"], whole)
    self.assertEqual(scores.corpus_bleu([""], [["a dog"]])["bleu_1"], 0.0)

  def test_refuses_missing_captions_and_references(self):
    for said, written, message in (
      ([], [], "at least 1"),
      (["a dog"], [], "must have the same length"),
      (["a dog"], [[]], "references of caption 'a dog': must hold at least one"),
    ):
      for score in (scores.corpus_bleu, scores.corpus_rouge_l, scores.corpus_cider):
        with self.subTest(message), self.assertRaisesRegex(ValueError, message):
          score(said, written)


class RougeAndCiderTest(unittest.TestCase):
  def test_match_cocos_evaluation_code(self):
    said, written = _SAID + _MORE_SAID, _WRITTEN + _MORE_WRITTEN
    figures = scores.all_scores(said, written)
    self.assertAlmostEqual(figures["rouge_l"], 100.0 * _ROUGE_L, places=6)
    self.assertAlmostEqual(figures["cider"], _CIDER, places=6)
    for caption, some, value in zip(said, written, _ROUGE_L_EACH, strict=True):
      self.assertAlmostEqual(scores.corpus_rouge_l([caption], [some]), 100.0 * value, places=5)

  def test_identical_captions_score_the_most_and_disjoint_and_empty_ones_nothing(self):
    written = [["A dog runs on grass ."], ["Two boys play in water ."], ["a man on a red bike"]]
    cases = (
      ([first for (first,) in written], 100.0, 10.0),
      (["cats sleep"] * 3, 0.0, 0.0),
      ([""] * 3, 0.0, 0.0),
    )
    for said, rouge_l, cider in cases:
      with self.subTest(said):
        self.assertAlmostEqual(scores.corpus_rouge_l(said, written), rouge_l)
        self.assertAlmostEqual(scores.corpus_cider(said, written), cider)

  def test_cider_rewards_words_that_few_images_share(self):
    written = [["a dog in the snow"], ["a cat in the snow"], ["a boy in the snow"]]
    others = [some[0] for some in written[1:]]
    named = scores.corpus_cider(["a dog here", *others], written)
    unnamed = scores.corpus_cider(["in the snow", *others], written)
    self.assertGreater(named, unnamed)
    # Words of every image score nothing.
    self.assertEqual(scores.corpus_cider(["a dog"], [["a dog"]]), 0.0)


if __name__ == "__main__":
  unittest.main()
