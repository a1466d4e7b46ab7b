"""What an export says of itself, and how a later change to it is found out.

Each version carries a manifest: its contract, the shape of its model and the digest of each of its
files. Beside the versions, `versions.json` records each manifest's digest, so that even a version
that was replaced as a whole, manifest included, is recognised.
"""

import dataclasses
import hashlib
import json
import os
import pathlib
import re
import types
import typing
from collections.abc import Mapping
from typing import Any

import protos

__all__ = [
  "GOLDEN_FILE",
  "LARGEST_WARMUP_COUNT",
  "MANIFEST_FILE",
  "VERSIONS_FILE",
  "WARMUP_FILE",
  "CaptionerManifest",
  "ClassifierManifest",
  "Contract",
  "Manifest",
  "check_name",
  "contract_changes",
  "contract_of",
  "file_digests",
  "manifest_digest",
  "read_manifest",
  "read_versions",
  "version_dir",
  "version_numbers",
  "write_json",
]

MANIFEST_FILE = "assets.extra/manifest.json"
GOLDEN_FILE = "assets.extra/golden.npz"
WARMUP_FILE = "assets.extra/tf_serving_warmup_requests"  # where a model server looks for it
VERSIONS_FILE = "versions.json"
# Warm-up requests: a model server reads no more.
LARGEST_WARMUP_COUNT = 1000

Contract = dict[str, dict[str, dict[str, str]]]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Manifest:
  """The facts about one exported version, whatever it does.

  Args:
    name: the model's name.
    version: its number.
    source: where the weights come from.
    height: of an image, pixels.
    width: of an image, pixels.
    channels: of an image.
    num_glimpses: N; of a captioner, one before each word.
    allowed_batch_sizes: images; what the warm-up requests cover.
    weight_bytes: of all weights once.
    contract: signatures, see `contract_of`.
    files: SHA-256 digest of every other file by its path within the version.
    fit: how images of other sizes were brought to the model's in training, `resize` or `pad`.
    largest_pixels: of an image file, height times width; files of any size up to it are stretched
      to height and width. None where a file must be of just that size.
    feature_shape: of the grid that a backbone makes of an image, [H, W, C]; None without backbone.
  """

  name: str
  version: int
  source: str
  height: int
  width: int
  channels: int
  num_glimpses: int
  allowed_batch_sizes: list[int]
  weight_bytes: int
  contract: Contract
  files: dict[str, str]
  # Versions exported before these were known have none of them.
  fit: str = "resize"
  largest_pixels: int | None = None
  feature_shape: list[int] | None = None

  @property
  def image_shape(self) -> tuple[int, int, int]:
    """Height, width and channels of an image."""
    return self.height, self.width, self.channels


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClassifierManifest(Manifest):
  """The facts about a version that tells the class of an image.

  Args:
    test_error_percent: of the run, %; None where it is not known.
    num_classes: K.
    glimpse_side: of the finest patch, pixels.
    glimpse_scales: number of patches a glimpse.
    averaged_samples: glimpse sequences that `classify_averaged` takes the mean over.
    class_names: by label; empty where a class has none but its number.
  """

  test_error_percent: float | None
  num_classes: int
  glimpse_side: int
  glimpse_scales: int
  averaged_samples: int
  class_names: list[str] = dataclasses.field(default_factory=list)
  task: str = "classification"


@dataclasses.dataclass(frozen=True, kw_only=True)
class CaptionerManifest(Manifest):
  """The facts about a version that describes an image.

  Args:
    test_figures: of the run, by their names in results.json; empty where there are none.
    vocabulary_size: words, the special ones included.
    grid_rows: cells from top to bottom, one of which is looked at before each word.
    grid_columns: cells from left to right.
    beam_width: captions kept at each word of the search.
    length_exponent: captions are compared by log-probability / words ** this.
  """

  test_figures: dict[str, float]
  vocabulary_size: int
  grid_rows: int
  grid_columns: int
  beam_width: int
  length_exponent: float
  task: str = "captioning"


_CLASSES = {"classification": ClassifierManifest, "captioning": CaptionerManifest}


def check_name(name: str) -> None:
  """Refuses a name that is no model's.

  Raises:
    ValueError: naming the rule.
  """
  if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_.-]*", name):
    # A name of digits alone would be taken for a version by a server that polls the parent.
    raise ValueError(f"name={name!r}: must be a letter, then letters, digits, '_', '.' or '-'")


def contract_of(signatures: Mapping[str, protos.Signature]) -> Contract:
  """What clients rely on: `{signature: {"inputs" or "outputs": {name: dtype and shape}}}`."""
  return {
    name: {
      "inputs": {key: str(info) for key, info in signature.inputs.items()},
      "outputs": {key: str(info) for key, info in signature.outputs.items()},
    }
    for name, signature in signatures.items()
  }


def contract_changes(old: Contract, new: Contract) -> list[str]:
  """Says in words what differs, one line each; empty where nothing does."""
  entries = [
    {
      f"{name}.{side}.{key}": info
      for name, signature in contract.items()
      for side, infos in signature.items()
      for key, info in infos.items()
    }
    for contract in (old, new)
  ]
  return [
    f"{key}: {entries[0].get(key, 'absent')} became {entries[1].get(key, 'absent')}"
    for key in sorted(entries[0].keys() | entries[1].keys())
    if entries[0].get(key) != entries[1].get(key)
  ]


def file_digests(model_dir: pathlib.Path) -> dict[str, str]:
  """SHA-256 of every file of a version but its manifest, by path."""
  paths = sorted(path for path in model_dir.rglob("*") if path.is_file())
  digests = {
    path.relative_to(model_dir).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
    for path in paths
  }
  digests.pop(MANIFEST_FILE, None)
  return digests


def manifest_digest(model_dir: pathlib.Path) -> str:
  """SHA-256 of a version's manifest, hexadecimal: what `versions.json` records."""
  return hashlib.sha256((model_dir / MANIFEST_FILE).read_bytes()).hexdigest()


def read_manifest(model_dir: str | os.PathLike) -> Manifest:
  """Reads a version's manifest.

  Raises:
    FileNotFoundError: if the folder has none.
    ValueError: if it is not one that this package wrote.
  """
  path = pathlib.Path(model_dir) / MANIFEST_FILE
  try:
    values = json.loads(path.read_text(encoding="utf-8"))
    # Before there were captioners, nothing said that a version was a classifier.
    manifest = _CLASSES[values.get("task", "classification")](**values)
  except (AttributeError, KeyError, TypeError, ValueError, RecursionError) as error:
    raise ValueError(f"{path}: must be a manifest as an export writes it") from error
  for name, kind in typing.get_type_hints(type(manifest)).items():
    if not _is_of(getattr(manifest, name), kind):
      raise ValueError(
        f"{path}: must be a manifest as an export writes it, with {name} of JSON's kind for {kind}"
      )
  return manifest


def read_versions(model_base: pathlib.Path) -> dict[int, str]:
  """The recorded digest of each version's manifest; empty where there is no record.

  Raises:
    ValueError: if the record is not one that this package wrote.
  """
  path = model_base / VERSIONS_FILE
  if not path.exists():
    return {}
  try:
    values = json.loads(path.read_text(encoding="utf-8"))
    versions = {int(version): digest for version, digest in values.items()}
  except (AttributeError, ValueError, RecursionError) as error:
    raise ValueError(f"{path}: must be digests by version, as an export writes them") from error
  if not _is_of(versions, dict[int, str]):
    raise ValueError(f"{path}: must be digests by version, as an export writes them")
  return versions


def version_dir(path: str | os.PathLike) -> pathlib.Path:
  """The folder of a version: the one that is named, or the newest in the folder of a model."""
  path = pathlib.Path(path)
  versions = version_numbers(path) if path.is_dir() else []
  return path / str(versions[-1]) if versions else path


def version_numbers(model_base: pathlib.Path) -> list[int]:
  """The versions in a model's folder, in order: what a server would find."""
  if not model_base.is_dir():
    return []
  names = [path.name for path in model_base.iterdir()]
  return sorted(int(name) for name in names if name.isascii() and name.isdecimal())


def _is_of(value: Any, kind: Any) -> bool:
  """Whether a value is of a kind such as `list[int]` or `float | None`; a float may be whole."""
  parts = typing.get_args(kind)
  if isinstance(kind, types.UnionType):
    return any(_is_of(value, part) for part in parts)
  if kind is float:
    return isinstance(value, float | int) and not isinstance(value, bool)
  if kind is int:
    return isinstance(value, int) and not isinstance(value, bool)
  if not isinstance(value, typing.get_origin(kind) or kind):
    return False
  if isinstance(value, dict):
    return all(_is_of(k, parts[0]) and _is_of(v, parts[1]) for k, v in value.items())
  return not isinstance(value, list) or all(_is_of(item, parts[0]) for item in value)


def write_json(path: pathlib.Path, values: Mapping[Any, Any]) -> None:
  """Writes a JSON file for people and machines."""
  path.write_text(json.dumps(values, indent=1) + "\n")
