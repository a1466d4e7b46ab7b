"""A `.keras` file of an attacker is refused by name, wherever it is loaded, and does nothing."""

import pathlib
import shutil
import struct
import tempfile
import zipfile

import keras
import numpy as np
import tensorflow as tf

import wsram_tf
from tests.support.serving import exports
from tests.untrusted import attacks
from wsram_tf.captions import backbones
from wsram_tf.export import finished_run
from wsram_tf.model_files import classes, loading
from wsram_tf.runs import RunFolder, warm_start
from wsram_tf.runs.checkpoints import Checkpoints


@keras.saving.register_keras_serializable("untrusted")
class Doubled(keras.layers.Layer):
  """A layer that the user registered."""

  def call(self, inputs):
    return 2 * inputs


class UntrustedFileTest(tf.test.TestCase):
  def setUp(self):
    super().setUp()
    self.folder = pathlib.Path(tempfile.mkdtemp())
    self.addCleanup(shutil.rmtree, self.folder)
    self.path = self.folder / "model.keras"
    self.canary = self.folder / "canary"

  def assert_refused(self, words: str) -> None:
    with self.assertRaises(ValueError) as caught:
      wsram_tf.load_model(self.path)
    self.assertIn(f"path='{self.path}': ", str(caught.exception))
    self.assertIn(words, str(caught.exception))
    self.assertFalse(self.canary.exists())

  def test_the_file_without_an_attack_loads(self):
    network = wsram_tf.load_model(attacks.write(self.path))
    self.assertEqual(network(np.ones([1, 2])).shape, (1, 1))

  def test_configurations(self):
    for words, config in attacks.configs(self.canary).items():
      with self.subTest(words):
        attacks.write(self.path, config=config)
        self.assert_refused(words)

  def test_weights(self):
    for what, (weights, words) in attacks.weights().items():
      with self.subTest(what):
        attacks.write(self.path, weights=weights)
        self.assert_refused(words)

  def test_archives(self):
    parts = attacks.harmless()
    zeros = {**parts, attacks.WEIGHTS: bytes(10_000_000)}
    stored = attacks.zipped(parts)
    # A part that says it is larger than it is, at the central directory.
    at = stored.rindex(b"PK\x01\x02", 0, stored.rindex(attacks.WEIGHTS.encode()))
    longer = stored[: at + 20] + struct.pack("<II", 1 << 31, 1 << 31) + stored[at + 28 :]
    for contents, words in (
      (attacks.zipped({**parts, "../escaped": b""}), "holds '../escaped'"),
      (attacks.zipped({**parts, "/tmp/escaped": b""}), "holds '/tmp/escaped'"),
      (attacks.zipped({**parts, "assets/words.txt": b""}), "holds 'assets/words.txt'"),
      (attacks.zipped(dict(list(parts.items())[:2])), "misses a part"),
      (attacks.zipped(zeros, zipfile.ZIP_DEFLATED), "must be stored without compression"),
      (longer, "must not be larger than the file"),
      (stored[: len(stored) // 2], "not a zip file"),
      (b"", "not a zip file"),
    ):
      with self.subTest(words):
        self.path.write_bytes(contents)
        self.assert_refused(words)
    with zipfile.ZipFile(self.path, "w") as archive, self.assertWarns(UserWarning):
      for name in (*parts, attacks.CONFIG):
        archive.writestr(name, parts[name])
    self.assert_refused("holds 'config.json'")

  def test_other_formats(self):
    for name in ("model.h5", "model", "hf://them/model", "gs://bucket/model.keras", "gone.keras"):
      with (
        self.subTest(name),
        self.assertRaisesRegex(ValueError, "must be an existing .keras"),
      ):
        wsram_tf.load_model(name)
    unzipped = self.folder / "unzipped.keras"
    unzipped.mkdir()
    for name, contents in attacks.harmless().items():
      (unzipped / name).write_bytes(contents)
    with self.assertRaisesRegex(ValueError, "must be an existing .keras file"):
      wsram_tf.load_model(unzipped)

  def test_trust_is_given_by_name(self):
    inputs = keras.Input([2])
    keras.Model(inputs, keras.layers.Lambda(lambda x: 3 * x)(inputs)).save(self.path)
    self.assert_refused("use wsram_tf.load_model(path, safe_mode=False)")
    network = wsram_tf.load_model(self.path, safe_mode=False)
    self.assertAllEqual(network(np.ones([1, 2])), [[3, 3]])

  def test_registered_classes_load(self):
    keras.Sequential([keras.Input([2]), Doubled()]).save(self.path)
    self.assertAllEqual(wsram_tf.load_model(self.path)(np.ones([1, 2])), [[2, 2]])
    with self.assertRaisesRegex(ValueError, "Tripled of module 'theirs': must be a registered"):
      classes.check_classes({"module": "theirs", "class_name": "Tripled", "config": {}})
    classes.check_classes(
      {"module": "theirs", "class_name": "Tripled", "config": {}}, {"Tripled": Doubled}
    )

  def test_networks_of_keras_load(self):
    inputs = keras.Input([8, 8, 3])
    whitened = keras.layers.Normalization(mean=[0.5] * 3, variance=[1.0] * 3)(inputs)
    features = keras.layers.SeparableConv2D(4, 3, activation="gelu")(whitened) * 2
    features = keras.layers.BatchNormalization(dtype="mixed_bfloat16")(features)
    gru = keras.layers.Bidirectional(keras.layers.GRU(2, kernel_regularizer="l2"))
    network = keras.Model(inputs, gru(keras.ops.reshape(features, [-1, 36, 4])))
    rate = keras.optimizers.schedules.CosineDecay(0.1, 10)
    network.compile(keras.optimizers.Adam(rate), keras.losses.MeanSquaredError(), metrics=["mae"])
    network.save(self.path)
    wsram_tf.load_model(self.path)
    # A block of a network of keras.applications.
    block = {"module": "keras.src.applications.convnext", "class_name": "LayerScale", "config": {}}
    classes.check_classes(block)

  def test_every_place_refuses(self):
    attack = attacks.configs(self.canary)["system of module 'os'"]
    words = "system of module 'os': must be a registered function"
    run = RunFolder(self.folder / "run")
    run.checkpoints.mkdir(parents=True)
    attacks.write(run.model, config=attack)
    for kind in ("update", "best"):
      attacks.write(run.checkpoints / f"{kind}-00000001.keras", config=attack)
    learner = wsram_tf.WakeSleepLearner(exports.network().config)
    for load in (
      lambda: warm_start.take_weights(learner, run),
      lambda: finished_run.load_run(run.path),
      lambda: Checkpoints(run).load_last(),
      lambda: Checkpoints(run).load_best(),
      lambda: backbones.load_backbone(run.model),
    ):
      with self.assertRaisesRegex(ValueError, words):
        load()

  def test_weights_of_presets(self):
    network = keras.Sequential([keras.Input([2]), keras.layers.Dense(1, name="only")])
    path = self.folder / "model.weights.h5"
    for what, (weights, words) in attacks.weights().items():
      path.write_bytes(weights)
      with self.subTest(what), self.assertRaisesRegex(ValueError, words):
        loading.load_weights(network, path)
    path.write_bytes(attacks.harmless()[attacks.WEIGHTS])
    loading.load_weights(network, path)


if __name__ == "__main__":
  tf.test.main()
