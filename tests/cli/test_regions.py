"""From large image files to answers: make_pyramids, train_classifier --regions, evaluate."""

import contextlib
import io
import json
import pathlib
import tempfile

import tensorflow as tf

from tests.support import programs, pyramids, small_runs
from wsram_tf.data.regions.pyramids import write_array

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
