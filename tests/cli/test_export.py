"""The programs that export models, as a user runs them, and their flags."""

import json
import os
import shutil

import numpy as np
import pytest
from absl.testing import absltest

from tests.support import programs
from tests.support.serving import exports
from wsram_tf.cli.programs import export
from wsram_tf.serving import manifests


def refusal(flags, *arguments):
  """The message that a command line ends with."""
  try:
    flags.parse(arguments)
  except SystemExit as end:
    return str(end.code)
  raise AssertionError(f"{arguments} are accepted")


class FlagsTest(absltest.TestCase):
  def test_wrong_flags_of_export_classifier(self):
    right = [f"--run_dir={exports.run_dir()}", "--export_dir=models", "--name=small"]
    flags = export.classifier_flags()
    flags.parse(right)
    self.assertEqual(flags.allowed_batch_sizes, ["1", "4", "16", "64"])
    for flag, words in (
      ("--run_dir=nowhere", "must be a folder that holds model.keras"),
      ("--name=7", "name='7': must be a letter, then letters, digits"),
      ("--averaged_samples=0", "is not an integer in the range [1, "),
      ("--allowed_batch_sizes=1,8,4", "must be whole numbers from 1, rising"),
      ("--allowed_batch_sizes=", "must be whole numbers from 1, rising"),
      ("--allowed_batch_sizes=1,x", "must be whole numbers from 1, rising"),
      ("--pretrained=any", "Exactly one of (run_dir, pretrained)"),
    ):
      with self.subTest(flag):
        message = refusal(export.classifier_flags(), *right, flag)
        self.assertIn(words, message)
        self.assertIn(flag.partition("=")[0].strip("-"), message)

  def test_wrong_flags_of_export_captioner(self):
    right = [f"--run_dir={exports.run_dir()}", "--export_dir=models", "--name=photos"]
    flags = export.captioner_flags()
    flags.parse(right)
    self.assertEqual((flags.beam_width, flags.length_exponent), (3, 1.0))
    for flag, words in (
      ("--run_dir=nowhere", "must be a folder that holds model.keras"),
      ("--beam_width=0", "must be at least 1"),
      ("--length_exponent=3", "must be at most 2"),
      ("--length_exponent=-1", "must be at least 0"),
      ("--averaged_samples=-1", "must be at least 0"),
      ("--name=7", "must be a letter, then letters, digits"),
    ):
      with self.subTest(flag):
        self.assertIn(words, refusal(export.captioner_flags(), *right, flag))

  def test_paths_expand_the_home(self):
    flags = export.classifier_flags()
    flags.parse(["--pretrained=x", "--export_dir=~/models", "--name=a"])
    self.assertEqual(flags.export_dir, os.path.expanduser("~/models"))


class ProgramsTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    self.folder = exports.temporary_folder(self)

  def test_help_shows_the_flags(self):
    for program, paths in (
      ("export_classifier.py", ["run_dir", "export_dir", "extension"]),
      ("export_captioner.py", ["run_dir", "export_dir", "extension", "beam_width"]),
      ("predict.py", ["model_dir", "draw_dir"]),
    ):
      done = exports.run_program(program, "--help")
      self.assertIn(f"\n  {program.removesuffix('.py')} ", done.stdout)
      for name in paths:
        self.assertIn(f"\n  --{name}: ", done.stdout)

  @pytest.mark.smoke
  def test_a_run_becomes_a_verified_version(self):
    run = shutil.copytree(exports.run_dir(), self.folder / "small run")
    names = [
      f"a very long name of class {label}" if label % 2 else f"n{label}" for label in range(10)
    ]
    (run / "class_names.txt").write_text("\n".join(names) + "\n")
    (run / "results.json").write_text(json.dumps({"test_error_percent": 12.5, "fit": "pad"}))
    export_dir = self.folder / "models"
    done = exports.run_program(
      "export_classifier.py",
      f"--run_dir={run}",
      f"--export_dir={export_dir}",
      "--name=small",
      "--averaged_samples=2",
      "--allowed_batch_sizes=1,3",
    )
    self.assertEqual(done.returncode, 0, done.stderr)
    self.assertEqual(done.stderr, "")
    self.assertRegex(done.stdout, r"refusals +ok")
    self.assertEndsWith(
      done.stdout, f"Exported {export_dir}/small/1\nHow to serve it: {export_dir}/README.md\n"
    )
    facts = manifests.read_manifest(export_dir / "small/1").facts
    self.assertEqual((facts.source, facts.test_error_percent), ("run small run", 12.5))
    self.assertEqual((facts.averaged_samples, facts.allowed_batch_sizes), (2, [1, 3]))
    self.assertEqual((facts.class_names, facts.fit), (names, "pad"))
    images = np.random.RandomState(0).rand(5, 40, 36, 1).astype(np.float32)
    answer = exports.cpp().run(export_dir / "small/1", "serving_default", images=images)
    answered = [name.decode() for name in answer["class_name"]]
    self.assertEqual(answered, [names[label] for label in answer["class_id"]])
    self.assertEqual(
      {path.name for path in export_dir.iterdir()},
      {"small", "README.md", "models.config", "batching_parameters.txt", "monitoring.config"},
    )
    # No file reveals where it was made.
    for path in export_dir.rglob("*"):
      if path.is_file():
        contents = path.read_bytes()
        self.assertNotIn(os.fsencode(export_dir), contents, path)
        self.assertNotIn(os.fsencode(exports.ROOT), contents, path)

  def test_a_full_disk_publishes_nothing(self):
    models = self.folder / "models"
    arguments = [f"--run_dir={exports.run_dir()}", f"--export_dir={models}", "--name=small"]
    with programs.small_files(100_000):
      (ending,) = programs.endings("export_classifier", arguments)
    self.assertStartsWith(ending, f"export_classifier: export_dir={models}: the version cannot")
    self.assertEndsWith(ending, "; nothing was published")
    self.assertNotIn("\n", ending)
    self.assertEmpty(list(self.folder.iterdir()))

  def test_a_wrong_run_ends_the_program_in_one_line(self):
    arguments = [f"--run_dir={exports.run_dir()}", f"--export_dir={self.folder / 'models'}"]
    (ending,) = programs.endings("export_captioner", [*arguments, "--name=photos"])
    pattern = r"^export_captioner: run_dir=.*: model\.keras must hold a CaptionLearner; got "
    self.assertRegex(ending, pattern)
    self.assertNotIn("\n", ending)
    self.assertEmpty(list(self.folder.iterdir()))


if __name__ == "__main__":
  absltest.main()
