"""Kinds of strange records of runs, exports and clusters, and what reads them; see `trials`."""

import json
import os
import pathlib

from hypothesis import strategies as st

from tests.fuzzing import strange_bytes
from tests.fuzzing.trials import RULE, Kind
from wsram_tf.captions import backbones
from wsram_tf.captions.vocabulary import SPECIAL_WORDS, Vocabulary
from wsram_tf.runs import distribution
from wsram_tf.runs.folder import RunFolder, RunFolderError
from wsram_tf.serving import manifests

_WORDS = "".join(f"{word}\n" for word in (*SPECIAL_WORDS, "a", "dog", "runs")).encode()
_word_files = strange_bytes.damaged([_WORDS]) | st.lists(strange_bytes.odd_texts, max_size=5).map(
  lambda words: _WORDS + strange_bytes.as_bytes(words)
)


def _lay_words(folder: pathlib.Path, given: bytes) -> None:
  (folder / "vocabulary.txt").write_bytes(given)


def _read_words(folder: pathlib.Path, given: bytes) -> None:
  words = Vocabulary.load(folder / "vocabulary.txt")
  words.decode(words.encode("a dog", 5))


_MANIFEST = {
  **{"name": "m", "version": 3, "source": "test", "height": 20, "width": 30, "channels": 1},
  **{"num_glimpses": 4, "allowed_batch_sizes": [1], "weight_bytes": 8, "files": {"a": "digest"}},
  "contract": {"classify": {"inputs": {"image": "float32 [B, 20, 30, 1]"}, "outputs": {}}},
  **{"test_error_percent": 1.5, "num_classes": 10, "glimpse_side": 8, "glimpse_scales": 2},
  **{"averaged_samples": 5, "class_names": ["a"], "task": "classification", "fit": "pad"},
}


def _lay_manifest(folder: pathlib.Path, given: bytes) -> None:
  path = folder / manifests.MANIFEST_FILE
  path.parent.mkdir(exist_ok=True)
  path.write_bytes(given)


def _read_manifest(folder: pathlib.Path, given: bytes) -> None:
  manifest = manifests.read_manifest(folder)
  if not all(isinstance(side, int) for side in manifest.facts.image_shape):
    raise AssertionError(f"image_shape={manifest.facts.image_shape}")
  manifests.contract_changes(manifest.contract, manifest.contract)


def _lay_versions(folder: pathlib.Path, given: bytes) -> None:
  (folder / manifests.VERSIONS_FILE).write_bytes(given)


def _read_versions(folder: pathlib.Path, given: bytes) -> None:
  manifests.read_versions(folder)


_METRICS = b"update,loss,train_seconds\n10,0.5,1.25\n20,0.25,2.5\n"
_metric_files = strange_bytes.damaged([_METRICS]) | st.lists(
  st.lists(strange_bytes.odd_texts, max_size=4).map(",".join), max_size=3
).map(lambda rows: _METRICS + strange_bytes.as_bytes(rows))


def _lay_metrics(folder: pathlib.Path, given: bytes) -> None:
  (folder / "metrics.csv").write_bytes(given)


def _read_metrics(folder: pathlib.Path, given: bytes) -> None:
  RunFolder(str(folder)).read_metrics(until_update=2**31)


_CLUSTER = {
  "cluster": {"chief": ["a:1"], "worker": ["b:2", "c:3"]},
  "task": {"type": "worker", "index": 0},
}
_clusters = strange_bytes.damaged_json(_CLUSTER) | st.builds(
  lambda cluster, task: json.dumps({"cluster": cluster, "task": task}).encode(),
  strange_bytes.odd_values | st.fixed_dictionaries({"worker": strange_bytes.odd_values}),
  strange_bytes.odd_values
  | st.fixed_dictionaries({"type": strange_bytes.odd_values, "index": strange_bytes.odd_values}),
)


def _lay_cluster(folder: pathlib.Path, given: bytes) -> None:
  os.environ["TF_CONFIG"] = os.fsdecode(given.replace(b"\0", b""))


def _read_cluster(folder: pathlib.Path, given: bytes) -> None:
  try:
    distribution.is_chief("multi_worker")
  finally:
    del os.environ["TF_CONFIG"]


def _lay_backbone(folder: pathlib.Path, given: bytes) -> None:
  (folder / "backbone.keras").write_bytes(given)


def _read_backbone(folder: pathlib.Path, given: bytes) -> None:
  backbones.load_backbone(folder / "backbone.keras")


def backbone_kind(example: bytes) -> Kind:
  """Damaged networks, given a whole one's bytes, a `.keras` file."""
  return Kind(
    "backbone",
    strange_bytes.damaged([example], most=3),
    _lay_backbone,
    _read_backbone,
    (ValueError,),
    rf"backbone=.*{RULE}",
  )


KINDS = (
  Kind("TF_CONFIG", _clusters, _lay_cluster, _read_cluster, (ValueError,), rf"TF_CONFIG.*{RULE}"),
  Kind(
    "vocabulary", _word_files, _lay_words, _read_words, (ValueError,), rf"vocabulary\.txt.*{RULE}"
  ),
  Kind(
    "manifest",
    strange_bytes.damaged_json(_MANIFEST),
    _lay_manifest,
    _read_manifest,
    (ValueError,),
    rf"manifest\.json.*{RULE}",
  ),
  Kind(
    "versions.json",
    strange_bytes.damaged_json({"1": "digest", "2": "digest"}),
    _lay_versions,
    _read_versions,
    (ValueError,),
    rf"versions\.json.*{RULE}",
  ),
  Kind(
    "metrics.csv",
    _metric_files,
    _lay_metrics,
    _read_metrics,
    (RunFolderError,),
    rf"metrics\.csv.*{RULE}",
  ),
)
