"""Folders of an attacker: no link leads out of them, and no code that came along is executed."""

import json
import pathlib
import shutil
import tempfile

import numpy as np
import tensorflow as tf

import wsram_tf
from tests.support import example_photos, programs, small_runs
from tests.support.serving import exports
from tests.untrusted import attacks
from wsram_tf import files, runs
from wsram_tf.captions.data.flickr8k import load_flickr8k
from wsram_tf.data.regions import pyramids
from wsram_tf.data.regions.slides import RegionError
from wsram_tf.export import finished_run
from wsram_tf.runs import record
from wsram_tf.runs.folder import RunFolder, RunFolderError


class UntrustedFolderTest(tf.test.TestCase):
  def setUp(self):
    super().setUp()
    self.root = pathlib.Path(tempfile.mkdtemp())
    self.addCleanup(shutil.rmtree, self.root)
    self.folder, self.secret = self.root / "theirs", self.root / "secret"
    self.folder.mkdir()
    self.secret.write_text("mine")

  def tearDown(self):
    self.assertEqual(self.secret.read_text(), "mine")
    super().tearDown()

  def test_links_of_runs(self):
    run = RunFolder(self.folder)
    attacks.write(run.model)
    run.flagfile.write_text("# task: digits\n")
    inside = self.folder / "inside"
    inside.symlink_to("model.keras")
    run.check_finished()
    for name, target in (
      ("results.json", self.secret),
      ("checkpoints", self.root),
      ("partial-results.json", self.root / "not_there"),
      ("up", ".."),
      ("class_names.txt", "../secret"),
    ):
      (self.folder / name).symlink_to(target)
      for use in (
        run.check_finished,
        run.read_flags,
        lambda: run.check_resumable(record.Settings([])),
        lambda: finished_run.load_run(self.folder),
        lambda: runs.evaluate(small_runs.array_task(), self.folder),
        lambda: runs.train(small_runs.array_task(), self.folder, resume=True),
      ):
        with (
          self.subTest(name),
          self.assertRaisesRegex(
            RunFolderError, rf"run_dir=.*theirs: {name}: must not be a link out of the folder"
          ),
        ):
          use()
      (self.folder / name).unlink()

  def test_the_folder_may_be_a_link(self):
    attacks.write(self.folder / "model.keras")
    linked = self.root / "linked"
    linked.symlink_to(self.folder)
    RunFolder(linked).check_finished()

  def test_evaluation_checks_the_model(self):
    attack = attacks.configs(self.root / "canary")["class_name='Lambda'"]
    attacks.write(self.folder / "model.keras", config=attack)
    with self.assertRaisesRegex(ValueError, "class_name='Lambda': must not be a layer that runs"):
      runs.evaluate(small_runs.array_task(), self.folder)

  def test_writing_replaces_a_link(self):
    for target in (self.secret, self.root / "new"):
      (self.folder / "partial-results.json").symlink_to(target)
      with files.replacing(self.folder / "results.json") as partial:
        partial.write_text("{}")
      self.assertEqual((self.folder / "results.json").read_text(), "{}")
      self.assertFalse((self.root / "new").exists())

  def test_extensions_that_came_with_a_run(self):
    run = RunFolder(self.folder)
    attacks.write(run.model)
    canary = self.root / "canary"
    code = f"open({str(canary)!r}, 'w')\nraise RuntimeError('executed')\n"
    for place in (self.folder / "theirs.py", self.root / "beside.py"):
      place.write_text(code)
    (self.root / "link.py").symlink_to(self.folder / "theirs.py")
    for path in (
      self.folder / "theirs.py",
      "theirs/theirs.py",
      "../beside.py",
      self.root / "link.py",
    ):
      for line in (f"--extension={path}", f"---extension={path}"):
        run.flagfile.write_text(f"# task: digits\n{line}\n")
        for program, arguments in (
          ("evaluate", [f"--run_dir={self.folder}"]),
          ("train_mnist", ["--resume", f"--run_dir={self.folder}"]),
          (
            "export_classifier",
            [f"--run_dir={self.folder}", f"--export_dir={self.root}", "--name=x"],
          ),
        ):
          with self.subTest(line=line, program=program):
            if program == "export_classifier" and line.startswith("---"):
              continue
            [ending] = programs.endings(program, arguments, folder=self.root)
            self.assertRegex(ending, r"run_dir=.*extension=.*: must not come with the run, because")
    self.assertFalse(canary.exists())

  def test_flagfiles_of_runs_name_no_others(self):
    run = RunFolder(self.folder)
    attacks.write(run.model)
    other = self.root / "other.flags"
    other.write_text("--no_such_flag=1\n")
    run.flagfile.write_text(f"# task: digits\n--flagfile={other}\n-flagfile={other}\n")
    [ending] = programs.endings("evaluate", [f"--run_dir={self.folder}"])
    self.assertNotIn("no_such_flag", ending)

  def test_presets(self):
    def preset(config: bytes, weights: bytes) -> pathlib.Path:
      (self.folder / "config.json").write_bytes(config)
      (self.folder / "model.weights.h5").write_bytes(weights)
      return self.folder

    network = exports.make_network(units=2)
    network.save_to_preset(self.root / "whole")
    config, weights = (
      (self.root / "whole" / name).read_bytes() for name in ("config.json", "model.weights.h5")
    )
    load = wsram_tf.PredictionNetwork.from_preset
    load(preset(config, weights))
    values = json.loads(config)
    lambda_layer = {"module": "keras.layers", "class_name": "Lambda", "config": {}}
    values["config"]["glimpse_network"] = lambda_layer
    with self.assertRaisesRegex(ValueError, "preset='.*': is damaged: config.json: class_name='L"):
      load(preset(json.dumps(values).encode(), weights))
    with self.assertRaisesRegex(ValueError, "preset='.*': is damaged: "):
      load(preset(b'{"a":' * 100_000, weights))
    for what, (attack, words) in attacks.weights().items():
      with self.subTest(what), self.assertRaisesRegex(ValueError, f"is damaged: .*{words}"):
        load(preset(config, attack))
    (preset(config, weights) / "names.txt").symlink_to(self.secret)
    for use in (load, wsram_tf.presets.preset_names):
      with self.assertRaisesRegex(ValueError, "names.txt: must not be a link out of the folder"):
        use(self.folder)

  def test_names_of_captioned_images(self):
    data = self.folder / "flickr8k"
    example_photos.write_flickr8k(data)
    shutil.copy(data / "Flicker8k_Dataset" / "train_0.jpg", self.root / "mine.jpg")
    names = ["../../../mine.jpg", str(self.root / "mine.jpg"), ".."]
    with (data / "Flickr_8k.trainImages.txt").open("a") as listed:
      listed.writelines(f"{name}\n" for name in names)
    with (data / "Flickr8k.token.txt").open("a") as captions:
      captions.writelines(f"{name}#0\tA secret .\n" for name in names)
    splits, report = load_flickr8k(data)
    self.assertEqual(splits.train.names, [f"train_{number}.jpg" for number in range(6)])
    lines = "lines of Flickr_8k.trainImages.txt are no names of files in Flicker8k_Dataset"
    self.assertEqual(report.counts, {lines: 3})

  def test_images_that_draw_other_files(self):
    try:
      import pyvips  # noqa: F401
    except ImportError:
      self.skipTest("needs libvips")
    pyramids.write_array(self.folder / "mine.tif", np.full([64, 64, 3], 200, np.uint8))
    drawn = self.folder / "drawn.png"
    drawn.write_text(
      '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
      ' width="64" height="64"><image xlink:href="mine.tif" width="64" height="64"/></svg>'
    )
    with self.assertRaisesRegex(RegionError, "path='.*drawn.png': must be a PNG, JPEG, TIFF or W"):
      pyramids.convert(drawn, self.folder / "out.tif")
    self.assertFalse((self.folder / "out.tif").exists())


if __name__ == "__main__":
  tf.test.main()
