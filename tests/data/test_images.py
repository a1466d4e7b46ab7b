"""Batches of images in memory: order and augmentation."""

import numpy as np
import tensorflow as tf

from wsram_tf.data import images


def _numbered(count: int, side: int = 6) -> images.LabelledImages:
  """Makes images of random, distinct pixels."""
  pixels = np.random.default_rng(0).integers(20, 200, [count, side, side, 3], np.uint8)
  return images.LabelledImages(pixels, np.arange(count, dtype=np.int32))


def _take(data, augmentation=images.Augmentation(), count=1, **more):  # noqa: B008
  settings = {"batch_size": 5, "seed": 1, **more}
  return list(
    images.training_dataset(data, augmentation, **settings).take(count).as_numpy_iterator()
  )


class TrainingDatasetTest(tf.test.TestCase):
  def test_every_epoch_shows_each_image_once_unchanged(self):
    data = _numbered(7)
    batches = _take(data, count=14)
    labels = np.concatenate([labels for _, labels in batches]).reshape(10, 7)
    self.assertAllEqual(np.sort(labels), np.tile(np.arange(7), [10, 1]))
    self.assertGreater(len({tuple(order) for order in labels}), 8)
    for pixels, labels in batches:
      self.assertAllEqual(pixels, data.images[labels].astype(np.float32) / 255)

  def test_seed_and_step_determine_a_batch(self):
    augmentation = images.Augmentation(crop=2, flip=True, brightness=0.3)
    whole = _take(_numbered(7), augmentation, 6)
    resumed = _take(_numbered(7), augmentation, 3, start_step=3)
    self.assertAllEqual([x for x, _ in whole[3:]], [x for x, _ in resumed])
    other = _take(_numbered(7), augmentation, 6, seed=2)
    self.assertNotAllEqual([x for x, _ in whole], [x for x, _ in other])

  def test_crops_move_images_and_black_moves_in(self):
    data = images.LabelledImages(np.zeros([1, 6, 6, 3], np.uint8), np.zeros([1], np.int32))
    data.images[0, 2, 3] = 255
    batch = _take(data, images.Augmentation(crop=2), batch_size=400)[0][0]
    places = {tuple(place) for _, *place in np.argwhere(batch[..., 0] == 1.0)}
    self.assertEqual(places, {(2 + i, 3 + j) for i in range(-2, 3) for j in range(-2, 3)})
    self.assertAllEqual(np.sum(batch, (1, 2, 3)), np.full([400], 3.0))

  def test_flips_half_of_the_images_left_and_right(self):
    data = _numbered(1)
    batch = _take(data, images.Augmentation(flip=True), batch_size=400)[0][0]
    image = data.images[0].astype(np.float32) / 255
    same = (batch == image).all((1, 2, 3))
    self.assertAllEqual(batch[~same], np.broadcast_to(image[:, ::-1], batch[~same].shape))
    # 400 fair draws: 200 with a standard error of 10; five of them: false alarm 1 in 2 million.
    self.assertAllInRange(same.sum(), 150, 250)

  def test_brightness_changes_all_pixels_alike_and_stays_in_range(self):
    data = _numbered(1)
    image = data.images[0].astype(np.float32) / 255
    batch = _take(data, images.Augmentation(brightness=0.07), batch_size=200)[0][0]
    changes = (batch - image)[:, :1, :1, :1]  # None of these pixels reaches 0 or 1.
    self.assertAllInRange(changes, -0.07, 0.07)
    self.assertGreater(np.std(changes), 0.03)
    self.assertAllClose(batch - image, np.broadcast_to(changes, batch.shape), atol=1e-6)
    self.assertAllInRange(_take(data, images.Augmentation(brightness=1.0))[0][0], 0.0, 1.0)

  def test_refuses_bad_arguments(self):
    for augmentation, message in (
      (images.Augmentation(crop=6), "crop=6: must be from 0 to 5"),
      (images.Augmentation(crop=-1), "crop=-1: must be from 0 to 5"),
      (images.Augmentation(brightness=1.5), "brightness=1.5: must be from 0 to 1"),
    ):
      with self.assertRaisesRegex(ValueError, message):
        _take(_numbered(2), augmentation)
    with self.assertRaisesRegex(ValueError, "data of length 0: must hold at least one image"):
      _take(_numbered(0))


class EvaluationDatasetTest(tf.test.TestCase):
  def test_shows_all_images_in_order(self):
    data = _numbered(7)
    batches = list(images.evaluation_dataset(data, 3).as_numpy_iterator())
    self.assertAllEqual(np.concatenate([labels for _, labels in batches]), data.labels)
    pixels = np.concatenate([pixels for pixels, _ in batches])
    self.assertAllEqual(pixels, data.images.astype(np.float32) / 255)


if __name__ == "__main__":
  tf.test.main()
