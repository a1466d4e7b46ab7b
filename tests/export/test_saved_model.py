"""Versions: whole or not at all, only growing, one contract."""

import json
import shutil
import threading
import time

import manifests
import numpy as np
import protos
import pytest


def versions(export_dir):
  return manifests.version_numbers(export_dir / "digits")


def test_layout(export_dir, model_dir, network):
  assert sorted(path.name for path in (export_dir / "digits").iterdir()) == ["1", "versions.json"]
  expected = {
    "saved_model.pb",
    "variables",
    "assets",
    "assets.extra",
    "fingerprint.pb",
  }
  assert {path.name for path in model_dir.iterdir()} == expected
  assert (model_dir / "assets.extra/tf_serving_warmup_requests").is_file()
  # A server may run as somebody else.
  assert all(path.stat().st_mode & 0o044 == 0o044 for path in model_dir.rglob("*"))
  assert model_dir.stat().st_mode & 0o055 == 0o055
  manifest = manifests.read_manifest(model_dir)
  weight_bytes = 4 * sum(int(np.prod(weight.shape)) for weight in network.weights)
  assert manifest.weight_bytes == weight_bytes
  data = sum(path.stat().st_size for path in (model_dir / "variables").glob("*.data*"))
  assert weight_bytes <= data < 1.05 * weight_bytes
  assert (model_dir / "saved_model.pb").stat().st_size < 1e6


def test_contract(model_dir):
  images, seed = "float32 [-1, 40, 36, 1]", "int64 [-1]"
  answer = {"class_id": "int64 [-1]", "probabilities": "float32 [-1, 10]"}
  looked = {**answer, "locations": "float32 [-1, 3, 2]"}
  expected = {
    "serving_default": {"inputs": {"images": images}, "outputs": looked},
    "attend": {
      "inputs": {"images": images, "seed": seed},
      "outputs": {**looked, "log_prob": "float32 [-1, 3]"},
    },
    "classify_bytes": {"inputs": {"image_bytes": "string [-1]"}, "outputs": looked},
    "classify_averaged": {"inputs": {"images": images, "seed": seed}, "outputs": answer},
  }
  assert manifests.read_manifest(model_dir).contract == expected
  graph = (model_dir / "saved_model.pb").read_bytes()
  assert manifests.contract_of(protos.saved_model_signatures(graph)) == expected


def test_versions_grow(helpers, network, export_dir, tmp_path):
  shutil.copytree(export_dir, tmp_path, dirs_exist_ok=True)
  helpers.write(tmp_path, helpers.make_network(seed=2))
  assert versions(tmp_path) == [1, 2]
  contents = [
    (tmp_path / "digits" / version / "variables/variables.data-00000-of-00001").read_bytes()
    for version in ("1", "2")
  ]
  assert contents[0] != contents[1]
  recorded = manifests.read_versions(tmp_path / "digits")
  for version in (1, 2):
    model_dir = tmp_path / "digits" / str(version)
    assert manifests.read_manifest(model_dir).version == version
    assert recorded[version] == manifests.manifest_digest(model_dir)
  # A number is given out once, even if its version is gone.
  shutil.rmtree(tmp_path / "digits" / "2")
  helpers.write(tmp_path, network)
  assert versions(tmp_path) == [1, 3]
  # Nor is one that somebody else wrote touched.
  (tmp_path / "digits" / "7").mkdir()
  helpers.write(tmp_path, network)
  assert versions(tmp_path) == [1, 3, 7, 8]
  assert not list((tmp_path / "digits" / "7").iterdir())


@pytest.mark.parametrize(
  ("changed", "words"),
  [
    ({"width": 40}, r"serving_default\.inputs\.images: float32 \[-1, 40, 36, 1\] became float32"),
    ({"num_classes": 11}, r"attend\.outputs\.probabilities: float32 \[-1, 10\] became float32 \["),
    ({"num_glimpses": 4}, r"attend\.outputs\.log_prob: float32 \[-1, 3\] became float32 \[-1, 4\]"),
    ({"channels": 4}, r"classify_bytes\.inputs\.image_bytes: string \[-1\] became absent"),
  ],
)
def test_another_contract_is_refused(helpers, export_dir, tmp_path, changed, words):
  shutil.copytree(export_dir, tmp_path, dirs_exist_ok=True)
  before = manifests.file_digests(tmp_path)
  with pytest.raises(ValueError, match=words) as error:
    helpers.write(tmp_path, helpers.make_network(**changed))
  assert str(error.value).startswith("name='digits': a new version must keep the contract that")
  assert manifests.file_digests(tmp_path) == before


def test_another_contract_needs_another_name(helpers, export_dir, tmp_path):
  shutil.copytree(export_dir, tmp_path, dirs_exist_ok=True)
  helpers.write(tmp_path, helpers.make_network(num_glimpses=2), name="other")
  assert (tmp_path / "other/1/saved_model.pb").is_file()


def test_nothing_is_left_of_a_version_that_fails(helpers, network, export_dir, tmp_path):
  def fail(model_dir):
    assert (model_dir / manifests.MANIFEST_FILE).is_file()
    raise RuntimeError("no good")

  with pytest.raises(RuntimeError, match="no good"):
    helpers.write(tmp_path / "new/models", network, verify=fail)
  assert not list(tmp_path.iterdir())
  shutil.copytree(export_dir, tmp_path, dirs_exist_ok=True)
  before = manifests.file_digests(tmp_path)
  with pytest.raises(RuntimeError, match="no good"):
    helpers.write(tmp_path, network, verify=fail)
  assert manifests.file_digests(tmp_path) == before


def test_a_server_never_sees_half_a_version(helpers, network, tmp_path):
  def look(model_dir):
    assert model_dir.name == "1"
    seen.append(versions(tmp_path))

  seen = []
  helpers.write(tmp_path, network, verify=look)
  assert seen == [[]]
  assert versions(tmp_path) == [1]


def test_leavings_of_a_killed_export_are_cleared(helpers, network, tmp_path):
  (tmp_path / "digits/.staging-killed/1").mkdir(parents=True)
  helpers.write(tmp_path, network)
  assert {path.name for path in (tmp_path / "digits").iterdir()} == {"1", "versions.json"}


def test_exports_at_once_take_turns(helpers, network, tmp_path):
  written = []

  def write():
    # The second must wait for the first, which dawdles while it holds the next number.
    written.append(helpers.write(tmp_path, network, verify=lambda _: time.sleep(1)).name)

  threads = [threading.Thread(target=write) for _ in range(2)]
  for thread in threads:
    thread.start()
  for thread in threads:
    thread.join()
  assert sorted(written) == ["1", "2"]
  assert json.loads((tmp_path / "digits/versions.json").read_text()).keys() == {"1", "2"}


@pytest.mark.parametrize("name", ["", "7", "../x", "a/b", ".hidden", "a b", "a\n"])
def test_names_that_are_none(name):
  with pytest.raises(ValueError, match="must be a letter, then"):
    manifests.check_name(name)
