"""The program predict, on files of all sizes, with exports, servers and the package's weights."""

import atexit
import csv
import functools
import io
import json
import pathlib
import re
import shutil
import tempfile

import numpy as np
import PIL.Image
from absl.testing import absltest

from tests.support.serving import exports, model_servers
from wsram_tf.data import canvases, digits
from wsram_tf.data.canvases.config import CanvasConfig
from wsram_tf.serving.examples import as_bytes_array
from wsram_tf.serving.image_files import prepare_image


@functools.cache
def image_files():
  """Image files of many kinds; the model's images are 40 x 36 (height x width) and grey."""
  folder = pathlib.Path(tempfile.mkdtemp())
  atexit.register(shutil.rmtree, folder)
  generator = np.random.RandomState(0)
  grey = generator.randint(0, 256, [40, 36]).astype(np.uint8)
  colour = generator.randint(0, 256, [90, 70, 3]).astype(np.uint8)
  images = {
    "right.png": PIL.Image.fromarray(grey),
    "inverted.png": PIL.Image.fromarray(255 - grey),
    "right.jpg": PIL.Image.fromarray(grey),
    "large.jpg": PIL.Image.fromarray(colour),
    "alpha.png": PIL.Image.fromarray(colour).convert("RGBA"),
    "palette.png": PIL.Image.fromarray(colour).convert("P"),
    "tiny.png": PIL.Image.fromarray(grey[:3, :5]),
    "sixteen bits.png": PIL.Image.fromarray(grey.astype(np.uint16).repeat(2, axis=0) * 256 + 100),
    "other.gif": PIL.Image.fromarray(grey),
  }
  for name, image in images.items():
    image.save(folder / name)
  (folder / "cut.png").write_bytes((folder / "right.png").read_bytes()[:700])
  (folder / "text.png").write_text("no image")
  return folder


@functools.cache
def model_dir():
  """The network of `exports.model_dir()` with the signature that most tests ask: it loads soon."""
  folder = pathlib.Path(tempfile.mkdtemp())
  atexit.register(shutil.rmtree, folder)
  return exports.write(folder, exports.network(), signatures=("classify_bytes",))


def expected_line(path, outputs):
  probabilities = outputs["probabilities"][0]
  order = np.argsort(-probabilities)[:3]
  return f"{path}: " + ", ".join(f"{k} ({100 * probabilities[k]:.1f}%)" for k in order)


class PredictionTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    self.folder = exports.temporary_folder(self)
    self.model = f"--model_dir={model_dir()}"
    self.whole_model = f"--model_dir={exports.model_dir()}"

  def predict(self, *arguments):
    """The printed lines of a call without error."""
    printed, error = exports.predict(*arguments)
    self.assertEqual(error, "")
    return printed.splitlines()

  def test_a_file_of_the_right_size_is_answered_as_the_server_would(self):
    paths = [image_files() / "right.png", image_files() / "right.jpg"]
    for path, line in zip(paths, self.predict(self.model, *paths), strict=True):
      contents = as_bytes_array([path.read_bytes()])
      outputs = exports.cpp().run(model_dir(), "classify_bytes", image_bytes=contents)
      self.assertStartsWith(line, expected_line(path, outputs))
      looked = re.findall(r"\(([+-][\d.]+), ([+-][\d.]+)\)", line)
      np.testing.assert_allclose(np.array(looked, float), outputs["locations"][0], atol=0.0051)

  def test_other_sizes_are_resized_with_a_note(self):
    names = ["large.jpg", "alpha.png", "palette.png", "tiny.png", "sixteen bits.png"]
    lines = self.predict(self.model, *(image_files() / name for name in names))
    sizes = ["90 x 70", "90 x 70", "90 x 70", "3 x 5", "80 x 36"]
    for name, size, note in zip(names, sizes, lines[::2], strict=True):
      expected = f"{image_files() / name}: resized from {size} to 40 x 36 pixels (height x width)"
      self.assertEqual(note, expected)

  def test_sixteen_bits_are_scaled_not_clipped(self):
    eight = PIL.Image.open(image_files() / "right.png")
    doubled = np.asarray(eight).repeat(2, axis=0)
    PIL.Image.fromarray(doubled).save(self.folder / "eight.png")
    paths = [self.folder / "eight.png", image_files() / "sixteen bits.png"]
    lines = self.predict(self.model, *paths)
    self.assertEqual(lines[1].partition(": ")[2], lines[3].partition(": ")[2])

  def test_transparent_pixels_are_seen_as_black(self):
    pixels = np.full([40, 36, 4], 255, np.uint8)
    pixels[:30, :, 3] = 0
    PIL.Image.fromarray(pixels).save(self.folder / "transparent.png")
    pixels[:30] = 0
    PIL.Image.fromarray(pixels[..., :3]).save(self.folder / "black.png")
    paths = [self.folder / name for name in ("transparent.png", "black.png")]
    newest = f"--model_dir={model_dir().parent}"
    transparent, black = (line.partition(": ")[2] for line in self.predict(newest, *paths))
    self.assertEqual(transparent, black)

  def test_invert(self):
    plain = self.predict(self.model, image_files() / "right.png")
    inverted = self.predict(self.model, "--invert", image_files() / "inverted.png")
    self.assertEqual(plain[0].partition(": ")[2], inverted[0].partition(": ")[2])

  def test_a_grpc_server_answers_the_same(self):
    with model_servers.grpc_server() as server:
      self.check_server(server, "grpc")

  def test_a_rest_server_answers_the_same(self):
    with model_servers.rest_server() as server:
      self.check_server(server, "rest")

  def check_server(self, server, protocol):
    paths = [image_files() / name for name in ("right.png", "large.jpg")]
    flags = [f"--server={server}", "--name=digits", f"--protocol={protocol}"]
    remote = self.predict(*flags, *paths)
    self.assertEqual(remote, self.predict(self.whole_model, *paths))
    self.assertNotEmpty(remote)
    folder = self.folder / protocol
    drawn = (f"--draw_dir={folder}", f"--animate={folder}/looks.gif", paths[0])
    self.predict(*flags, *drawn)
    pictures = [PIL.Image.open(folder / name) for name in ("right_glimpses.png", "looks.gif")]
    self.predict(self.whole_model, *drawn)
    for name, picture in zip(("right_glimpses.png", "looks.gif"), pictures, strict=True):
      self.assertEqual(picture.tobytes(), PIL.Image.open(folder / name).tobytes())
    _, error = exports.predict(*flags, image_files() / "cut.png")
    self.assertIn("image_bytes", error)
    _, error = exports.predict(*flags, "--name=other", *paths)
    self.assertIn("Servable not found", error)

  def test_no_server_is_reported_in_one_line(self):
    for protocol in ("grpc", "rest"):
      flags = ["--server=localhost:9", "--name=digits", f"--protocol={protocol}", "--timeout=3"]
      _, error = exports.predict(*flags, image_files() / "right.png")
      self.assertIn("localhost:9", error)
      self.assertLen(error.splitlines(), 1)

  def test_glimpses_are_drawn(self):
    folder = self.folder / "pictures"
    paths = [image_files() / "right.png", image_files() / "large.jpg"]
    lines = self.predict(self.model, f"--draw_dir={folder}", *paths)
    for name in ("right", "large"):
      self.assertIn(f"drawn in {folder / name}_glimpses.png", "\n".join(lines))
      picture = PIL.Image.open(folder / f"{name}_glimpses.png").convert("RGB")
      self.assertAlmostEqual(picture.height / picture.width, 40 / 36, delta=0.01)
      if name == "right":  # The image is grey, the squares are not.
        self.assertGreater(np.ptp(np.asarray(picture).astype(int), axis=-1).max(), 60)
    self.assertLen(list(folder.iterdir()), 2)
    twice = [image_files() / name for name in ("right.png", "right.jpg")]
    _, error = exports.predict(self.model, f"--draw_dir={folder}", *twice)
    self.assertIn("must differ in their names", error)

  def test_glimpses_are_animated(self):
    path = self.folder / "new" / "looks.gif"
    lines = self.predict(self.whole_model, f"--animate={path}", image_files() / "large.jpg")
    self.assertEndsWith(lines[-1], f"animated in {path}")
    self.assertEqual(PIL.Image.open(path).n_frames, exports.network().config.num_glimpses)
    two = [image_files() / name for name in ("right.png", "large.jpg")]
    _, error = exports.predict(self.whole_model, f"--animate={path}", *two)
    self.assertIn("must be given with one image alone", error)

  def test_files_that_are_no_images_are_refused_by_name(self):
    for name, words in (
      ("other.gif", "must be an image file, JPEG or PNG or TIFF or WEBP"),
      ("text.png", "must be an image file"),
      ("nothing.png", "No such file"),
      ("cut.png", "image_bytes_must_hold_a_whole_PNG_or_JPEG"),
      ("*.bmp", "must match a file"),
    ):
      path = f"{image_files()}/{name}"
      with self.subTest(name):
        printed, error = exports.predict(self.model, path)
        self.assertIn(words, error)
        self.assertIn(path, error)
        self.assertEqual((printed, len(error.splitlines())), ("", 1))

  def test_a_folder_is_answered_and_bad_files_do_not_end_it(self):
    folder = self.folder / "some"
    for name in ("a.png", "deeper/b.JPG", ".hidden/c.png", "notes.txt", "bad.png"):
      (folder / name).parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(image_files() / "right.png", folder / "a.png")
    shutil.copy(image_files() / "right.jpg", folder / "deeper/b.JPG")
    shutil.copy(image_files() / "right.png", folder / ".hidden/c.png")
    shutil.copy(image_files() / "cut.png", folder / "bad.png")
    (folder / "notes.txt").write_text("")
    good = [folder / "a.png", folder / "deeper/b.JPG"]
    expected = self.predict(self.model, *good)
    printed, error = exports.predict(self.model, folder, f"{folder}/x*.png", "")
    self.assertEqual(printed.splitlines(), expected)
    missing, empty, bad, last = error.splitlines()
    self.assertEqual(missing, f"predict: {folder}/x*.png: must match a file")
    self.assertEqual(empty, "predict: '': must name a file, a folder or a pattern")
    self.assertStartsWith(bad, f"predict: {folder}/bad.png: ")
    self.assertEqual(last, "predict: 3 of 5 files have no answer")
    self.assertEqual(self.predict(self.model, f"{folder}/**/[ab].*"), expected)
    (folder / "empty").mkdir()
    _, error = exports.predict(self.model, folder / "empty")
    self.assertIn("empty: must hold a file that ends in .jpg, ", error)

  def test_json_and_csv_hold_the_answers(self):
    paths = [str(image_files() / name) for name in ("right.png", "text.png", "large.jpg")]
    right, large = (
      exports.cpp().run(
        model_dir(),
        "classify_bytes",
        image_bytes=as_bytes_array([prepare_image(path, (40, 36, 1), "resize")[0]]),
      )
      for path in (paths[0], paths[2])
    )
    printed, error = exports.predict(self.model, "--format=json", *paths)
    records = [json.loads(line) for line in printed.splitlines()]
    self.assertEqual([record["path"] for record in records], paths)
    self.assertStartsWith(records[1]["error"], "must be an image file")
    self.assertEqual(error.splitlines()[-1], "predict: 1 of 3 files have no answer")
    self.assertIn("large.jpg: resized from 90 x 70", error)  # A note.
    for record, outputs in ((records[0], right), (records[2], large)):
      self.assertEqual(record["class_id"], outputs["class_id"][0])
      np.testing.assert_allclose(record["probabilities"], outputs["probabilities"][0], rtol=1e-6)
      np.testing.assert_allclose(record["locations"], outputs["locations"][0], rtol=1e-6)
      order = np.argsort(-outputs["probabilities"][0])[:3]
      self.assertEqual([one["class"] for one in record["top"]], [str(k) for k in order])
    printed, _ = exports.predict(self.model, "--format=csv", *paths)
    rows = list(csv.DictReader(io.StringIO(printed)))
    self.assertEqual([row["path"] for row in rows], paths)
    self.assertIn("must be an image file", rows[1]["error"])
    for row, record in ((rows[0], records[0]), (rows[2], records[2])):
      for n, end in enumerate(("", "_2", "_3")):
        self.assertEqual(row[f"class{end}"], record["top"][n]["class"])
        probability = record["top"][n]["probability"]
        self.assertAlmostEqual(float(row[f"probability{end}"]), probability, places=5)

  def test_wrong_flags_are_refused(self):
    for flags, words in (
      (
        ["--pretrained=quickstart", "--server=localhost:1", "--name=x"],
        "at most one of --model_dir",
      ),
      (["--server=localhost", "--name=x"], "must be host:port"),
      (["--server=localhost:1"], "--name belongs to --server"),
      (["--animate=a.mp4"], "must end in .gif or .webp"),
      (["--server=localhost:1", "--name=x", "--timeout=0"], "must be above 0"),
      (["--model_dir=nowhere"], "must be a folder that an export wrote"),
    ):
      with self.subTest(words):
        self.assertIn(words, exports.predict(*flags, "image.png")[1])
    self.assertIn("name at least one image file", exports.predict()[1])


class ProgramTest(absltest.TestCase):
  def test_the_packages_weights_read_digits_at_once(self):
    folder = exports.temporary_folder(self)
    evaluation = canvases.evaluation_canvases(
      digits.load_digits("mnist5k", num_validation=0).test,
      CanvasConfig(smallest_digit=28),
      num_canvases=20,
      batch_size=20,
      seed=5,
    )
    images, labels = next(evaluation.as_numpy_iterator())
    paths = [folder / f"{number}.png" for number in range(20)]
    for path, image in zip(paths, images, strict=True):
      PIL.Image.fromarray((255 * image[..., 0]).astype(np.uint8)).save(path)
    printed, error = exports.predict(*paths)
    self.assertEqual(error, "")
    first, *lines = printed.splitlines()
    self.assertEqual(
      first, "No model named: these are the answers of the package's weights 'translated_scaled'"
    )
    read = [int(re.search(r"png: (\d) \(", line).group(1)) for line in lines]
    self.assertGreaterEqual(np.count_nonzero(np.array(read) == labels), 16)

  def test_a_full_disk_is_reported_in_one_line(self):
    folder = exports.temporary_folder(self)
    model, draw = f"--model_dir={model_dir()}", f"--draw_dir={folder}"
    _, error = exports.predict(model, draw, image_files() / "right.png", largest_file=1000)
    self.assertNotIn("Traceback", error)
    self.assertStartsWith(
      error.splitlines()[-1],
      f"predict: draw_dir={folder}: right_glimpses.png cannot be written, ",
    )
    self.assertEmpty(list(folder.iterdir()))


if __name__ == "__main__":
  absltest.main()
