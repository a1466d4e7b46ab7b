"""Records the facts about each exported version, and detects later changes to its files.

Each version carries a manifest: its contract, the shape of its model and the digest of each file.
Beside the versions, `versions.json` records the digest of each manifest, which reveals a version
that was replaced as a whole, manifest included.
"""

import dataclasses
import hashlib
import itertools
import json
import os
import pathlib
import re
import types
import typing
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from wsram_tf.serving import protos
from wsram_tf.settings import check_path

__all__ = [
  "GOLDEN_FILE",
  "LARGEST_WARMUP_COUNT",
  "MANIFEST_FILE",
  "VERSIONS_FILE",
  "WARMUP_FILE",
  "CaptionerFacts",
  "ClassifierFacts",
  "Contract",
  "Facts",
  "Manifest",
  "check_batch_sizes",
  "check_name",
  "contract_breaks",
  "contract_changes",
  "contract_of",
  "file_digests",
  "manifest_digest",
  "manifest_values",
  "read_manifest",
  "read_versions",
  "version_dir",
  "version_numbers",
  "write_json",
]

MANIFEST_FILE = "assets.extra/manifest.json"
GOLDEN_FILE = "assets.extra/golden.npz"
WARMUP_FILE = "assets.extra/tf_serving_warmup_requests"  # Where model servers look for it.
VERSIONS_FILE = "versions.json"
# Model servers read no more warm-up requests.
LARGEST_WARMUP_COUNT = 1000
# Signatures of a classifier, each warmed up at each batch size.
_MOST_SIGNATURES = 8

Contract = dict[str, dict[str, dict[str, str]]]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Facts:
  """The facts about a model that are known before its export.

  Args:
    name: the model's name.
    source: where the weights come from.
    height: of an image, pixels.
    width: of an image, pixels.
    channels: of an image.
    num_glimpses: N; a captioner takes one before each word.
    allowed_batch_sizes: images; the warm-up requests cover these sizes.
    fit: how training brought images of other sizes to the model's, `resize` or `pad`.
    largest_pixels: of an image file, height times width; the model stretches files of any size up
      to this to height and width. None where a file must have the exact size.
    feature_shape: of the grid that a backbone makes of an image, [H, W, C]; None without backbone.
  """

  task: ClassVar[str]

  name: str
  source: str
  height: int
  width: int
  channels: int
  num_glimpses: int
  allowed_batch_sizes: list[int]
  # Old manifests lack these three.
  fit: str = "resize"
  largest_pixels: int | None = None
  feature_shape: list[int] | None = None

  @property
  def image_shape(self) -> tuple[int, int, int]:
    """Height, width and channels of an image."""
    return self.height, self.width, self.channels


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClassifierFacts(Facts):
  """The facts about a model that classifies images.

  Args:
    test_error_percent: of the run, %; None where it is not known.
    num_classes: K.
    glimpse_side: of the finest patch, pixels.
    glimpse_scales: number of patches a glimpse.
    averaged_samples: glimpse sequences that `classify_averaged` averages.
    class_names: by label; empty where classes have numbers alone.
    choose_scale: whether a glimpse has one patch, of the scale in the output `scales`.
  """

  task = "classification"

  test_error_percent: float | None
  num_classes: int
  glimpse_side: int
  glimpse_scales: int
  averaged_samples: int
  # Old manifests lack these two.
  class_names: list[str] = dataclasses.field(default_factory=list)
  choose_scale: bool = False


@dataclasses.dataclass(frozen=True, kw_only=True)
class CaptionerFacts(Facts):
  """The facts about a model that describes images.

  Args:
    test_figures: of the run, by their names in results.json; empty where there are none.
    vocabulary_size: words, the special ones included.
    grid_rows: cells from top to bottom; each glimpse reads one cell.
    grid_columns: cells from left to right.
    layer_grids: rows and columns of the cells of each layer, where a glimpse chooses a layer too
      and the output `layers` names it; empty for one grid.
    beam_width: captions kept at each word of the search.
    length_exponent: captions are compared by log-probability / words ** this.
    averaged_samples: sampled glimpse sequences that the probabilities of words average; 0: glimpses
      are at the prior's mode.
    consensus: whether the answer is the caption most like the others that the search kept, and
      `likeness` says how much.
    consensus_exponent: of the probabilities that weight these captions.
  """

  task = "captioning"

  test_figures: dict[str, float]
  vocabulary_size: int
  grid_rows: int
  grid_columns: int
  beam_width: int
  length_exponent: float
  # Old manifests lack these four.
  layer_grids: list[list[int]] = dataclasses.field(default_factory=list)
  averaged_samples: int = 0
  consensus: bool = False
  consensus_exponent: float = 0.5


@dataclasses.dataclass(frozen=True, kw_only=True)
class Manifest:
  """The record of one exported version.

  Args:
    facts: about the model.
    version: its number.
    weight_bytes: of all weights, each counted once.
    contract: the signatures; see `contract_of`.
    files: SHA-256 digest of every other file, by its path within the version.
  """

  facts: ClassifierFacts | CaptionerFacts
  version: int
  weight_bytes: int
  contract: Contract
  files: dict[str, str]


_FACTS = {kind.task: kind for kind in (ClassifierFacts, CaptionerFacts)}


def check_name(name: str) -> None:
  """Checks a model's name.

  Raises:
    ValueError: if servers or files could not carry it.
  """
  if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z][A-Za-z0-9_.-]*", name):
    # Servers that poll the parent folder would take a name of digits alone for a version.
    raise ValueError(f"name={name!r}: must be a letter, then letters, digits, '_', '.' or '-'")


def check_batch_sizes(sizes: Sequence[int]) -> None:
  """Checks the batch sizes that a server fills batches up to and warms up.

  Args:
    sizes: images.

  Raises:
    ValueError: if a server could not use them.
  """
  most = LARGEST_WARMUP_COUNT // _MOST_SIGNATURES
  if not isinstance(sizes, list | tuple) or not all(type(size) is int for size in sizes):
    raise ValueError(f"allowed_batch_sizes={sizes!r:.200}: must be a list of whole numbers")
  rising = all(small < large for small, large in itertools.pairwise(sizes))
  if not sizes or sizes[0] < 1 or not rising or len(sizes) > most:
    raise ValueError(
      f"allowed_batch_sizes={','.join(map(str, sizes))}: must be whole numbers from 1, rising, and "
      f"at most {most} of them, because a server warms up no more"
    )


def contract_of(signatures: Mapping[str, protos.Signature]) -> Contract:
  """Lists the facts that clients rely on.

  Returns:
    `{signature: {"inputs" or "outputs": {name: dtype and shape}}}`.
  """
  return {
    name: {
      "inputs": {key: str(info) for key, info in signature.inputs.items()},
      "outputs": {key: str(info) for key, info in signature.outputs.items()},
    }
    for name, signature in signatures.items()
  }


def contract_changes(old: Contract, new: Contract) -> list[str]:
  """Describes each difference in a line of text; empty where there is none."""
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


def contract_breaks(old: Contract, new: Contract) -> list[str]:
  """Describes what clients of an old contract would miss; a new signature breaks nothing."""
  return contract_changes(old, {name: new[name] for name in new if name in old})


def file_digests(model_dir: pathlib.Path) -> dict[str, str]:
  """Computes the SHA-256 of every file of a version but its manifest, by path."""
  paths = sorted(path for path in model_dir.rglob("*") if path.is_file())
  digests = {
    path.relative_to(model_dir).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
    for path in paths
  }
  digests.pop(MANIFEST_FILE, None)
  return digests


def manifest_digest(model_dir: pathlib.Path) -> str:
  """Computes the digest that `versions.json` records: a manifest's SHA-256, hexadecimal."""
  return hashlib.sha256((model_dir / MANIFEST_FILE).read_bytes()).hexdigest()


def manifest_values(manifest: Manifest) -> dict[str, Any]:
  """Converts a manifest to the flat JSON object that its file holds."""
  values = {
    field.name: getattr(manifest, field.name)
    for field in dataclasses.fields(manifest)
    if field.name != "facts"
  }
  return {**dataclasses.asdict(manifest.facts), "task": manifest.facts.task, **values}


def read_manifest(model_dir: str | os.PathLike) -> Manifest:
  """Reads a version's manifest.

  Args:
    model_dir: the folder of the version.

  Raises:
    FileNotFoundError: if the folder has none.
    ValueError: if this package did not write it.
  """
  check_path("model_dir", model_dir)
  path = pathlib.Path(model_dir) / MANIFEST_FILE
  rule = f"{path}: must be a manifest as an export writes it"
  try:
    values = dict(json.loads(path.read_text(encoding="utf-8")).items())
    # Old manifests, all of classifiers, lack the task.
    facts_class = _FACTS[values.pop("task", ClassifierFacts.task)]
    own = {field.name for field in dataclasses.fields(Manifest)} & values.keys()
    rest = {name: values.pop(name) for name in own}
    manifest = Manifest(facts=facts_class(**values), **rest)
  except (AttributeError, KeyError, TypeError, ValueError, RecursionError) as error:
    raise ValueError(rule) from error
  for record in (manifest, manifest.facts):
    kinds = typing.get_type_hints(type(record))
    for field in dataclasses.fields(record):
      name, kind = field.name, kinds[field.name]
      if name != "facts" and not _is_of(getattr(record, name), kind):
        raise ValueError(f"{rule}, with {name} of JSON's kind for {kind}")
  return manifest


def read_versions(model_base: pathlib.Path) -> dict[int, str]:
  """Reads the recorded digest of each version's manifest; empty where there is no record.

  Raises:
    ValueError: if this package did not write the record.
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
  """Finds the folder of a version: the path itself, or the newest version in a model's folder."""
  check_path("model_dir", path)
  path = pathlib.Path(path)
  versions = version_numbers(path) if path.is_dir() else []
  return path / str(versions[-1]) if versions else path


def version_numbers(model_base: pathlib.Path) -> list[int]:
  """Lists the versions in a model's folder, rising, as a server finds them."""
  if not model_base.is_dir():
    return []
  names = [path.name for path in model_base.iterdir()]
  return sorted(int(name) for name in names if name.isascii() and name.isdecimal())


def _is_of(value: Any, kind: Any) -> bool:
  """Whether a value is of a type like `list[int]` or `float | None`; a float may be whole."""
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
  """Writes an indented JSON file."""
  path.write_text(json.dumps(values, indent=1) + "\n")
