"""Presets: what is saved comes back, and what is no whole preset is refused by name."""

import functools
import json
import pathlib
import resource

import keras
import numpy as np
import tensorflow as tf

import wsram_tf
from tests.support.models import caption_toy
from tests.support.serving import exports
from wsram_tf.presets import preset_names

NAMES = [f"class {label}" for label in range(9)] + ["größer"]
FILES = {"README.md", "config.json", "metadata.json", "model.weights.h5", "names.txt"}


@functools.cache
def network() -> wsram_tf.PredictionNetwork:
  glimpse = wsram_tf.GlimpseConfig(glimpse_side=8, choose_scale=True)
  return exports.make_network(units=6, glimpse=glimpse)


class RoundTripTest(tf.test.TestCase):
  def setUp(self):
    super().setUp()
    self.folder = pathlib.Path(exports.temporary_folder(self))

  def test_a_classifier(self):
    preset = self.folder / "new" / "digits"
    network().save_to_preset(preset, names=NAMES, description="some digits")
    self.assertEqual({path.name for path in preset.iterdir()}, FILES)
    self.assertLen(list(preset.parent.iterdir()), 1)
    loaded = wsram_tf.PredictionNetwork.from_preset(preset)
    self.assertEqual(loaded.get_config(), network().get_config())
    for mine, other in zip(network().get_weights(), loaded.get_weights(), strict=True):
      self.assertAllEqual(mine, other)
    self.assertEqual(preset_names(preset), NAMES)
    metadata = json.loads((preset / "metadata.json").read_text())
    self.assertEqual(metadata["parameter_count"], network().count_params())
    self.assertIn("# some digits", (preset / "README.md").read_text())
    fresh = wsram_tf.PredictionNetwork.from_preset(preset, load_weights=False)
    self.assertNotAllClose(fresh.get_weights()[0], network().get_weights()[0])

  def test_a_captioner(self):
    captioner = wsram_tf.CaptionNetwork(caption_toy.model_config())
    captioner.save_to_preset(self.folder / "toy", card="A card.\n")
    loaded = wsram_tf.CaptionNetwork.from_preset(str(self.folder / "toy"))
    for mine, other in zip(captioner.get_weights(), loaded.get_weights(), strict=True):
      self.assertAllEqual(mine, other)
    self.assertEqual((self.folder / "toy" / "README.md").read_text(), "A card.\n")
    self.assertEqual(preset_names(self.folder / "toy"), [])
    with self.assertRaisesRegex(ValueError, "must hold a PredictionNetwork; it holds a Caption"):
      wsram_tf.PredictionNetwork.from_preset(self.folder / "toy")

  def test_those_of_the_package(self):
    names = {"cluttered100", "quickstart", "translated_scaled", "translated_scaled_conv"}
    self.assertEqual(set(wsram_tf.PredictionNetwork.presets), names)
    self.assertEqual(set(wsram_tf.CaptionNetwork.presets), {"scenes"})
    self.assertEqual(set(wsram_tf.PRETRAINED), names)
    for name in names:
      one, other = wsram_tf.PredictionNetwork.from_preset(name), wsram_tf.load_pretrained(name)
      self.assertAllEqual(one.get_weights()[0], other.get_weights()[0])


class RefusalTest(tf.test.TestCase):
  def setUp(self):
    super().setUp()
    self.folder = pathlib.Path(exports.temporary_folder(self))
    self.preset = self.folder / "preset"

  def check_refused(self, preset, words):
    with self.assertRaisesRegex(ValueError, words):
      wsram_tf.PredictionNetwork.from_preset(preset)

  def test_unknown_ones(self):
    names = "cluttered100, quickstart, translated_scaled, translated_scaled_conv"
    words = f"must be one of {names}, or a folder"
    for preset in ("imagenet", self.folder, "../quickstart", "", "x" * 300, "a\0b"):
      self.check_refused(preset, words)
    for preset in (None, b"quickstart", ["quickstart"]):
      self.check_refused(preset, "preset=.*(quickstart|None).*: must be a name or a folder")

  def test_damaged_ones(self):
    network().save_to_preset(self.preset)
    config = self.preset / "config.json"
    right = config.read_text()
    for wrong, words in (
      ("{", "is damaged"),
      ("[]", "is damaged: config.json: must hold a JSON object"),
      (right.replace("wsram_tf>PredictionNetwork", "wsram_tf>Other"), "must be a registered class"),
      (right.replace('"units": 6', '"units": 7'), "is damaged"),
      (right.replace('"units": 6', '"units": -1'), "is damaged: units=-1: must be at least 1"),
    ):
      self.assertNotEqual(wrong, right)
      config.write_text(wrong)
      self.check_refused(self.preset, words)
    config.write_text(right)
    weights = self.preset / "model.weights.h5"
    weights.write_bytes(weights.read_bytes()[:1000])
    self.check_refused(self.preset, "is damaged")
    weights.unlink()
    self.check_refused(self.preset, "is damaged")
    (self.preset / "names.txt").write_bytes(b"\xff\n")
    with self.assertRaisesRegex(ValueError, "preset=.*: is damaged: names.txt: "):
      preset_names(self.preset)

  def test_code_of_a_stranger(self):
    network().save_to_preset(self.preset)
    executed = self.folder / "executed"
    path = str(executed)
    layer = keras.layers.Lambda(lambda x, path=path: __import__("pathlib").Path(path).touch() or x)
    config = keras.saving.serialize_keras_object(layer)
    (self.preset / "config.json").write_text(json.dumps(config))
    self.check_refused(self.preset, "must be a registered class|must hold a PredictionNetwork")
    self.assertFalse(executed.exists())

  def test_nothing_is_overwritten_or_half_written(self):
    self.preset.mkdir()
    (self.preset / "own.txt").write_text("mine")
    with self.assertRaisesRegex(ValueError, "preset_dir=.*: must be a new or an empty folder"):
      network().save_to_preset(self.preset)
    self.assertEqual([path.name for path in self.preset.iterdir()], ["own.txt"])
    wrong = [[*NAMES[:-1], name] for name in ("two\nlines", "two\rlines", "two\u2028lines", "")]
    for names in (NAMES[:-1], *wrong):
      with self.assertRaisesRegex(ValueError, "must be a list of 10 names of one line each"):
        network().save_to_preset(self.folder / "other", names=names)
    with self.assertRaises(OSError):
      network().save_to_preset(self.preset / "own.txt" / "preset")
    # As on a disk that becomes full at the weights.
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2_000, hard))
    try:
      with self.assertRaises(OSError):
        network().save_to_preset(self.folder / "large")
    finally:
      resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    self.assertLen(list(self.folder.iterdir()), 1)

  def test_refuses_weights_that_are_not_finite(self):
    for wrong in (np.nan, -np.inf):
      model = exports.make_network(seed=2)
      kernel = model.weights[0]
      values = kernel.numpy()
      values.flat[-1] = wrong
      kernel.assign(values)
      with self.assertRaisesRegex(
        ValueError, f"preset_dir=.*: cannot hold NaN or infinite weights: {kernel.path}$"
      ):
        model.save_to_preset(self.preset)
      self.assertEqual(list(self.folder.iterdir()), [])

  def test_an_empty_folder_is_filled(self):
    self.preset.mkdir()
    network().save_to_preset(self.preset)
    self.assertEqual({path.name for path in self.preset.iterdir()}, FILES - {"names.txt"})

  def test_weights_are_those_of_the_file(self):
    network().save_to_preset(self.preset)
    other = exports.make_network(seed=2, units=6, glimpse=network().config.glimpse)
    other.save_weights(self.preset / "model.weights.h5")
    loaded = wsram_tf.PredictionNetwork.from_preset(self.preset)
    self.assertAllEqual(loaded.get_weights()[0], other.get_weights()[0])
    self.assertGreater(np.abs(loaded.get_weights()[0] - network().get_weights()[0]).max(), 0)


if __name__ == "__main__":
  tf.test.main()
