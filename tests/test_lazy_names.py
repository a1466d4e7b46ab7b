"""The package loads without TensorFlow, and Keras finds its classes in either order of imports."""

import atexit
import functools
import gc
import importlib.util
import json
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest
import zipfile
from unittest import mock

import wsram_tf
from tests.support.serving import exports
from wsram_tf import lazy_names

ROOT = pathlib.Path(__file__).resolve().parent.parent


def output(code: str, *arguments: str) -> str:
  """What a fresh interpreter prints for some lines of code."""
  done = subprocess.run(
    [sys.executable, "-c", code, *arguments],
    cwd=ROOT,
    capture_output=True,
    text=True,
    check=False,
  )
  assert done.returncode == 0, done.stderr
  return done.stdout.strip()


@functools.cache
def weights_file() -> pathlib.Path:
  """A saved network, whose file names the module of an earlier version."""
  folder = pathlib.Path(tempfile.mkdtemp())
  atexit.register(shutil.rmtree, folder)
  exports.make_network(units=4, num_glimpses=1).save(folder / "new.keras")
  old = folder / "old.keras"
  with zipfile.ZipFile(folder / "new.keras") as new, zipfile.ZipFile(old, "w") as written:
    for name in new.namelist():
      contents = new.read(name)
      if name == "config.json":
        config = {**json.loads(contents), "module": "wsram_tf.models.prediction_network"}
        contents = json.dumps(config).encode()
      written.writestr(name, contents)
  return old


# Imports TensorFlow once for several orders of imports, because that takes most of their time: the
# package first, then Keras, and no class that is registered. Each code runs in a copy of this
# process, which ends without clearing TensorFlow away: that takes longer than the code.
COPIES = """
import os, sys
from wsram_tf.presets import preset_names, shipped
import keras, tensorflow_probability.python.distributions
for code in sys.argv[1:]:
  if not os.fork():
    exec(code)
    sys.stdout.flush()
    os._exit(0)
  assert os.wait()[1] == 0
  print("==", flush=True)
"""
REGISTERED = """
names = "CaptionLearner", "WakeSleepLearner", "GlimpseSensor", "GridNetwork"
found = [keras.saving.get_registered_object(f"wsram_tf>{name}") for name in names]
print(None in found, type(keras.saving.load_model(FILE)).__name__)
"""


@functools.cache
def printed_by_copies() -> dict[str, str]:
  """What each copy prints, by its name."""
  file = f"FILE = {str(weights_file())!r}\n"
  codes = {
    "presets": "print(preset_names('quickstart'), *shipped(keras.Model))\n"
    "from wsram_tf.captions.caption_network import CaptionNetwork\n"
    "print(*CaptionNetwork.presets)\n"
    "from wsram_tf.classification import PredictionNetwork\n"
    "print(*PredictionNetwork.presets)\n",
    # Without the package, as where Keras is imported first.
    "keras first": "for name in [name for name in sys.modules if name.startswith('wsram_tf')]:\n"
    "  del sys.modules[name]\n"
    "import wsram_tf\n"
    "print(type(keras.saving.load_model(FILE)).__name__)\n",
    # Here the name itself imports Keras and TensorFlow, which run anew without what they import.
    "one class": "for name in ('keras', 'tensorflow'):\n"
    "  del sys.modules[name]\n"
    "import wsram_tf; wsram_tf.CaptionNetwork\n"
    "import keras\n"
    f"{REGISTERED}"
    "print(type(wsram_tf.load_model(FILE)).__name__)\n",
    # A function hides the module of its name.
    "captions": "import wsram_tf; wsram_tf.captions.CaptionNetwork\n"
    f"{REGISTERED}"
    "import wsram_tf.captions.caption_network, wsram_tf.captions.beam_search\n"
    "from wsram_tf.captions import beam_search; print(type(beam_search).__name__)\n",
  }
  printed = output(COPIES, *(file + code for code in codes.values()))
  return dict(zip(codes, printed.split("=="), strict=False))


class LazyNamesTest(unittest.TestCase):
  def test_settings_load_without_tensorflow(self):
    loaded = output(
      "import sys, wsram_tf\n"
      "import wsram_tf.captions.config, wsram_tf.captions.data.scene_config\n"
      "import wsram_tf.classification.config, wsram_tf.config, wsram_tf.data.canvases.config\n"
      "wsram_tf.ModelConfig(), wsram_tf.ObjectiveConfig(), wsram_tf.TrainingConfig()\n"
      "heavy = 'tensorflow', 'tensorflow_probability', 'keras', 'matplotlib', 'numpy'\n"
      "print([name for name in heavy if name in sys.modules])"
    )
    self.assertEqual(loaded, "[]")

  def test_presets_whatever_is_imported(self):
    listed = printed_by_copies()["presets"].strip().splitlines()
    names = "cluttered100 quickstart {}translated_scaled translated_scaled_conv"
    self.assertEqual(listed, [f"[] {names.format('scenes ')}", "scenes", names.format("")])

  def test_keras_first(self):
    self.assertEqual(printed_by_copies()["keras first"].strip(), "PredictionNetwork")

  def test_one_model_class_registers_all(self):
    loaded = printed_by_copies()["one class"].split()
    self.assertEqual(loaded, ["False", "PredictionNetwork", "PredictionNetwork"])
    loaded = printed_by_copies()["captions"].split()
    self.assertEqual(loaded, ["False", "PredictionNetwork", "function"])

  def test_the_garbage_collector_pauses_during_imports_alone(self):
    with tempfile.TemporaryDirectory() as name:
      package = pathlib.Path(name, "lazy_example")
      package.mkdir()
      (package / "__init__.py").write_text(
        "from wsram_tf import lazy_names\n"
        "__getattr__, __dir__, __all__ = lazy_names.attach(__name__, __file__)\n"
      )
      (package / "__init__.pyi").write_text(
        "from .right import COLLECTS as COLLECTS\nfrom .wrong import nothing as nothing\n"
      )
      (package / "right.py").write_text("import gc\nCOLLECTS = gc.isenabled()\n")
      (package / "wrong.py").write_text("raise ValueError('wrong')\n")
      spec = importlib.util.spec_from_file_location(
        "lazy_example", package / "__init__.py", submodule_search_locations=[str(package)]
      )
      example = importlib.util.module_from_spec(spec)
      with mock.patch.dict(sys.modules, {"lazy_example": example}):
        spec.loader.exec_module(example)
        self.assertFalse(example.COLLECTS)
        with self.assertRaisesRegex(ValueError, "wrong"):
          _ = example.nothing
    self.assertTrue(gc.isenabled())
    gc.disable()  # As a caller may have.
    self.addCleanup(gc.enable)
    with lazy_names.pause_collection():
      pass
    self.assertFalse(gc.isenabled())

  def test_every_name_resolves(self):
    packages = (
      wsram_tf,
      wsram_tf.captions,
      wsram_tf.captions.data,
      wsram_tf.classification,
      wsram_tf.learning,
      wsram_tf.objectives,
    )
    for package in packages:
      self.assertEqual(len(package.__all__), len(set(package.__all__)))
      for name in package.__all__:
        self.assertIsNotNone(getattr(package, name), f"{package.__name__}.{name}")
    with self.assertRaisesRegex(AttributeError, "no_such_name"):
      wsram_tf.no_such_name  # noqa: B018


if __name__ == "__main__":
  unittest.main()
