"""Files of large images: manifests, splits that keep groups whole, and pyramids of images."""

import pathlib

import numpy as np
import PIL.Image
import pyvips
import tensorflow as tf

from tests.support.pyramids import random_pixels
from wsram_tf.data.regions import pyramids
from wsram_tf.data.regions.sets import FileSet, read_manifest, split_files
from wsram_tf.data.regions.slides import RegionError, Slide

_SPLITTING = {"test_percent": 20, "validation_percent": 25, "split_seed": 1}


class ManifestTest(tf.test.TestCase):
  def setUp(self):
    super().setUp()
    self.path = pathlib.Path(self.get_temp_dir()) / "set.csv"

  def read(self, text: str) -> FileSet:
    self.path.write_text(text)
    return read_manifest(self.path)

  def test_reads_columns_by_any_of_their_names(self):
    files = self.read("Case_ID,slide_id,label,mpp\n7, a.tif ,low,0.5\n7,/b/b.tif,high,0.5\n")
    folder = str(self.path.parent)
    self.assertEqual(files.paths.tolist(), [f"{folder}/a.tif", "/b/b.tif"])
    self.assertEqual((files.labels.tolist(), files.class_names), ([1, 0], ("high", "low")))
    self.assertEqual(files.groups.tolist(), ["7", "7"])
    self.assertEqual(files.splits.tolist(), ["train", "train"])
    files = self.read("path,note,note,label\na,b,c,x\nd,e,f,y\n")  # A column that occurs twice.
    self.assertEqual(files.class_names, ("x", "y"))

  def test_refuses_by_name_and_line(self):
    cases = {
      "": "must have the columns path and label, got $",
      "path,name\na,b\n": "must have the columns path and label, got path, name",
      "path,label\na,x\nb,\n": "line 3: path and label must not be empty",
      "path,label\na,x\nb\n": "line 3: path and label must not be empty",
      "path,label,split\na,x,train\nb,y,exam\n": "line 3: split='exam': must be one of train, val",
      "path,label\na,x\nb,x\n": "must name at least 2 classes, got 1",
      "path,label\na,x\na,y\n": "must name each file once; .*a occurs twice",
      "path,label,group\na,x,1\0\nb,y,2\n": "line 2: a value must hold no null character",
      "path,label,group,split\na,x,1,train\nb,y,1,test\n": "group='1': must lie in one split",
    }
    for text, message in cases.items():
      with self.subTest(message), self.assertRaisesRegex(ValueError, message):
        self.read(text)
    with self.assertRaisesRegex(ValueError, "must be a readable CSV file"):
      read_manifest(self.path.parent / "none.csv")

  def test_no_group_straddles_a_split(self):
    rng = np.random.default_rng(1)
    rows = [f"{i}.tif,{rng.integers(3)},{rng.integers(40)}" for i in range(300)]
    files = self.read("\n".join(["path,label,patient", *rows]))
    group_of = dict(zip(files.paths, files.groups, strict=True))
    for seed in range(5):
      splits = split_files(files, **{**_SPLITTING, "split_seed": seed})
      groups = [{group_of[path] for path in part.paths} for part in splits[:3]]
      self.assertEqual([len(part) for part in groups], [24, 8, 8])
      self.assertLen(set.union(*groups), 40)
      self.assertEqual(sum(len(part.paths) for part in splits[:3]), 300)

  def test_given_splits_stay_and_others_are_held_out(self):
    rows = [f"{i}.tif,{'ab'[i % 2]},{'test' if i < 6 else ''}" for i in range(46)]
    files = self.read("\n".join(["path,label,split", *rows]))
    splits = split_files(files, **_SPLITTING)
    self.assertEqual(set(splits.test.paths), set(files.paths[:6]))
    self.assertEqual([len(part.paths) for part in splits[:3]], [30, 10, 6])
    self.assertAllEqual(np.bincount(splits.validation.labels), [5, 5])
    with self.assertRaisesRegex(ValueError, "every class must have a file to train on; b has none"):
      split_files(files.only((files.labels == 0) | (files.splits == "test")), **_SPLITTING)


class PyramidsTest(tf.test.TestCase):
  def setUp(self):
    super().setUp()
    self.folder = pathlib.Path(self.get_temp_dir()) / self.id()
    self.images = self.folder / "images"
    self.images.mkdir(parents=True)

  def convert(self, name: str) -> Slide:
    pyramids.convert(self.images / name, self.folder / "out.tif")
    return Slide(str(self.folder / "out.tif"))

  def test_levels_halve_and_average(self):
    pixels = random_pixels(1030, 780, 3)
    PIL.Image.fromarray(pixels).save(self.images / "a.png")
    slide = self.convert("a.png")
    self.assertEqual((slide.height, slide.width), (1040, 784))  # Divisible by 16.
    self.assertEqual([slide.level_for(scale) for scale in range(6)], [0, 1, 2, 3, 4, 4])
    self.assertAllClose(slide.region(0, 0, 0, 780, 3), pixels[:780] / 255, rtol=0, atol=1e-6)
    halves = pixels[:200, :200].reshape(100, 2, 100, 2, 3).mean((1, 3)) / 255
    self.assertAllClose(slide.region(0, 0, 1, 100, 3), halves, rtol=0, atol=0.51 / 255)

  def test_every_kind_of_image_becomes_eight_bits_upright_without_transparency(self):
    colour, alpha = random_pixels(300, 400, 3), random_pixels(300, 400, 1)
    grey = random_pixels(300, 400, 1)[..., 0]
    deep = grey.astype(np.uint16) * 256 + 77
    over_black = np.round(colour * (alpha / 255.0))
    cases = {
      "rgb.tiff": (PIL.Image.fromarray(colour), colour),
      "rgb.webp": (PIL.Image.fromarray(colour), colour),
      "grey.png": (PIL.Image.fromarray(grey), grey[..., np.newaxis]),
      "deep.png": (PIL.Image.fromarray(deep), grey[..., np.newaxis]),
      "alpha.png": (PIL.Image.fromarray(np.concatenate([colour, alpha], 2)), over_black),
    }
    for name, (image, expected) in cases.items():
      with self.subTest(name):
        image.save(self.images / name, **({"lossless": True} if "webp" in name else {}))
        found = self.convert(name).region(0, 0, 0, 300, expected.shape[2])
        self.assertAllClose(found * 255, expected[:, :300], rtol=0, atol=1.01)
    turned = PIL.Image.fromarray(np.repeat([[255], [0]], 20, 0).astype(np.uint8).repeat(60, 1))
    exif = turned.getexif()
    exif[274] = 6  # A camera held upright: rows are columns.
    turned.save(self.images / "turned.jpg", exif=exif)
    slide = self.convert("turned.jpg")
    self.assertEqual((slide.height, slide.width), (60, 40))
    right, left = slide.region(10, 30, 0, 8, 1), slide.region(10, 2, 0, 8, 1)
    self.assertAllClose([right.mean(), left.mean()], [1, 0], atol=0.05)

  def test_transparent_pixels_of_a_file_are_black(self):
    colour, alpha = random_pixels(300, 400, 3), random_pixels(300, 400, 1)
    image = pyvips.Image.new_from_array(np.concatenate([colour, alpha], 2))
    image = image.copy(interpretation="srgb")
    image.tiffsave(str(self.folder / "alpha.tif"), tile=True, compression="deflate")
    found = Slide(str(self.folder / "alpha.tif")).region(0, 0, 0, 300, 3)
    expected = colour[:, :300] * (alpha[:, :300] / 255.0)
    self.assertAllClose(found * 255, expected, rtol=0, atol=1.5)

  def test_a_folder_is_converted_once_and_damaged_files_are_named(self):
    (self.images / "cats" / "deep").mkdir(parents=True)
    PIL.Image.fromarray(random_pixels(300, 300, 3)).save(self.images / "cats" / "deep" / "1.png")
    whole = (self.images / "cats" / "deep" / "1.png").read_bytes()
    (self.images / "cats" / "cut.png").write_bytes(whole[: len(whole) // 2])
    (self.images / "cats" / "empty.tif").write_bytes(b"")
    (self.images / "notes.txt").write_text("no image")
    out = self.folder / "out"
    found = {done.source.name: done for done in pyramids.convert_folder(self.images, out)}
    self.assertEqual(sorted(found), ["1.png", "cut.png", "empty.tif"])
    for name in ("cut.png", "empty.tif"):
      self.assertRegex(found[name].error, f"path='.*{name}': cannot be converted: ")
    pyramid = out / "cats" / "deep" / "1.png.tif"
    self.assertEqual([path for path in out.rglob("*") if path.is_file()], [pyramid])
    again = list(pyramids.convert_folder(self.images, out))
    self.assertEqual([done.is_new for done in again], [False] * 3)
    with self.assertRaisesRegex(RegionError, "cannot be read"):
      Slide(str(self.images / "cats" / "deep" / "1.png"))
    with self.assertRaisesRegex(ValueError, "compression='zip': must be one of deflate, jpeg"):
      pyramids.convert(self.images, out, "zip")


if __name__ == "__main__":
  tf.test.main()
