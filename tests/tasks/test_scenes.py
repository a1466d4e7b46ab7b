"""Scenes of digits: their judgement and the data of `SceneTask`."""

import numpy as np
import tensorflow as tf

import wsram_tf
from wsram_tf import tasks
from wsram_tf.captions.data import scene_language, scenes
from wsram_tf.captions.data.scene_config import SceneConfig
from wsram_tf.captions.vocabulary import Vocabulary
from wsram_tf.runs.folder import VOCABULARY, RunFolder
from wsram_tf.tasks.scenes import judge


def _task() -> tasks.SceneTask:
  return tasks.SceneTask(
    scene=SceneConfig(most_digits=1),
    source=tasks.DigitSourceConfig(validation_digits=20),
    evaluation=tasks.SceneEvaluationConfig(validation_scenes=5, test_scenes=6),
    model=wsram_tf.CaptionModelConfig(units=8, grid_filters=(2, 2, 2)),
  )


class JudgeTest(tf.test.TestCase):
  def test_counts_correct_captions_and_glimpses_on_digits(self):
    scene = scene_language.Scene(
      np.array([3, 7]), np.array([True, False]), np.array([[0, 0, 24], [40, 48, 12]])
    )
    text = "a large three left of a small seven"
    lie = "a large three left of a small nine"
    encode = scene_language.VOCABULARY.encode
    length = scene_language.longest_caption()
    locations = np.full([2, length, 2], 1.0, np.float32)
    locations[0, 2] = [-0.7, -0.7]  # Pixel (9.6, 9.6): on the three.
    locations[0, 7] = [0.4, 0.7]  # Pixel (44.8, 54.4): on the seven.
    locations[1, 2] = [0.4, 0.7]  # On the seven where the caption names the three.
    scene_set = scenes.SceneSet(np.zeros([2, 64, 64, 1]), np.zeros([2, 5, length]), [scene] * 2)
    answers = {
      "words": np.stack([encode(text, length), encode(lie, length)]),
      "locations": locations,
    }
    right, on_digit = judge(scene_set, answers)
    self.assertAllEqual(right, [True, False])
    self.assertAllEqual(on_digit, [True, True, False, False])


class SceneTaskTest(tf.test.TestCase):
  def test_batches_depend_on_the_seed_and_the_update(self):
    task = _task()
    self.assertEqual(task.model.max_words, scene_language.longest_caption(1))
    task.prepare(RunFolder(self.get_temp_dir()))
    whole = list(task.training_data(batch_size=3, seed=1, start_update=0).take(3))
    self.assertEqual(whole[0][0].shape, (3, 64, 64, 1))
    self.assertEqual(whole[0][1].shape, (3, task.model.max_words))
    (resumed,) = task.training_data(batch_size=3, seed=1, start_update=2).take(1)
    self.assertAllEqual(resumed[0], whole[2][0])
    self.assertLen(list(task.validation_data().unbatch()), 5)

  def test_the_record_holds_the_layout(self):
    lines = _task().settings().lines
    self.assertContainsSubset(["# task: scenes", "--most_digits=1", "--beam_width=1"], lines)
    self.assertFalse([line for line in lines if line.startswith(("--height", "--max_words"))])

  def test_an_evaluated_run_must_have_the_same_words(self):
    run = RunFolder(self.get_temp_dir())
    task = _task()
    task.write_vocabulary(run)
    task.open(run)
    Vocabulary([*scene_language.VOCABULARY.words[4:], "tree"]).save(run.path / VOCABULARY)
    with self.assertRaisesRegex(ValueError, "vocabulary.txt: must hold the words of the captions"):
      task.open(run)

  def test_refuses_layouts_and_phases_that_cannot_be(self):
    with self.assertRaisesRegex(ValueError, "must be a range of pixels from 1 to half the canvas"):
      tasks.SceneTask(scene=SceneConfig(largest_large=40))
    with self.assertRaisesRegex(ValueError, "digits=fashion_mnist: must be mnist5k or mnist for"):
      tasks.SceneTask(source=tasks.DigitSourceConfig(digits="fashion_mnist"))
    with self.assertRaisesRegex(ValueError, "inference_phase=sleep: must be wake for captions"):
      tasks.SceneTask(objective=wsram_tf.ObjectiveConfig(inference_phase="sleep"))


if __name__ == "__main__":
  tf.test.main()
