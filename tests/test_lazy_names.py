"""The package loads without TensorFlow, and Keras finds its classes in either order of imports."""

import atexit
import functools
import json
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest
import zipfile

import wsram_tf
from tests.support import exports

ROOT = pathlib.Path(__file__).resolve().parent.parent


def output(code: str) -> str:
  """What a fresh interpreter prints for some lines of code."""
  done = subprocess.run(
    [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
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
    listed = output(
      "from wsram_tf.presets import preset_names, shipped\n"
      "import keras\n"
      "print(preset_names('quickstart'), *shipped(keras.Model))\n"
      "from wsram_tf.captions.caption_network import CaptionNetwork\n"
      "print(CaptionNetwork.presets)\n"
      "from wsram_tf.classification import PredictionNetwork\n"
      "print(*PredictionNetwork.presets)\n"
    )
    names = "quickstart translated_scaled"
    self.assertEqual(listed.splitlines(), [f"[] {names}", "{}", names])

  def test_keras_first(self):
    loaded = output(
      "import keras, wsram_tf\n"
      f"print(type(keras.saving.load_model({str(weights_file())!r})).__name__)"
    )
    self.assertEqual(loaded, "PredictionNetwork")

  def test_one_model_class_registers_all(self):
    # Each process takes seconds to start, so each also shows something else.
    for touch, rest, shown in (
      (
        "wsram_tf.CaptionNetwork",
        f"print(type(wsram_tf.load_model({str(weights_file())!r})).__name__)",
        "PredictionNetwork",
      ),
      (  # A function hides the module of its name.
        "wsram_tf.captions.CaptionNetwork",
        "import wsram_tf.captions.caption_network, wsram_tf.captions.beam_search\n"
        "from wsram_tf.captions import beam_search; print(type(beam_search).__name__)\n",
        "function",
      ),
    ):
      loaded = output(
        f"import wsram_tf; {touch}\n"
        "import keras\n"
        "names = 'CaptionLearner', 'WakeSleepLearner', 'GlimpseSensor', 'GridNetwork'\n"
        "found = [keras.saving.get_registered_object(f'wsram_tf>{name}') for name in names]\n"
        f"print(None in found, type(keras.saving.load_model({str(weights_file())!r})).__name__)\n"
        f"{rest}"
      )
      self.assertEqual(loaded.split(), ["False", "PredictionNetwork", shown])

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
