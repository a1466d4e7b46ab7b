"""Versions are complete or absent, their numbers grow, and they keep one contract."""

import json
import shutil
import threading
import time

import numpy as np
import tensorflow as tf

from tests.support.serving import exports
from wsram_tf.export import write_version
from wsram_tf.serving import manifests, protos
from wsram_tf.serving.verification import stored

CHANGES = {
  "width": (40, r"serving_default\.inputs\.images: float32 \[-1, 40, 36, 1\] became float32"),
  "num_classes": (11, r"attend\.outputs\.probabilities: float32 \[-1, 10\] became float32 \["),
  "num_glimpses": (1, r"attend\.outputs\.log_prob: float32 \[-1, 2\] became float32 \[-1, 1\]"),
  "channels": (4, r"classify_bytes\.inputs\.image_bytes: string \[-1\] became absent"),
}
# A version of one signature is written sooner.
ONE_SIGNATURE = {"signatures": ("serving_default",)}


def versions(export_dir):
  return manifests.version_numbers(export_dir / "digits")


class SavedModelTest(tf.test.TestCase):
  def test_layout(self):
    model_dir = exports.model_dir()
    self.assertEqual(
      sorted(path.name for path in (exports.export_dir() / "digits").iterdir()),
      ["1", "versions.json"],
    )
    expected = {
      "saved_model.pb",
      "variables",
      "assets",
      "assets.extra",
      "fingerprint.pb",
    }
    self.assertEqual({path.name for path in model_dir.iterdir()}, expected)
    self.assertTrue((model_dir / "assets.extra/tf_serving_warmup_requests").is_file())
    # A server may run as somebody else.
    self.assertTrue(all(path.stat().st_mode & 0o044 == 0o044 for path in model_dir.rglob("*")))
    self.assertEqual(model_dir.stat().st_mode & 0o055, 0o055)
    manifest = manifests.read_manifest(model_dir)
    weight_bytes = 4 * sum(int(np.prod(weight.shape)) for weight in exports.network().weights)
    self.assertEqual(manifest.weight_bytes, weight_bytes)
    data = sum(path.stat().st_size for path in (model_dir / "variables").glob("*.data*"))
    self.assertTrue(weight_bytes <= data < 1.05 * weight_bytes)
    self.assertLess((model_dir / "saved_model.pb").stat().st_size, 1e6)

  def test_contract(self):
    model_dir = exports.model_dir()
    images, seed = "float32 [-1, 40, 36, 1]", "int64 [-1]"
    answer = {"class_id": "int64 [-1]", "probabilities": "float32 [-1, 10]"}
    looked = {**answer, "locations": "float32 [-1, 2, 2]"}
    # A number, a place, and two states of 48 for each of two layers.
    begun = {
      "state": "float32 [-1, 195]",
      "location": "float32 [-1, 2]",
      "glimpses_left": "int64 [-1]",
    }
    expected = {
      "serving_default": {"inputs": {"images": images}, "outputs": looked},
      "attend": {
        "inputs": {"images": images, "seed": seed},
        "outputs": {**looked, "log_prob": "float32 [-1, 2]"},
      },
      "classify_bytes": {"inputs": {"image_bytes": "string [-1]"}, "outputs": looked},
      "classify_averaged": {"inputs": {"images": images, "seed": seed}, "outputs": answer},
      "classify_stepwise": {
        "inputs": {"images": images, "threshold": "float32 [-1]"},
        "outputs": {**looked, "probabilities": "float32 [-1, 2, 10]", "glimpses": "int64 [-1]"},
      },
      "prior_map": {
        "inputs": {"images": images},
        "outputs": {"prior": "float32 [-1, 2, 32, 32]", "locations": looked["locations"]},
      },
      "begin": {"inputs": {"low_resolution": "float32 [-1, 12, 12, 1]"}, "outputs": begun},
      "look": {
        "inputs": {"state": begun["state"], "patches": "float32 [-1, 2, 8, 8, 1]"},
        "outputs": {**begun, **answer},
      },
    }
    self.assertEqual(manifests.read_manifest(model_dir).contract, expected)
    graph = (model_dir / "saved_model.pb").read_bytes()
    self.assertEqual(manifests.contract_of(protos.saved_model_signatures(graph)), expected)

  def test_versions_grow(self):
    tmp_path = exports.temporary_folder(self)
    exports.write(tmp_path, exports.network(), **ONE_SIGNATURE)
    exports.write_other_weights(tmp_path, **ONE_SIGNATURE)
    self.assertEqual(versions(tmp_path), [1, 2])
    contents = [
      (tmp_path / "digits" / version / "variables/variables.data-00000-of-00001").read_bytes()
      for version in ("1", "2")
    ]
    self.assertNotEqual(contents[0], contents[1])
    recorded = manifests.read_versions(tmp_path / "digits")
    for version in (1, 2):
      model_dir = tmp_path / "digits" / str(version)
      self.assertEqual(manifests.read_manifest(model_dir).version, version)
      self.assertEqual(recorded[version], manifests.manifest_digest(model_dir))
    # A number is given out once, even if its version is gone.
    shutil.rmtree(tmp_path / "digits" / "2")
    exports.write(tmp_path, exports.network(), **ONE_SIGNATURE)
    self.assertEqual(versions(tmp_path), [1, 3])
    # Nor is one that somebody else wrote touched.
    (tmp_path / "digits" / "7").mkdir()
    exports.write(tmp_path, exports.network(), **ONE_SIGNATURE)
    self.assertEqual(versions(tmp_path), [1, 3, 7, 8])
    self.assertFalse(list((tmp_path / "digits" / "7").iterdir()))

  def test_another_contract_needs_another_name(self):
    tmp_path = exports.copied_models(exports.temporary_folder(self))
    before = manifests.file_digests(tmp_path)
    network = exports.make_network(**{name: value for name, (value, _) in CHANGES.items()})
    with self.assertRaises(ValueError) as caught:
      exports.write(tmp_path, network)
    message = str(caught.exception)
    self.assertStartsWith(message, "name='digits': a new version must keep the contract that")
    for name, (_, words) in CHANGES.items():
      with self.subTest(changed=name):
        self.assertRegex(message, words)
    self.assertEqual(manifests.file_digests(tmp_path), before)
    exports.write(tmp_path, network, name="other", **ONE_SIGNATURE)
    self.assertTrue((tmp_path / "other/1/saved_model.pb").is_file())

  def test_a_new_signature_keeps_the_contract(self):
    tmp_path = exports.temporary_folder(self)
    module, functions = exports.built_signatures(exports.network())
    facts = exports.make_facts(exports.network())
    few = {"serving_default": functions["serving_default"]}
    more = {**few, "begin": functions["begin"], "look": functions["look"]}
    for version, signatures in enumerate((few, more), 1):
      written = write_version(tmp_path, module, signatures, facts)
      self.assertEqual(written.name, str(version))
    for version in (1, 2):  # Neither is a fault of the other.
      manifest = manifests.read_manifest(tmp_path / "digits" / str(version))
      found = stored.check_contract(tmp_path / "digits" / str(version), manifest)
      self.assertEqual(found, ["serving_default", "begin, look, serving_default"][version - 1])
    with self.assertRaisesRegex(ValueError, r"begin\.inputs\.low_resolution: .* became absent"):
      write_version(tmp_path, module, few, facts)

  def test_nothing_is_left_of_a_version_that_fails(self):
    tmp_path = exports.temporary_folder(self)

    def fail(model_dir):
      self.assertTrue((model_dir / manifests.MANIFEST_FILE).is_file())
      raise RuntimeError("no good")

    with self.assertRaisesRegex(RuntimeError, "no good"):
      exports.write(tmp_path / "new/models", exports.network(), verify=fail, **ONE_SIGNATURE)
    self.assertFalse(list(tmp_path.iterdir()))
    exports.write(tmp_path, exports.network(), **ONE_SIGNATURE)
    before = manifests.file_digests(tmp_path)
    with self.assertRaisesRegex(RuntimeError, "no good"):
      exports.write(tmp_path, exports.network(), verify=fail, **ONE_SIGNATURE)
    self.assertEqual(manifests.file_digests(tmp_path), before)

  def test_a_server_never_sees_half_a_version(self):
    tmp_path = exports.temporary_folder(self)

    def look(model_dir):
      self.assertEqual(model_dir.name, "1")
      seen.append(versions(tmp_path))

    seen = []
    exports.write(tmp_path, exports.network(), verify=look, **ONE_SIGNATURE)
    self.assertEqual(seen, [[]])
    self.assertEqual(versions(tmp_path), [1])

  def test_leavings_of_a_killed_export_are_cleared(self):
    tmp_path = exports.temporary_folder(self)
    (tmp_path / "digits/.staging-killed/1").mkdir(parents=True)
    exports.write(tmp_path, exports.network(), **ONE_SIGNATURE)
    self.assertEqual(
      {path.name for path in (tmp_path / "digits").iterdir()}, {"1", "versions.json"}
    )

  def test_exports_at_once_take_turns(self):
    tmp_path = exports.temporary_folder(self)
    written, network = [], exports.network()

    def write():
      # The second must wait for the first, which is slow while it holds the next number.
      version = exports.write(tmp_path, network, verify=lambda _: time.sleep(1), **ONE_SIGNATURE)
      written.append(version.name)

    threads = [threading.Thread(target=write) for _ in range(2)]
    for thread in threads:
      thread.start()
    for thread in threads:
      thread.join()
    self.assertEqual(sorted(written), ["1", "2"])
    self.assertEqual(json.loads((tmp_path / "digits/versions.json").read_text()).keys(), {"1", "2"})


if __name__ == "__main__":
  tf.test.main()
