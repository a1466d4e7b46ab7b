"""Flickr8k: the official splits, and reports of skipped images and captions."""

import pathlib
import tempfile
import unittest

from tests.support import example_photos
from wsram_tf.captions.data.captioned_images import Report, without_long_captions
from wsram_tf.captions.data.flickr8k import load_flickr8k


class Flickr8kTest(unittest.TestCase):
  def setUp(self):
    super().setUp()
    folder = tempfile.TemporaryDirectory()
    self.addCleanup(folder.cleanup)
    self.root = pathlib.Path(folder.name) / "flickr8k"
    example_photos.write_flickr8k(self.root)
    self.tokens = self.root / "Flickr8k.token.txt"

  def test_reads_splits_in_the_lists_order(self):
    listed = self.root / "Flickr_8k.trainImages.txt"
    listed.write_text("train_2.jpg\r\ntrain_0.jpg\n\ntrain_2.jpg\n")
    splits, _ = load_flickr8k(self.root)
    self.assertEqual(splits.train.names, ["train_2.jpg", "train_0.jpg"])
    self.assertEqual(splits.train.captions[1], ["A red square .", "There is a red square here ."])
    self.assertEqual([len(split.names) for split in splits[:3]], [2, 3, 3])

  def test_counts_and_names_skipped_images_and_captions(self):
    good = self.tokens.read_bytes()
    self.tokens.write_bytes(
      good
      + b"train_0.jpg no tab\n\ntrain_0.jpg\tno number\nother.jpg#0\tA stray .\n"
      + b"train_1.jpg#2\t . \ntrain_1.jpg#3\tnot \xff UTF-8\n"
    )
    (self.root / "Flicker8k_Dataset" / "dev_1.jpg").unlink()
    listed = self.root / "Flickr_8k.testImages.txt"
    listed.write_text(listed.read_text() + "mute.jpg\n")
    splits, report = load_flickr8k(self.root)
    self.assertEqual(splits.validation.names, ["dev_0.jpg", "dev_2.jpg"])
    self.assertEqual(splits.test.names, ["test_0.jpg", "test_1.jpg", "test_2.jpg"])
    self.assertEqual(len(splits.train.captions[1]), 2)
    self.assertEqual(
      report.counts,
      {
        "lines of Flickr8k.token.txt are not NAME#NUMBER, a tab, a caption": 2,
        "captions have no word": 1,
        "lines of Flickr8k.token.txt are not UTF-8": 1,
        "images of Flickr_8k.devImages.txt are missing from Flicker8k_Dataset": 1,
        "images of Flickr_8k.testImages.txt have no caption": 1,
        "images with captions are in no split": 1,
      },
    )
    self.assertIn("left out: 1 images with captions are in no split: other.jpg", report.messages())

  def test_refuses_incomplete_folders(self):
    cases = {
      "no file Flickr_8k.devImages.txt": lambda: (self.root / "Flickr_8k.devImages.txt").unlink(),
      "test_0.jpg is in Flickr_8k.trainImages.txt and in Flickr_8k.testImages.txt": lambda: (
        self.root / "Flickr_8k.trainImages.txt"
      ).write_text("test_0.jpg\n"),
      "Flickr_8k.testImages.txt must list at least one existing image": lambda: (
        self.root / "Flickr_8k.testImages.txt"
      ).write_text("absent.jpg\n"),
    }
    for message, damage in cases.items():
      with self.subTest(message), tempfile.TemporaryDirectory() as folder:
        self.root = pathlib.Path(folder) / "flickr8k"
        example_photos.write_flickr8k(self.root)
        damage()
        with self.assertRaisesRegex(ValueError, f"data_dir=.*{message}"):
          load_flickr8k(self.root)
    with self.assertRaisesRegex(ValueError, "data_dir='/nowhere'.*no folder Flicker8k_Dataset"):
      load_flickr8k("/nowhere")


class LongCaptionsTest(unittest.TestCase):
  def test_removes_images_without_a_short_caption(self):
    with tempfile.TemporaryDirectory() as folder:
      root = pathlib.Path(folder) / "flickr8k"
      example_photos.write_flickr8k(root, train=2)
      tokens = root / "Flickr8k.token.txt"
      tokens.write_text(tokens.read_text().replace("A green", "A big green"))
      train = load_flickr8k(root)[0].train
    report = Report()
    kept = without_long_captions(train, 4, report)
    # The end counts as a word: three words fit max_words=4, "A big green square" does not.
    self.assertEqual((kept.names, kept.captions), (["train_0.jpg"], [["A red square ."]]))
    self.assertEqual(sum(report.counts.values()), 3)
    self.assertRegex(report.messages()[0], "left out: 3 captions .* train_0.jpg, train_1.jpg")


if __name__ == "__main__":
  unittest.main()
