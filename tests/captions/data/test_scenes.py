"""Scenes and their language: true captions, detected errors, and batches by seed and step."""

import functools

import numpy as np
import tensorflow as tf

from wsram_tf.captions.data import scene_language, scenes
from wsram_tf.captions.data.scene_language import VOCABULARY, Scene, judge_caption
from wsram_tf.data import digits

# White squares: any pixel above 0 belongs to a digit.
_DIGITS = digits.Digits(np.full([10, 28, 28], 255, np.uint8), np.arange(10, dtype=np.int32))
_SCENE = Scene(
  labels=np.array([3, 7, 7]),
  is_large=np.array([True, False, False]),
  boxes=np.array([[2, 1, 24], [8, 40, 12], [45, 42, 13]]),
)


@functools.cache
def _scenes(count: int = 300) -> scenes.SceneSet:
  return scenes.evaluation_scenes(_DIGITS, num_scenes=count, seed=5)


class ScenesTest(tf.test.TestCase):
  def test_every_wording_describes_its_scene_and_no_other_digit_size_or_relation(self):
    drawn = _scenes()
    for scene, captions in zip(drawn.scenes[:150], drawn.captions[:150], strict=True):
      texts = [VOCABULARY.decode(caption) for caption in captions]
      kinds = list(zip(scene.labels, scene.is_large, strict=True))
      all_differ = len(kinds) == len(set(kinds))
      if all_differ:  # Otherwise a caption may read the same in both orders.
        self.assertLen(set(texts), scene_language.NUM_WORDINGS)
      for text in texts:
        self.assertTrue(judge_caption(scene, text).is_correct, f"{text}: {scene}")
        encoded = VOCABULARY.encode(text, scene_language.longest_caption())
        self.assertTrue((np.array(encoded[:3]) > 0).all(), text)
      other_digits = scene._replace(labels=(scene.labels + 1) % 10)
      other_sizes = scene._replace(is_large=~scene.is_large)
      mirrored = scene._replace(
        boxes=np.concatenate([64 - scene.boxes[:, :2] - scene.boxes[:, 2:], scene.boxes[:, 2:]], 1)
      )
      wrong = [other_digits, other_sizes]
      if all_differ and len(kinds) > 1:  # Equal digits are interchangeable.
        wrong.append(mirrored)
      for text in texts:
        for other in wrong:
          self.assertFalse(judge_caption(other, text).is_correct, f"{text}: {other}")

  def test_digits_lie_apart_within_the_canvas_and_nothing_else_is_drawn(self):
    drawn = _scenes()
    for scene, image in zip(drawn.scenes, drawn.images, strict=True):
      owners = np.zeros([64, 64], int)
      for (top, left, side), is_large in zip(scene.boxes, scene.is_large, strict=True):
        self.assertAllInRange([top, left, top + side, left + side], 0, 64)
        self.assertBetween(side, *((22, 28) if is_large else (12, 15)))
        owners[top : top + side, left : left + side] += 1
      self.assertEqual(owners.max(), 1)
      self.assertAllEqual(image[..., 0] > 0, owners > 0)
    counts = np.bincount([len(scene.labels) for scene in drawn.scenes])
    self.assertAllGreater(counts[1:], 70)  # 100 of 300 expected; probability of less: 1e-4.

  def test_batches_depend_on_seed_and_step_alone(self):
    def batch(seed: int, step: int):
      data = scenes.scene_dataset(_DIGITS, batch_size=8, seed=seed, start_step=step)
      return next(iter(data))

    straight = list(scenes.scene_dataset(_DIGITS, batch_size=8, seed=1).take(3))
    for step in (0, 2):
      for values, again in zip(straight[step], batch(1, step), strict=True):
        self.assertAllEqual(values, again)
    self.assertNotAllEqual(batch(2, 0)[1], straight[0][1])
    self.assertNotAllEqual(straight[1][1], straight[0][1])

  def test_fewer_digits_have_their_own_longest_caption(self):
    for most_digits in (1, 2):
      drawn = scenes.evaluation_scenes(_DIGITS, num_scenes=200, seed=5, most_digits=most_digits)
      counts = [len(scene.labels) for scene in drawn.scenes]
      self.assertEqual(set(counts), set(range(1, most_digits + 1)))
      texts = [[VOCABULARY.decode(caption) for caption in captions] for captions in drawn.captions]
      longest = max(len(text.split()) for wordings in texts for text in wordings) + 1
      self.assertEqual(drawn.captions.shape[-1], longest)
      self.assertEqual(scene_language.longest_caption(most_digits), longest)
      for scene, wordings in zip(drawn.scenes, texts, strict=True):
        for text in wordings:
          self.assertTrue(judge_caption(scene, text).is_correct, f"{text}: {scene}")

  def test_evaluation_scenes_are_a_prefix_of_more(self):
    few, more = _scenes(20), _scenes(700)
    self.assertAllEqual(few.images, more.images[:20])
    self.assertAllEqual(few.captions, more.captions[:20])

  def test_refuses_by_name(self):
    for arguments, message in (
      ({"canvas_side": 63}, "canvas_side=63: must be even"),
      ({"large": (22, 33)}, r"large=\(22, 33\): must be a range of pixels from 1 to half"),
      ({"small": (12, 20)}, r"large=\(22, 28\): must begin at least 25% above"),
      ({"most_digits": 4}, "most_digits=4: must be from 1 to 3"),
      ({"num_scenes": 0}, "num_scenes=0: must be at least 1"),
      ({"seed": -1}, "seed=-1: must be from 0"),
    ):
      with self.assertRaisesRegex(ValueError, message):
        scenes.evaluation_scenes(_DIGITS, **{"num_scenes": 1, "seed": 0, **arguments})


class JudgeTest(tf.test.TestCase):
  def test_judges_every_word(self):
    for caption, is_correct in (
      ("a large three left of a small seven which is above a small seven", True),
      ("here is a small seven with a small seven above it and a large three left of that", True),
      # Both relations hold for boxes that are separated along both axes.
      ("a large three left of a small seven which is below a small seven", True),
      ("a large three above a small seven which is below a small seven", True),
      ("a large three right of a small seven which is above a small seven", False),
      ("a small three left of a small seven which is above a small seven", False),
      ("a large three left of a small one which is above a small seven", False),
      ("a large three left of a small seven", False),
      ("a large three left of a small seven which is", False),
      ("three", False),
      ("", False),
    ):
      self.assertEqual(judge_caption(_SCENE, caption).is_correct, is_correct, caption)

  def test_finds_the_digit_that_a_word_means(self):
    right = judge_caption(
      _SCENE, "a small seven with a small seven above it and a large three left of that"
    )
    self.assertEqual(right.mentions, [(2, [2]), (6, [1]), (12, [0])])
    wrong = judge_caption(_SCENE, "just a small seven which is above a nine")
    self.assertEqual(wrong.mentions, [(3, [1, 2]), (8, [])])


if __name__ == "__main__":
  tf.test.main()
