"""The vocabulary: splitting, encoding and decoding, files, and refused captions and words."""

import os

import numpy as np
import tensorflow as tf

from wsram_tf.captions.vocabulary import END, PADDING, UNKNOWN, Vocabulary, split_words


class VocabularyTest(tf.test.TestCase):
  def test_splits_words(self):
    self.assertEqual(
      split_words("Two dogs' owner doesn't \"run\" -- a 4x4, été ."),
      ["two", "dogs", "owner", "doesn't", "run", "a", "4x4", "été"],
    )

  def test_round_trip_with_end_and_padding(self):
    vocabulary = Vocabulary(["a", "dog", "runs"])
    encoded = vocabulary.encode("A dog runs.", 6)
    self.assertAllEqual(encoded, [4, 5, 6, END, PADDING, PADDING])
    self.assertEqual(vocabulary.decode(encoded), "a dog runs")
    self.assertAllEqual(vocabulary.encode("a cat", 3), [4, UNKNOWN, END])

  def test_keeps_frequent_words_in_order_of_frequency(self):
    captions = ["a dog", "a cat and a dog", "a bird"]
    vocabulary = Vocabulary.from_captions(captions, least_count=2)
    self.assertEqual(vocabulary.words[4:], ("a", "dog"))
    self.assertEqual(Vocabulary.from_captions(captions).words[4:6], ("a", "dog"))

  def test_saves_and_loads(self):
    path = os.path.join(self.get_temp_dir(), "vocabulary.txt")
    vocabulary = Vocabulary(["été", "dog"])
    vocabulary.save(path)
    self.assertEqual(Vocabulary.load(path).words, vocabulary.words)
    with open(path, "w") as file:
      file.write("dog\n")
    with self.assertRaisesRegex(ValueError, r"vocabulary\.txt: must begin with the lines"):
      Vocabulary.load(path)

  def test_refuses_by_name(self):
    vocabulary = Vocabulary(["a"])
    for caption, message in (
      (" .", r"caption=' \.': must hold at least one word"),
      ("a a a", "caption='a a a': must have fewer than max_words=3 words"),
    ):
      with self.assertRaisesRegex(ValueError, message):
        vocabulary.encode(caption, 3)
    for words, message in (
      (["a", "a"], r"words=\['a'\]: must be distinct"),
      (["<end>"], r"words=\['<end>'\]: must be distinct, and not special"),
      # A file holds one word a line.
      (["a", "a dog\n"], r"words=\['a dog\\n'\]: must have one line each, and not be empty"),
      ([""], r"words=\[''\]: must have one line each"),
      (["a", ["b"]], r"words=\[\['b'\]\]: must be text"),
    ):
      with self.assertRaisesRegex(ValueError, message):
        Vocabulary(words)
    for call, message in (
      # A text alone is a list of its letters.
      (lambda: Vocabulary("dog"), "words='dog': must be a list of text"),
      (lambda: Vocabulary.from_captions("a dog"), "captions='a dog': must be a list of text"),
      (lambda: Vocabulary.from_captions(["a"], "2"), "least_count='2': must be a number"),
      (lambda: vocabulary.encode(None, 3), "caption=None: must be of the class str"),
      (lambda: vocabulary.encode("a", 2.5), "max_words=2.5: must be a whole number"),
      (lambda: vocabulary.decode([-1]), "numbers=-1: must be from 0 to 4"),
      (lambda: vocabulary.decode([4, 5]), "numbers=5: must be from 0 to 4"),
      (lambda: vocabulary.decode([0.5]), r"numbers=\[0.5\]: must be a list of whole numbers"),
      (lambda: vocabulary.decode(4), "numbers=4: must be a list of whole numbers"),
      (lambda: Vocabulary.load(0), "path=0: must be a path"),  # Not the standard input.
      (lambda: vocabulary.save(1), "path=1: must be a path"),
    ):
      with self.subTest(message), self.assertRaisesRegex(ValueError, message):
        call()
    # Numbers behind the end are none of the caption's.
    self.assertEqual(vocabulary.decode(np.array([4, END, -1])), "a")


if __name__ == "__main__":
  tf.test.main()
