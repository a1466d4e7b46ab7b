"""Checks of the files of an export: their digests, their signatures and their sizes."""

import pathlib

from wsram_tf.serving import manifests, protos
from wsram_tf.serving.verification.agreement import Failure

__all__ = ["check_contract", "check_files", "check_size"]

LARGEST_GRAPH_BYTES = 1_000_000
LARGEST_GRAPH_BYTES_A_GLIMPSE = LARGEST_GRAPH_BYTES // 8  # Each glimpse has its own operations.
LARGEST_WEIGHT_RATIO = 1.05
CHECKPOINT_BYTES = 4 << 10  # A checkpoint's own bytes, which count beside very few weights.


def check_files(model_dir: pathlib.Path, manifest: manifests.Manifest) -> str:
  """Checks that no file changed since the export and that the version is the recorded one."""
  if model_dir.name != str(manifest.version):
    raise Failure(f"the folder must be named {manifest.version}, as the version that it holds")
  digests = manifests.file_digests(model_dir)
  changed = sorted(
    path
    for path in digests.keys() | manifest.files.keys()
    if digests.get(path) != manifest.files.get(path)
  )
  if changed:
    raise Failure(f"changed, added or removed since the export: {', '.join(changed)}")
  recorded = manifests.read_versions(model_dir.parent)
  if not recorded:
    return f"{len(digests)} files as exported; no record of versions beside them"
  if recorded.get(manifest.version) != manifests.manifest_digest(model_dir):
    raise Failure(f"version {manifest.version} was written over: versions.json records another")
  return f"{len(digests)} files as exported, version {manifest.version} as recorded"


def check_contract(model_dir: pathlib.Path, manifest: manifests.Manifest) -> str:
  """Checks that servers can batch the signatures and that no version changed them."""
  graph = (model_dir / "saved_model.pb").read_bytes()
  signatures = protos.saved_model_signatures(graph)
  changes = manifests.contract_changes(manifest.contract, manifests.contract_of(signatures))
  if changes:
    raise Failure("; ".join(changes))
  if "serving_default" not in signatures:
    raise Failure("signature serving_default is missing")
  for name, signature in signatures.items():
    for key, info in (*signature.inputs.items(), *signature.outputs.items()):
      if not info.shape or info.shape[0] != -1 or -1 in info.shape[1:]:
        raise Failure(f"{name}.{key}: must be open in its first axis alone; it is {info}")
      if key in signature.inputs and (info.dtype == "string") != key.endswith("_bytes"):
        raise Failure(f"{name}.{key}: bytes, and they alone, need a name that ends in _bytes")
  for version in manifests.version_numbers(model_dir.parent):
    other = model_dir.parent / str(version) / "saved_model.pb"
    if other.is_file():
      contract = manifests.contract_of(protos.saved_model_signatures(other.read_bytes()))
      both = (contract, manifest.contract)
      changes = manifests.contract_breaks(*(both if version < manifest.version else both[::-1]))
      if changes:
        raise Failure(f"differs from version {version}: {'; '.join(changes)}")
  return f"{', '.join(signatures)}"


def check_size(model_dir: pathlib.Path, manifest: manifests.Manifest) -> str:
  """Checks that the export stores each weight once and that its graph is small."""
  graph = (model_dir / "saved_model.pb").stat().st_size
  glimpses = manifest.facts.num_glimpses
  largest = max(LARGEST_GRAPH_BYTES, glimpses * LARGEST_GRAPH_BYTES_A_GLIMPSE)
  if manifest.facts.feature_shape:  # A backbone has operations of its own.
    largest += LARGEST_GRAPH_BYTES
  variables = sum(path.stat().st_size for path in (model_dir / "variables").iterdir())
  weights = manifest.weight_bytes
  ratio = variables / max(weights, 1)
  text = f"graph {graph / 1e6:.2f} MB, variables {ratio:.3f} times their weights"
  largest_variables = max(LARGEST_WEIGHT_RATIO * weights, weights + CHECKPOINT_BYTES)
  if graph > largest or variables > largest_variables:
    raise Failure(f"{text}; at most {largest / 1e6:.2f} MB and {LARGEST_WEIGHT_RATIO}")
  return text
