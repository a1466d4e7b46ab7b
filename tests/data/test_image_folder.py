"""Image folders: reading, splitting, skipped files and refused folders."""

import os
import pathlib
import shutil
from unittest import mock

import numpy as np
import PIL.Image
import tensorflow as tf

from wsram_tf.data import fitting, image_folder, images

_SPLITTING = {"fit": "resize", "validation_percent": 20, "test_percent": 25, "split_seed": 3}


def _write(path: pathlib.Path, size=(9, 7), color=(250, 0, 0), mode="RGB") -> None:
  path.parent.mkdir(parents=True, exist_ok=True)
  PIL.Image.new("RGB", size, color).convert(mode).save(path)


class ImageFolderTest(tf.test.TestCase):
  def setUp(self):
    super().setUp()
    self.root = pathlib.Path(self.get_temp_dir()) / "images"
    shutil.rmtree(self.root, ignore_errors=True)
    for name, color, count in (("red", (250, 0, 0), 12), ("blue", (0, 0, 250), 20)):
      for i in range(count):
        # JPEG and PNG, of many sizes, some suffixes in capitals.
        _write(self.root / name / f"{i}.{('jpg', 'PNG', 'JPEG')[i % 3]}", (20 + i, 31 - i), color)

  def test_finds_classes_in_order_and_ignores_other_files(self):
    (self.root / "red" / "notes.txt").write_text("dear")
    _write(self.root / ".cache" / "0.png")
    _write(self.root / "red" / ".hidden.png")
    files = image_folder.find_images(self.root)
    self.assertEqual(files.class_names, ("blue", "red"))
    self.assertAllEqual(np.bincount(files.labels), [20, 12])
    for path, label in zip(files.paths, files.labels, strict=True):
      self.assertEqual(path.parent.name, files.class_names[label])

  def test_takes_files_of_subfolders_and_of_more_formats(self):
    _write(self.root / "red" / "second" / "deeper" / "1.webp")
    _write(self.root / "blue" / "more" / "2.tiff", color=(0, 0, 250))
    _write(self.root / "red" / ".trash" / "3.png")
    files = image_folder.find_images(self.root)
    self.assertAllEqual(np.bincount(files.labels), [21, 13])
    data, left_out = image_folder.read_images(files, (4, 4, 3), "resize")
    self.assertEqual(left_out, [])
    expected = np.array([[0, 0, 250], [250, 0, 0]])[data.labels]
    self.assertAllClose(data.images.mean((1, 2)), expected, atol=4)

  def test_reads_and_splits_each_class_in_proportion(self):
    splits, left_out = image_folder.load_image_folder(self.root, (8, 6, 3), **_SPLITTING)
    self.assertEqual(left_out, [])
    counts = [np.bincount(data.labels).tolist() for data in splits[:3]]
    self.assertEqual(counts, [[12, 7], [3, 2], [5, 3]])
    for data in splits[:3]:
      self.assertEqual((data.images.dtype, data.images.shape[1:]), (np.uint8, (8, 6, 3)))
      # JPEG changes colours slightly.
      expected = np.array([[0, 0, 250], [250, 0, 0]])[data.labels]
      self.assertAllClose(data.images.mean((1, 2)), expected, atol=4)

  def test_the_seed_decides_the_split(self):
    def test_images(seed: int) -> bytes:
      splitting = {**_SPLITTING, "split_seed": seed}
      for i, path in enumerate(sorted(self.root.rglob("*.*"))):
        _write(path, color=(i, i, i))
      return image_folder.load_image_folder(self.root, (2, 2, 1), **splitting)[0].test[0].tobytes()

    self.assertEqual(test_images(1), test_images(1))
    self.assertNotEqual(test_images(1), test_images(2))

  def test_reads_every_kind_of_file(self):
    for i, mode in enumerate(("L", "1", "P", "CMYK", "RGBA", "LA", "I;16")):
      path = self.root / "red" / f"kind{i}.{'jpg' if mode == 'CMYK' else 'png'}"
      if mode == "I;16":
        PIL.Image.fromarray(np.full([5, 5], 250 * 257, np.uint16)).save(path)
      else:
        _write(path, color=(250, 250, 250), mode=mode)
    for channels in (1, 3):
      data, left_out = image_folder.read_images(
        image_folder.find_images(self.root / ".." / "images"), (4, 4, channels), "resize"
      )
      self.assertEqual(left_out, [])
      paths = image_folder.find_images(self.root).paths
      kinds = [i for i, path in enumerate(paths) if path.stem.startswith("kind")]
      self.assertLen(kinds, 7)
      self.assertAllInRange(data.images[kinds], 240, 255)  # JPEG changes colours slightly.

  def test_padding_keeps_proportions_and_resizing_does_not(self):
    _write(self.root / "red" / "wide.png", (40, 10), (255, 255, 255))
    files = image_folder.find_images(self.root)
    wide = [path.stem for path in files.paths].index("wide")
    padded = image_folder.read_images(files, (8, 8, 1), "pad")[0].images[wide, ..., 0]
    self.assertAllEqual(padded[3:5], np.full([2, 8], 255))
    self.assertAllEqual(np.delete(padded, [3, 4], axis=0), np.zeros([6, 8]))
    resized = image_folder.read_images(files, (8, 8, 1), "resize")[0].images[wide]
    self.assertAllEqual(resized, np.full([8, 8, 1], 255))

  def test_turns_images_upright(self):
    image = PIL.Image.new("L", (8, 4))
    image.paste(255, (0, 0, 4, 4))  # White on the left, and on top after the rotation.
    exif = PIL.Image.Exif()
    exif[0x0112] = 6  # The viewer must rotate the image by 90 degrees clockwise.
    image.save(self.root / "red" / "turned.png", exif=exif)
    files = image_folder.find_images(self.root)
    turned = [path.stem for path in files.paths].index("turned")
    pixels = image_folder.read_images(files, (8, 4, 1), "resize")[0].images[turned]
    self.assertAllEqual(pixels[..., 0], np.repeat([255, 0], 4)[:, None] * np.ones([1, 4], int))

  def test_broken_files_are_counted_named_and_left_out(self):
    red = self.root / "red"
    (red / "0.jpg").write_bytes((red / "0.jpg").read_bytes()[:200])
    (red / "1.PNG").write_bytes(b"")
    (self.root / "blue" / "text.png").write_text("dear")
    files = image_folder.find_images(self.root)
    data, left_out = image_folder.read_images(files, (4, 4, 3), "resize")
    self.assertAllEqual(np.bincount(data.labels), [20, 10])
    self.assertEqual(left_out, ["blue/text.png", "red/0.jpg", "red/1.PNG"])
    for i in range(2, 12):
      next(red.glob(f"{i}.*")).write_bytes(b"no image")
    with self.assertRaisesRegex(
      ValueError, "image_dir: every class must have a readable file; red has none; "
    ):
      image_folder.read_images(files, (4, 4, 3), "resize")

  def test_wrong_folders_are_refused(self):
    empty = self.root / "red" / "below"
    empty.mkdir()
    for path, message in (
      (
        self.root / "nowhere",
        "image_dir='.*nowhere': must be a folder .*; this folder does not exist",
      ),
      (self.root / "red" / "0.jpg", "this folder does not exist"),
      (empty, "at least 2 classes; it holds 0$"),
      (self.root.parent, "at least 2 classes; it holds 1$"),
    ):
      with self.assertRaisesRegex(ValueError, message):
        image_folder.find_images(path)
    outer = self.root.parent / "outer"
    for name in ("train", "test"):
      _write(outer / name / "cats" / "0.png")
    with self.assertRaisesRegex(
      ValueError, "its folders hold folders of the same names, cats: give the folder"
    ):
      image_folder.find_images(outer)
    (self.root / "green").mkdir()
    with self.assertRaisesRegex(ValueError, "no file found in green$"):
      image_folder.find_images(self.root)

  def test_images_that_do_not_fit_into_memory_stay_in_their_files(self):
    (self.root / "red" / "bad.png").write_bytes(b"")
    in_memory, _ = image_folder.load_image_folder(self.root, (8, 6, 3), **_SPLITTING)
    free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    # Room for a batch of images, not for all three times.
    share = (100 * 8 * 6 * 3 + 999) / free
    with mock.patch.multiple(image_folder, _SHARE_OF_MEMORY=share, _COPIES=10):
      stored, left_out = image_folder.load_image_folder(self.root, (8, 6, 3), **_SPLITTING)
    self.assertIsInstance(stored.train.images, image_folder.StoredImages)
    self.assertEqual(left_out, ["red/bad.png"])
    changes = images.Augmentation(crop=1, flip=True)
    for data, same in zip(in_memory[:3], stored[:3], strict=True):
      batches = [
        (
          *images.evaluation_dataset(part, 4),
          *images.training_dataset(part, changes, batch_size=5, seed=1).take(3),
        )
        for part in (data, same)
      ]
      for (one, labels), (other, same_labels) in zip(*batches, strict=True):
        self.assertAllEqual(one, other)
        self.assertAllEqual(labels, same_labels)
    gone = stored.test.images.paths[0]
    gone.unlink()
    with self.assertRaisesRegex(fitting.UnreadableImageError, f"{gone}: "):
      stored.test.images.read(np.array([0]))

  def test_refuses_impossible_splits_and_sizes(self):
    for change, message in (
      ({"test_percent": 1}, "test_percent=1: must hold out at least one of the 32 images"),
      (
        {"test_percent": 99},
        "test_percent=99: must leave at least one training example of every class",
      ),
      (
        {"validation_percent": 98},
        "validation_percent=98: must leave at least one training example",
      ),
      ({"fit": "crop"}, "fit='crop': must be one of resize, pad"),
    ):
      with self.assertRaisesRegex(ValueError, message):
        image_folder.load_image_folder(self.root, (4, 4, 3), **{**_SPLITTING, **change})
    with self.assertRaisesRegex(ValueError, "100 images of this shape take .* GB of memory"):
      image_folder.load_image_folder(self.root, (400_000, 400_000, 3), **_SPLITTING)


if __name__ == "__main__":
  tf.test.main()
