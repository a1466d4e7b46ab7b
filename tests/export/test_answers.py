"""What counts as the same answer, and which searches may end otherwise at a tie."""

import answers
import numpy as np
import pytest


def caption_answer(**outputs):
  return {
    "caption": np.array([b"a dog", b"a cat"], object),
    "words": np.array([[b"a", b"dog", b""], [b"a", b"cat", b""]], object),
    "log_prob": np.array([-3.0, -6.0], np.float32),
    "locations": np.zeros([2, 3, 2], np.float32),
    **outputs,
  }


def compare(answer, expected, length_exponent=1.0):
  return answers.compare("s", answer, expected, 1e-4, length_exponent)


def test_equal_answers():
  agreement = compare(caption_answer(), caption_answer())
  assert agreement.gap == 0
  assert not agreement.tied.any()
  near = caption_answer(log_prob=np.array([-3.0, -6.0003], np.float32))
  assert compare(near, caption_answer()).gap == pytest.approx(5e-5, rel=0.1)


def test_a_caption_at_a_tie_is_told():
  other = np.array([[b"a", b"dog", b""], [b"cat", b"", b""]], object)
  # Two words instead of three with the end, so 2/3 of the log-probability has the same score.
  captions = np.array([b"a dog", b"cat"], object)
  tie = caption_answer(caption=captions, words=other, log_prob=np.array([-3.0, -4.0], np.float32))
  assert compare(tie, caption_answer()).tied.tolist() == [False, True]
  with pytest.raises(answers.Failure, match=r"s\.words"):
    compare({**tie, "caption": caption_answer()["caption"]}, caption_answer())
  with pytest.raises(answers.Failure, match=r"s\.caption: .* instead of"):
    compare(tie, caption_answer(), length_exponent=0.0)
  with pytest.raises(answers.Failure, match=r"s\.caption"):
    compare(tie, caption_answer(), length_exponent=None)


def test_another_caption_is_no_tie():
  caption = np.array([b"a dog", b"a cow"], object)
  words = np.array([[b"a", b"dog", b""], [b"a", b"cow", b""]], object)
  worse = np.array([-3.0, -6.1], np.float32)
  failure = r"s\.caption: \[b'a cow'\] instead of \[b'a cat'\]"
  for wrong in (
    {"caption": caption, "words": words, "log_prob": worse},
    {"caption": caption},  # The words are others.
  ):
    with pytest.raises(answers.Failure, match=failure):
      compare(caption_answer(**wrong), caption_answer())
  with pytest.raises(answers.Failure, match=r"s\.log_prob: rows \[0\] differ"):
    slightly = np.array([-3.0005, -6.0], np.float32) - np.float32([1e-3, 0])
    compare(caption_answer(log_prob=slightly), caption_answer())


@pytest.mark.parametrize("value", [np.nan, np.inf, -3.01])
def test_another_number_is_refused(value):
  wrong = caption_answer(log_prob=np.array([value, -6.0], np.float32))
  with pytest.raises(answers.Failure, match=r"s\.log_prob: rows \[0\] differ"):
    compare(wrong, caption_answer())


def test_another_form_is_refused():
  for wrong in (np.zeros([2], np.float64), np.zeros([3], np.float32)):
    with pytest.raises(answers.Failure, match=r"s\.log_prob: float\d\d \(\d,\) instead of"):
      compare(caption_answer(log_prob=wrong), caption_answer())
  empty = {name: output[:0] for name, output in caption_answer().items()}
  assert compare(empty, empty).gap == 0
