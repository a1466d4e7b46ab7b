"""Images in memory: what `ArrayTask` accepts and refuses, and its data."""

import io

import numpy as np
import tensorflow as tf

from tests.support import small_runs
from wsram_tf import tasks
from wsram_tf.classification import GlimpseConfig, ModelConfig
from wsram_tf.data.images import Augmentation
from wsram_tf.runs.folder import RunFolder
from wsram_tf.tasks.classification import draw_cases, read_labels

_IMAGES = np.zeros([6, 20, 20], np.uint8)
_LABELS = np.arange(6) % 3


class ArrayTaskTest(tf.test.TestCase):
  def make(self, part=(_IMAGES, _LABELS), **options) -> tasks.ArrayTask:
    return tasks.ArrayTask(train=part, validation=part, test=part, **options)

  def test_the_images_determine_the_model(self):
    task = self.make()
    self.assertEqual((task.model.image_shape, task.model.num_classes), ((20, 20, 1), 3))
    task = self.make((np.zeros([6, 12, 16, 3], np.uint8), _LABELS.astype(np.int8)))
    self.assertEqual(task.model.image_shape, (12, 16, 3))
    task = self.make(class_names=["cat", "dog", "owl", "yak"])
    self.assertEqual((task.model.num_classes, task.class_names[3]), (4, "yak"))
    task = self.make((_IMAGES, 0 * _LABELS))
    self.assertEqual(task.model.num_classes, 2)

  def test_images_of_any_number_of_channels_are_drawn(self):
    for channels in (2, 5):
      with self.subTest(channels):
        images = np.arange(6 * 400 * channels, dtype=np.uint8).reshape(6, 20, 20, channels)
        model = ModelConfig(units=8, num_glimpses=1, glimpse=GlimpseConfig(glimpse_side=4))
        task = self.make((images, _LABELS), model=model)
        learner = task.make_learner(clip_norm=1.0, seed=1)
        picture = task.summaries(learner).images["glimpses/validation"]
        self.assertEqual(picture.shape, (280, 4 * 264, 3))
        file = io.BytesIO()
        data = task.test_data()
        answers = learner.predict(data.map(lambda images, labels: images), verbose=0)
        network = learner.prediction_network
        draw_cases(network, data, answers, read_labels(data)).savefig(file)
        self.assertGreater(len(file.getvalue()), 1000)

  def test_as_many_right_as_wrong_cases_are_drawn(self):
    images = np.arange(6 * 100, dtype=np.uint8).reshape(6, 10, 10)
    model = ModelConfig(units=8, num_glimpses=1, glimpse=GlimpseConfig(glimpse_side=4))
    task = self.make((images, _LABELS), model=model)
    learner, data = task.make_learner(clip_norm=1.0, seed=1), task.test_data().rebatch(4)
    answers = learner.predict(images[..., np.newaxis] / 255.0, verbose=0)
    answers["class_id"] = np.where(np.arange(6) == 5, 0, _LABELS)
    figure = draw_cases(learner.prediction_network, data, answers, read_labels(data), "abc")
    canvases = [axes for axes in figure.axes if axes.get_title("left")]
    for axes, number in zip(canvases, (0, 5), strict=True):
      shown = np.ma.getdata(axes.images[0].get_array())
      self.assertAllClose(shown, images[number] / 255.0, atol=1e-6)
    right, wrong = (axes.get_title("left") for axes in canvases)
    self.assertStartsWith(right, "a, read as a (")
    self.assertStartsWith(wrong, "c, read as a (")

  def test_refuses_arrays_that_do_not_fit(self):
    for part, options, message in (
      ((_IMAGES / 255.0, _LABELS), {}, "train: its images must be uint8 in 0..255; got float64"),
      ((_IMAGES[0], _LABELS), {}, r"must have the shape \[n, H, W, C\] or .*got \[20, 20\]"),
      ((_IMAGES[:0], _LABELS[:0]), {}, r"n at least 1; got \[0, 20, 20, 1\]"),
      ((_IMAGES, _LABELS[:5]), {}, r"its labels must be integers \[6\].*got int64 \[5\]"),
      ((_IMAGES, _LABELS / 1.0), {}, "its labels must be integers .*got float64"),
      ((_IMAGES, _LABELS - 1), {}, "its labels must be 0 or above; got -1"),
      (
        (_IMAGES, _LABELS),
        {"class_names": ["cat", "dog"]},
        "class_names: must hold a name for each label; there are 2 names, .*label is 2",
      ),
      (
        (_IMAGES, _LABELS),
        {"test": (np.zeros([6, 20, 21], np.uint8), _LABELS)},
        r"test: its images must have the shape of the training images, \(20, 20, 1\)",
      ),
    ):
      given = {"train": part, "validation": part, "test": part} | options
      with self.subTest(message), self.assertRaisesRegex(ValueError, message):
        tasks.ArrayTask(**given)

  def test_batches_hold_every_image_and_resume(self):
    task = small_runs.array_task()
    task.prepare(RunFolder(self.get_temp_dir()))
    batches = list(task.training_data(batch_size=4, seed=1, start_update=0).take(4))
    seen = np.concatenate([np.asarray(images) for images, _ in batches[:3]])
    expected = task.splits["train"].images / 255.0
    self.assertAllClose(np.sort(seen.ravel()), np.sort(expected.ravel()))
    (resumed,) = task.training_data(batch_size=4, seed=1, start_update=3).take(1)
    self.assertAllEqual(resumed[0], batches[3][0])
    self.assertLen(list(task.validation_data().unbatch()), 6)
    self.assertLen(list(task.test_data().unbatch()), 6)

  def test_the_record_identifies_arrays_and_augmentation(self):
    def lines(**options) -> list[str]:
      return small_runs.array_task(**options).settings().lines

    images, labels = small_runs.array_task().splits["test"]
    self.assertEqual(lines()[0], "# task: arrays")
    self.assertEqual(lines(), lines(test=(np.array(images), np.array(labels))))
    self.assertNotEqual(lines(), lines(test=(images, 1 - labels)))
    self.assertNotEqual(lines(), lines(augmentation=Augmentation(crop=2)))


if __name__ == "__main__":
  tf.test.main()
