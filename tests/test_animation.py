"""Moving pictures of a classifier that looks."""

import functools
import pathlib

import numpy as np
import PIL.Image
import tensorflow as tf

import wsram_tf
from tests.support.serving import exports
from wsram_tf.animation import MOST_BARS, SUFFIXES, Looks, glimpse_frames, save_frames
from wsram_tf.cli.programs.prediction import pictures

GLIMPSES = 3


@functools.cache
def looks(classes: int = 4) -> Looks:
  numbers = np.random.RandomState(1)
  return Looks(
    image=np.full([20, 30, 1], 0.3, np.float32),
    locations=numbers.uniform(-0.6, 0.6, [GLIMPSES, 2]).astype(np.float32),
    patches=numbers.rand(GLIMPSES, 2, 4, 4, 1).astype(np.float32),
    probabilities=numbers.dirichlet(np.ones(classes), GLIMPSES).astype(np.float32),
    glimpse_side=4,
    glimpse_scales=2,
  )


def pixels(some: Looks) -> list[np.ndarray]:
  return [np.asarray(frame) for frame in glimpse_frames(some)]


@functools.cache
def plain_frames() -> list[PIL.Image.Image]:
  return glimpse_frames(looks())


@functools.cache
def plain_pixels() -> list[np.ndarray]:
  return [np.asarray(frame) for frame in plain_frames()]


class FramesTest(tf.test.TestCase):
  def test_one_a_glimpse_all_of_one_size(self):
    frames = plain_frames()
    self.assertLen(frames, GLIMPSES)
    self.assertLen({(frame.size, frame.mode) for frame in frames}, 1)

  def test_each_shows_its_own_patches_and_answer_and_all_glimpses_so_far(self):
    before = plain_pixels()
    for field, changes in (
      ("patches", [False, True, False]),
      ("probabilities", [False, True, False]),
      ("locations", [False, True, True]),
    ):
      values = getattr(looks(), field).copy()
      values[1] = values[1][::-1]
      after = pixels(looks()._replace(**{field: values}))
      found = [not np.array_equal(one, other) for one, other in zip(before, after, strict=True)]
      self.assertEqual(found, changes, field)

  def test_a_chosen_scale_has_one_square(self):
    chosen = looks()._replace(chosen_scales=np.array([1, 0, 1]), patches=looks().patches[:, :1])
    other = chosen._replace(chosen_scales=np.array([1, 0, 0]))
    found = [np.array_equal(*pair) for pair in zip(pixels(chosen), pixels(other), strict=True)]
    self.assertEqual(found, [True, True, False])

  def test_a_reduced_copy_shows_places_of_the_whole(self):
    # The copy has half the side, so a glimpse of the same pixels has half the size on it.
    copy = looks()._replace(image=looks().image[::2, ::2], size=(20, 30))
    self.assertAllEqual(pixels(copy), plain_pixels())

  def test_names_and_the_likeliest_of_many_classes(self):
    many = looks(classes=2 * MOST_BARS)
    names = [f"class {label}" for label in range(2 * MOST_BARS)]
    shown = np.sort(np.argsort(-many.probabilities.max(axis=0))[:MOST_BARS])
    before = pixels(many._replace(class_names=names))
    for changed in ([shown[0]], [shown[-1]], np.setdiff1d(range(2 * MOST_BARS), shown)):
      renamed = ["other" if label in changed else name for label, name in enumerate(names)]
      same = np.array_equal(before[0], pixels(many._replace(class_names=renamed))[0])
      self.assertEqual(same, len(changed) > 1, changed)


class SaveTest(tf.test.TestCase):
  def test_the_program_takes_the_same_suffixes(self):  # It loads no TensorFlow to check its flags.
    self.assertEqual(pictures.SUFFIXES, SUFFIXES)

  def test_a_file_holds_all_frames_and_repeats(self):
    folder = exports.temporary_folder(self)
    frames = plain_frames()
    for suffix in (".gif", ".webp"):
      path = folder / "new" / f"looks{suffix}"
      save_frames(frames, path)
      with PIL.Image.open(path) as saved:
        self.assertEqual((saved.n_frames, saved.info["loop"]), (GLIMPSES, 0))
        for n, frame in enumerate(frames):
          saved.seek(n)
          gap = np.asarray(saved.convert("RGB"), float) - np.asarray(frame, float)
          self.assertLess(np.abs(gap).mean(), 3.0, suffix)
      self.assertLen(list(path.parent.iterdir()), 1 + (suffix == ".webp"))

  def test_of_a_network_and_of_a_learner(self):
    path = pathlib.Path(exports.temporary_folder(self), "looks.gif")
    network = exports.network()
    image = np.zeros(network.config.image_shape, np.float32)
    wsram_tf.animate_glimpses(network, image, path)
    with PIL.Image.open(path) as saved:
      self.assertEqual(saved.n_frames, network.config.num_glimpses)
    contents = path.read_bytes()
    with self.assertRaisesRegex(ValueError, r"path=.*looks\.mp4: must end in \.gif or \.webp"):
      wsram_tf.animate_glimpses(network, image, path.with_suffix(".mp4"))
    with self.assertRaisesRegex(ValueError, "model of str: must be a WakeSleepLearner"):
      wsram_tf.animate_glimpses("network", image, path)
    with self.assertRaisesRegex(ValueError, "images: must lie within 0..1"):
      wsram_tf.animate_glimpses(network, image + 2, path)
    self.assertEqual(path.read_bytes(), contents)


if __name__ == "__main__":
  tf.test.main()
