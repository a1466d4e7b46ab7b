"""From large image files to answers: make_pyramids, train_classifier --regions, evaluate."""

import contextlib
import csv
import io
import json
import pathlib
import tempfile
from unittest import mock

import keras
import numpy as np
import PIL.Image
import tensorflow as tf

import wsram_tf
from tests.support import programs, pyramids, small_runs
from tests.support.serving import exports
from wsram_tf import runs, tasks
from wsram_tf.data.regions import reader
from wsram_tf.data.regions.pyramids import write_array
from wsram_tf.serving import models

# A small model, a few updates.
_SMALL = (
  "--regions",
  "--color=grey",
  "--image_height=64",
  "--image_width=64",
  "--context_side=16",
  "--units=8",
  "--glimpse_side=8",
  "--num_glimpses=1",
  "--num_samples=2",
  "--batch_size=4",
)


class RegionsTest(tf.test.TestCase):
  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    folder = tempfile.TemporaryDirectory()
    cls.addClassCleanup(folder.cleanup)
    cls.folder = pathlib.Path(folder.name)
    cls.files = cls.folder / "files"
    pyramids.write_classes(cls.files, 8)

  def train(self, *flags: str) -> tuple[str, str]:
    """The ending of a training, and what it wrote to stderr."""
    small_runs.run_eagerly(self.addCleanup)
    with contextlib.redirect_stderr(io.StringIO()) as errors:
      (ending,) = programs.endings("train_classifier", [*_SMALL, *flags])
    return ending, errors.getvalue()

  def test_a_folder_with_damaged_files_trains_resumes_and_is_evaluated(self):
    empty, damaged = self.files / "ring" / "empty.tif", self.files / "square" / "damaged.tif"
    empty.write_bytes(b"")
    write_array(damaged, pyramids.random_pixels(400, 400, 1))
    pyramids.damage_tiles(damaged)
    self.addCleanup(empty.unlink)
    self.addCleanup(damaged.unlink)
    whole, stopped = self.folder / "whole", self.folder / "stopped"
    flags = (f"--image_dir={self.files}", "--updates=4", "--evaluate_every=2")
    ending, errors = self.train(*flags, f"--run_dir={whole}")
    self.assertEqual(ending, programs.TRAINED)
    self.assertRegex(errors, "1 of 18 files cannot be read and are left out: .*empty.tif")
    self.assertRegex(errors, "1 files could not be read in part; .* times path='.*damaged.tif'")
    results = small_runs.figures(whole)
    self.assertEqual(results["files_left_out"], [str(empty)])
    self.assertEqual(list(results["failed_reads"]), [str(damaged)])
    counts = [results[f"{split}_images"] for split in ("training", "validation", "test")]
    self.assertEqual(counts, [13, 1, 3])
    self.assertGreater((whole / "glimpses.png").stat().st_size, 0)
    # The same end after a stop, to the last bit.
    small_runs.cut(whole, stopped, update=2)
    (ending,) = programs.endings("train_classifier", ["--resume", f"--run_dir={stopped}"])
    self.assertEqual(ending, programs.TRAINED)
    ends = (small_runs.state(run / "model.keras") for run in (whole, stopped))
    for one, other in zip(*ends, strict=True):
      self.assertAllEqual(one, other)
    (answer,) = programs.endings("evaluate", [f"--run_dir={whole}"])
    for name in ("test_error_percent", "bound_nats", "files_left_out"):
      self.assertEqual(json.loads(answer)[name], results[name])

  def test_files_that_vanish_during_the_training_are_named(self):
    files, run_dir = self.folder / "vanishing", self.folder / "vanished"
    pyramids.write_classes(files, 6)
    small_runs.run_eagerly(self.addCleanup)
    # A long training closes most of its files in between.
    patched = mock.patch.object(reader, "MOST_OPEN", 1)
    for clean in (reader.shared_reader.cache_clear, patched.stop):
      self.addCleanup(clean)
    patched.start()
    reader.shared_reader.cache_clear()

    stops = True

    class Removal(keras.callbacks.Callback):
      def on_train_begin(self, logs=None):
        if stops:
          raise KeyError("a training that ends with an error")
        for path in files.rglob("*.tif"):
          path.unlink()

    class Task(tasks.RegionTask):
      def callbacks(self):
        return [*super().callbacks(), Removal()]

    task = Task(
      image_dir=files,
      images=tasks.ImageConfig(
        image_height=64, image_width=64, color="grey", test_percent=34, validation_percent=17
      ),
      model=wsram_tf.ModelConfig(
        units=4, num_glimpses=1, context_side=16, glimpse=wsram_tf.GlimpseConfig(8)
      ),
    )
    settings = small_runs.TRAINING, wsram_tf.OptimizerConfig(updates=2)
    with self.assertRaisesRegex(KeyError, "ends with an error"):
      runs.train(task, self.folder / "with_an_error", *settings)
    missing = str(files / "none.tif")
    with self.assertRaisesRegex(ValueError, r"none\.tif': there is no such file"):
      reader.shared_reader().low_resolution([missing], 16, 1)
    stops = False
    with contextlib.redirect_stderr(io.StringIO()) as errors:
      run = runs.train(task, run_dir, *settings)
    self.assertRegex(errors.getvalue(), "there is no such file")
    test_files = set(task.splits.test.paths)
    self.assertLen(test_files, 4)
    self.assertLessEqual(test_files, run.results["failed_reads"].keys())
    self.assertGreater((run_dir / "glimpses.png").stat().st_size, 0)
    with self.assertRaisesRegex(ValueError, "there is no file"):
      run.learner.predict([str(files / "ring" / "0.tif")], verbose=0)

  def test_a_manifest_with_groups(self):
    manifest = self.folder / "set.csv"
    rows = [
      f"files/{name}/{number}.tif,{name},{number // 2}"
      for name in ("ring", "square")
      for number in range(8)
    ]
    manifest.write_text("\n".join(["path,label,patient", *rows]))
    run_dir = self.folder / "by_manifest"
    flags = ("--updates=1", "--evaluate_every=1", "--test_percent=25", "--validation_percent=34")
    ending, _ = self.train(f"--manifest={manifest}", *flags, f"--run_dir={run_dir}")
    self.assertEqual(ending, programs.TRAINED)
    results = small_runs.figures(run_dir)
    counts = [results[f"{split}_images"] for split in ("training", "validation", "test")]
    self.assertEqual(counts, [8, 4, 4])  # Whole groups of 4.
    self.assertIn("--manifest=", (run_dir / "flags.flags").read_text())

  def test_refuses_by_name(self):
    run_dir = f"--run_dir={self.folder / 'refused'}"
    cases = {
      "exactly one of them must be given": ["--regions"],
      "manifest='a.csv': must be given with regions": ["--manifest=a.csv"],
      "dataset='needle': must not be given with regions": ["--regions", "--dataset=needle"],
      "augment_flip=True: must not be given": [
        "--regions",
        "--augment_flip",
        f"--image_dir={self.files}",
      ],
      "must be False with observation='regions'": [
        f"--image_dir={self.files}",
        *_SMALL,
        "--jit_compile=on",
      ],
    }
    lines = [[*flags, run_dir] for flags in cases.values()]
    for message, ending in zip(cases, programs.endings("train_classifier", *lines), strict=True):
      self.assertIn(message, ending)


class PredictTest(tf.test.TestCase):
  def test_searches_files_as_the_model_searches_pixels(self):
    folder, network = pathlib.Path(self.get_temp_dir()), exports.network()
    config = network.config
    pixels = pyramids.random_pixels(config.height, config.width, 1)
    write_array(folder / "a.tif", pixels)
    flags = [f"--model_dir={exports.model_dir()}", "--regions"]
    text, error = exports.predict(*flags, f"--draw_dir={folder}", folder / "a.tif")
    self.assertEqual(error, "")
    answer = exports.cpp().run(
      exports.model_dir(), "serving_default", images=pixels[np.newaxis].astype(np.float32) / 255
    )
    self.assertIn(f"{config.height} x {config.width} pixels", text)
    self.assertIn(f"{models.describe(answer)}; ", text)
    self.assertRegex(text, r"; [\d.]+ kB travelled\n")
    self.assertGreater((folder / "a_glimpses.png").stat().st_size, 0)
    with (folder / "a_glimpses.csv").open(newline="") as file:
      rows = list(csv.DictReader(file))
    scales, count = config.glimpse.glimpse_scales, config.num_glimpses
    self.assertLen(rows, count * scales)
    widest = network.glimpse_sensor.first_pixel(
      tf.constant(answer["locations"][0]), config.height, config.width
    )
    places = [[int(row["top"]), int(row["left"])] for row in rows[scales - 1 :: scales]]
    self.assertAllEqual(places, widest)
    features = json.loads((folder / "a_glimpses.geojson").read_text())["features"]
    for row, feature in zip(rows, features, strict=True):
      (corners,) = feature["geometry"]["coordinates"]
      left, top, side = (int(row[name]) for name in ("left", "top", "side"))
      self.assertEqual(corners[0], [left, top])
      self.assertEqual(corners[2], [left + side, top + side])
      self.assertEqual(corners[0], corners[-1])
    _, error = exports.predict(*flags, folder / "a.tif", folder / "none.tif")
    self.assertIn("none.tif': there is no such file", error)
    animated = folder / "search.gif"
    text, _ = exports.predict(*flags, "--threshold=0", f"--animate={animated}", folder / "a.tif")
    self.assertIn(" after glimpse 1; ", text)
    self.assertEqual(PIL.Image.open(animated).n_frames, 1)
    _, error = exports.predict("--threshold=0.5", folder / "a.tif")
    self.assertIn("--threshold needs --regions", error)
    _, error = exports.predict("--regions", folder / "a.tif")
    self.assertIn("--regions needs --model_dir or --server", error)


class MakePyramidsTest(tf.test.TestCase):
  def test_converts_and_counts(self):
    folder = pathlib.Path(self.get_temp_dir())
    tf.io.write_file(str(folder / "in" / "a.png"), tf.io.encode_png(tf.zeros([9, 9, 3], tf.uint8)))
    (folder / "in" / "b.png").write_bytes(b"")
    flags = [f"--image_dir={folder / 'in'}", f"--out_dir={folder / 'out'}"]
    with contextlib.redirect_stderr(io.StringIO()) as errors:
      first, again = programs.endings("make_pyramids", flags, flags)
    self.assertIn("1 pyramids written, 0 were there, 1 files could not be converted", first)
    self.assertIn("0 pyramids written, 1 were there, 1 files could not be converted", again)
    self.assertRegex(errors.getvalue(), "b.png': cannot be converted")
    self.assertTrue((folder / "out" / "a.png.tif").is_file())
    cases = {"out_dir: must be given": flags[:1], "must be a folder": [*flags, "--image_dir=x"]}
    endings = programs.endings("make_pyramids", *cases.values())
    for message, ending in zip(cases, endings, strict=True):
      self.assertIn(message, ending)


if __name__ == "__main__":
  tf.test.main()
