"""Equal answers agree, and only searches at a tie may end differently."""

import unittest

import numpy as np

from wsram_tf.serving.verification import agreement


def caption_answer(**outputs):
  return {
    "caption": np.array([b"a dog", b"a cat"], object),
    "words": np.array([[b"a", b"dog", b""], [b"a", b"cat", b""]], object),
    "log_prob": np.array([-3.0, -6.0], np.float32),
    "locations": np.zeros([2, 3, 2], np.float32),
    **outputs,
  }


def compare(answer, expected, length_exponent=1.0, averaged_samples=0):
  return agreement.compare("s", answer, expected, 1e-4, length_exponent, averaged_samples)


class AgreementTest(unittest.TestCase):
  def assert_fails(self, pattern):
    return self.assertRaisesRegex(agreement.Failure, pattern)

  def test_equal_answers(self):
    found = compare(caption_answer(), caption_answer())
    self.assertEqual(found.gap, 0)
    self.assertFalse(found.tied.any())
    near = caption_answer(log_prob=np.array([-3.0, -6.0003], np.float32))
    self.assertAlmostEqual(compare(near, caption_answer()).gap, 5e-5, delta=5e-6)

  def test_a_caption_at_a_tie_is_recognised(self):
    other = np.array([[b"a", b"dog", b""], [b"cat", b"", b""]], object)
    # Two words instead of three with the end, so 2/3 of the log-probability has the same score.
    captions = np.array([b"a dog", b"cat"], object)
    tie = caption_answer(caption=captions, words=other, log_prob=np.array([-3.0, -4.0], np.float32))
    self.assertEqual(compare(tie, caption_answer()).tied.tolist(), [False, True])
    with self.assert_fails(r"s\.words"):
      compare({**tie, "caption": caption_answer()["caption"]}, caption_answer())
    with self.assert_fails(r"s\.caption: .* instead of"):
      compare(tie, caption_answer(), length_exponent=0.0)
    with self.assert_fails(r"s\.caption"):
      compare(tie, caption_answer(), length_exponent=None)

  def test_another_caption_is_no_tie(self):
    caption = np.array([b"a dog", b"a cow"], object)
    words = np.array([[b"a", b"dog", b""], [b"a", b"cow", b""]], object)
    worse = np.array([-3.0, -6.1], np.float32)
    for wrong in (
      {"caption": caption, "words": words, "log_prob": worse},
      {"caption": caption},  # The words differ from it.
    ):
      with self.assert_fails(r"s\.caption: \[b'a cow'\] instead of \[b'a cat'\]"):
        compare(caption_answer(**wrong), caption_answer())
    with self.assert_fails(r"s\.log_prob: rows \[0\] differ"):
      slightly = np.array([-3.0005, -6.0], np.float32) - np.float32([1e-3, 0])
      compare(caption_answer(log_prob=slightly), caption_answer())

  def test_one_of_the_averaged_sequences_may_be_drawn_otherwise(self):
    other = caption_answer(log_prob=np.array([-3.0, -6.2], np.float32))
    found = compare(other, caption_answer(), averaged_samples=5)
    self.assertEqual(found.tied.tolist(), [False, True])
    for averaged, log_prob in ((0, -6.2), (5, -6.4), (5, np.nan)):
      wrong = caption_answer(log_prob=np.array([-3.0, log_prob], np.float32))
      with self.assert_fails(r"s\.log_prob: rows \[1\] differ"):
        compare(wrong, caption_answer(), averaged_samples=averaged)
    with self.assert_fails(r"s\.log_prob"):  # Without a search nothing is drawn for captions.
      compare(other, caption_answer(), None, averaged_samples=5)

  def test_the_consensus_of_other_captions_at_a_tie(self):
    def likely(second, **outputs):
      return caption_answer(likeness=np.array([0.5, second], np.float32), **outputs)

    words = np.array([[b"a", b"dog", b""], [b"a", b"cow", b""]], object)
    log_prob = np.array([-3.0, -7.0], np.float32)  # The consensus is not the most probable one.
    other = {"caption": np.array([b"a dog", b"a cow"], object), "words": words}
    for tie in (likely(0.62, **other, log_prob=log_prob), likely(0.62)):
      self.assertEqual(compare(tie, likely(0.6)).tied.tolist(), [False, True])
    with self.assert_fails(r"s\.caption"):
      compare(likely(0.66, **other), likely(0.6))
    with self.assert_fails(r"s\.likeness"):
      compare(likely(0.66), likely(0.6))
    # The same caption is as probable as it was, but for one of several sequences.
    drawn = np.array([-3.0, -6.2], np.float32)
    self.assertEqual(compare(likely(0.62, log_prob=drawn), likely(0.6), 1.0, 5).tied.sum(), 1)
    for averaged, wrong in ((0, drawn), (5, log_prob)):
      with self.assert_fails(r"s\.log_prob"):
        compare(likely(0.62, log_prob=wrong), likely(0.6), averaged_samples=averaged)
    with self.assert_fails(r"s\.caption"):
      compare(likely(0.62, **other, log_prob=np.float32([-3, np.nan])), likely(0.6))

  def test_another_number_fails(self):
    for value in (np.nan, np.inf, -3.01):
      wrong = caption_answer(log_prob=np.array([value, -6.0], np.float32))
      with self.subTest(value=value), self.assert_fails(r"s\.log_prob: rows \[0\] differ"):
        compare(wrong, caption_answer())

  def test_another_form_fails(self):
    for wrong in (np.zeros([2], np.float64), np.zeros([3], np.float32)):
      with self.assert_fails(r"s\.log_prob: float\d\d \(\d,\) instead of"):
        compare(caption_answer(log_prob=wrong), caption_answer())
    empty = {name: output[:0] for name, output in caption_answer().items()}
    self.assertEqual(compare(empty, empty).gap, 0)


if __name__ == "__main__":
  unittest.main()
