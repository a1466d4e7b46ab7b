"""Images in files: `ImageTask` from a folder and from TensorFlow Datasets."""

import contextlib
import io
import os
import pathlib
import tempfile

import tensorflow as tf

import wsram_tf
from tests.support import example_images
from wsram_tf import tasks
from wsram_tf.runs.folder import RunFolder

_SIZE = tasks.ImageConfig(image_height=24, image_width=16, test_percent=25, validation_percent=10)


class ImageTaskTest(tf.test.TestCase):
  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    folder = tempfile.TemporaryDirectory()
    cls.addClassCleanup(folder.cleanup)
    cls.images = pathlib.Path(folder.name)
    example_images.write_images(cls.images, 8, ("one", "two", "zero"))

  def test_reads_a_folder_and_names_damaged_files(self):
    broken = self.images / "one" / "broken.png"
    broken.write_text("no image")
    self.addCleanup(broken.unlink)
    task = tasks.ImageTask(image_dir=self.images, images=_SIZE)
    task.open(None)
    self.assertEqual((task.model.image_shape, task.model.num_classes), ((24, 16, 3), 3))
    with contextlib.redirect_stderr(io.StringIO()) as errors:
      task.prepare(RunFolder(self.get_temp_dir()))
    self.assertIn("1 of 25 files cannot be read", errors.getvalue())
    self.assertIn("one/broken.png", errors.getvalue())
    counts = [task.data_figures[f"{name}_images"] for name in ("training", "validation", "test")]
    self.assertEqual(sum(counts), 24)
    self.assertEqual(counts[2], 6)
    batches = list(task.training_data(batch_size=5, seed=1, start_update=0).take(3))
    (resumed,) = task.training_data(batch_size=5, seed=1, start_update=2).take(1)
    self.assertEqual(resumed[0].shape, (5, 24, 16, 3))
    self.assertAllEqual(resumed[0], batches[2][0])

  def test_the_record_holds_absolute_paths_and_no_data(self):
    before = os.getcwd()
    os.chdir(self.images.parent)
    self.addCleanup(os.chdir, before)
    task = tasks.ImageTask(image_dir=self.images.name, images=_SIZE, download=True)
    found = task.settings()
    self.assertIn(f"--image_dir={self.images}", found.lines)
    self.assertContainsSubset(["# task: images", "--image_height=24", "--fit=resize"], found.lines)
    self.assertFalse([line for line in found.lines if "download" in line or "height=1" in line])
    self.assertIn("image_dir", found.paths)

  def test_refuses_what_cannot_be_trained_on(self):
    for options in ({}, {"image_dir": self.images, "dataset": "mnist"}):
      with self.assertRaisesRegex(ValueError, "exactly one of them must be given"):
        tasks.ImageTask(**options)
    with self.assertRaisesRegex(ValueError, "must be a folder that holds a folder of image files"):
      tasks.ImageTask(image_dir=self.images / "one").open(None)
    with self.assertRaisesRegex(FileNotFoundError, "dataset='none': .*holds no version of it"):
      tasks.ImageTask(dataset="none", data_dir=self.images).open(None)
    with self.assertRaisesRegex(ValueError, "augment_crop=16: must be below the image's shorter"):
      tasks.ImageConfig(image_height=24, image_width=16, augment_crop=16)

  def test_begins_with_the_same_classes_alone(self):
    task = tasks.ImageTask(image_dir=self.images, images=_SIZE, model=wsram_tf.ModelConfig(units=8))
    task.open(None)
    run = RunFolder(tempfile.mkdtemp(dir=self.get_temp_dir()))
    run.write_names("class_names.txt", ("one", "two", "zero"))
    task.check_begin_with(run)
    run.write_names("class_names.txt", ("two", "one", "zero"))
    with self.assertRaisesRegex(ValueError, "its classes must be the same, in the same order"):
      task.check_begin_with(run)


if __name__ == "__main__":
  tf.test.main()
