"""The weights that the package ships answer, and wrong names are refused."""

import numpy as np
import tensorflow as tf

import wsram_tf
from wsram_tf import captions
from wsram_tf.captions.data import scene_language, scenes
from wsram_tf.data import canvases, digits


class PretrainedTest(tf.test.TestCase):
  def test_reads_digits(self):
    # The errors of the cards, 4.5%, 1.6%, 0.7% and 4.3%, less where a model has seen the digits;
    # the limits are over 4 standard errors of 500 canvases away.
    empty = wsram_tf.CanvasConfig()
    cluttered = wsram_tf.CanvasConfig(smallest_digit=28, largest_digit=28, num_clutter=8)
    limits = {
      "quickstart": (empty, 0.09),
      "translated_scaled": (empty, 0.045),
      "translated_scaled_conv": (empty, 0.03),
      "cluttered100": (cluttered, 0.085),
    }
    self.assertEqual(limits.keys(), wsram_tf.PRETRAINED.keys())
    test = digits.load_digits("mnist5k", num_validation=400).test
    for name, (canvas, most) in limits.items():
      data = canvases.evaluation_canvases(test, canvas, num_canvases=500, batch_size=500, seed=3)
      images, labels = next(iter(data))
      answer = wsram_tf.load_pretrained(name)(images)
      error = np.mean(answer["class_id"].numpy() != labels.numpy())
      with self.subTest(name):
        self.assertLess(error, most)

  def test_describes_scenes(self):
    network = wsram_tf.CaptionNetwork.from_preset("scenes")
    vocabulary = captions.Vocabulary.from_preset("scenes")
    self.assertEqual(vocabulary.words, scene_language.VOCABULARY.words)
    config = wsram_tf.SceneConfig(48, 11, 13, 19, 24)
    test = scenes.evaluation_scenes(
      digits.load_digits("mnist5k", num_validation=400).test,
      num_scenes=60,
      seed=11,
      **config.arguments(),
    )
    found = captions.beam_search(network, test.images, captions.DecodingConfig())
    right = [
      scene_language.judge_caption(scene, vocabulary.decode(words)).is_correct
      for scene, words in zip(test.scenes, found["words"].numpy(), strict=True)
    ]
    # 89.6% of the test scenes of its training; the limit is over 4 standard errors of 60 away.
    self.assertGreater(np.mean(right), 0.72)

  def test_refuses_an_unknown_name(self):
    with self.assertRaisesRegex(
      ValueError, "name='imagenet': must be one of cluttered100, quickstart, translated_scaled"
    ):
      wsram_tf.load_pretrained("imagenet")


if __name__ == "__main__":
  tf.test.main()
