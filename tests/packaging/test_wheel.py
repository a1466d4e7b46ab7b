"""The wheel and the source distribution hold the package, whole, and nothing else."""

import configparser
import email
import importlib.util
import pathlib
import shutil
import subprocess
import sys
import tarfile
import tempfile
import unittest
import zipfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
# What a build reads besides the package.
BUILD_FILES = ("LICENSE", "MANIFEST.in", "README.md", "pyproject.toml", "setup.cfg")
# What a build adds.
WHEEL_FILES = (
  "METADATA",
  "RECORD",
  "WHEEL",
  "entry_points.txt",
  "licenses/LICENSE",
  "top_level.txt",
)
EGG_FILES = (
  *("PKG-INFO", "SOURCES.txt", "dependency_links.txt", "entry_points.txt", "requires.txt"),
  "top_level.txt",
)
# Of each kind of data one file.
DATA = (
  "wsram_tf/__init__.pyi",
  "wsram_tf/cli/flagfiles/quickstart.flags",
  "wsram_tf/demo/canvas.css",
  "wsram_tf/demo/canvas.js",
  "wsram_tf/export/templates/classifier.md",
  "wsram_tf/paper/curves.csv",
  "wsram_tf/presets/quickstart/README.md",
  "wsram_tf/presets/quickstart/config.json",
  "wsram_tf/presets/quickstart/metadata.json",
  "wsram_tf/presets/quickstart/model.weights.h5",
  "wsram_tf/py.typed",
)


def tracked(*paths: str) -> set[str]:
  """Lists the files of these paths that git tracks and that exist."""
  command = ["git", "-C", ROOT, "ls-files", "-z", "--", *paths]
  names = subprocess.run(command, capture_output=True, text=True, check=True).stdout
  return {name for name in names.split("\0") if name and (ROOT / name).exists()}


def is_tracked() -> bool:
  """Whether the tests lie in a checkout, and git is installed."""
  return shutil.which("git") is not None and (ROOT / ".git").exists()


def is_installed(*modules: str) -> bool:
  """Whether the modules can be imported."""
  return all(importlib.util.find_spec(module) for module in modules)


@unittest.skipUnless(is_tracked(), "needs a checkout and git, which list the files of the package")
@unittest.skipUnless(is_installed("build", "twine"), 'needs pip install ".[tests]"')
class WheelTest(unittest.TestCase):
  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    folder = pathlib.Path(tempfile.mkdtemp())
    cls.addClassCleanup(shutil.rmtree, folder)
    # A copy with tests and programs, since a build writes beside its sources.
    source, cls.built = folder / "source", folder / "built"
    for name in tracked("."):
      (source / name).parent.mkdir(parents=True, exist_ok=True)
      shutil.copyfile(ROOT / name, source / name, follow_symlinks=False)
    # The wheel is built from the source distribution. The environment of the tests has setuptools.
    command = ["build", "--no-isolation", f"--outdir={cls.built}", source]
    done = cls.run_module(*command)
    assert done.returncode == 0, done.stdout + done.stderr
    [cls.wheel] = cls.built.glob("*.whl")
    [cls.source] = cls.built.glob("*.tar.gz")
    cls.package = tracked("wsram_tf")

  @staticmethod
  def run_module(*command) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", *command]
    return subprocess.run(command, capture_output=True, text=True, check=False)

  def test_the_wheel_holds_the_package_and_nothing_else(self):
    with zipfile.ZipFile(self.wheel) as archive:
      names = set(archive.namelist())
    info = f"{'-'.join(self.wheel.name.split('-')[:2])}.dist-info"
    self.assertEqual(names, self.package | {f"{info}/{name}" for name in WHEEL_FILES})
    self.assertLessEqual(set(DATA), names)

  def test_the_source_holds_the_package_and_nothing_else(self):
    with tarfile.open(self.source) as archive:
      files = [member for member in archive.getmembers() if not member.isdir()]
    self.assertTrue(all(member.isfile() for member in files))
    names = {member.name.partition("/")[2] for member in files}
    added = {f"wsram_tf.egg-info/{name}" for name in EGG_FILES}
    self.assertEqual(names, self.package | {*BUILD_FILES, "PKG-INFO"} | added)

  def test_the_metadata_are_those_of_an_index(self):
    done = self.run_module("twine", "check", "--strict", self.wheel, self.source)
    self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
    with zipfile.ZipFile(self.wheel) as archive:
      info = f"{'-'.join(self.wheel.name.split('-')[:2])}.dist-info"
      metadata = email.message_from_bytes(archive.read(f"{info}/METADATA"))
      licence = archive.read(f"{info}/licenses/LICENSE")
      programs = configparser.ConfigParser()
      programs.read_string(archive.read(f"{info}/entry_points.txt").decode())
    settings = configparser.ConfigParser()
    settings.read(ROOT / "setup.cfg")
    self.assertEqual(metadata["Version"], settings["metadata"]["version"])
    self.assertEqual(metadata["License-Expression"], "Apache-2.0")
    self.assertEqual(licence, (ROOT / "LICENSE").read_bytes())
    self.assertIn("wsram-train-mnist", programs["console_scripts"])
    for place in programs["console_scripts"].values():
      module = place.partition(":")[0].replace(".", "/")
      self.assertTrue({f"{module}.py", f"{module}/__init__.py"} & self.package, place)


if __name__ == "__main__":
  unittest.main()
